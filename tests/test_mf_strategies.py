"""Partial updates: what every learner of ids promises, who may move over random streams, and the calculus of forgetting."""
import math
import numpy as np, pytest
from hypothesis import given, settings, strategies as st
from sklearn.base import clone
from helpers import check_cutting, check_resuming, state, table
from recinc_nb import IncrementalMF, drift_stream
from recinc_nb.mf_strategies import MFStrategy, anchored_step, events_grad, events_loss, forgetting_terms

LEARNERS = {'both': MFStrategy(n_factors=5), 'users': MFStrategy('users', 10, n_factors=3), 'items, logistic': MFStrategy('items', 4, loss='logistic'),
            'biases': MFStrategy('biases', 7, n_factors=4), 'new rows': MFStrategy('new rows', 12, n_factors=4),
            'anchored': MFStrategy(warmup=8, anchor=.7, n_factors=4), 'anchored, logistic': MFStrategy('users', 5, anchor=2., loss='logistic', n_factors=2),
            'lists': MFStrategy(warmup=3, users=[0, '0', (1, 2)], items=[], n_factors=3), 'no factors': MFStrategy('users', 5, n_factors=0)}
every = pytest.mark.parametrize('name', LEARNERS)
few = settings(max_examples=15, deadline=None)
ids = st.sampled_from([0, 1, 2, 3, '0', '1', True, (1, 2), (1, (2, 'a'))])
events = st.lists(st.tuples(ids, ids, st.integers(1, 5)), min_size=1, max_size=40)


@every
@few
@given(rows=events, cuts=st.lists(st.integers(0, 40), max_size=4))
def test_any_way_of_cutting_is_the_same_bit_for_bit(name, rows, cuts): check_cutting(LEARNERS[name], rows, cuts)


@every
@few
@given(rows=events, at=st.integers(0, 40))
def test_saved_and_resumed_is_never_having_stopped(name, rows, at, tmp_path_factory):
    check_resuming(LEARNERS[name], rows, at, tmp_path_factory.mktemp('m'))


@every
def test_strangers_get_the_prior_and_change_nothing(name):
    m = clone(LEARNERS[name])
    assert m.predict_one('who', 'what')==(.5 if m.target=='label' else 3.)
    stream = drift_stream(300, n_users=20, n_items=15, seed=2)
    m.partial_fit(stream)
    before = state(m)
    assert m.predict_one('who', 'what')==pytest.approx(stream.events[m.target].mean(), abs=4e-3)
    assert m.recommend('who', k=3, exclude_seen=False) and state(m)==before


@every
def test_bad_input_changes_nothing(name):
    m = clone(LEARNERS[name]).partial_fit(drift_stream(60, n_users=9, n_items=9, seed=5))
    before = state(m)
    for X,y,error in ((dict(user=['x', 'y'], item=[1, 2]), [1., math.nan], ValueError), (dict(user=['x', None], item=[1, 2]), [1., 1.], ValueError),
                      (dict(user=['x', 'y'], item=[1, [2]]), [1., 1.], TypeError), (dict(user=['x'], item=[1, 2]), [1., 1.], ValueError)):
        with pytest.raises(error): m.partial_fit(X, y)
    with pytest.raises(ValueError): m.learn_one('x', 1, math.inf)
    m.partial_fit(dict(user=[], item=[]), [])
    assert state(m)==before


def test_settings_outside_their_range():
    for params,words in ((dict(update='touched'), "update is 'touched'"), (dict(update=None), 'update is None'), (dict(warmup=-1), 'warmup is -1'),
                         (dict(warmup=math.nan), 'warmup is nan'), (dict(warmup=2, anchor=-.1), 'anchor is -0.1'), (dict(warmup=2, anchor=math.inf), 'anchor is inf'),
                         (dict(anchor=.1), 'set a warmup'), (dict(items={1}), 'items is'), (dict(users='ann'), "users is 'ann'"), (dict(lr=0.), 'lr is 0')):
        with pytest.raises(ValueError, match=words): MFStrategy(**params).partial_fit(dict(user=[1], item=[1]), [3.])
    m = MFStrategy().partial_fit(dict(user=[1], item=[1]), [3.])
    before = state(m)
    with pytest.raises(ValueError, match="update is 'none'"): m.set_params(update='none').partial_fit(dict(user=[2], item=[2]), [3.])
    assert state(m)==before


@few
@given(rows=events, seed=st.integers(0, 9), loss=st.sampled_from(['squared', 'logistic']), k=st.sampled_from([0, 1, 7, 32, 33]))
def test_both_is_incremental_mf(rows, seed, loss, k):
    plain,same = (cls(n_factors=k, loss=loss, seed=seed) for cls in (IncrementalMF, MFStrategy))
    np.testing.assert_array_equal(same.predict_learn(*table(rows, plain.target)), plain.predict_learn(*table(rows, plain.target)), strict=True)
    for o,v in plain._arrays().items(): np.testing.assert_array_equal(same._arrays()[o], v, strict=True)


