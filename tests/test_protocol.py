"""What the judge promises: of streams, reports and learners of every shape, of bad input, and of what it costs."""
import copy, multiprocessing, pickle, sys, warnings
from dataclasses import replace
import numpy as np, pandas as pd, pytest
from hypothesis import given, settings, strategies as st
from sklearn.base import clone
from sklearn.linear_model import LinearRegression, SGDClassifier, SGDRegressor
from recinc_nb import (BiasBaseline, HybridStack, IncrementalLinear, IncrementalLogistic, IncrementalMF, RunningMean, Stream, TextFilter, compare,
                       drift_stream, prequential)
from recinc_nb.baselines import Popularity
from recinc_nb.metrics import log_loss, mae, normalized_entropy, rmse
from recinc_nb.difference import paired_bootstrap
from recinc_nb.protocol import Report, fading_mean, from_river, from_sklearn, oracle_report
from recinc_nb.topn import prequential_topn
from test_learners import LEARNERS as id_learners

module = sys.modules['recinc_nb.protocol']
few = settings(max_examples=30)
ids = st.sampled_from([0, 1, 2, '0', '1', True, (1, 'a'), ('1', 'a'), 'x', 2**70])
events = st.lists(st.tuples(ids, ids, st.integers(1, 5)), min_size=1, max_size=50)


def stream(rows):
    user,item,rating = (list(o) for o in zip(*rows))
    return Stream(dict(user=user, item=item, rating=np.array(rating, dtype=float)))


class Constant:
    def __init__(self, value=3.): self.value = value
    def predict(self, X): return np.full(len(X), self.value)
    def partial_fit(self, X, y=None): return self


# ---- the loop ----
@few
@given(rows=events, step=st.integers(1, 60))
@pytest.mark.parametrize('cls', [BiasBaseline, IncrementalMF])
def test_fused_pass_is_the_same_bit_for_bit_however_it_is_cut(cls, rows, step):
    old,module._FUSED = module._FUSED,step
    try: cut = prequential(cls(), stream(rows)).frame['pred']
    finally: module._FUSED = old
    m,loop = cls(),[]
    for u,i,r in rows:
        loop.append(m.predict_one(u, i))
        m.learn_one(u, i, float(r))
    np.testing.assert_array_equal(cut, loop)


@few
@given(rows=events, size=st.integers(2, 60))
def test_a_block_is_predicted_before_any_of_it_is_learned(rows, size):
    m,expected = BiasBaseline(),[]
    for batch in stream(rows).batches(size):
        expected.extend(m.predict(batch))
        m.partial_fit(batch)
    np.testing.assert_array_equal(prequential(BiasBaseline(), stream(rows), batch_size=size).frame['pred'], expected)


def test_time_and_memory_are_recorded_apart():
    run = prequential(RunningMean(), drift_stream(500))
    assert run.seconds>0 and run.memory>=0 and set(run.summary.index)=={'rmse', 'mae', 'auc', 'user_auc', 'log_loss'}


def test_a_learner_may_spoil_what_it_is_given():
    class Spoils(BiasBaseline):
        predict_learn = property()
        def predict(self, X):
            self.out = super().predict(X)
            return self.out
        def partial_fit(self, X, y=None):
            super().partial_fit(X, y)
            y[:] = self.out[:] = 99.
            return self
    s = drift_stream(60)
    before = s.events.copy()
    run = prequential(Spoils(), s)
    pd.testing.assert_frame_equal(s.events, before)
    np.testing.assert_array_equal(run.frame['pred'], prequential(BiasBaseline(), s).frame['pred'])
    np.testing.assert_array_equal(run.frame['rating'], before['rating'])
    class Greedy(Popularity):
        def partial_fit(self, X, y=None):
            super().partial_fit(X, y)
            y[:] = 99.
            return self
        def score_items(self, user):
            self.out = super().score_items(user)
            return self.out
    a,b = (prequential_topn(m, s) for m in (Greedy(), Popularity()))
    np.testing.assert_array_equal(a.frame[['better', 'tied']], b.frame[['better', 'tied']])
    pd.testing.assert_frame_equal(s.events, before)


