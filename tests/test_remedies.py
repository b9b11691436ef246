"""Remedies: however a stream is cut, saved and resumed, the same bits; and what each of them does, against a slow version."""
import itertools
import numpy as np, pytest
from sklearn.base import clone
from contract import REMEDIED
from helpers import check_however, state
from recinc_nb import AGEM, Distill, EWC, ForgetOnDrift, IncrementalMF, L2SP, Remedy, Replay, Reservoir, SynapticIntelligence, drift_stream
from recinc_nb.learner import _pulls, hash_unit


class Harmless(Remedy):
    "A-GEM in short: a step against the direction that old steps took is projected onto what does them no harm."
    def __init__(self, decay=.9): self.decay = decay
    def begin(self, learner): self.mean_ = {}
    def project(self, grads):
        flat = {o: (rows, g) for o,(rows,g) in grads.items()}
        old = {o: self.mean_.get(o, np.zeros((0, g.shape[1]))) for o,(_,g) in flat.items()}
        dot = sum(float((g[:len(old[o])]*old[o]).sum()) for o,(_,g) in flat.items())
        size = sum(float((x**2).sum()) for x in old.values())
        out = {o: (rows, g.copy()) for o,(rows,g) in flat.items()}
        if dot<0:
            for o,(_,g) in out.items(): g[:len(old[o])] -= (dot/size*old[o]).astype(g.dtype)
        for o,(_,g) in flat.items():
            new = np.zeros((len(g), g.shape[1]))
            new[:len(old[o])] = old[o]
            self.mean_[o] = self.decay*new + g
        return out
    def arrays(self): return dict(self.mean_)
    def set(self, arrays): self.mean_ = {o: x.copy() for o,x in arrays.items()}

KINDS = {'none': (), 'replay': (Reservoir(size=20, k=2),), 'pull': (L2SP(.3, after=30),), 'renewed pull': (L2SP(.3, after=10, every=37),),
         'both': (Reservoir(size=15, k=1, seed=3), L2SP(.2, after=50)), 'projection': (Harmless(),),
         'ewc': (EWC(.3, after=30),), 'online ewc': (EWC(.3, after=10, every=37, decay=.8, size=25),), 'synaptic': (SynapticIntelligence(.3, after=30),),
         'online synaptic': (SynapticIntelligence(.3, after=10, every=37),), 'ewc and replay': (Reservoir(size=20, k=2), EWC(.3, after=20, every=50)),
         'all': (Reservoir(size=15, k=1), L2SP(.2, after=20), Harmless()), 'drift': (ForgetOnDrift(.3, delta=1., every=70), Reservoir(size=15, k=1)),
         'even': (Replay(20, 2, weight=1., soft=0.),),
         'window': (Replay(30, 1, 'recent', weight=1., soft=0., seed=3), L2SP(.2, after=50)), 'fading': (Replay(20, 3, 'fading', weight=1., soft=0.), Harmless())}
SOFT = {'taught': (Distill(.4, after=50),), 'taught anew': (Distill(.3, after=20, every=37),), 'taught, and replay': (Replay(20, 2), Distill(.3, 40, 50), L2SP(.2, after=50)),
        'even': (Replay(20, 2),), 'window': (Replay(30, 1, 'recent', .3, .8, 3), L2SP(.2, after=50)), 'fading': (Replay(20, 3, 'fading', weight=.7, soft=1.),)}
BENT = {'bent': (AGEM(60, 20),), 'bent, fading, taught': (AGEM(40, 10, 'fading', 3), Distill(.3, 50, 60))}
world = drift_stream(240, n_users=15, n_items=12, seed=4, drift='sudden')

@pytest.mark.parametrize('name,kind', [*itertools.product(REMEDIED, KINDS), *itertools.product((o for o,m in REMEDIED.items() if m.weighted), (f'{o}, soft' for o in SOFT)), *itertools.product(('mf', 'mf, logistic'), (f'{o}, bent' for o in BENT))])
def test_however_it_is_cut_saved_and_resumed(name, kind, tmp_path):
    remedies = (SOFT if kind.endswith(', soft') else BENT)[kind[:-6]] if kind.endswith((', soft', ', bent')) else KINDS[kind]
    make = lambda: clone(REMEDIED[name]).set_params(remedies=remedies)
    _,pred = check_however(make, world, (0, 1, 31, 100, 100, 201, 240), (30, 77, 120), tmp_path)
    if kind!='none': assert np.abs(clone(REMEDIED[name]).predict_learn(world) - pred).max() > 1e-6, 'no effect'


