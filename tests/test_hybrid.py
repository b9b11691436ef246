"""TextRidge, TextFilter and HybridStack: what every learner of ids promises, with text and without, and what is their own."""
import math
import numpy as np, pandas as pd, pytest
from hypothesis import given, settings, strategies as st
from sklearn.base import clone
from helpers import check_cutting, check_resuming, state
from recinc_nb.baselines import BiasBaseline, Popularity
from recinc_nb.hybrid import HybridStack, TextFilter, TextRidge, text_features
from recinc_nb.mf_als import IncrementalALS, OnlineStack
from recinc_nb.streams import drift_stream

rng = np.random.default_rng(0)
goods = pd.DataFrame(dict(title=list('abcdefg'), year=1990.), index=range(7))
F = text_features(goods, rng.normal(size=(7, 5)), n_taste=3, n_prior=2)
T = F.filter(like='taste')
LEARNERS = {'ridge': TextRidge(), 'ridge with text': TextRidge(T), 'ridge on als': TextRidge(T, IncrementalALS(n_factors=2), forget=.9),
            'filter': TextFilter(n_factors=3), 'filter with text': TextFilter(F, n_factors=2), 'one mood': TextFilter(memory=(30.,), mood=(.2,), n_factors=0),
            'stack': HybridStack(learners=[BiasBaseline()]), 'stack with text': HybridStack(F, [BiasBaseline(), IncrementalALS(n_factors=2)]),
            'likes': HybridStack(F, [BiasBaseline()], like_from=4.), 'the usual stack': HybridStack(F)}
every = pytest.mark.parametrize('name', LEARNERS)
few = settings(max_examples=15, deadline=None)
ids = st.one_of(st.integers(0, 6), st.sampled_from(['0', '1', True, False, (1, 'a')]))
events = st.lists(st.tuples(ids, ids, st.integers(1, 5)), min_size=1, max_size=30)


@every
@few
@given(rows=events, cuts=st.lists(st.integers(0, 30), max_size=3))
def test_any_way_of_cutting_is_the_same_bit_for_bit(name, rows, cuts): check_cutting(LEARNERS[name], rows, cuts)


@every
@few
@given(rows=events, at=st.integers(0, 30))
def test_saved_and_resumed_is_never_having_stopped(name, rows, at, tmp_path_factory):
    check_resuming(LEARNERS[name], rows, at, tmp_path_factory.mktemp('m'))


@every
def test_strangers_get_the_prior_and_change_nothing(name):
    stream = drift_stream(500, n_users=20, n_items=15, seed=2)
    m = clone(LEARNERS[name]).partial_fit(stream)
    before,prior = state(m),m.predict_one('who', 'what')
    if m.target=='rating' and name!='likes': assert prior==pytest.approx(stream.events['rating'].mean(), abs=1e-5)
    assert set(m.predict(dict(user=['a', 'b'], item=['c', 'd'])))=={prior}
    assert m.recommend('who', k=3, exclude_seen=False) and state(m)==before


@pytest.mark.parametrize('name', ['filter with text', 'stack with text', 'ridge with text'])
def test_items_that_nobody_met_are_known_by_text_after_loading_too(name, tmp_path):
    m = clone(LEARNERS[name])
    m.partial_fit(dict(user=[0]*8, item=[0, 1, 2, 3]*2, time=range(8)), [5., 1.]*4)
    m.save_pretrained(tmp_path/'m')
    back = type(m).from_pretrained(tmp_path/'m')
    scores = {item: back.predict_one(0, item) for item in (4, 5, 6, 'no text')}
    assert len(set(scores.values()))==4 and scores[4]==m.predict_one(0, 4)
    assert {4, 5, 6} <= {item for item,_ in back.recommend(0, k=7)}


def test_times_matter_where_they_are_given_and_only_there():
    m = TextFilter(n_factors=0).partial_fit(dict(user=[1, 1, 2], item=[1, 2, 1], time=[0., 10., 12.]), [5., 5., 1.])
    soon,late = m.predict_one(1, 3, time=13.),m.predict_one(1, 3, time=1e6)
    assert soon > late and m.predict_one(1, 3)==m.predict_one(1, 3, time=12.)
    assert m.predict_one(1, 3, time=3.)==m.predict_one(1, 3, time=10.) # the clock never runs backwards


BAD = {'columns': (TextRidge(T.rename(columns={'taste 0': 'x'})), ValueError, "columns 'taste"), 'type': (TextFilter(np.eye(3)), TypeError, 'features is a ndarray'),
       'nan': (TextFilter(F.mask(F.index.to_series()==3)), ValueError, 'nan or inf for item 3'), 'twice': (TextRidge(pd.concat([T, T])), ValueError, 'each item once'),
       'base': (TextRidge(T, Popularity()), TypeError, 'no learner of ratings'), 'noise': (TextFilter(noise=0.), ValueError, 'noise is 0.0'),
       'moods': (TextFilter(memory=(1.,), mood=(1., 2.)), ValueError, 'as many variances as times'), 'memory': (TextFilter(memory=(0.,), mood=(1.,)), ValueError, 'above 0'),
       'likes': (HybridStack(like_from=math.nan), ValueError, 'like_from is nan'), 'learner': (HybridStack(learners=[3]), TypeError, 'no learner of ratings'),
       'a stack without an order': (OnlineStack([TextFilter(F)]), ValueError, 'put it into a HybridStack')}

@pytest.mark.parametrize('name', BAD)
def test_bad_settings_are_named(name):
    m,error,says = BAD[name]
    with pytest.raises(error, match=says): m.partial_fit(dict(user=[1], item=['x']), [3.])


@pytest.mark.parametrize('time,says', [([math.nan], 'time is nan in row 0'), (['noon'], 'not a number')])
def test_bad_times_are_met_at_the_door(time, says):
    m = TextFilter(n_factors=0)
    with pytest.raises(ValueError, match=says): m.partial_fit(dict(user=[1], item=[1], time=time), [3.])
    assert not len(m.users_) if hasattr(m, 'users_') else True


def test_features_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match='vectors have shape'): text_features(goods, np.ones((3, 2)))
    with pytest.raises(ValueError, match='nan or inf'): text_features(goods, np.full((7, 2), math.nan))
    with pytest.raises(ValueError, match='at least 2'): text_features(goods.iloc[:1], np.ones((1, 2)))
    with pytest.raises(ValueError, match='n_taste is 0'): text_features(goods, np.ones((7, 2)), n_taste=0)