@pytest.mark.parametrize('at', [1, 17, 40])
def test_a_killed_run_leaves_what_was_learned(at):
    s = drift_stream(60)
    class Killed(BiasBaseline):
        predict_learn,n = property(),0
        def predict(self, X):
            self.n += 1
            if self.n==at: raise KeyboardInterrupt
            return super().predict(X)
    m,whole = Killed(),BiasBaseline()
    with pytest.raises(KeyboardInterrupt): prequential(m, s)
    whole.partial_fit(s.take(at-1))
    rest = s.events.iloc[at-1:]
    np.testing.assert_array_equal(BiasBaseline.predict_learn(m, rest), whole.predict_learn(rest))


def test_labels_have_their_own_metrics():
    s = drift_stream(400)
    run = prequential(BiasBaseline(target='label'), s, metrics=('log_loss', 'normalized_entropy', 'calibration', 'rmse'))
    y,p = run.frame['label'],run.frame['pred']
    assert np.isnan(run.summary['rmse']) and run.summary['normalized_entropy']==normalized_entropy(y, p)
    np.testing.assert_allclose(run.summary['calibration'], p.mean()/y.mean(), rtol=1e-12)
    stars = prequential(BiasBaseline(), s, metrics=('log_loss', 'normalized_entropy', 'calibration')).summary
    assert stars.isna().all() and '–' in compare(prequential(BiasBaseline(), s)).to_numpy()


BAD = [
    (lambda s: prequential(Constant(), s, metrics=('accuracy',)), ValueError, "no metric 'accuracy'"),
    (lambda s: prequential(Constant(), s.take(0)), ValueError, 'stream is empty'),
    (lambda s: prequential(Constant(), s, target='stars'), ValueError, "target is 'stars'"),
    (lambda s: prequential(Constant(), s, batch_size=0), ValueError, 'batch_size is 0; use a whole number, at least 1'),
    (lambda s: prequential(Constant(np.nan), s), ValueError, 'gave nan'),
    (lambda s: prequential(Constant(-np.inf), s), ValueError, 'gave -inf'),
    (lambda s: prequential(type('Two', (Constant,), dict(predict=lambda self, X: np.zeros((len(X), 2))))(), s), ValueError, 'one number per event'),
    (lambda s: prequential(type('None', (Constant,), dict(predict=lambda self, X: None))(), s), ValueError, 'one number per event'),
    (lambda s: prequential(Constant(), s).windows('accuracy'), ValueError, "no metric 'accuracy'"),
    (lambda s: prequential(Constant(), s).fading('auc'), ValueError, "'auc' is no mean"),
    (lambda s: prequential(Constant(), s).per_event('log_loss'), ValueError, "'log_loss' is no mean"),
    (lambda s: prequential(Constant(), s).per_event('hit_rate'), ValueError, "'hit_rate' is no mean"),
    (lambda s: prequential(Constant(), s).fading(decay=0.), ValueError, 'in (0, 1]'),
    (lambda s: prequential(Constant(), s).fading(decay=1.01), ValueError, 'in (0, 1]'),
    (lambda s: fading_mean([1., np.nan]), ValueError, 'must be finite'),
    (lambda s: fading_mean([[1.], [2.]]), ValueError, 'one number per event'),
    (lambda s: fading_mean([1.], decay=np.nan), ValueError, 'in (0, 1]'),
    (lambda s: prequential_topn(Popularity(), s.events), TypeError, 'wrap your table'),
    (lambda s: prequential_topn(Popularity(), s.take(0)), ValueError, 'stream is empty'),
    (lambda s: prequential_topn(Popularity(), s, k=0), ValueError, 'k is 0; use a whole number, at least 1'),
    (lambda s: prequential_topn(Popularity(), s, k=2.5), ValueError, 'whole number'),
    (lambda s: prequential_topn(Popularity(), s, positive='click'), ValueError, "no column 'click'"),
    (lambda s: prequential_topn(object(), s), TypeError, 'no partial_fit'),
    (lambda s: prequential_topn(type('Mute', (), dict(partial_fit=lambda self, X, y: self))(), s), TypeError, 'no score_items and no predict'),
    (lambda s: prequential_topn(Constant(np.nan), s), ValueError, 'score nan'),
    (lambda s: prequential_topn(type('Short', (Popularity,), dict(score_items=lambda self, user: Popularity.score_items(self, user)[1:]))(), s), ValueError, 'one number per item'),
    (lambda s: paired_bootstrap(prequential(Constant(), s), s), TypeError, 'give two reports'),
    (lambda s: paired_bootstrap(*(prequential(Constant(), o) for o in (s, s.take(200)))), ValueError, 'run both on the same events'),
    (lambda s: paired_bootstrap(*(prequential(Constant(), o) for o in (s, drift_stream(300, seed=1)))), ValueError, 'run both on the same events'),
    (lambda s: paired_bootstrap(*(prequential(Constant(), o) for o in (s, drift_stream(300, drift='sudden')))), ValueError, 'run both on the same events'),
    (lambda s: paired_bootstrap(*2*[prequential(Constant(), s)], block=0), ValueError, 'ten blocks at least'),
    (lambda s: paired_bootstrap(*2*[prequential(Constant(), s)], block=-5), ValueError, 'ten blocks at least'),
    (lambda s: paired_bootstrap(*2*[prequential(Constant(), s)], block=100), ValueError, 'use 1 to 30'),
    (lambda s: paired_bootstrap(*2*[prequential(Constant(), s)], block=10, n_boot=1), ValueError, 'some hundreds'),
    (lambda s: paired_bootstrap(*2*[prequential(Constant(), s)], metric='auc', block=10), ValueError, "'auc' is no mean"),
    (lambda s: oracle_report(Stream(s.events)), ValueError, 'no oracle'),
    (lambda s: oracle_report(s, 'stars'), ValueError, "no oracle for 'stars'"),
    (lambda s: from_river(Constant()), TypeError, 'no learn_one and predict_one'),
    (lambda s: from_sklearn(LinearRegression()), TypeError, 'lacks partial_fit'),
    (lambda s: from_sklearn(SGDClassifier()), TypeError, 'predict_proba'),
]