def test_replay_is_a_loop_over_a_list():
    m = IncrementalMF(n_factors=3, init_std=.2, remedies=(Reservoir(size=10, k=2, seed=5),)).partial_fit(world)
    slow,places = IncrementalMF(n_factors=3, init_std=.2),[]
    for n,(u,i,y) in enumerate(zip(*(world.events[o].tolist() for o in ('user', 'item', 'rating')))):
        old = [places[int(hash_unit(10, 2*n+d)*min(n, 10))] for d in range(2)] if n else []
        slow.learn_one(u, i, y)
        for o in old: slow.learn_one(*o)
        if n<10: places.append((u, i, y))
        elif (place := int(hash_unit(11, n)*(n+1)))<10: places[place] = (u, i, y)
    np.testing.assert_array_equal(m.user_factors_, slow.user_factors_)
    assert len(m.seen_)==len(world) and m.n_==len(world)


@pytest.mark.parametrize('loss', ['squared', 'logistic'])
def test_a_pull_is_a_slide_and_then_a_step(loss):
    kw = dict(n_factors=3, init_std=.3, loss=loss, lr=.1, l2=.01)
    m = IncrementalMF(**kw, remedies=(L2SP(.5, after=100),)).partial_fit(world.take(101))
    slow = IncrementalMF(**kw).partial_fit(world.take(100))
    u,i = (int(world.events[o].iloc[100]) for o in ('user', 'item'))
    y = float(world.events[slow.target].iloc[100])
    row,col = slow.users_.row(u),slow.items_.row(i)
    p,q = slow.user_factors_[row].astype(float).copy(),slow.item_factors_[col].astype(float).copy()
    link,h = (lambda s: 1/(1+np.exp(-s)),.25) if loss=='logistic' else (lambda s: s,1.)
    total,count = slow.mean_
    mean = np.log((total+1)/(count-total+1)) if loss=='logistic' else total/count
    base = mean + slow.user_bias_[row] + slow.item_bias_[col]
    rate = .1/(1+.05)                                        # the anchor is where the rows stand: the slide does nothing at first
    e = y - link(base + p@q)
    step = rate*e/(1 + rate*h*(p@p+q@q))
    np.testing.assert_allclose(m.user_factors_[row], (1-rate*.01)*p + step*q, rtol=1e-5)
    np.testing.assert_allclose(m.item_factors_[col], (1-rate*.01)*q + step*p, rtol=1e-5)
    m.partial_fit(dict(user=[u], item=[i]), [y])             # now it has somewhere to slide to
    p2,q2 = ((1-rate*.01)*a + step*b for a,b in ((p, q), (q, p)))
    sp,sq = (p2 + .05*p)/1.05,(q2 + .05*q)/1.05
    fresh = IncrementalMF(**kw, remedies=(L2SP(.5, after=100),)).partial_fit(world.take(101))
    base = (lambda t,c: np.log((t+1)/(c-t+1)) if loss=='logistic' else t/c)(*fresh.mean_) + fresh.user_bias_[row] + fresh.item_bias_[col]
    e = y - link(base + sp@sq)
    step = rate*e/(1 + rate*h*(sp@sp+sq@sq))
    np.testing.assert_allclose(m.user_factors_[row], (1-rate*.01)*sp + step*sq, rtol=2e-5)


def test_a_strong_pull_holds_and_a_forgotten_user_is_not_replayed():
    held = IncrementalMF(n_factors=3, init_std=.2, remedies=(L2SP(1e6, after=100),)).partial_fit(world.take(100))
    before = held.user_factors_.copy()
    held.partial_fit(world[100:])
    np.testing.assert_allclose(held.user_factors_[:len(before)], before, atol=1e-4)
    m = IncrementalMF(n_factors=3, remedies=(Reservoir(size=500, k=3),)).partial_fit(world)
    gone = int(world.events['user'].iloc[0])
    row = m.users_.row(gone)
    m.forget_user(gone)
    m.partial_fit(world.events[world.events['user']!=gone])
    assert not m.rows_['user'].used('weight')[row] and not (m.remedies_[0].kept_['user']==row).any()


def test_events_that_came_without_a_weight_count_one_when_they_are_replayed():
    half,w = len(world)//2,np.linspace(.2, 3, len(world))
    for first,second in ((True, False), (False, True)): # weights that come late, and weights that end early
        late,told = (IncrementalMF(n_factors=3, init_std=.2, remedies=(Reservoir(size=40, k=2),)) for _ in range(2))
        for a,b,given in ((0, half, first), (half, len(world), second)):
            late.partial_fit(world[a:b], sample_weight=w[a:b] if given else None)
            told.partial_fit(world[a:b], sample_weight=w[a:b] if given else np.ones(b-a))
        assert state(late)==state(told) and set(late.remedies_[0].kept_['weight'])>{1.}


