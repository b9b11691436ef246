"""IncrementalALS, GaussianMF and OnlineStack: what every learner of ids promises, and what is their own."""
import math
import numpy as np, pytest
from hypothesis import given, settings, strategies as st
from sklearn.base import clone
from helpers import check_cutting, check_resuming, state
from recinc_nb.baselines import BiasBaseline, Popularity, RunningMean
from recinc_nb.mf_als import GaussianMF, IncrementalALS, OnlineStack, fold_in, rls_update
from recinc_nb.mf_online import IncrementalMF
from recinc_nb.streams import drift_stream

LEARNERS = {'als': IncrementalALS(n_factors=3), 'als, no factors': IncrementalALS(n_factors=0), 'als that forgets': IncrementalALS(n_factors=4, forget=.9, seed=3),
            'gaussian': GaussianMF(n_factors=3), 'gaussian, no factors': GaussianMF(n_factors=0), 'gaussian that drifts': GaussianMF(n_factors=5, drift=.01, init_std=.3),
            'stack': OnlineStack(), 'stack that forgets': OnlineStack(forget=.95, l2=3.),
            'stack of a list': OnlineStack([RunningMean(), BiasBaseline(), GaussianMF(n_factors=2, seed=4), IncrementalMF(n_factors=3, seed=5)])}
every = pytest.mark.parametrize('name', LEARNERS)
few = settings(max_examples=25, deadline=None)
ids = st.one_of(st.integers(0, 6), st.sampled_from(['0', '1', True, False, (1, 'a'), (True, 'a')]))
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
    stream = drift_stream(500, n_users=20, n_items=15, seed=2)
    m = clone(LEARNERS[name])
    assert m.predict_one('who', 'what')==3.
    m.partial_fit(stream)
    before = state(m)
    prior = m.predict_one('who', 'what')
    assert prior==pytest.approx(stream.events['rating'].mean(), abs=1e-5)
    assert set(m.predict(dict(user=['a', 'b'], item=['c', 'd'])))=={prior}
    assert m.recommend('who', k=3, exclude_seen=False) and state(m)==before


@every
def test_growing_leaves_the_old_rows_alone(name):
    m = clone(LEARNERS[name]).partial_fit(drift_stream(300, n_users=20, n_items=15, seed=3))
    old = {k: v.copy() for k,v in m._arrays().items() if 'user' in k or 'item' in k}
    for n in range(200): m.learn_one(('new', n), ('new', n), 1.)
    for k,v in m._arrays().items():
        if k in old: np.testing.assert_array_equal(v[:len(old[k])], old[k], strict=True)


BAD = {'nan': (dict(user=[1, 2], item=[1, 2]), [1., math.nan], ValueError, 'nan in row 1'), 'text': (dict(user=[1], item=[2]), ['four'], ValueError, 'not a number'),
       'missing user': (dict(user=[1, None], item=[1, 2]), [1., 1.], ValueError, 'user is missing in row 1'),
       'no column': (dict(user=[1]), [1.], KeyError, 'no column item'), 'lengths': (dict(user=[1, 2], item=[1]), [1., 1.], ValueError, 'differ in length'),
       'unhashable': (dict(user=[1, [2]], item=[1, 2]), [1., 1.], TypeError, 'unhashable'), 'number': (3, None, TypeError, 'got int')}

@every
@pytest.mark.parametrize('bad', BAD)
def test_bad_input_is_met_at_the_door(name, bad):
    m = clone(LEARNERS[name]).partial_fit(drift_stream(100, n_users=9, n_items=9, seed=5))
    before,(X,y,error,words) = state(m),BAD[bad]
    for method in (m.partial_fit, m.predict_learn):
        with pytest.raises(error, match=words): method(X, y)
    for user,item,y in ((1, 2, math.inf), (None, 2, 1.), ('new', math.nan, 1.)):
        with pytest.raises(ValueError): m.learn_one(user, item, y)
    assert state(m)==before