@pytest.mark.parametrize('n', range(len(BAD)))
def test_bad_input_is_refused_with_a_reason(n):
    f,exc,words = BAD[n]
    with pytest.raises(exc) as e: f(drift_stream(300))
    assert words in str(e.value), str(e.value)


# ---- reports ----
@few
@given(xs=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60), decay=st.floats(.01, 1.))
def test_fading_mean_is_the_weighted_mean_and_stays_among_the_values(xs, decay):
    m = fading_mean(xs, decay)
    for n in range(1, len(xs)+1):
        w = decay**np.arange(n)[::-1]
        np.testing.assert_allclose(m[n-1], np.dot(w, xs[:n])/w.sum(), rtol=1e-9, atol=1e-6)
    assert m.min()>=min(xs)-1e-6 and m.max()<=max(xs)+1e-6


@few
@given(rows=events, n=st.integers(1, 20))
def test_windows_cut_without_loss_or_overlap(rows, n):
    run = prequential(BiasBaseline(), stream(rows))
    w = run.windows('mae', n)
    sizes = np.diff([0, *w.index])
    assert len(w)==n and sizes.sum()==len(rows) and (np.isnan(w)==(sizes==0)).all()
    np.testing.assert_allclose(np.nansum(w*sizes)/len(rows), run.summary['mae'], rtol=1e-9)
    np.testing.assert_allclose(run.fading('mae', 1.).iloc[-1], run.summary['mae'], rtol=1e-9)


def test_shares_of_events_average_to_the_metric():
    s = drift_stream(300)
    stars,labels,top = prequential(BiasBaseline(), s),prequential(BiasBaseline(target='label'), s),prequential_topn(Popularity(), s)
    f = stars.frame
    np.testing.assert_allclose(stars.per_event('rmse').mean()**.5, rmse(f['rating'], f['pred'].clip(1, 5)), rtol=1e-12)
    np.testing.assert_allclose(stars.per_event('mae').mean(), mae(f['rating'], f['pred'].clip(1, 5)), rtol=1e-12)
    np.testing.assert_allclose(labels.per_event('log_loss').mean(), log_loss(labels.frame['label'], labels.frame['pred']), rtol=1e-12)
    for m in ('hit_rate', 'mrr', 'ndcg'): np.testing.assert_allclose(top.per_event(m).mean(), top.summary[m], rtol=1e-12)


def test_the_oracle_knows_labels_too():
    s = drift_stream(4_000)
    o = oracle_report(s, 'label')
    assert o.summary['log_loss'] < prequential(BiasBaseline(target='label'), s).summary['log_loss'] and np.isnan(o.summary['rmse'])
    part = oracle_report(s.take(100))
    np.testing.assert_array_equal(part.frame['pred'], s.oracle['rating'].iloc[:100])


