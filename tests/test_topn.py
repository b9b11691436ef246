"""What lists of ten promise: against a plain loop, of learners and positives of every kind, and in parts."""
import numpy as np, pandas as pd, pytest
from hypothesis import assume, given, strategies as st
from recinc_nb import BiasBaseline, IncrementalMF, Stream, drift_stream
from recinc_nb.baselines import Popularity
from recinc_nb.ranks import rank_counts
from recinc_nb.topn import TopReport, prequential_topn
from test_protocol import events, few, parts_of, stream


def plainly(model, s, k, least):
    "The rules as a plain loop, with nothing remembered between events but what was met and had."
    met,own,out,only = [],{},[],getattr(model, 'positive_only', False)
    key = lambda o: (type(o), o)
    for n,(u,i,r) in enumerate(zip(*(s.events[o].tolist() for o in ('user', 'item', 'rating')))):
        like,had = r>=least,own.setdefault(key(u), [])
        if like and key(i) not in had:
            left = [o for o in met if key(o) not in had]
            at = [n for n,o in enumerate(left) if key(o)==key(i)]
            scores = [model.predict_one(u, o) for o in left]
            order = sorted(range(len(left)), key=lambda j: -scores[j])[:k]
            b,t = rank_counts(scores, at[0]) if at else (np.inf, 0)
            out.append((b, t, len(left), [left[j] for j in order]))
            had.append(key(i))
        if like or not only: model.learn_one(u, i, 1. if only else r)
        if key(i) not in map(key, met): met.append(i)
    return out


@few
@given(rows=events, k=st.integers(1, 8), least=st.integers(2, 5))
@pytest.mark.parametrize('make', [Popularity, lambda: Popularity(decay=.7), BiasBaseline, lambda: IncrementalMF(n_factors=3)])
def test_lists_equal_the_plain_loop(make, rows, k, least):
    s = stream(rows)
    assume(any(r>=least for *_,r in rows))
    top = prequential_topn(make(), s, k=k, positive=least).frame
    expected = plainly(make(), s, k, least)
    assert len(top)==len(expected)
    for got,(b,t,n,shown) in zip(top.itertuples(), expected):
        assert (got.better, got.tied, got.candidates, len(got.shown))==(b, t, n, min(n, k))
        assert list(map(repr, got.shown))==list(map(repr, shown))
        assert not any(repr(o)==repr(got.item) for o in got.shown) or got.hit>0


class OnlyPredicts:
    "A learner with neither rows nor score_items."
    def __init__(self): self.m = BiasBaseline()
    def predict(self, X): return self.m.predict(X)
    def partial_fit(self, X, y): self.m.partial_fit(X, y)


@few
@given(rows=events)
def test_a_learner_that_only_predicts_gets_the_same_lists(rows):
    assume(any(r>=3 for *_,r in rows))
    a,b = (prequential_topn(m, stream(rows), k=3, positive=3).frame for m in (OnlyPredicts(), BiasBaseline()))
    np.testing.assert_array_equal(a[['better', 'tied', 'hit']], b[['better', 'tied', 'hit']])
    assert a['shown'].map(repr).tolist()==b['shown'].map(repr).tolist()


def test_items_that_the_learner_does_not_know_score_as_strangers_or_last():
    # item 'c' was met but disliked; Popularity has never heard of it
    s = Stream(dict(user=[1, 1, 2, 3, 4], item=['a', 'c', 'a', 'c', 'a'], rating=[5., 1., 5., 5., 5.]))
    top = prequential_topn(Popularity(), s)
    assert top.frame['candidates'].tolist()==[0, 2, 2, 2] and top.frame['better'].tolist()==[np.inf, 0., 1., 0.]
    class Silent(Popularity): predict_one = property()
    mute = prequential_topn(Silent(), s)
    np.testing.assert_array_equal(mute.frame['better'], top.frame['better'])


def test_a_learner_that_knew_more_than_the_stream_shows_ranks_what_was_met():
    m = Popularity()
    m.partial_fit(dict(user=[9]*5, item=['z', 'z', 'z', 'b', 'a']), np.ones(5))
    s = Stream(dict(user=[1, 2, 2], item=['a', 'b', 'a'], label=[1, 1, 1]))
    top = prequential_topn(m, s, k=1)
    assert top.frame['shown'].tolist()==[[], ['a'], ['a']] and top.frame['hit'].tolist()==[0., 0., 1.]