@few
@given(past=events, rows=events, update=st.sampled_from(['both', 'users', 'items', 'biases', 'new rows']), users=st.none() | st.lists(ids, max_size=3))
def test_what_may_not_move_keeps_its_bits(past, rows, update, users):
    m = MFStrategy(update, warmup=len(past), users=users, n_factors=3).partial_fit(*table(past, 'rating'))
    old = {k: v.copy() for k,v in m._arrays().items()}
    m.partial_fit(*table(rows, 'rating'))
    for name,v in m._arrays().items():
        side,_,what = name.partition('_')
        if side not in ('user', 'item') or what=='anchor': continue
        frozen = update=='new rows' or update==('items' if side=='user' else 'users') or (update=='biases' and what=='factors')
        keep = np.ones(len(old[name]), bool) if frozen else np.zeros(len(old[name]), bool)
        if side=='user' and users is not None:
            tag = lambda o: (type(o), repr(o))
            keep |= np.array([tag(o) not in {*map(tag, users)} for o in m.users_.ids[:len(keep)]], bool)
        np.testing.assert_array_equal(v[:len(keep)][keep], old[name][keep], strict=True)


def test_the_strategy_may_change_on_the_way():
    stream = drift_stream(400, n_users=20, n_items=15, seed=4)
    m = MFStrategy().partial_fit(stream.events[:200])
    items = m.item_factors_.copy()
    m.set_params(update='users').partial_fit(stream.events[200:300])
    np.testing.assert_array_equal(m.item_factors_[:len(items)], items, strict=True)
    m.set_params(update='both').partial_fit(stream.events[300:])
    assert (m.item_factors_[:len(items)]!=items).any()


@few
@given(d=st.integers(1, 6), lr=st.floats(1e-3, 10), anchor=st.floats(0, 10), seed=st.integers(0, 2**32-1))
def test_anchored_step_is_the_minimum(d, lr, anchor, seed):
    p,q,star = np.random.default_rng(seed).normal(size=(3, d))
    f = lambda x: .5*(1.5 - x@q)**2 + ((x-p)**2).sum()/(2*lr) + anchor/2*((x-star)**2).sum()
    best = anchored_step(p, q, 1.5, star, lr, anchor)
    noise = np.random.default_rng(seed+1).normal(size=(10, d))*1e-2
    assert all(f(best) <= f(best+o) for o in noise)


@few
@given(n=st.integers(1, 30), d=st.integers(0, 4), seed=st.integers(0, 2**32-1))
def test_forgetting_is_exact_for_one_side_and_the_loss_is_a_quartic(n, d, seed):
    rng = np.random.default_rng(seed)
    U,V,dU,dV = (rng.normal(size=(k, d)) for k in (5, 4, 5, 4))
    old = rng.integers(0, 5, n),rng.integers(0, 4, n),rng.normal(size=n)
    for one in ((dU, 0*dV), (0*dU, dV)):
        F = events_loss(U+one[0], V+one[1], *old) - events_loss(U, V, *old)
        assert sum(forgetting_terms(U, V, *old, *one))==pytest.approx(F, rel=1e-9, abs=1e-10)
    g_U,g_V = events_grad(U, V, *old)
    assert forgetting_terms(U, V, *old, dU, dV)[0]==pytest.approx(float((g_U*dU).sum() + (g_V*dV).sum()), rel=1e-9, abs=1e-10)


def test_bad_events_and_rows():
    U,V = np.ones((3, 2)),np.ones((2, 2))
    for args,words in (((U, np.ones((2, 3)), [0], [0], np.ones(1)), 'factors have shapes'), ((U, V, [], [], np.ones(0)), 'at least one event'),
                       ((U, V, [0, 1], [0], np.ones(1)), '2 users, 1 items'), ((U, V, [3], [0], np.ones(1)), 'users go from 3'),
                       ((U, V, [0], [-1], np.ones(1)), 'items go from -1'), ((U, V, [0], [0], np.array([np.nan])), 'a rating is nan')):
        for f in (events_loss, events_grad, lambda *a: forgetting_terms(*a, U, V)):
            with pytest.raises(ValueError, match=words): f(*args)
    with pytest.raises(ValueError, match='the steps have shapes'): forgetting_terms(U, V, [0], [0], np.ones(1), V, U)
    p = np.ones(2)
    for args,words in (((p, np.ones(3), 1., p, .1, 0.), 'three of one shape'), ((p, p, 1., p, 0., 0.), 'lr is 0'), ((p, p, 1., p, .1, -1.), 'anchor -1'),
                       ((p, p, math.nan, p, .1, 0.), 'y nan')):
        with pytest.raises(ValueError, match=words): anchored_step(*args)