@pytest.mark.parametrize('x', [True, False, 2., 0, -1, '10', None, np.float64(3), 2.5])
def test_counts_are_whole_numbers(x):
    s = drift_stream(50)
    for f,what in ((lambda: prequential_topn(Popularity(), s, k=x), 'k'), (lambda: prequential(Constant(), s, batch_size=x), 'batch_size')):
        with pytest.raises(ValueError) as e: f()
        assert str(e.value).endswith(f'{what} is {x!r}; use a whole number, at least 1')
    assert prequential_topn(Popularity(), s, k=np.int64(3)).k==3


def test_one_metric_may_be_named_alone():
    run = prequential(Constant(), drift_stream(50), metrics='rmse')
    assert run.metrics==('rmse',) and list(run.summary.index)==['rmse']


def test_what_is_undefined_is_a_dash_on_the_page_too():
    s = drift_stream(200)
    stars,labels = prequential(BiasBaseline(), s),prequential(BiasBaseline(target='label'), s)
    for page in (stars._repr_html_(), compare(stars, labels).to_html(), compare(stars, prequential_topn(Popularity(), s)).to_html()):
        assert '–' in page and 'nan' not in page.lower()


# ---- what predict is shown ----
class Looks(Constant):
    "Remembers what it was shown."
    def __init__(self): super().__init__(); self.asked,self.learned = [],[]
    def predict(self, X):
        self.asked.append((list(X.events), X.oracle, X._world, len(X), X.items is not None))
        return super().predict(X)
    def partial_fit(self, X, y=None): self.learned.append((X, y))


@pytest.mark.parametrize('step', [1, 7, 500])
@pytest.mark.parametrize('target', ['rating', 'label'])
def test_predict_is_not_shown_what_the_event_will_turn_out_to_be(step, target):
    s = drift_stream(60, tasks=.5).with_text()
    s.events = s.events.assign(weather='fine')
    m = Looks()
    prequential(m, s, batch_size=step, target=target)
    for columns,oracle,world,n,items in m.asked:
        assert set(columns)=={'user', 'item', 'time', 'propensity', 'text', 'text_pair', 'weather'} and oracle is world is None and items and n<=step
    whole = pd.concat([X.events for X,_ in m.learned])
    pd.testing.assert_frame_equal(whole, s.events) # it learns from everything
    np.testing.assert_array_equal(np.concatenate([y for _,y in m.learned]), s.events[target])
    assert s.oracle is not None and 'rating' in s.events


class Apart:
    "Predict, then learn, of a learner that can do both in one sweep."
    def __init__(self, model): self.model,self.target = model,model.target
    def predict(self, X):
        assert not {'rating', 'label'} & set(X.events)
        return self.model.predict(X)
    def partial_fit(self, X, y=None): self.model.partial_fit(X, y)


LEARNERS = {**id_learners, 'neuron': IncrementalLinear(), 'logistic neuron': IncrementalLogistic(), 'words': TextFilter(), 'hybrid': HybridStack()}

@pytest.mark.parametrize('name', LEARNERS)
def test_a_sweep_keeps_its_promise_without_being_shown_the_answer(name):
    s = drift_stream(120, n_users=12, n_items=9, seed=4)
    fused,apart = prequential(clone(LEARNERS[name]), s),prequential(Apart(clone(LEARNERS[name])), s)
    np.testing.assert_array_equal(fused.frame['pred'], apart.frame['pred'])


# ---- streams in parts ----
def parts_of(s, cuts):
    edges = sorted({0, *(min(c, len(s)) for c in cuts), len(s)})
    return [Stream(s.events.iloc[a:b]) for a,b in zip(edges, edges[1:])]


@few
@given(rows=events, cuts=st.lists(st.integers(0, 50), max_size=4), kind=st.sampled_from([list, tuple, iter, lambda o: (s for s in o)]))
@pytest.mark.parametrize('cls', [BiasBaseline, IncrementalMF, lambda: Apart(BiasBaseline())])
def test_parts_give_the_report_of_the_whole(cls, rows, cuts, kind):
    s = stream(rows)
    whole,parts = prequential(cls(), s),prequential(cls(), kind(parts_of(s, cuts)))
    pd.testing.assert_frame_equal(parts.frame.astype(object), whole.frame.astype(object))
    assert (parts.name, parts.stream_name, parts.rating_range, parts.target)==(whole.name, whole.stream_name, whole.rating_range, whole.target)