def test_strengths_add_up_and_weigh_the_anchors():
    three = IncrementalMF(n_factors=3, init_std=.2, remedies=(L2SP(.5, after=30, every=40),)).partial_fit(world[:100])
    two = IncrementalMF(n_factors=3, init_std=.2, remedies=(L2SP(.1, after=30, every=40), L2SP(.4, after=30, every=40))).partial_fit(world[:100])
    np.testing.assert_allclose(two.user_factors_, three.user_factors_, atol=1e-6) # one anchor: the strengths add up
    a,b = two.remedies_
    b.anchor_ = {o: x+1 for o,x in a.anchor_.items()}
    for o,(anchor,strength) in _pulls(two.remedies_).items():
        np.testing.assert_allclose(anchor, (.1*a.anchor_[o] + .4*b.anchor_[o])/.5, rtol=0, atol=1e-6)
        assert strength==pytest.approx(.5)
    b.anchor_ = {o: x[:-1] for o,x in b.anchor_.items()}
    with pytest.raises(ValueError, match='rows; use one'): _pulls(two.remedies_)


def test_what_does_not_go_together_is_refused():
    with pytest.raises(ValueError, match='max_rows'): IncrementalMF(max_rows=5, remedies=(Reservoir(),)).learn_one(1, 1, 3.)
    for bad in (Reservoir(), (Reservoir,), 'Reservoir', (None,)):
        with pytest.raises(ValueError, match='give a tuple of remedies'): IncrementalMF(remedies=bad).learn_one(1, 1, 3.)
    for bad in (Reservoir(size=0), Reservoir(k=0), L2SP(-1.), L2SP(after=-1)):
        with pytest.raises(ValueError, match='is'): IncrementalMF(remedies=(bad,)).learn_one(1, 1, 3.)


@pytest.mark.parametrize('name', REMEDIED)
def test_an_anchor_of_nothing_pulls_nothing(name):
    plain,m = clone(REMEDIED[name]),clone(REMEDIED[name]).set_params(remedies=(L2SP(1e6),))
    np.testing.assert_allclose(m.predict_learn(world), plain.predict_learn(world), rtol=1e-6, atol=1e-6)


def test_an_anchor_is_what_the_rows_were_when_it_was_renewed():
    m,kept = IncrementalMF(n_factors=3, init_std=.2, remedies=(L2SP(.3, after=10, every=37),)),{}
    for u,i,y in zip(*(world.events[o].tolist() for o in ('user', 'item', 'rating'))):
        m.learn_one(u, i, y)
        if m.n_>=10 and (m.n_-10)%37==0: kept = {o: x.copy() for o,x in m.params().items()}
        for o,x in kept.items() if m.n_>10 else (): np.testing.assert_array_equal(m.remedies_[0].anchor_[o], x)
    assert len(kept)==2


def test_a_forgotten_user_leaves_nothing_behind(tmp_path):
    m = IncrementalMF(n_factors=3, init_std=.2, remedies=(Reservoir(size=500, k=1), L2SP(.3, after=100))).partial_fit(world)
    user = m.users_.ids[2]
    old = m.remedies_[1].anchor_['user_factors'][2].copy()
    m.forget_user(user)
    replay,pull = (r.arrays() for r in m.remedies_)
    rows = replay['kept.user'][:len(world)]
    assert not (rows==2).any() and (rows==-1).any() and not replay['kept.item'][:len(world)][rows==-1].any() and not replay['kept.y'][:len(world)][rows==-1].any()
    assert old.any() and not pull['user_factors'][2].any() and not m.user_factors_[2].any()


def test_remedies_that_cannot_work_are_refused_before_anything_is_learned():
    class Fewer(Remedy):
        def mix(self, step): return type(step)(step.n, {o: x[:1] for o,x in step.rows.items()}, step.y[:1], step.new[:1])
    for bad in ((Reservoir(), Reservoir()), (L2SP(after=1), L2SP(after=2))):
        with pytest.raises(ValueError, match='hold two'): IncrementalMF(remedies=bad).partial_fit(world)
    with pytest.raises(ValueError, match='Fewer.mix: 1 new events'): IncrementalMF(remedies=(Fewer(),)).partial_fit(world)
