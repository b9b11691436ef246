"""Following a stream block by block: against loops with copies, closed forms, and what is refused."""
import copy
import numpy as np, pandas as pd, pytest
from recinc_nb import IncrementalMF, drift_stream, follow_blocks, gate_slope
from recinc_nb.transfer import _blended, _turn_gate

small = drift_stream(1_500, n_users=40, n_items=30, drift='gradual', share=1., seed=3)
mf = IncrementalMF(n_factors=4)
SIDES = 'user', 'item'
def tables(m): return {s: [m.rows_[s].used(o).astype(float) for o in ('factors', 'bias')] for s in SIDES}
def cut(a, b): return small.events.iloc[a:b][['user', 'item', 'rating']]


@pytest.mark.parametrize('keep', [0, 100, 500, None])
@pytest.mark.parametrize('start', [0., 1.])
def test_which_data_from_which_start(keep, start):
    run,m,out,n = follow_blocks(mf, small, 250, keep=keep, start=start),copy.copy(mf),[],0
    for a in range(0, 1_500, 250):
        out.append(m.predict(cut(a, a+250)))
        first = 0 if keep is None else max(0, a-keep)
        if start==0: m = IncrementalMF(n_factors=4)
        m.partial_fit(cut(first, a+250))
        n += a + 250 - first
    np.testing.assert_array_equal(run.pred, np.concatenate(out))
    assert run.learned==n and run.gates.tolist()==[[1, 1]]*6
    np.testing.assert_array_equal(run.model.predict(small), m.predict(small))


def test_a_shorter_last_block():
    assert len(follow_blocks(mf, small[:1_101], 250).pred)==1_101


def test_passes_learn_the_same_events_in_other_orders():
    one,two,other = (follow_blocks(mf, small, 500, passes=p, seed=s) for p,s in ((1, 0), (3, 0), (3, 1)))
    assert two.learned==3*one.learned==4_500
    np.testing.assert_array_equal(two.pred, follow_blocks(mf, small, 500, passes=3).pred)
    assert abs(two.pred - other.pred).max() > .01
    fitted = [((r.model.predict(small[1_000:]) - small.events['rating'][1_000:])**2).mean() for r in (one, two)]
    assert fitted[1] < fitted[0] - .1      # what is learned three times is known better


def test_shrink_and_perturb():
    run = follow_blocks(mf, small, 750, start=.3, noise=.2, seed=5)
    m = IncrementalMF(n_factors=4).partial_fit(cut(0, 750))
    rng = np.random.default_rng(5)
    for s in SIDES:
        for o in ('factors', 'bias', 'weight'): m.rows_[s].used(o)[:] *= np.float32(.3)
        m.rows_[s].used('factors')[:] += rng.normal(0, .2, (len(m.rows_[s]), 4))
    m.mean_ *= .3
    np.testing.assert_array_equal(run.model.predict(small), m.partial_fit(cut(750, 1_500)).predict(small))


class Logged(IncrementalMF):
    "Keeps the order in which it was given events."
    log = []
    def partial_fit(self, X, y=None):
        self.log.append(X.index.to_numpy())
        return super().partial_fit(X, y)


@pytest.mark.parametrize('passes', [1, 2, 3])
def test_each_pass_has_an_order_of_its_own(passes):
    Logged.log = []
    follow_blocks(Logged(n_factors=4), small, 500, keep=100, passes=passes)
    assert len(Logged.log)==3*passes
    for n in range(3):
        first,orders = max(0, 500*n - 100),Logged.log[n*passes:(n+1)*passes]
        for o in orders: np.testing.assert_array_equal(np.sort(o), np.arange(first, 500*n + 500))
        if passes==1: assert (np.diff(orders[0])>0).all()
        else: # far from their order, and from each other
            for a,b in zip([np.sort(orders[0]), *orders], orders): assert (a!=b).mean() > .9


@pytest.mark.parametrize('start', [.5, .9])
def test_the_gate_leads_from_the_model_that_served_not_from_a_shrunken_one(start):
    m = IncrementalMF(n_factors=4).partial_fit(cut(0, 750))
    served = tables(m)
    for s in SIDES:
        for o in ('factors', 'bias', 'weight'): m.rows_[s].used(o)[:] *= np.float32(start)
    m.mean_ *= start
    m.partial_fit(cut(750, 1_500))
    for s in SIDES:
        for o,x in zip(('factors', 'bias'), served[s]):
            used = m.rows_[s].used(o)
            used[:len(x)] = .75*x + .25*used[:len(x)]
    run = follow_blocks(mf, small, 750, start=start, gate=.25)
    np.testing.assert_allclose(run.model.predict(small), m.predict(small), atol=1e-5)


def test_strangers_turn_no_gate():
    "Only events whose rows were there before last night's step have a slope: neither a stranger's nor one of last night's newcomers."
    m = IncrementalMF(n_factors=4).partial_fit(cut(0, 500))
    old = tables(m)
    late = cut(500, 1_000).assign(user=lambda e: np.where(np.arange(500)%5, e['user'], -7), item=lambda e: np.where(np.arange(500)%7, e['item'], -8))
    new,today = tables(m.partial_fit(late)),cut(1_000, 1_500)
    g = np.full(2, .6)
    alone = _turn_gate(m, old, new, today, g)
    assert (abs(alone - g) > .01).all()
    odd = [today.assign(**{o: who}, rating=1.) for o,who in (('user', 10**6), ('item', 10**6), ('user', -7), ('item', -8))]
    for o in odd:
        np.testing.assert_array_equal(_turn_gate(m, old, new, pd.concat([today, o]), g), alone)
        np.testing.assert_array_equal(_turn_gate(m, old, new, o, g), g)


