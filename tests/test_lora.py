"""Adapters: whatever their shape, nothing changes when they go in, a step follows the formula, and a swap or a new process loses no bit."""
import copy, math
import numpy as np, pytest, torch
from hypothesis import given, settings, strategies as st
from helpers import python
from recinc_nb import IncrementalBert, drift_stream
from recinc_nb.click import pull_loss
from recinc_nb.lora import LoRA, LoRALinear, TwinLoRA, base_sha256, inject_lora, load_adapter, merge_lora, renew_anchor, save_adapter
from recinc_nb.text import load_bert

pytestmark = pytest.mark.usefixtures('one_thread')

world = drift_stream(400, n_users=12, n_items=30, seed=1)
plain,tokenizer = load_bert('tiny', world.items['title'])
inputs = tokenizer(list(world.items['title'])[:5], padding=True, return_tensors='pt')
KINDS = {'plain': LoRA(r=2, lr=1e-2), 'proximal': LoRA(r=3, lr=1e-2, prox=.2, every=2), 'last layer': LoRA(r=1, alpha=3., layers=1, targets=('key', 'dense')),
         'twin': TwinLoRA(r=2, lr=1e-2, memory=4., prox=.1, every=2)}


def learned(update, n=64, **kw):
    m = IncrementalBert(**{'checkpoint': 'tiny', 'update': update, **kw})
    for b in world.take(n).batches(16): m.partial_fit(b)
    return m


def state(m): return {k: v.tobytes() for k,v in m.arrays().items()} | {f'remedy {k}': v.tobytes() for r in m.remedies_ for k,v in r.arrays().items()}


def read(bert):
    with torch.inference_mode(): return bert(**inputs).last_hidden_state


@settings(max_examples=15)
@given(st.integers(1, 63), st.floats(.01, 100), st.sets(st.sampled_from(['query', 'key', 'value', 'dense']), min_size=1), st.sampled_from([None, 1, 2]), st.integers(0, 99))
def test_in_and_out_again(r, alpha, targets, layers, seed):
    bert,again = copy.deepcopy(plain),copy.deepcopy(plain)
    names = inject_lora(bert, r, alpha, tuple(sorted(targets)), layers, seed)
    assert torch.equal(read(bert), read(plain)) and base_sha256(bert)==base_sha256(plain)
    moving = {n: p for n,p in bert.named_parameters() if p.requires_grad}
    assert set(moving)=={f'{n}.{o}' for n in names for o in 'AB'}
    assert sum(p.numel() for p in moving.values())==sum(r*(plain.get_submodule(n).in_features + plain.get_submodule(n).out_features) for n in names)
    inject_lora(again, r, alpha, tuple(sorted(targets)), layers, seed)
    assert all(torch.equal(p, dict(again.named_parameters())[n]) for n,p in moving.items())
    assert merge_lora(bert)==names and torch.equal(read(bert), read(plain)) and list(bert.state_dict())==list(plain.state_dict())


@settings(max_examples=25)
@given(st.integers(1, 4), st.integers(5, 9), st.integers(5, 9), st.floats(.1, 30), st.integers(0, 10**6))
def test_gradient_and_merge_for_any_shape(r, c_in, c_out, alpha, seed):
    g = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*shape, generator=g, dtype=torch.float64)
    layer = LoRALinear(torch.nn.Linear(c_in, c_out).double(), r, alpha, g)
    layer.B.data.copy_(draw(c_out, r))
    x,goal = draw(3, c_in),draw(3, c_out)
    (layer(x)*goal).sum().backward()
    G = goal.T @ x
    torch.testing.assert_close(layer.A.grad, alpha/r*layer.B.detach().T @ G)
    torch.testing.assert_close(layer.B.grad, alpha/r*G @ layer.A.detach().T)
    torch.testing.assert_close(layer(x), x @ (layer.base.weight + layer.delta()).T + layer.base.bias, rtol=0, atol=1e-9)


