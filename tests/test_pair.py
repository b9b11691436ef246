"""Past and item in one sequence: the item is never cut, and `reads='pair'` keeps every promise of the learner."""
import numpy as np, pytest, torch
from hypothesis import given, settings, strategies as st
from helpers import python
from recinc_nb import IncrementalBert, L2SP, Learner, Reservoir, drift_stream
from recinc_nb.bert import PairCollator, PairModel, last_decides, told
from recinc_nb.click import ClickBert
from recinc_nb.metrics import log_loss
from recinc_nb.text import load_bert

pytestmark = pytest.mark.usefixtures('one_thread')

WORDS = ['alien', 'brazil', 'tiger', 'whale', 'rocket', 'jazz', 'opera', 'ghost']
bert,tokenizer = load_bert('tiny', WORDS)
world = drift_stream(400, n_users=12, n_items=30, seed=1)
quick = settings(max_examples=40)
odd = st.sampled_from([*WORDS, 'A; B', 'x. Liked y', '', 'Disliked A.', '漢字 🎬', '[SEP]', 'unheardof'*3, 'New user.'])
titles = st.lists(odd, max_size=30)


def learned(n=48, **kw):
    m = IncrementalBert(**{'checkpoint': 'tiny', 'reads': 'pair', 'device': 'cpu', **kw})
    for b in world.take(n).batches(16): m.partial_fit(b)
    return m

def weights(m): return {k: v.clone() for k,v in m.model.state_dict().items()}

def same(a, b): return a.keys()==b.keys() and all(torch.equal(v, b[k]) for k,v in a.items())


@quick
@given(titles, titles, odd, st.integers(5, 40))
def test_the_item_is_whole_and_so_is_the_newest_of_the_past(liked, disliked, item, max_length):
    collate = PairCollator(tokenizer, max_length)
    example = dict(text=(tuple(liked), tuple(disliked)), text_pair=item)
    batch = collate([example])
    ids,marks = batch['input_ids'][0].tolist(),[tokenizer.cls_token_id, tokenizer.sep_token_id]
    past,there = (tokenizer(o, add_special_tokens=False)['input_ids'] for o in (told(example['text']), item))
    kept = there[:max_length-4]
    assert ids[-len(kept)-1:]==[*kept, marks[1]] and ids[0]==marks[0] and ids[-len(kept)-2]==marks[1]
    assert ids[1:-len(kept)-2]==past[max(0, len(past)-(max_length-3-len(kept))):]
    assert batch['token_type_ids'][0].tolist()==[0]*(len(ids)-len(kept)-1) + [1]*(len(kept)+1)
    assert collate.n_cut([example])==(len(past)+len(there)+3>max_length)