@pytest.mark.parametrize('gate', [0., .25, 1.])
def test_a_gate_stops_on_the_way(gate):
    run,m = follow_blocks(mf, small, 500, gate=gate),IncrementalMF(n_factors=4).partial_fit(cut(0, 500))
    for a in (500, 1_000):
        old = tables(m)
        m.partial_fit(cut(a, a+500))
        for s in SIDES:
            for o,x in zip(('factors', 'bias'), old[s]):
                used = m.rows_[s].used(o)
                used[:len(x)] = (1-gate)*x + gate*used[:len(x)]
    np.testing.assert_allclose(run.model.predict(small), m.predict(small), atol=1e-5)
    np.testing.assert_array_equal(run.gates[1:], np.full((2, 2), gate))


def test_each_side_has_its_own_gate():
    m = IncrementalMF(n_factors=4).partial_fit(cut(0, 500))
    old = tables(m)
    new = tables(m.partial_fit(cut(500, 1_000)))
    _blended(m, old, (.3, .8))
    for s,g in zip(SIDES, (.3, .8)):
        for was,learned,now in zip(old[s], new[s], tables(m)[s]):
            n = len(was)
            np.testing.assert_allclose(now[:n], (1-g)*was + g*learned[:n], atol=1e-6)
            np.testing.assert_array_equal(now[n:], learned[n:]) # new rows are kept whole
            assert abs(was - learned[:n]).max() > .1


def test_learned_gates_go_down_the_next_blocks_slope():
    born = drift_stream(1_500, n_users=60, n_items=40, drift='births', seed=3) # strangers come
    run = follow_blocks(mf, born, 500, gate='learned')
    def part(a, b): return born.events.iloc[a:b][['user', 'item', 'rating']]
    m = IncrementalMF(n_factors=4).partial_fit(part(0, 500))
    old = tables(m)
    m.partial_fit(part(500, 1_000))
    new,block,g = tables(m),part(1_000, 1_500),np.ones(2)
    u,i,y = m.users_.rows(block['user'].to_numpy()),m.items_.rows(block['item'].to_numpy()),block['rating'].to_numpy()
    known = (u>=0) & (u<len(old['user'][1])) & (i>=0) & (i<len(old['item'][1]))
    assert 100 < known.sum() < 500
    mean = m.mean_[0]/m.mean_[1]
    for _ in range(5): g = (g - 2*gate_slope(old, new, g, u[known], i[known], y[known], mean)).clip(0, 1)
    np.testing.assert_allclose(run.gates, [[1, 1], [1, 1], g], rtol=1e-9)
    assert g.min() < .99


def test_predictions_do_not_know_their_block():
    turned = small[:]
    turned.events = small.events.assign(rating=np.where(np.arange(1_500)<1_000, small.events['rating'], 6 - small.events['rating']))
    for dials in (dict(gate='learned'), dict(keep=None, start=0., passes=2), dict(start=.5, noise=.1)):
        np.testing.assert_array_equal(*(follow_blocks(mf, s, 500, **dials).pred for s in (small, turned)))


def test_a_slope_by_hand():
    old = dict(user=(np.array([[1.]]), np.array([0.])), item=(np.array([[2.]]), np.array([.5])))
    new = dict(user=(np.array([[3.]]), np.array([1.])), item=(np.array([[1.]]), np.array([0.])))
    # at gates ½ and 1: p = 2, b_u = ½, q = 1, b_i = 0; e = 4 - (1 + .5 + 2) = .5
    np.testing.assert_allclose(gate_slope(old, new, [.5, 1.], [0], [0], np.array([4.]), 1.), [-.5*(2*1 + 1), -.5*(-1*2 - .5)])


@pytest.mark.parametrize('dials,words', [(dict(block=0), 'block is 0'), (dict(keep=-1), 'keep is -1'), (dict(passes=0), 'passes is 0'), (dict(start=1.5), 'start is 1.5'),
    (dict(start=float('nan')), 'start is nan'), (dict(noise=-1.), 'noise is -1'), (dict(gate=2.), 'gate is 2'), (dict(gate='next'), "gate is 'next'"),
    (dict(start=0., gate='learned'), "start is 0, and gate 'learned'")])
def test_refused(dials, words):
    with pytest.raises(ValueError, match=words): follow_blocks(mf, small, **dials)


def test_refused_learners_and_streams():
    for model in (IncrementalMF(loss='logistic'), 3):
        with pytest.raises(TypeError, match='give an IncrementalMF'): follow_blocks(model, small)
    for stream in (small.events, small[:0]):
        with pytest.raises(TypeError, match='give a Stream with events'): follow_blocks(mf, stream)
    with pytest.raises(ValueError, match='no ratings from 1 to 5'): follow_blocks(mf, drift_stream(50, grades=10, seed=0))


def test_the_learner_given_is_left_alone():
    m = IncrementalMF(n_factors=4).partial_fit(cut(0, 100))
    before = m.predict(small)
    follow_blocks(m, small[:400], 200)
    np.testing.assert_array_equal(m.predict(small), before)