def test_a_batch_ends_where_its_stream_does():
    m = Looks()
    prequential(m, drift_stream(14).batches(7), batch_size=3)
    assert [n for *_,n,_ in m.asked]==[3, 3, 1, 3, 3, 1]


def test_a_stream_is_let_go_when_the_next_but_one_comes():
    import weakref
    alive = []
    def come():
        for n in range(6):
            s = Stream(drift_stream(50, seed=n).events.assign(time=np.arange(50)+50*n, text='long'))
            alive.append(weakref.ref(s.events))
            yield s
            del s
            assert sum(o() is not None for o in alive)<=2
    for f in (lambda s: prequential(Constant(), s), lambda s: prequential_topn(Popularity(), s), lambda s: prequential(BiasBaseline(), s, batch_size=4)):
        alive.clear()
        assert set(f(come()).frame) & {'text', 'time', 'propensity'}==set()


def plain(s, **settings): return Stream(s.events[['user', 'item', 'rating', 'time']], **settings)

MIXED = [
    (lambda s: [s, s.events], TypeError, 'chunk 1 is DataFrame; wrap your table: Stream(table)'),
    (lambda s: [s.events], TypeError, 'chunk 0 is DataFrame; wrap your table: Stream(table)'),
    (lambda s: s.events, TypeError, 'stream is DataFrame; wrap your table: Stream(table)'),
    (lambda s: dict(user=[1], item=[1], rating=[3.]), TypeError, 'stream is dict; wrap your table'),
    (lambda s: 'ratings.csv', TypeError, 'stream is str; wrap your table'),
    (lambda s: None, TypeError, 'stream is NoneType; wrap your table'),
    (lambda s: s.events.to_numpy(), TypeError, 'chunk 0 is ndarray; wrap your table'),
    (lambda s: [], ValueError, 'the stream is empty'),
    (lambda s: iter(()), ValueError, 'the stream is empty'),
    (lambda s: [s.take(0), s.take(0)], ValueError, 'the stream is empty'),
    (lambda s: [s, plain(s, rating_range=(0., 10.))], ValueError, 'chunk 1 has rating_range (0.0, 10.0), those before it (1.0, 5.0)'),
    (lambda s: [s, plain(s, like_from=3.)], ValueError, 'chunk 1 has like_from 3.0, those before it 4.0'),
    (lambda s: [s, Stream(s.events.drop(columns='rating'))], ValueError, "chunk 1 has columns ['label'], those before it ['rating', 'label']"),
    (lambda s: [s, plain(s), Stream(s.events.assign(time=pd.to_datetime(s.events['time'], unit='s')))], ValueError, 'in chunk 2 and'),
]

@pytest.mark.parametrize('n', range(len(MIXED)))
@pytest.mark.parametrize('f', [lambda o: prequential(Constant(), o), lambda o: prequential_topn(Popularity(), o)])
@pytest.mark.filterwarnings('ignore:.*give chunks in time order')
def test_parts_of_two_kinds_are_refused_by_name(f, n):
    make,exc,words = MIXED[n]
    with pytest.raises(exc) as e: f(make(drift_stream(60)))
    assert words in str(e.value), str(e.value)


def test_a_list_of_two_kinds_is_refused_before_anything_is_learned():
    s = drift_stream(60)
    for f in (prequential, prequential_topn):
        m = BiasBaseline()
        with pytest.raises(ValueError, match='rating_range'): f(m, [s, plain(s, rating_range=(0., 10.))])
        assert not hasattr(m, 'users_') or len(m.users_.ids)==0


def test_the_stream_is_looked_at_before_the_learner():
    for f in (prequential, prequential_topn):
        with pytest.raises(ValueError, match='stream is empty'): f(object(), drift_stream(10).take(0))
        with pytest.raises(TypeError, match='wrap your table'): f(object(), drift_stream(10).events)


@pytest.mark.filterwarnings('ignore:.*give chunks in time order')
@pytest.mark.parametrize('make', [BiasBaseline, lambda: Apart(BiasBaseline())])
def test_one_stream_may_come_twice(make):
    s,m = drift_stream(60),make()
    twice = prequential(make(), [s, s]).frame
    pd.testing.assert_frame_equal(twice, (prequential(m, s) + prequential(m, s)).frame)
    assert len(prequential_topn(BiasBaseline(), [s, s]).frame)==len(prequential_topn(BiasBaseline(), s).frame) # the second time nobody lacks anything


