"""What the judge promises: of streams, reports and learners of every shape, of bad input, and of what it costs."""
import sys
import numpy as np, pandas as pd, pytest
from hypothesis import given, settings, strategies as st
from sklearn.linear_model import LinearRegression, SGDClassifier, SGDRegressor
from recinc_nb import BiasBaseline, IncrementalMF, RunningMean, Stream, compare, drift_stream, prequential
from recinc_nb.baselines import Popularity
from recinc_nb.metrics import log_loss, mae, normalized_entropy, rank_counts, rmse
from recinc_nb.prequential import TopReport, fading_mean, from_river, from_sklearn, oracle_report, paired_bootstrap, prequential_topn

module = sys.modules['recinc_nb.prequential']
few = settings(max_examples=30, deadline=None)
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
    (lambda s: prequential(Constant(), s, batch_size=0), ValueError, 'use at least 1'),
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
    (lambda s: prequential_topn(Popularity(), s, k=0), ValueError, 'use at least 1'),
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


# ---- the bootstrap ----
@few
@given(n=st.integers(20, 200), share=st.floats(.001, .1), seed=st.integers(0, 9))
def test_bootstrap_is_antisymmetric_repeats_itself_and_finds_nothing_between_twins(n, share, seed):
    s,block = drift_stream(n),max(1, int(n*share))
    a,b = prequential(BiasBaseline(), s),prequential(Constant(), s)
    ab,ba = (paired_bootstrap(*o, block=block, n_boot=50, seed=seed) for o in ((a, b), (b, a)))
    np.testing.assert_allclose(ab[['difference', 'low', 'high', 'se']], [-ba['difference'], -ba['high'], -ba['low'], ba['se']], rtol=1e-9, atol=1e-12)
    assert ab.equals(paired_bootstrap(a, b, block=block, n_boot=50, seed=seed))
    assert (paired_bootstrap(a, a, block=block, n_boot=50)==0).all()
    np.testing.assert_allclose(ab['difference'], a.summary['rmse']-b.summary['rmse'], rtol=1e-9, atol=1e-12)


@few
@given(n=st.integers(1, 40), block=st.integers(1, 40), seed=st.integers(0, 99))
def test_resampled_means_are_those_of_the_blocks_drawn(n, block, seed):
    block = min(n, block)
    x = np.random.default_rng(0).normal(size=(n, 2))
    k = -(-n//block)
    start = np.random.default_rng(seed).integers(0, n, (5, k))
    rows = [np.concatenate([(a+np.arange(block))%n for a in o])[:n] for o in start]
    np.testing.assert_allclose(module._resampled(x, block, 5, np.random.default_rng(seed)), [x[r].mean(0) for r in rows], rtol=1e-9, atol=1e-12)


def test_bootstrap_works_on_lists():
    s = drift_stream(2_000)
    a,b = (prequential_topn(m, s, name=n) for m,n in ((Popularity(), 'counts'), (Popularity(decay=.5), 'forgets all')))
    d = paired_bootstrap(a, b, 'hit_rate', block=20, n_boot=200)
    assert d['low'] <= d['difference'] <= d['high'] and d['se']>0
    np.testing.assert_allclose(d['difference'], a.summary['hit_rate']-b.summary['hit_rate'], atol=1e-12)
    with pytest.raises(ValueError, match='is no mean'): paired_bootstrap(a, b, block=20)


# ---- lists ----
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


def test_no_positives_is_nan_and_no_error():
    s = Stream(dict(user=[1, 2], item=['a', 'b'], rating=[1., 2.]))
    top = prequential_topn(Popularity(), s, positive=5)
    assert isinstance(top, TopReport) and len(top.frame)==0 and top.summary.isna().all() and 'hit' in top.frame
    assert (compare(top)=='–').all(axis=None)


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


def test_tuples_that_python_calls_equal_are_two_items_in_a_list_of_ten():
    "(1, 'a') and (True, 'a') are one key in a dictionary, and two ids for every learner."
    column = np.empty(4, dtype=object)
    column[:] = [(1, 'a'), (True, 'a'), (1, 'a'), (True, 'a')]
    run = prequential_topn(Popularity(decay=1.), Stream(dict(user=[1, 1, 2, 2], item=column, label=[1, 1, 1, 1])), k=1)
    assert run.n_items==2 and len(run.frame)==4 and run.frame['candidates'].tolist()==[0, 0, 2, 1]
