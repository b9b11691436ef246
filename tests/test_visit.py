"""ClockItems and VisitStack beyond the notebook: dates, missing and late times, and who is told what."""
import numpy as np, pandas as pd, pytest
from sklearn.base import clone
from recinc_nb import ClockItems, ItemItem, RankStack, Stream, VisitStack, prequential_topn

LEARNERS = [ClockItems(memory=100.), VisitStack(n_factors=2)]
both = pytest.mark.parametrize('model', LEARNERS, ids=lambda o: type(o).__name__)

def table(n=160, seed=1):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(dict(user=rng.integers(8, size=n), item=rng.integers(12, size=n), rating=rng.integers(3, 6, n).astype(float),
                             time=rng.exponential(60, n).cumsum().round(3))).assign(label=lambda o: (o['rating']>3).astype(float))


@both
def test_times_are_told_by_tables_one_by_one_and_as_dates(model):
    e = table()
    right,far = (clone(model).predict_learn(o) for o in (e, e.assign(time=e['time']*1000)))
    assert abs(right-far).max() > 1e-4
    m = clone(model)
    for u,i,t,y in zip(e['user'], e['item'], e['time'], e['label']): m.learn_one(u, i, y, time=t)
    for a,b in zip(m.arrays().values(), clone(model).partial_fit(e).arrays().values()): np.testing.assert_array_equal(a, b)
    dated = e.assign(time=pd.to_datetime(e['time'], unit='s'))
    np.testing.assert_allclose(clone(model).predict_learn(dated), right, rtol=1e-6)


@both
def test_without_times_nothing_fades_and_late_ones_count_as_no_pause(model):
    e = table()
    none,still,back = (clone(model).predict_learn(o) for o in (e.drop(columns='time'), e.assign(time=5.), e.assign(time=-e['time'])))
    np.testing.assert_array_equal(none, still)
    np.testing.assert_array_equal(none, back)


def test_a_pause_is_counted_from_the_users_newest_like():
    e = dict(user=[1, 1, 2, 1, 1], item=[1, 2, 1, 3, 4], label=[1, 1, 1, 0, 1], time=[0., 10., 15., 500., 5.])
    m = ClockItems(memory=10., rest=.2).partial_fit(e)
    np.testing.assert_allclose(m.keep_[:4], [1, .2+.8*np.exp(-1), 1, 1])
    m.partial_fit(dict(user=[1], item=[5], label=[1], time=[20.]))          # 10 s after the newest, not after the last that came
    np.testing.assert_allclose(m.keep_[4], .2+.8*np.exp(-1))
    m.learn_one(2, 7, 1)                                                    # now is the newest time, 500 s, liked or not
    np.testing.assert_allclose(m.keep_[5], .2+.8*np.exp(-485/10))


def test_a_forgotten_user_takes_the_pauses_along():
    e = table()
    m,rest = ClockItems().partial_fit(e),ClockItems().partial_fit(e[e['user']!=3])
    m.forget_user(3)
    np.testing.assert_array_equal(m.keep_[:m.n_likes_[0]], rest.keep_[:rest.n_likes_[0]])
    m.partial_fit(dict(user=[3, 3], item=[1, 2], label=[1, 1], time=[1e9, 1e9]))
    np.testing.assert_array_equal(m.keep_[m.n_likes_[0]-2:m.n_likes_[0]], [1., 1.])


def test_the_trail_hears_every_event_and_the_others_the_likes():
    e = table().drop_duplicates(['user', 'item'])
    m = VisitStack(n_factors=2).partial_fit(e)
    assert m.n_skipped_==(e['label']==0).sum() and m.trail_.n_likes_[0]==len(e) and m.pairs_.n_likes_[0]==e['label'].sum()
    assert m.softmax_.n_likes_[0]==e['label'].sum() and len(m.weights_)==3
    for u in range(8): np.testing.assert_allclose(m.trail_.predict_one(u, 4), ClockItems().partial_fit(e.assign(label=1)).predict_one(u, 4))


def test_a_list_of_ten_tells_each_learner_its_share():
    "A learner of likes alone hears the positives; one that reads the rest hears every event once, with 1 for a positive."
    s = Stream(table(400).drop_duplicates(['user', 'item']))
    for model,heard in ((RankStack(n_factors=2), 0), (ClockItems(), 0), (VisitStack(n_factors=2), len(s) - (s.events['rating']>=5).sum())):
        prequential_topn(model, s, positive=5.)
        assert model.n_skipped_==heard
    timed = prequential_topn(m := ClockItems(memory=50.), s, positive='label')
    np.testing.assert_array_equal(m.keep_[:m.n_likes_[0]], ClockItems(memory=50.).partial_fit(s).keep_[:m.n_likes_[0]])
    assert timed.summary['hit_rate'] > 0 and isinstance(m, ItemItem)


@pytest.mark.parametrize('settings,words', [(dict(memory=0.), 'memory is 0.0'), (dict(rest=1.5), 'rest is 1.5'), (dict(decay=0.), 'decay is 0.0')])
def test_settings_are_checked_at_the_door(settings, words):
    one = dict(user=[1], item=[1], label=[1])
    with pytest.raises(ValueError, match=words): ClockItems(**settings).partial_fit(one)
    with pytest.raises(ValueError, match=words): VisitStack(trail=settings).partial_fit(one)
    m = ClockItems().partial_fit(one)
    with pytest.raises(ValueError, match='memory'): m.set_params(memory=5.)