@every
def test_all_items_at_once_are_scored_as_one_by_one(name):
    m = clone(LEARNERS[name])
    assert m.score_items('who').shape==(0,) and len(m.predict_learn(dict(user=[], item=[]), []))==0
    m.partial_fit(drift_stream(400, n_users=20, n_items=15, seed=7))
    for user in (0, 1, 'who'): np.testing.assert_array_equal(m.score_items(user), [m.predict_one(user, i) for i in m.items_.ids], strict=True)


@pytest.mark.parametrize('cls,params', [(IncrementalALS, dict(l2_user=0.)), (IncrementalALS, dict(l2_item=math.inf)), (IncrementalALS, dict(forget=1.1)),
    (IncrementalALS, dict(forget=0.)), (IncrementalALS, dict(n_factors=-1)), (IncrementalALS, dict(init_std=math.nan)), (GaussianMF, dict(noise=0.)),
    (GaussianMF, dict(drift=-.1)), (GaussianMF, dict(var_user=math.nan)), (OnlineStack, dict(l2=-1.)), (OnlineStack, dict(shrink=0.))])
def test_settings_outside_their_range(cls, params):
    with pytest.raises(ValueError, match=f'{cls.__name__}: {[*params][0]} is'): cls(**params).partial_fit(dict(user=[1], item=[1]), [3.])


@pytest.mark.parametrize('learners,error', [([], ValueError), ([3], TypeError), ([Popularity()], TypeError), ([BiasBaseline(target='label')], TypeError),
                                            ([OnlineStack()], TypeError), ([IncrementalMF(loss='logistic')], TypeError)])
def test_what_cannot_be_stacked(learners, error):
    with pytest.raises(error, match='OnlineStack'): OnlineStack(learners).predict_one(1, 1)


def test_a_stack_leaves_the_learners_it_is_given_alone():
    one = GaussianMF(n_factors=2)
    stack = OnlineStack([one]).partial_fit(drift_stream(50, seed=1))
    assert not hasattr(one, 'users_') and stack.learners_[0] is not one and stack.learners_[0].users_ is stack.users_
    alone = GaussianMF(n_factors=2).partial_fit(drift_stream(50, seed=1))
    for a,b in zip(alone._arrays().values(), stack.learners_[0]._arrays().values()): np.testing.assert_array_equal(a, b)


@few
@given(n=st.integers(1, 60), k=st.integers(1, 6), l2=st.floats(.01, 100), seed=st.integers(0, 10**6))
def test_recursive_is_batch(n, k, l2, seed):
    rng = np.random.default_rng(seed)
    X,r = rng.normal(size=(n, k)),rng.normal(size=n)
    w,P = np.zeros(k),np.eye(k)/l2
    for x,t in zip(X, r): rls_update(w, P, x, t - w@x, 1., np.inf, np.empty(k))
    np.testing.assert_allclose(w, fold_in(X, r, l2), rtol=1e-8, atol=1e-10)
    assert (P==P.T).all() and (np.linalg.eigvalsh(P)>0).all()


@few
@given(forget=st.floats(.5, 1), n=st.integers(1, 400), seed=st.integers(0, 10**6))
def test_forgetting_never_winds_up(forget, n, seed):
    rng = np.random.default_rng(seed)
    w,P = np.zeros(3),np.eye(3)/2
    for _ in range(n): rls_update(w, P, rng.normal(size=3)*rng.integers(0, 2, 3), rng.normal(), forget, 1.5, np.empty(3))
    assert np.trace(P)<=1.5*(1+1e-9) and np.isfinite(w).all()


def test_variances_stay_positive_and_below_their_start():
    m = GaussianMF(n_factors=4, noise=.01, drift=.05, init_std=1.).partial_fit(drift_stream(3_000, n_users=10, n_items=10, seed=3))
    for side in ('user', 'item'):
        v = m._part(side, 'var')
        assert (v>0).all() and (v<=m._prior[side]).all()
    assert m.predict_std(dict(user=['who'], item=['what']))[0] > m.predict_std(dict(user=[0], item=[0]))[0] > 0
