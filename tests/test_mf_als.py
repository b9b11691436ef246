"""IncrementalALS, GaussianMF and OnlineStack: what is their own."""
import math
import numpy as np, pytest
from hypothesis import given, settings, strategies as st
from sklearn.base import clone
from helpers import state
from recinc_nb.baselines import BiasBaseline, Popularity
from recinc_nb.learner import L2SP
from recinc_nb.mf_als import GaussianMF, IncrementalALS, fold_in, rls_update
from recinc_nb.stack import OnlineStack
from recinc_nb.mf_online import IncrementalMF
from recinc_nb.worlds import drift_stream

few = settings(max_examples=25)


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
    for a,b in zip(alone.arrays().values(), stack.learners_[0].arrays().values()): np.testing.assert_array_equal(a, b)


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
    for side,prior in zip(('user', 'item'), m._prior):
        v = m.rows_[side].used('var')
        assert (v>0).all() and (v<=prior).all()
    assert m.predict_std(dict(user=[-1], item=[-1]))[0] > m.predict_std(dict(user=[0], item=[0]))[0] > 0


def test_weights_in_the_filter_divide_the_noise():
    past,rows = drift_stream(200, n_users=9, n_items=9, seed=5),dict(user=[1, 2, -1], item=[3, 1, 4])
    twice = GaussianMF(n_factors=3).partial_fit(past).partial_fit(rows, [5., 1., 4.], sample_weight=[2.]*3)
    precise = GaussianMF(n_factors=3).partial_fit(past)
    for u,i,y in zip(*rows.values(), (5., 1., 4.)):
        mean = precise.mean_ + [2*y, 2]
        precise.set_params(noise=.25).learn_one(u, i, y)
        precise.mean_[:] = mean # the mean counts an event twice, too
    for o in ('mean', 'var'): np.testing.assert_array_equal(twice.rows_['user'].used(o), precise.rows_['user'].used(o))
    ones,none = (GaussianMF(n_factors=3).partial_fit(past, sample_weight=w) for w in (np.ones(200), None))
    assert state(ones)==state(none)
    zero = GaussianMF(n_factors=3, drift_user=0., drift_item=0.).partial_fit(rows, [5., 1., 4.], sample_weight=[0.]*3)
    assert (zero.predict(rows)==3.).all() and zero.predict_std(rows)==pytest.approx(zero.predict_std(dict(user=[7]*3, item=[8]*3)))


def test_weights_in_als_are_weighted_least_squares_and_weighted_biases():
    past,w = drift_stream(300, n_users=9, n_items=9, seed=5),np.random.default_rng(0).uniform(0, 3, 300)
    m,biases = IncrementalALS(n_factors=0).partial_fit(past, sample_weight=w),BiasBaseline().partial_fit(past, sample_weight=w)
    np.testing.assert_allclose(m.predict(past), biases.predict(past), rtol=1e-12)
    m = IncrementalALS(n_factors=3, init_std=.5) # one user; each item is new, so the inputs are their random starts
    m.partial_fit(dict(user=['a']*40, item=range(40)), np.random.default_rng(1).integers(1, 6, 40), sample_weight=w[:40])
    first = .5*np.random.default_rng(0).standard_normal((40, 3))
    A = (first.T*w[:40])@first + 24*np.eye(3)
    np.testing.assert_allclose(m.rows_['user'].used('inverse')[0], np.linalg.inv(A), rtol=1e-9)
    ones,none = (IncrementalALS(n_factors=3).partial_fit(past, sample_weight=o) for o in (np.ones(300), None))
    np.testing.assert_allclose(ones.predict(past), none.predict(past), rtol=1e-9)
    with pytest.raises(ValueError, match='OnlineStack has no weights'): OnlineStack().partial_fit(past, sample_weight=w)


def test_a_pull_slides_means_at_the_rate_of_their_variance():
    m = GaussianMF(n_factors=2, remedies=(L2SP(3., after=50),)).partial_fit(drift_stream(80, n_users=5, n_items=5, seed=1))
    tables = {o: m.rows_['user'].used(o)[1].copy() for o in ('mean', 'var')}
    star,rho = m.remedies_[0].anchor_['user_mean'][1],3.
    m.noise = 1e12 # an event that tells nothing: what is left is the slide
    m.learn_one(m.users_.ids[1], m.items_.ids[0], 3.)
    np.testing.assert_allclose(m.rows_['user'].used('mean')[1], (tables['mean']+tables['var']*rho*star)/(1+tables['var']*rho), rtol=1e-9)