def test_distinct_pairs_are_read_once_and_each_row_finds_its_own():
    collate,rows = PairCollator(tokenizer),[dict(text=t, text_pair=i, label=y) for t,i,y in [('Liked alien.', 'jazz', 1.), ((('alien',), ()), 'jazz', 0.), ('', 'jazz', 0.)]]
    said,out = collate.rows(rows)
    assert said==[('Liked alien.', 'jazz'), ('', 'jazz')] and out['item'].tolist()==[0, 0, 1] and out['labels'].tolist()==[[0, 1], [1, 0], [1, 0]]
    net = PairModel(bert)
    torch.nn.init.normal_(net.classifier.weight, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        z = net(**collate(rows))
        assert torch.equal(z[0], z[1]) and not torch.allclose(z[1], z[2])
        torch.testing.assert_close(torch.cat([net(**collate([o])) for o in rows]), z, atol=1e-5, rtol=1e-4)
    assert tokenizer.truncation_side=='right' # the reader's own tokenizer stays as it was


def test_a_past_is_told_in_the_words_of_the_stream():
    assert [told(o) for o in ('x', '', ((), ()), (('A', 'B; C'), ()), ([], ['D. Liked E']))]==['x', '', 'New user.', 'Liked A; B; C.', 'Disliked D. Liked E.']
    a,b = (IncrementalBert('tiny', reads='pair', device='cpu') for _ in range(2))
    for x,y in zip(world.take(40).with_text().batches(8), world.take(40).batches(8)): a.partial_fit(x), b.partial_fit(y)
    assert same(weights(a), weights(b))


@pytest.mark.parametrize('kw', [dict(update='all'), dict(update='top-1'), dict(update='head'), dict(update='top-1', remedies=(Reservoir(size=15, k=2), L2SP(.1, after=16)))])
def test_resumed_in_a_new_process_bit_for_bit(tmp_path, kw):
    m = learned(**kw)
    m.predict(world[48:53])
    m.save_pretrained(tmp_path/'m')
    rest = [(m.predict(b), m.partial_fit(b))[0] for b in (world[48:64], world[64:75])]
    python('-c', f"""
import torch, numpy as np
torch.set_num_threads(1)
from recinc_nb import Learner, drift_stream
world,m = drift_stream(400, n_users=12, n_items=30, seed=1),Learner.from_pretrained({str(tmp_path/'m')!r})
assert m.reads=='pair'
np.savez({str(tmp_path/'p.npz')!r}, *[(m.predict(b), m.partial_fit(b))[0] for b in (world[48:64], world[64:75])])
m.save_pretrained({str(tmp_path/'m')!r})
""")
    for a,b in zip(np.load(tmp_path/'p.npz').values(), rest): np.testing.assert_array_equal(a, b, strict=True)
    assert same(weights(Learner.from_pretrained(tmp_path/'m')), weights(m))


def test_predictions_do_not_depend_on_company_and_change_nothing():
    m = learned(lr=1e-2)
    before = weights(m)
    alone = np.concatenate([m.predict(world[a:a+1]) for a in range(48, 80)])
    np.testing.assert_allclose(alone, m.predict(world[48:80]), atol=1e-5, strict=True)
    assert same(weights(m), before) and alone.std()>0


def test_an_own_text_is_read_as_it_is():
    "No mark in it is looked for, and nothing is put before it."
    m,read = ClickBert('tiny', reads='pair', device='cpu'),[]
    m.build(WORDS)
    pad = m.collate_.pad
    m.collate_.pad = lambda said: read.extend(said) or pad(said)
    rows = [('A quiet hotel; no children. Liked by few', 'alien'), ('', 'whale'), ((['alien'], ['jazz']), 'opera')]
    m.partial_fit(rows, [1, 0, 1])
    assert {*read}=={rows[0], rows[1], ('Liked alien. Disliked jazz.', 'opera')}


@pytest.mark.parametrize('n', [1, 16, 1000])
def test_no_call_of_any_size_harms(n):
    "Against the learner that never learned, on the events that follow."
    stream = drift_stream(1200, n_users=12, n_items=30, seed=2)
    m,then = IncrementalBert('tiny', reads='pair', device='cpu', history=2),stream[1000:1200]
    before = log_loss(then.events['label'], m.predict(then))
    m.partial_fit(stream[1000-n:1000])
    assert m.n_steps_==-(-n//16) and log_loss(then.events['label'], m.predict(then)) < before+.02


def test_settings_at_the_door():
    with pytest.raises(ValueError, match="reads is 'both'"): ClickBert('tiny', reads='both').partial_fit(['alien'], [1])
    m = learned(16)
    with pytest.raises(ValueError, match='reads cannot change'): m.set_params(reads='statements')
    with pytest.raises(ValueError, match='max_length is 4'): ClickBert('tiny', reads='pair', max_length=4).partial_fit(['alien'], [1])


def test_a_pair_that_just_fits_is_not_cut():
    example = dict(text=(('alien', 'brazil'), ('tiger',)), text_pair='whale')
    n, = PairCollator(tokenizer, 99).lengths([(told(example['text']), 'whale')])
    assert [PairCollator(tokenizer, o).n_cut([example]) for o in (n-1, n, n+1)]==[1, 0, 0]


def test_the_last_like_decides():
    liked,offered,y,p = last_decides(2_000, seed=3)
    assert p.tolist()==[.9 if o==pair[1] else .1 for pair,o in zip(liked, offered)] and all(o in pair and pair[0]!=pair[1] for pair,o in zip(liked, offered))
    assert abs(y[p==.9].mean()-.9)<.03 and abs(y[p==.1].mean()-.1)<.03 and .45<(p==.9).mean()<.55