@pytest.mark.parametrize('kind', KINDS)
def test_resumed_in_a_new_process_bit_for_bit(tmp_path, kind):
    whole = learned(KINDS[kind], 48)
    whole.save_pretrained(tmp_path/'m')
    expected = []
    for b in (world[a:a+16] for a in (48, 64, 80)):
        expected.append(whole.predict(b))
        whole.partial_fit(b)
    python('-c', f"""
import sys, torch, numpy as np
torch.set_num_threads(1)
from recinc_nb import IncrementalBert, drift_stream
from recinc_nb.lora import LoRA
sys.modules['peft'] = None # not needed at run time
world = drift_stream(400, n_users=12, n_items=30, seed=1)
m,out = IncrementalBert.from_pretrained({str(tmp_path/'m')!r}),[]
for a in (48, 64, 80):
    b = world[a:a+16]
    out.append(m.predict(b))
    m.partial_fit(b)
np.save({str(tmp_path/'p.npy')!r}, out)
m.save_pretrained({str(tmp_path/'m')!r})
""")
    np.testing.assert_array_equal(np.load(tmp_path/'p.npy'), expected, strict=True)
    back = IncrementalBert.from_pretrained(tmp_path/'m')
    assert state(back)==state(whole) and back.update==KINDS[kind] and back.recommend(3, k=4)==whole.recommend(3, k=4)


def test_a_setting_that_agrees_with_the_file_is_no_error(tmp_path):
    learned(KINDS['plain'], 16).save_pretrained(tmp_path/'m')
    IncrementalBert.from_pretrained(tmp_path/'m', update=KINDS['plain'])
    with pytest.raises(ValueError, match='you asked for'): IncrementalBert.from_pretrained(tmp_path/'m', update=LoRA(r=5))


@pytest.mark.parametrize('kind', KINDS)
def test_only_adapters_and_head_move(kind):
    m = learned(KINDS[kind], 16)
    before,head = {n: p.detach().clone() for n,p in m.model.bert.named_parameters()},m.model.classifier.weight.detach().clone()
    for a in (16, 32): m.partial_fit(world[a:a+16])
    moved = {n for n,p in m.model.bert.named_parameters() if not torch.equal(p, before[n])}
    adapters = {n for n in before if n.rpartition('.')[2] in 'AB'}
    assert moved==adapters=={n for n,p in m.model.bert.named_parameters() if p in m.optimizer_.state} and not torch.equal(head, m.model.classifier.weight)
    if kind=='last layer': assert all('layer.1' in n for n in adapters) and m._depth==1


@pytest.mark.parametrize('kind', KINDS)
def test_swapping_in_another_process_is_exact(tmp_path, kind):
    m = learned(KINDS[kind], 48)
    save_adapter(m, tmp_path/'a.safetensors')
    (tmp_path/'m').mkdir()
    fresh = IncrementalBert('tiny', update=KINDS[kind])
    fresh.predict(world.take(1))                       # the same vocabulary, hence the same base
    other = copy.deepcopy(fresh)
    rows = world.with_text()[64:80]
    load_adapter(fresh, tmp_path/'a.safetensors')
    for r,o in zip(fresh.remedies_, m.remedies_):
        assert r.steps_==o.steps_>0 and all(torch.equal(x, o.anchor_[n]) for n,x in r.anchor_.items())
    np.testing.assert_array_equal(fresh.predict(rows), (m._vectors.clear(), m.predict(rows))[1], strict=True)
    for o in (fresh, m): o.partial_fit(rows)
    np.testing.assert_array_equal(fresh.predict(rows), m.predict(rows), strict=True)
    save_adapter(fresh, tmp_path/'a.safetensors')
    load_adapter(other, tmp_path/'a.safetensors')
    np.testing.assert_array_equal(other.predict(rows), fresh.predict(rows), strict=True)
    assert len(list(tmp_path.glob('.*')))==0           # no temporary file is left


