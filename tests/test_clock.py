"""ClockFilter, and what learners with a clock share: times are told, missing, late, or no times at all."""
import math
import numpy as np, pandas as pd, pytest
from sklearn.base import clone
from recinc_nb import ClockFilter, GaussianMF, HybridStack, OnlineStack, Stream, TextFilter, TextRidge, drift_stream
from recinc_nb.clock import TICK, clock_sweep, fade_state

TIMED = [ClockFilter(n_factors=2), TextFilter(n_factors=2), OnlineStack([GaussianMF(n_factors=2), ClockFilter(n_factors=2)]),
         TextRidge(base=ClockFilter(n_factors=2)), HybridStack(learners=[ClockFilter(n_factors=2)])]
timed = pytest.mark.parametrize('model', TIMED, ids=lambda o: type(o).__name__)

def table(n=120, seed=1):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(dict(user=rng.integers(8, size=n), item=rng.integers(9, size=n), rating=rng.integers(1, 6, n).astype(float),
                             time=rng.exponential(200, n).cumsum()))


@timed
def test_the_clock_reaches_every_learner_that_has_one(model):
    "Far apart is another answer than close together, whether asked by a table or one by one; and the order of telling it does not matter."
    e = table()
    close,far = (clone(model).predict_learn(e.assign(time=e['time']*o)) for o in (1., 1000.))
    assert abs(close-far).max() > 1e-3
    cut = clone(model)
    one = [(cut.predict_one(u, i, time=t), cut.learn_one(u, i, y, time=t))[0] for u,i,y,t in e.itertuples(index=False)]
    np.testing.assert_array_equal(one, close)
    ask = dict(user=[1, 2, 99], item=[3, 4, 5])
    soon,late = (cut.predict({**ask, 'time': [o]*3}) for o in (e['time'].max(), 1e9))
    assert (soon[:2]!=late[:2]).all() and soon[2]==late[2]
    np.testing.assert_array_equal(cut.predict(ask), soon) # now is the newest time


@timed
def test_dates_are_seconds(model):
    e = table()
    e['time'] = e['time'].round(3)
    dated = e.assign(time=pd.to_datetime(e['time'], unit='s'))
    right = clone(model).predict_learn(e)
    for o in (dated, dated.assign(time=dated['time'].dt.as_unit('ms')), {k: dated[k].to_numpy() for k in dated}, Stream(dated)):
        np.testing.assert_allclose(clone(model).predict_learn(o), right, rtol=1e-6)


@pytest.mark.parametrize('model', [ClockFilter(n_factors=2), TextFilter(n_factors=2)])
def test_without_a_clock_an_event_is_a_tick(model):
    "A table without times is one in which each of a user's events comes a tick after the one before."
    e = table()
    ticks = e.assign(time=e.groupby('user').cumcount()*TICK)
    none = e.drop(columns='time')
    m = clone(model)
    np.testing.assert_allclose(m.predict_learn(none), clone(model).predict_learn(ticks), rtol=1e-12)
    assert math.isnan(m.clock_) and m.predict_one(1, 2)==m.predict_one(1, 2, time=e['user'].eq(1).sum()*TICK)
    cut = clone(model)
    for n in range(0, len(none), 7): cut.partial_fit(none.iloc[n:n+7])
    for a,b in zip(m.arrays().values(), cut.arrays().values()): np.testing.assert_array_equal(a, b)


def test_times_that_run_backwards_count_as_a_gap_of_zero():
    e = dict(user=[1]*3, item=[1, 2, 3])
    back,flat = (ClockFilter(n_factors=0).partial_fit(dict(e, time=t), [5., 4., 5.]) for t in ([100., 40., 90.], [100.]*3))
    for a,b in zip(back.arrays().values(), flat.arrays().values()): np.testing.assert_array_equal(a, b)
    assert back.predict_one(1, 4, time=0.)==back.predict_one(1, 4, time=100.)!=back.predict_one(1, 4, time=200.)


def test_a_long_pause_leaves_the_bias_alone_and_full_doubt():
    m = ClockFilter(n_factors=0, care=0.).partial_fit(dict(user=[1]*4, item=[1, 2, 3, 4], time=[0., 1., 2., 3.]), [5.]*4)
    late = dict(user=[1], item=[99], time=[1e12])
    state,P = m.rows_['user'].used('state')[0],m.rows_['user'].used('covariance')[0]
    mu,b_i = m.mean_[0]/m.mean_[1],m.rows_['item'].used('mean')[0,0]
    np.testing.assert_allclose(m.predict(late), mu + state[2])
    np.testing.assert_allclose(m.predict_std(late)**2, sum(m.mood) + P[2,2] + m.var_item_bias)
    assert b_i>0 or state[2]>=0