def test_empty_parts_are_left_out():
    s = drift_stream(60)
    pd.testing.assert_frame_equal(prequential(BiasBaseline(), [s.take(0), s, s.take(0)]).frame, prequential(BiasBaseline(), s).frame)


def test_parts_out_of_time_order_are_said_once():
    s = drift_stream(300)
    a,b,c = s.batches(100)
    with pytest.warns(UserWarning, match='chunk 1 begins at time .*give chunks in time order') as said: prequential(Constant(), [c, b, a])
    assert len(said)==1
    untimed = [Stream(o.events[['user', 'item', 'rating']].reset_index(drop=True)) for o in (a, b, c)] # times are made up: 0, 1, 2, … in each
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        prequential(Constant(), [a, b, c])
        prequential(Constant(), untimed)


def test_the_name_of_many_streams_is_that_of_the_first_and_the_last():
    days = [Stream(o.events, name=f'day {n}') for n,o in enumerate(drift_stream(90).batches(30))]
    assert prequential(Constant(), days).stream_name=='day 0 … day 2'==prequential_topn(Popularity(), days).stream_name
    m = Constant()
    assert sum(prequential(m, o) for o in days).stream_name=='day 0 … day 2'


@pytest.mark.parametrize('of', [list, iter])
@pytest.mark.parametrize('step', [1, 32])
def test_a_bar_runs_for_streams_without_a_length(of, step, monkeypatch):
    seen = []
    def bar(it, desc='', unit='event', total=None, step=1):
        n = 0
        for n,x in enumerate(it, 1): yield x   # noqa: B007
        seen.append((unit, total, n))
    monkeypatch.setattr(module, 'progress', bar)
    prequential(Constant(), of(list(drift_stream(100).batches(50))), batch_size=step)
    known = of is list
    assert seen==([('event', 100 if known else None, 100)] if step==1 else [('batch', 4 if known else None, 4)])


# ---- reports add up, and travel ----
@few
@given(rows=events, cuts=st.lists(st.integers(0, 50), max_size=3))
def test_reports_of_parts_add_up_to_the_whole(rows, cuts):
    s,m = stream(rows),BiasBaseline()
    reports = [prequential(m, o) for o in parts_of(s, cuts)]
    whole = prequential(BiasBaseline(), s)
    for total in (sum(reports), sum(reports[1:], reports[0])):
        pd.testing.assert_frame_equal(total.frame.astype(object), whole.frame.astype(object))
        assert total.stream_name==whole.stream_name and total.seconds==sum(o.seconds for o in reports) and total.memory==max(o.memory for o in reports)
        np.testing.assert_allclose(total.summary, whole.summary, rtol=1e-12)


def test_only_parts_of_one_run_add_up():
    s = drift_stream(100)
    a,top = prequential(BiasBaseline(), s),prequential_topn(Popularity(), s)
    for other,words in ((replace(a, name='x'), "name is 'BiasBaseline' in one part and 'x' in the other"), (replace(a, target='label'), 'target is'),
                        (replace(a, rating_range=(0, 1)), 'rating_range is'), (replace(a, metrics=('rmse',)), 'metrics is'),
                        (replace(a, frame=a.frame.drop(columns='rating')), 'has the columns')):
        with pytest.raises(ValueError) as e: a+other
        assert words in str(e.value)
    with pytest.raises(ValueError, match='k is 10 in one part and 3'): top + prequential_topn(Popularity(), s, k=3)
    for f in (lambda: a+top, lambda: top+a, lambda: a+1, lambda: 1+a, lambda: a+None, lambda: sum([a], 1)):
        with pytest.raises(TypeError, match='unsupported operand'): f()
    assert 0+a is a and np.isnan((a+replace(a, seconds=np.nan)).seconds) and (a+replace(a, memory=np.nan)).memory==a.memory


def reports():
    s = drift_stream(200)
    return [prequential(BiasBaseline(), s), prequential(BiasBaseline(target='label'), s.batches(50)), prequential_topn(Popularity(), s), oracle_report(s)]

def told(report): return report.frame.to_json(), report.summary.to_json(), report.name, report.target, report.metrics, getattr(report, 'items', None)

def of_child(n): return reports()[n]