MEMBERS = {'rows that change hands': (IncrementalMF(max_rows=9), 'IncrementalMF has max_rows=9'), 'remedies': (GaussianMF(remedies=(L2SP(),)), 'GaussianMF has remedies'),
           'another scale': (GaussianMF(rating_range=(0, 10)), r'rating_range=\(0, 10\); give it to OnlineStack')}

@pytest.mark.parametrize('name', MEMBERS)
def test_settings_that_a_stack_would_lose_are_refused(name):
    m,words = MEMBERS[name]
    with pytest.raises(ValueError, match=words): OnlineStack([BiasBaseline(), m]).partial_fit(drift_stream(20, seed=1))


@pytest.mark.parametrize('model', [IncrementalALS(n_factors=2), GaussianMF(n_factors=2), OnlineStack()])
def test_another_scale_is_the_same_in_another_unit(model):
    stream = drift_stream(300, n_users=9, n_items=9, seed=5)
    percent = clone(model).set_params(rating_range=(0, 100)).partial_fit(stream.events.assign(rating=(stream.events['rating']-1)*25))
    model = clone(model).partial_fit(stream)
    np.testing.assert_allclose(percent.predict(stream), (model.predict(stream)-1)*25, rtol=1e-9)
    if hasattr(model, 'predict_std'): np.testing.assert_allclose(percent.predict_std(stream), model.predict_std(stream)*25, rtol=1e-9)


def slow_stack(predictions, users, items, y, l2, forget, shrink, speeds=(.5, .8, .95)): # lists, and a solve for each event
    seen,A,out = [],None,[]
    fading = lambda left, g: sum(g**n*x for n,x in enumerate(reversed(left)))/(sum(g**n for n in range(len(left))) + shrink)
    for n in range(len(y)):
        mu = np.mean(y[:n]) if n else 3.
        mine,its = ([o for o in seen if o[k]==k_id] for k,k_id in ((0, users[n]), (1, items[n])))
        z = [*(predictions[n]-mu)]
        for past in (mine, its):
            z += [np.log1p(len(past)), float(len(past)>0), *(fading([o[2] for o in past], g) for g in speeds)]
            z += [fading([o[3 if past is mine else 4] for o in past], g) for g in speeds]
        if A is None: A,s = l2*np.eye(len(z)),l2*np.r_[np.full(predictions.shape[1], 1/predictions.shape[1]), np.zeros(len(z)-predictions.shape[1])]
        out.append(mu + np.dot(z, np.linalg.solve(A, s)))
        fade = forget if np.trace(np.linalg.inv(A)) <= forget*len(z)/l2 else 1. # the cap of `rls_update`
        A,s = fade*A + np.outer(z, z),fade*s + (y[n]-mu)*np.array(z)
        slow = lambda past: fading([o[2] for o in past], speeds[-1])
        seen.append((users[n], items[n], y[n]-mu, y[n]-mu-slow(its), y[n]-mu-slow(mine)))
    return np.array(out)

@pytest.mark.parametrize('l2,forget,shrink', [(1., 1., 3.), (.2, .97, 2.), (5., .97, 1.)])
def test_the_stack_against_a_slow_one_that_keeps_everything(l2, forget, shrink):
    stream = drift_stream(250, n_users=9, n_items=7, seed=5)
    y = stream.events['rating'].to_numpy(float)
    members = [GaussianMF(n_factors=2, noise=.2, drift_user=.05), BiasBaseline(), GaussianMF(n_factors=2)]
    given = np.column_stack([clone(o).predict_learn(stream) for o in members])
    slow = slow_stack(given, stream.events['user'].tolist(), stream.events['item'].tolist(), y, l2, forget, shrink)
    np.testing.assert_allclose(OnlineStack(members, l2=l2, forget=forget, shrink=shrink).predict_learn(stream), slow, rtol=1e-6)