def test_a_repeated_positive_is_learned_and_not_asked():
    s = Stream(dict(user=[1, 1, 1, 2], item=['a', 'a', 'b', 'a'], label=[1, 1, 1, 1]))
    m = Popularity()
    top = prequential_topn(m, s)
    assert top.frame.index.tolist()==[0, 2, 3] and m.predict_one(5, 'a') > m.predict_one(5, 'b')


@pytest.mark.parametrize('cls', [Popularity, BiasBaseline])
def test_no_positives_are_refused_before_anything_is_learned(cls):
    s = Stream(dict(user=[1, 2], item=['a', 'b'], rating=[1., 2.]))
    class Untouched(cls):
        def partial_fit(self, X, y=None): raise AssertionError('it learned')
        learn_one = partial_fit
    for positive,words in (('label', 'like_from (4.0) right?'), (5, 'rating is below 5 in every event'), ('click', 'click is 0 in every event; is positive right?')):
        with pytest.raises(ValueError, match='no positives') as e: prequential_topn(Untouched(), Stream(s.events.assign(click=0)), positive=positive)
        assert words in str(e.value)
    with pytest.raises(ValueError, match='no positives'): prequential_topn(cls(), iter([s, s]))
    everything = prequential_topn(cls(), s, positive=1)
    assert len(everything.frame)==2 and everything.n_items==2


def test_positives_may_be_a_column_of_the_stream():
    world = drift_stream(400)
    s = Stream(world.events.assign(click=(world.events['rating']>=5).astype(int)))
    a,b = prequential_topn(Popularity(), s, positive='click'),prequential_topn(Popularity(), world, positive=5)
    np.testing.assert_array_equal(a.frame[['better', 'tied']], b.frame[['better', 'tied']])


def test_list_reports_draw_and_cut_like_others():
    import matplotlib.pyplot as plt
    top = prequential_topn(Popularity(), drift_stream(1_000), name='counts')
    ax = top.plot()
    assert ax.get_xlabel()=='positives seen (thousands)' and ax.get_ylabel()=='hit rate (share of positives)'
    plt.close('all')
    sizes = np.diff([0, *top.windows('hit_rate', 5).index])
    np.testing.assert_allclose((top.windows('hit_rate', 5)*sizes).sum()/sizes.sum(), top.summary['hit_rate'], rtol=1e-9)
    s = top.summary
    assert s['hit_rate_pessimistic'] <= s['hit_rate'] <= s['hit_rate_optimistic'] and 0<s['coverage']<=1


ODD = [([1, -1, 1], 'label is -1 in row 1'), ([1., .5, 0.], 'label is 0.5 in row 1'), ([0, 1, 2], 'label is 2 in row 2')]

@pytest.mark.parametrize('n', range(len(ODD)))
def test_labels_that_are_not_0_or_1_are_no_positives(n):
    values,words = ODD[n]
    s = Stream(dict(user=[1, 2, 3], item=['a', 'b', 'a'], label=[0, 1, 1]))
    s.events = s.events.assign(label=values)
    with pytest.raises(ValueError) as e: prequential_topn(Popularity(), s)
    assert words in str(e.value)
    whole = Stream(dict(user=[1, 2, 3], item=['a', 'b', 'a'], rating=[5., 5., 1.], click=values))
    with pytest.raises(ValueError, match=words.replace('label', 'click')): prequential_topn(Popularity(), whole, positive='click')


@pytest.mark.parametrize('column', [pd.array([1, None, 0], dtype='Int64'), pd.array([True, None, False], dtype='boolean'), [1., np.nan, 0.], ['1', '0', '1']])
def test_a_column_of_positives_has_no_gaps_and_no_words(column):
    s = Stream(pd.DataFrame(dict(user=[1, 2, 3], item=['a', 'b', 'a'], rating=[5., 5., 1.], click=column)))
    with pytest.raises(ValueError, match='click is .* in row'): prequential_topn(Popularity(), s, positive='click')