@pytest.mark.parametrize('n', range(4))
@pytest.mark.parametrize('read', [False, True])
def test_reports_are_copied_and_pickled_read_or_not(n, read, tmp_path):
    joblib = pytest.importorskip('joblib')
    report = reports()[n]
    if read: report.frame
    joblib.dump(report, tmp_path/'r')
    for back in (pickle.loads(pickle.dumps(report)), copy.copy(report), copy.deepcopy(report), joblib.load(tmp_path/'r')):
        assert type(back) is type(report) and told(back)==told(report)
        pd.testing.assert_frame_equal(back.frame, report.frame)


def test_a_pickled_report_leaves_the_stream_at_home():
    s = drift_stream(300)
    s.events = s.events.assign(text='secret')
    assert b'secret' not in pickle.dumps(prequential(BiasBaseline(), s)) and b'secret' not in pickle.dumps(prequential_topn(Popularity(), s))


def test_reports_come_back_from_a_new_process():
    with multiprocessing.get_context('spawn').Pool(1) as pool: back = pool.map(of_child, range(4))
    assert list(map(told, back))==list(map(told, reports()))


def test_a_frame_that_is_not_there_is_no_riddle():
    run = prequential(BiasBaseline(), drift_stream(30))
    with pytest.raises(AttributeError, match="Report has no 'fram'"): run.fram
    assert not hasattr(run, '_repr_png_') and 'frame' in repr(run) and isinstance(replace(run, frame=run.frame.iloc[:3]), Report)


# ---- adapters ----
def test_river_recommenders_get_users_and_items():
    reco = pytest.importorskip('river.reco')
    s,m,expected = drift_stream(300),reco.BiasedMF(seed=0),[]
    for u,i,r in zip(*(s.events[o].tolist() for o in ('user', 'item', 'rating'))):
        expected.append(m.predict_one(user=u, item=i))
        m.learn_one(user=u, item=i, y=r)
    run = prequential(from_river(reco.BiasedMF(seed=0)), s, name='river')
    np.testing.assert_array_equal(run.frame['pred'], expected)
    blocks = prequential(from_river(reco.BiasedMF(seed=0)), s, batch_size=300)
    assert blocks.frame['pred'].iloc[1]!=run.frame['pred'].iloc[1]


def test_river_pipelines_get_features_and_classifiers_labels():
    pytest.importorskip('river')
    from river import facto, linear_model, naive_bayes, preprocessing
    s = drift_stream(400)
    stars = prequential(from_river(preprocessing.OneHotEncoder() | linear_model.LinearRegression()), s)
    clicks = prequential(from_river(preprocessing.OneHotEncoder() | linear_model.LogisticRegression()), s)
    assert (stars.target, clicks.target)==('rating', 'label') and clicks.frame['pred'].between(0, 1).all() and clicks.frame['pred'].iloc[0]==.5
    assert prequential(from_river(facto.FMRegressor(seed=0)), s).target=='rating'
    assert prequential(from_river(preprocessing.OneHotEncoder() | naive_bayes.BernoulliNB()), s).frame['pred'].iloc[0]==.5 # it has seen no class
    assert clicks.summary['log_loss'] < np.log(2)


def test_sklearn_learners_learn_what_they_are_for():
    s = drift_stream(2_000)
    stars = prequential(from_sklearn(SGDRegressor(learning_rate='constant', eta0=.05)), s, batch_size=20)
    clicks = prequential(from_sklearn(SGDClassifier(loss='log_loss', learning_rate='constant', eta0=.1)), s, batch_size=20)
    assert (stars.target, clicks.target)==('rating', 'label')
    assert (stars.frame['pred'].iloc[:20]==3).all() and (clicks.frame['pred'].iloc[:20]==.5).all()
    assert stars.summary['rmse'] < prequential(Constant(), s).summary['rmse'] and clicks.summary['auc'] > .52
    top = prequential_topn(from_sklearn(SGDRegressor(learning_rate='constant', eta0=.05)), s.take(100))
    assert len(top.frame) and top.frame['better'].notna().all()


def test_a_fused_learner_is_told_each_part_of_a_column_that_it_did_not_ask_for(monkeypatch):
    class Told:
        def __init__(self): self.heard = []
        def predict_learn(self, X, y):
            self.heard += [*zip(X.events['user'], y)]
            return np.zeros(len(y))
    from recinc_nb import protocol
    monkeypatch.setattr(protocol, '_FUSED', 30)
    s,m = drift_stream(100, seed=2),Told()
    prequential(m, s, target='label')
    assert m.heard==[*zip(s.events['user'], s.events['label'])]
