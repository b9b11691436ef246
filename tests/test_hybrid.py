"""TextRidge, TextFilter and HybridStack: what is their own; learners with text."""
import math, threading
import numpy as np, pandas as pd, pytest
from sklearn.base import clone
from contract import WITH_TEXT, F, T, goods
from helpers import state
from recinc_nb.baselines import BiasBaseline, Popularity
from recinc_nb.hybrid import HybridStack, TextFilter, TextRidge, text_features
from recinc_nb.mf_als import GaussianMF
from recinc_nb.stack import OnlineStack
from recinc_nb.mf_online import IncrementalMF
from recinc_nb.worlds import drift_stream

rng = np.random.default_rng(0)
pytestmark = pytest.mark.filterwarnings('ignore:.*12 and .12. are two ids')


@pytest.mark.parametrize('name', ['filter with text', 'stack with text', 'ridge with text'])
def test_items_that_nobody_met_are_known_by_text_after_loading_too(name, tmp_path):
    m = clone(WITH_TEXT[name])
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
    m.learn_one(2, 1, 1., time=500.)
    assert m.predict_one(1, 3)==m.predict_one(1, 3, time=500.)!=soon   # the newest time is that of the last call
    assert m.predict_one(1, 3, time=3.)==m.predict_one(1, 3, time=10.) # the clock never runs backwards


BAD = {'columns': (TextRidge(T.rename(columns={'taste 0': 'x'})), ValueError, "columns 'taste"), 'type': (TextFilter(np.eye(3)), TypeError, 'features is a ndarray'),
       'nan': (TextFilter(F.mask(F.index.to_series()==3)), ValueError, 'nan or inf for item 3'), 'twice': (TextRidge(pd.concat([T, T])), ValueError, 'each item once'),
       'base': (TextRidge(T, Popularity()), TypeError, 'no learner of ratings'), 'noise': (TextFilter(noise=0.), ValueError, 'noise is 0.0'),
       'moods': (TextFilter(memory=(1.,), mood=(1., 2.)), ValueError, 'as many variances as times'), 'memory': (TextFilter(memory=(0.,), mood=(1.,)), ValueError, 'above 0'),
       'likes': (HybridStack(like_from=math.nan), ValueError, 'like_from is nan'), 'learner': (HybridStack(learners=[3]), TypeError, 'no learner of ratings'),
       'text for a base': (TextRidge(T, TextFilter()), TypeError, 'no learner of ratings'), 'a base with a limit': (TextRidge(T, IncrementalMF(max_rows=3)), ValueError, 'max_rows=3'),
       'a stack without an order': (OnlineStack([TextFilter(F)]), ValueError, 'put it into a HybridStack')}

@pytest.mark.parametrize('name', BAD)
def test_bad_settings_are_named(name):
    m,error,says = BAD[name]
    with pytest.raises(error, match=says): m.partial_fit(dict(user=[1], item=['x']), [3.])


@pytest.mark.parametrize('time,says', [([math.nan], 'time is nan in row 0'), (['noon'], "time is 'noon' in row 0"), (np.array(['1.5']), 'not a number'),
    ([None], 'time is missing in row 0'), ([1., 2.], 'differ in length')])
def test_bad_times_are_met_at_the_door(time, says):
    m = TextFilter(n_factors=0)
    with pytest.raises(ValueError, match=says): m.partial_fit(dict(user=[1], item=[1], time=time), [3.])
    with pytest.raises(ValueError, match=says): m.predict(dict(user=[1], item=[1], time=time))
    assert not len(getattr(m, 'users_', ())) and m._now is None
    for bad in ('noon', math.inf, [3.]):
        with pytest.raises(ValueError, match='time is .*; give seconds'): m.learn_one(1, 1, 3., time=bad)


def test_features_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match='vectors have shape'): text_features(goods, np.ones((3, 2)))
    with pytest.raises(ValueError, match='nan or inf'): text_features(goods, np.full((7, 2), math.nan))
    with pytest.raises(ValueError, match='at least 2'): text_features(goods.iloc[:1], np.ones((1, 2)))
    with pytest.raises(ValueError, match='n_taste is 0'): text_features(goods, np.ones((7, 2)), n_taste=0)


@pytest.mark.parametrize('model', [TextFilter(F, n_factors=2), HybridStack(F, [BiasBaseline()])])
def test_the_time_is_read_from_every_kind_of_table(model):
    from datasets import Dataset
    pa = pytest.importorskip('pyarrow')
    stream = drift_stream(150, n_users=9, n_items=9, seed=4)
    columns = {o: stream.events[o].tolist() for o in ('user', 'item', 'rating', 'time')}
    tables = [stream, stream.events, columns, pa.table(columns), Dataset.from_dict(columns), Dataset.from_dict(columns)[:]]
    preds = [clone(model).predict_learn(o) for o in tables]
    for o in preds[1:]: np.testing.assert_array_equal(o, preds[0])
    m,late = clone(model).partial_fit(stream),{**columns, 'time': [o+1e6 for o in columns['time']]}
    for o in (pa.table(late), Dataset.from_dict(late)): np.testing.assert_array_equal(m.predict(o), m.predict(late))
    assert (m.predict(late)!=m.predict(columns)).any()
    without = {o: x for o,x in columns.items() if o!='time'}
    assert (clone(model).predict_learn(without)!=preds[0]).any() # and it matters