@pytest.mark.parametrize('dtype', [bool, 'boolean', 'Int64', np.int8, float, object])
def test_zeros_and_ones_of_every_kind_are_read(dtype):
    s = Stream(pd.DataFrame(dict(user=[1, 2, 3], item=['a', 'b', 'a'], rating=[5., 1., 5.], click=pd.Series([1, 0, 1]).astype(dtype))))
    assert prequential_topn(Popularity(), s, positive='click').frame.index.tolist()==[0, 2]


@pytest.mark.parametrize('positive', [True, None, np.nan, [4]])
def test_what_is_no_column_and_no_rating_is_no_positive(positive):
    with pytest.raises(ValueError, match='positive is .*; name a column'): prequential_topn(Popularity(), drift_stream(50), positive=positive)


@few
@given(rows=events, cuts=st.lists(st.integers(0, 50), max_size=4), kind=st.sampled_from([list, iter]))
@pytest.mark.parametrize('make', [Popularity, BiasBaseline, lambda: OnlyPredicts()])
def test_lists_remember_what_was_met_in_earlier_parts(make, rows, cuts, kind):
    s = stream(rows)
    assume((s.events['label']==1).any())
    whole,parts = prequential_topn(make(), s, k=3),prequential_topn(make(), kind(parts_of(s, cuts)), k=3)
    pd.testing.assert_frame_equal(parts.frame.astype(object), whole.frame.astype(object))
    assert parts.frame['shown'].map(repr).tolist()==whole.frame['shown'].map(repr).tolist()
    assert list(map(repr, parts.items))==list(map(repr, whole.items)) and parts.summary.equals(whole.summary)


def test_an_item_that_the_learner_knew_and_a_later_part_brings_is_ranked_there():
    rows = dict(user=[1, 2, 2, 3], item=['a', 'b', 'a', 'z'], label=[1, 1, 1, 1])
    def knows_z(): return Popularity(decay=1.).partial_fit(dict(user=[9]*5, item=['z', 'z', 'z', 'b', 'a']), np.ones(5))
    s = Stream({**rows, 'user': [*rows['user'], 4], 'item': [*rows['item'], 'z'], 'label': [1]*5})
    whole,parts = prequential_topn(knows_z(), s),prequential_topn(knows_z(), s.batches(2))
    pd.testing.assert_frame_equal(parts.frame, whole.frame)
    assert parts.frame['better'].iloc[-1]==0


def test_lists_add_up_and_count_the_items_of_both():
    a = prequential_topn(Popularity(), Stream(dict(user=[1, 2, 3], item=['a', 'a', 'b'], label=[1, 1, 0])))
    b = prequential_topn(Popularity(), Stream(dict(user=[1, 2, 3], item=[1, 'b', '1'], label=[1, 1, 1])))
    both = a+b
    assert isinstance(both, TopReport) and both.items==['a', 'b', 1, '1'] and both.n_items==4 and len(both.frame)==5
    assert both.summary['coverage']==len({repr(o) for shown in both.frame['shown'] for o in shown})/4
    np.testing.assert_allclose(both.summary['hit_rate'], (2*a.summary['hit_rate']+3*b.summary['hit_rate'])/5, rtol=1e-12)


def test_tuples_that_python_calls_equal_are_two_items_in_a_list_of_ten():
    "(1, 'a') and (True, 'a') are one key in a dictionary, and two ids for every learner."
    column = np.empty(4, dtype=object)
    column[:] = [(1, 'a'), (True, 'a'), (1, 'a'), (True, 'a')]
    run = prequential_topn(Popularity(decay=1.), Stream(dict(user=[1, 1, 2, 2], item=column, label=[1, 1, 1, 1])), k=1)
    assert run.n_items==2 and len(run.frame)==4 and run.frame['candidates'].tolist()==[0, 0, 2, 1]


def test_a_killed_list_run_leaves_what_was_learned():
    s = drift_stream(80)
    class Killed(Popularity):
        n = 0
        def score_items(self, user):
            self.n += 1
            if self.n==9: raise KeyboardInterrupt
            return super().score_items(user)
    m = Killed()
    with pytest.raises(KeyboardInterrupt): prequential_topn(m, s)
    whole,rows = Popularity(),s.events[s.events['label']==1]
    asked = prequential_topn(Popularity(), s).frame.index[8]
    whole.partial_fit(rows.loc[:asked-1])
    user = s.events['user'].iloc[0]
    np.testing.assert_array_equal(Popularity.score_items(whole, user), Popularity.score_items(m, user))