def test_adapter_files_that_cannot_be_used(tmp_path):
    m = learned(KINDS['plain'], 48)
    path = tmp_path/'a.safetensors'
    save_adapter(m, path)
    before,blob = state(m),path.read_bytes()
    for n in (0, 5, len(blob)//3, len(blob)-1):
        path.write_bytes(blob[:n])
        with pytest.raises(ValueError, match='damaged'): load_adapter(m, path)
    rng = np.random.default_rng(0)
    start = 8 + int.from_bytes(blob[:8], 'little')
    for at in rng.integers(start, len(blob), 10):
        path.write_bytes(blob[:at] + bytes([blob[at] ^ 64]) + blob[at+1:])
        with pytest.raises(ValueError, match='damaged'): load_adapter(m, path)
    from safetensors.torch import save_file
    save_file({'x': torch.ones(2)}, path)
    with pytest.raises(ValueError, match='no adapter of ours'): load_adapter(m, path)
    with pytest.raises(FileNotFoundError): load_adapter(m, tmp_path)
    assert state(m)==before
    path.write_bytes(blob)
    with torch.no_grad(): m.model.bert.embeddings.word_embeddings.weight[3, 3] += 1
    with pytest.raises(ValueError, match='other weights'): load_adapter(m, path)
    with pytest.raises(ValueError, match='no adapter'): load_adapter(learned('top-1', 16), path)


@pytest.mark.parametrize('update, words', [(LoRA(r=0), 'r is 0'), (LoRA(r=64), 'r is 64'), (LoRA(r=2.5), 'r is 2.5'), (LoRA(alpha=0.), 'alpha is 0'), (LoRA(alpha=math.nan), 'alpha is nan'),
    (LoRA(targets=()), 'choose from'), (LoRA(targets=('query', 'nothing')), 'choose from'), (LoRA(layers=0), 'layers is 0'), (LoRA(layers=3), 'layers is 3'), (LoRA(lr=-1.), 'lr is -1'),
    (LoRA(lr=math.inf), 'lr is inf'), (LoRA(prox=-1.), 'prox is -1'), (LoRA(every=0), 'every is 0'), (TwinLoRA(memory=1.), 'memory 1'), (TwinLoRA(slow=-1.), 'slow is -1')])
def test_settings_outside_their_range(update, words):
    with pytest.raises(ValueError, match=words): IncrementalBert('tiny', update=update).partial_fit(world.take(4))


def test_a_refused_injection_leaves_the_encoder_as_it_was():
    bert = copy.deepcopy(plain)
    with pytest.raises(ValueError): inject_lora(bert, targets=('query', 'nothing'))
    assert list(bert.state_dict())==list(plain.state_dict()) and all(p.requires_grad for p in bert.parameters())


def test_the_anchor_is_renewed_every_so_many_steps():
    m = learned(LoRA(r=2, lr=1e-2, prox=.1, every=3), 16)
    seen = []
    for n in range(5):
        m.partial_fit(world[16*(n+1):16*(n+2)])
        seen.append(m.remedies_[0].steps_)
    assert seen==[2, 0, 1, 2, 0]
    m.partial_fit(world[96:112])
    pulled = lambda: float(torch.as_tensor(pull_loss(m.params(), m.remedies_)).detach())
    assert pulled()>0
    renew_anchor(m)
    assert m.remedies_[0].steps_==0 and pulled()==0 and not KINDS['plain'].remedies()


def test_bf16_autocast_runs_and_stays_close():
    from recinc_nb.core import Device
    a,b = (learned(KINDS['plain'], 48, device=Device('cpu', o)) for o in ('fp32', 'bf16'))
    p,q = a.predict(world[48:96]),b.predict(world[48:96])
    assert np.abs(p-q).max() < .05 and (p!=q).any()
    assert all(t.dtype==torch.float32 for t in b.model.parameters())


def test_peft_is_installed_so_that_the_chapter_compares_with_it():
    import peft # no skip: [dev] brings it
    assert peft.LoraConfig
