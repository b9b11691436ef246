"""Past and item in one sequence: the item is never cut, and `reads='pair'` keeps every promise of the learner."""
import numpy as np, pytest, torch
from hypothesis import given, settings, strategies as st
from helpers import python
from recinc_nb import IncrementalBert, L2SP, Learner, Reservoir, drift_stream
from recinc_nb.bert import PairCollator, PairModel, PrefixCollator, PrefixModel, last_decides, told
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


@pytest.mark.parametrize('reads, least', [('statements', 3), ('pair', 5), ('prefix', 8)])
def test_a_length_without_room_is_refused_whenever_it_comes(reads, least):
    m = learned(16, reads=reads)
    before = m.predict(world[48:53])
    with pytest.raises(ValueError, match=f'max_length is {least-1}'): m.set_params(max_length=least-1)
    assert m.max_length==128 and np.array_equal(m.predict(world[48:53]), before)
    p = m.set_params(max_length=least).predict(world[48:53])
    assert np.isfinite(p).all() and not np.array_equal(p, before)


def test_a_pair_that_just_fits_is_not_cut():
    example = dict(text=(('alien', 'brazil'), ('tiger',)), text_pair='whale')
    n, = PairCollator(tokenizer, 99).lengths([(told(example['text']), 'whale')])
    assert [PairCollator(tokenizer, o).n_cut([example]) for o in (n-1, n, n+1)]==[1, 0, 0]


def test_the_last_like_decides():
    liked,offered,y,p = last_decides(2_000, seed=3)
    assert p.tolist()==[.9 if o==pair[1] else .1 for pair,o in zip(liked, offered)] and all(o in pair and pair[0]!=pair[1] for pair,o in zip(liked, offered))
    assert abs(y[p==.9].mean()-.9)<.03 and abs(y[p==.1].mean()-.1)<.03 and .45<(p==.9).mean()<.55


@pytest.mark.parametrize('kw', [dict(update='all'), dict(update='top-1'), dict(update='head'), dict(update='top-1', remedies=(Reservoir(size=15, k=2), L2SP(.1, after=16)))])
def test_prefix_resumed_bit_for_bit(tmp_path, kw):
    m = learned(reads='prefix', **kw)
    m.predict(world[48:53])
    m.save_pretrained(tmp_path/'m')
    back = Learner.from_pretrained(tmp_path/'m')
    assert back.reads=='prefix' and back.n_cut_==m.n_cut_
    for b in (world[48:64], world[64:75]):
        np.testing.assert_array_equal(back.predict(b), m.predict(b), strict=True)
        back.partial_fit(b), m.partial_fit(b)
    assert same(weights(back), weights(m))


@quick
@given(st.lists(st.tuples(titles, odd), min_size=1, max_size=40), st.integers(8, 40))
def test_prefix_reads_an_item_behind_its_own_past_whatever_stands_beside_it(rows, max_length):
    net,collate = PrefixModel(bert),PrefixCollator(tokenizer, max_length)
    said = [(told((liked, ())), item) for liked,item in rows]
    inputs = collate.pad(said)
    assert len(inputs['past_ids'])==len({a for a,_ in said}) and inputs['past_ids'].shape[1]+inputs['input_ids'].shape[1]<=max_length
    with torch.inference_mode():
        alone = torch.cat([net.embed(**collate.pad([o])) for o in said])
        torch.testing.assert_close(net.embed(**inputs), alone, atol=1e-5, rtol=1e-4)
    found = inputs['past_mask'].sum(1)[inputs['past']] + inputs['attention_mask'].sum(1)
    assert found.tolist()==collate.lengths(said) and (collate.n_cut([dict(text=a, text_pair=b) for a,b in said[:1]])
        ==(len(tokenizer(said[0][0])['input_ids'])>max_length-max_length//4 or len(tokenizer(said[0][1])['input_ids'])-1>max_length//4))
    for (_,item),ids,k in zip(said, inputs['input_ids'].tolist(), inputs['attention_mask'].sum(1).tolist()):
        whole = tokenizer(item)['input_ids'][1:]
        assert ids[:k]==[*whole[:-1][:max_length//4-1], tokenizer.sep_token_id]
    for n,(past,_) in zip(inputs['past'].tolist(), said):
        whole,k = tokenizer(past)['input_ids'],int(inputs['past_mask'][n].sum())
        assert inputs['past_ids'][n,:k].tolist()==[whole[0], *whole[1:-1][len(whole)-k:], whole[-1]]


def test_prefix_is_a_pair_whose_past_does_not_look_at_the_item():
    "With one layer the item's tokens see what they see in the plain pair; with more they do not."
    from transformers import BertConfig, BertModel
    for layers in (1, 2):
        torch.manual_seed(0)
        deep = BertModel(BertConfig(vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=layers, num_attention_heads=2, intermediate_size=64,
                                    initializer_range=.3, hidden_dropout_prob=0., attention_probs_dropout_prob=0.)).eval()
        said = [('Liked alien; brazil.', 'tiger'), ('Liked alien; brazil.', 'whale jazz'), ('New user.', 'tiger')]
        pair,net = PairCollator(tokenizer).pad(said),PrefixModel(deep)
        with torch.inference_mode():
            h = deep(**pair).last_hidden_state
            expected = net.pool(h, pair['token_type_ids']*pair['attention_mask'])
            gap = (net.embed(**PrefixCollator(tokenizer).pad(said))-expected).abs().max()
        assert (gap<1e-5)==(layers==1)


def test_prefix_at_the_door_and_in_lists():
    with pytest.raises(ValueError, match='max_length is 7'): ClickBert('tiny', reads='prefix', max_length=7).partial_fit(['alien'], [1])
    with pytest.raises(ValueError, match='encoder is a roberta'):
        other = load_bert('tiny', WORDS)[0]
        other.config.model_type = 'roberta'
        PrefixModel(other)
    m = learned(reads='prefix')
    user = world.events['user'][0]
    assert len(m.recommend(user, 3))==3 and m.item_vectors().shape[0]==len(m.items_.ids)
    before = m.predict(world[48:60])
    assert m.set_params(cache_mb=0).predict(world[48:60])==pytest.approx(before, abs=1e-6)
    assert ClickBert('tiny', reads='prefix', device='cpu').predict([]).shape==(0,)