def test_a_call_with_times_and_one_without_do_not_mix():
    m = TextFilter(n_factors=0).partial_fit(dict(user=[1, 1, 2], item=[1, 2, 1], time=[0., 10., 12.]), [5., 5., 1.])
    now,late,wrong = m.predict_one(1, 3),m.predict_one(1, 3, time=1e6),[]
    def ask(time, right):
        for _ in range(300):
            if m.predict_one(1, 3, time)!=right or m.predict(dict(user=[1]*2, item=[3]*2, **({} if time is None else dict(time=[time]*2))))[0]!=right: wrong.append(time)
    threads = [threading.Thread(target=ask, args=o) for o in ((None, now), (1e6, late))*2]
    for o in threads: o.start()
    for o in threads: o.join()
    assert not wrong


@pytest.mark.parametrize('name', WITH_TEXT)
def test_a_user_who_is_forgotten_is_a_stranger_and_items_stay(name):
    stream = drift_stream(300, n_users=9, n_items=9, seed=4)
    m = clone(WITH_TEXT[name]).partial_fit(stream)
    stranger,other = m.score_items(-1),m.score_items(1)
    assert m.forget_user(0) and len(m.seen(0))==0
    np.testing.assert_array_equal(m.score_items(0), stranger)
    np.testing.assert_array_equal(m.score_items(1), other)
    m.learn_one(0, 1, 4.)
    assert len(m.seen(0))==1


@pytest.mark.parametrize('m,below', [(TextFilter(F, n_factors=2), 'mf_'), (TextRidge(T, GaussianMF(n_factors=2)), 'base_')])
def test_who_is_forgotten_leaves_nothing_in_the_learner_below(m, below):
    m = clone(m).partial_fit(drift_stream(300, n_users=9, n_items=9, seed=4))
    count,row = getattr(m, below).rows_['user'],m.users_.row(0)
    assert count['count'][row]>0
    m.forget_user(0)
    assert count['count'][row]==0


def test_another_scale_is_the_same_in_another_unit_and_a_probability_has_none():
    stream = drift_stream(200, n_users=9, n_items=9, seed=4)
    percent = stream.events.assign(rating=(stream.events['rating']-1)*25)
    for m in (WITH_TEXT['ridge on als'], WITH_TEXT['filter with text'], WITH_TEXT['stack with text']):
        np.testing.assert_allclose(clone(m).set_params(rating_range=(0, 100)).predict_learn(percent), (clone(m).predict_learn(stream)-1)*25, rtol=1e-8)
    likes = clone(WITH_TEXT['likes'])
    np.testing.assert_allclose(clone(likes).set_params(like_from=75., rating_range=(0, 100)).predict_learn(percent), likes.predict_learn(stream), rtol=1e-9)


def test_settings_change_at_once_or_are_refused():
    stream = drift_stream(200, n_users=9, n_items=9, seed=4)
    m = TextFilter(F, n_factors=2).partial_fit(stream)
    before = m.predict_one(0, 1, time=1e6)
    assert m.set_params(memory=(1., 2., 3.)).predict_one(0, 1, time=1e6)!=before
    with pytest.raises(ValueError, match='as many variances'): m.memory = (1., 2.)
    assert m.memory==(1., 2., 3.)
    for learner,name,x in ((m, 'const', 1.), (m, 'features', None), (TextRidge(T).partial_fit(stream), 'scale', 2.), (HybridStack(F).partial_fit(stream), 'like_from', 3.)):
        with pytest.raises(ValueError, match=f'{name} cannot change'): setattr(learner, name, x)


def test_stacks_with_text_inside_are_saved_without_their_tables(tmp_path):
    stream = drift_stream(200, n_users=9, n_items=9, seed=4)
    for n,m in enumerate((OnlineStack([TextFilter(n_factors=2), TextRidge(base=GaussianMF(n_factors=2))]), HybridStack(F, [TextRidge(T, BiasBaseline())]))):
        m.partial_fit(stream.take(100)).save_pretrained(tmp_path/str(n))
        back = type(m).from_pretrained(tmp_path/str(n))
        np.testing.assert_array_equal(back.predict_learn(stream.events.iloc[100:]), m.predict_learn(stream.events.iloc[100:]))
        assert [type(o).__name__ for o in back.learners]==[type(o).__name__ for o in m.learners] and state(back)==state(m)