def test_the_covariance_stays_one():
    "Symmetric, no negative eigenvalue, no variance above its start, over gaps from nothing to years."
    rng = np.random.default_rng(0)
    e = table(2_000).assign(time=10.**rng.uniform(-3, 8, 2_000))
    m = ClockFilter(n_factors=2, drift_user=.05).partial_fit(e)
    P = m.rows_['user'].used('covariance')
    np.testing.assert_allclose(P, P.transpose(0, 2, 1), atol=1e-12)
    assert np.linalg.eigvalsh(P).min() > -1e-12 and (np.einsum('nii->ni', P) <= np.diag(m._prior_P)+1e-12).all()


def test_fading_twice_is_fading_once_over_both_gaps():
    rng = np.random.default_rng(0)
    root = rng.normal(size=(4, 4))
    c,P,moods,keeps = rng.normal(size=4),root@root.T,np.array([.3, .2]),np.array([[.9, .5], [.3, .8]])
    a,b = (c.copy(), P.copy()),(c.copy(), P.copy())
    for o in keeps: fade_state(*a, o, moods)
    fade_state(*b, keeps.prod(0), moods)
    for x,y in zip(a, b): np.testing.assert_allclose(x, y, rtol=1e-12)


@pytest.mark.parametrize('settings,words', [
    (dict(memory=(1.,)), 'as many variances as times'), (dict(memory=(0., 1.)), 'times above 0'), (dict(mood=(-1., 1.)), 'as many'), (dict(care=-1.), 'care is -1'),
    (dict(noise=0.), 'noise is 0'), (dict(memory=5.), 'memory is 5'), (dict(memory=(math.inf, 1.)), 'memory is'), (dict(var_user=0.), 'var_user is 0')])
def test_settings_are_checked_at_the_door(settings, words):
    with pytest.raises(ValueError, match=f'ClockFilter: .*{words}'): ClockFilter(**settings).predict_one(1, 1)


def test_what_may_change_later_and_what_is_baked_in():
    m = ClockFilter(n_factors=2).partial_fit(table())
    before = m.predict_one(1, 2, time=1e5)
    assert m.set_params(memory=(1e6, 1e7)).predict_one(1, 2, time=1e5)!=before
    for o in (dict(mood=(.2, .2)), dict(care=1.), dict(n_factors=3), dict(memory=(1.,))):
        with pytest.raises(ValueError): m.set_params(**o)


@pytest.mark.parametrize('time,says', [([math.nan], 'time is nan in row 0'), (['noon'], "time is 'noon' in row 0"), ([None], 'time is missing in row 0'),
    (np.array(['NaT'], dtype='datetime64[s]'), 'time is missing in row 0'), (np.array([1], dtype='timedelta64[s]'), 'give moments')])
def test_bad_times_are_met_at_the_door(time, says):
    m = ClockFilter()
    with pytest.raises(ValueError, match=says): m.partial_fit(dict(user=[1], item=[1], time=time), [3.])
    with pytest.raises(ValueError, match=says): m.predict(dict(user=[1], item=[1], time=time))
    assert m.n_==0


def test_a_world_without_moods_is_no_worse_than_a_step():
    "Where nothing fades, the filter costs little: its error stays within 2 % of GaussianMF's."
    world = drift_stream(6_000, n_users=60, n_items=50, seed=2)
    y = world.events['rating'].to_numpy()
    a,b = (np.sqrt(np.mean((y - m.predict_learn(world))**2)) for m in (ClockFilter(), GaussianMF()))
    assert a < 1.02*b


def test_a_sweep_over_nothing():
    m = ClockFilter(n_factors=0).partial_fit(dict(user=[1], item=[1]), [3.])
    clock_sweep(*[np.zeros(0, dtype=np.int64)]*2, *[np.zeros(0)]*4, *m.tables(), 1., m._prior_P, m._prior[1], np.ones(2), 0., 0., 1., True)
    assert m.predict(dict(user=[], item=[])).shape==(0,)
