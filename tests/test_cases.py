"""Public bug reports of other libraries, and layouts of real logs, tried on ours: one test for each that went wrong once. The other
members of each kind (all learners, id types, scales, layouts) stand in test_learners, test_streams, test_logs, test_protocol and test_click."""
import copy, pickle, subprocess, sys, warnings
import numpy as np, pandas as pd, pytest
from helpers import root
from recinc_nb import (BiasBaseline, GaussianMF, ISGD, ImplicitALS, IncrementalALS, IncrementalBert, IncrementalLinear, IncrementalMF, ItemItem, MFStrategy,
                       OnlineStack, Popularity, RunningMean, Stream, TextFilter, drift_stream, movielens_100k, prequential, prequential_topn)
from recinc_nb.streams import TextHistory

EVENTS = pd.DataFrame(dict(user=[1, 1, 2, 2, 3], item=[5, 6, 5, 7, 6], rating=[5., 2., 4., 1., 3.]))
TITLES = pd.DataFrame(dict(title=['Five', 'Six', 'Seven']), index=pd.Index([5, 6, 7], name='item'))
clicks = lambda **more: pd.DataFrame(dict(user=[1, 1, 2, 2], item=[5, 6, 5, 7], label=[1, 0, 1, 0], **more))


def quiet(f):
    "What f gives, and no warning."
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        return f()


# rows 1 and 28: the scale of ratings
@pytest.mark.parametrize('low,high,to', [(0, 10, lambda r: (r-1)*2.5), (0, 100, lambda r: (r-1)*25), (0, 1, lambda r: (r-1)/4), (-1, 1, lambda r: (r-3)/2)])
def test_another_scale_gives_the_same_error_in_stars(low, high, to):
    stars = movielens_100k().take(6_000)
    e = stars.events.assign(rating=to(stars.events['rating']))
    with pytest.warns(UserWarning, match='rating_range'): other = Stream(e)
    assert other.rating_range==(low, high)
    given = Stream(e.drop(columns='label'), rating_range=(low, high))
    assert 0<given.events['label'].mean()<1 and given.like_from==pytest.approx(low + .75*(high-low))
    for m in (RunningMean(), BiasBaseline(), IncrementalMF(), IncrementalALS(), GaussianMF(), OnlineStack(), MFStrategy(warmup=500), TextFilter()):
        rmse = prequential(copy.deepcopy(m), stars, metrics='rmse').summary['rmse']
        assert prequential(copy.deepcopy(m), given, metrics='rmse').summary['rmse']*4/(high-low)==pytest.approx(rmse, abs=.002), m

def test_counts_of_plays_are_named():
    with pytest.warns(UserWarning, match='count'): s = Stream(dict(user=[1, 2, 3], item=[1, 2, 3], rating=[1., 5_000., 12.]))
    assert s.rating_range==(1., 5_000.)

# row 2: likes in the column of ratings
def test_zeros_and_ones_as_ratings_are_named():
    with pytest.warns(UserWarning, match='label'): s = Stream(dict(user=[1, 2, 3], item=[1, 2, 3], rating=[0., 1., 1.]))
    assert s.events['label'].tolist()==[0, 1, 1]
    with pytest.warns(UserWarning, match='label'): Stream(dict(user=[1, 2], item=[1, 2], rating=[1., 1.]))
    with pytest.raises(ValueError, match='label'): Stream(dict(user=[1, 2], item=[1, 2], rating=[True, False]))

# row 3: time under another name
@pytest.mark.parametrize('name', ['timestamp', 'ts', 'date', 'time_ms'])
def test_a_time_under_another_name_is_named(name):
    with pytest.warns(UserWarning, match=name): Stream(EVENTS.assign(**{name: [5, 4, 3, 2, 1]}))

# row 4: tables of items
def test_a_table_of_items_is_met_by_its_index():
    by_column = quiet(lambda: Stream(EVENTS, TITLES.reset_index()))
    assert by_column.items['title'].to_dict()=={5: 'Five', 6: 'Six', 7: 'Seven'}
    for wrong in (TITLES.set_axis(list('567')), TITLES.reset_index(drop=True)):
        with pytest.raises(ValueError, match='item'): Stream(EVENTS, wrong)
    with pytest.warns(UserWarning, match='item'): Stream(EVENTS, TITLES.iloc[:2])

# rows 5 and 6: a log's own columns text and offset
def test_a_review_is_not_read_as_the_past_and_an_offset_is_no_log_odds():
    plain = IncrementalBert('tiny', items=TITLES, update='head').partial_fit(clicks())
    with pytest.warns(UserWarning, match='text'): own = IncrementalBert('tiny', items=TITLES, update='head').partial_fit(clicks(text=['great', 'bad', 'great', 'bad']))
    with pytest.warns(UserWarning, match='offset'): log = IncrementalBert('tiny', items=TITLES, update='head').partial_fit(clicks(offset=[900, 901, 902, 903]))
    X = dict(user=[1, 2, 9], item=[7, 6, 5])
    np.testing.assert_array_equal(own.predict(X), plain.predict(X))
    np.testing.assert_array_equal(log.predict(X), plain.predict(X))

# row 7: tensors
def test_tensors_are_numbers():
    from datasets import Dataset
    e = drift_stream(300, n_users=20, n_items=15, seed=1).events
    ds = Dataset.from_pandas(e[['user', 'item', 'rating', 'label', 'time']]).with_format('torch')
    assert Stream.from_dataset(ds).events['user'].nunique()==20
    assert len(IncrementalMF(n_factors=2).partial_fit(ds).users_)==20

# rows 8 and 9: settings of a running learner
def test_a_step_size_changes_at_once_and_a_number_of_factors_is_refused(tmp_path):
    s = drift_stream(600, n_users=20, n_items=15, seed=1)
    for m in (IncrementalMF(n_factors=4), MFStrategy(n_factors=4), BiasBaseline(), ISGD(n_factors=4)):
        name,value = ('decay_user', .5) if isinstance(m, BiasBaseline) else ('lr', .01)
        m.partial_fit(s.take(300))
        still = copy.deepcopy(m)
        m.set_params(**{name: value}).save_pretrained(tmp_path/type(m).__name__)
        back = type(m).from_pretrained(tmp_path/type(m).__name__)
        p = m.predict_learn(s[300:])
        np.testing.assert_array_equal(back.predict_learn(s[300:]), p, strict=True)
        assert (still.predict_learn(s[300:])!=p).any()
    m = IncrementalMF(n_factors=8).partial_fit(s)
    with pytest.raises(ValueError, match='n_factors cannot change to 4096'): m.set_params(n_factors=4096)
    for n in range(200): m.learn_one(f'new {n}', f'thing {n}', 4.).learn_one(0, 1, 4.)   # this was a segmentation fault
    assert np.isfinite(m.predict_one(0, 1))
    b = IncrementalBert('tiny', items=TITLES).partial_fit(clicks())
    with pytest.raises(ValueError, match='update'): b.set_params(update='all')

# row 10: strangers
def test_a_stranger_gets_what_suits_everybody():
    s = drift_stream(3_000, n_users=60, n_items=40, seed=1)
    likes = s.events[s.events['label']==1]['item'].value_counts()
    for m in (ItemItem(), ISGD(), Popularity(decay=1.)): assert {i for i,_ in m.partial_fit(s).recommend(-1, k=5)} <= set(likes.index[:8]), m

# rows 11 to 13: ids
def test_ids_of_another_kind_are_said_and_floats_refused():
    m = IncrementalMF(n_factors=2).partial_fit(EVENTS)
    with pytest.warns(UserWarning, match='two ids'): m.predict(dict(user=['1'], item=['5']))
    with pytest.raises(TypeError, match='float'): m.partial_fit(EVENTS.astype({'user': float}))
    for cls in (IncrementalMF, IncrementalLinear):
        with pytest.raises(TypeError): cls().partial_fit(dict(user=[b'x'], item=[1], rating=[3.]))

# row 16: pickles
def test_reports_and_bert_are_pickled():
    s = drift_stream(300, n_users=20, n_items=15, seed=1)
    r = pickle.loads(pickle.dumps(prequential(RunningMean(), s)))
    assert r.summary['rmse']==prequential(RunningMean(), s).summary['rmse']
    assert pickle.loads(pickle.dumps(prequential_topn(Popularity(), s))).k==10
    b = IncrementalBert('tiny', items=TITLES).partial_fit(clicks())
    assert pickle.loads(pickle.dumps(b)).predict_one(1, 7)==b.predict_one(1, 7)
    assert pickle.loads(pickle.dumps(TextHistory(TITLES))).pair(1, 5)==TextHistory(TITLES).pair(1, 5)

# rows 17 and 18: missing and text ratings
@pytest.mark.parametrize('column', [pd.array([5, None, 3, 2, 1], dtype='Int64'), pd.array([5., None, 3., 2., 1.], dtype='Float64'),
                                    pd.array([True, None, False, True, True], dtype='boolean'), ['5', '4', '3', '2', '1'],
                                    pd.Categorical([5, 4, 3, 2, 1]).rename_categories(list('abcde'))], ids=['Int64', 'Float64', 'boolean', 'text', 'category'])
def test_missing_and_text_ratings_are_named(column):
    with pytest.raises(ValueError, match='rating'): Stream(EVENTS.assign(rating=column))
    with pytest.raises(ValueError, match='rating'): IncrementalMF().partial_fit(EVENTS.assign(rating=column))

# row 19: times
def test_times_are_numbers_or_iso_dates():
    for bad in (['9:05', '12/31/2005', '999', '1', '2'], [1, None, 3, 4, 5], [1., np.nan, 3., 4., 5.], pd.to_datetime(['2020-01-01', None, '2020-01-02', '2021-01-01', '2022-01-01'])):
        with pytest.raises(ValueError, match='time'): Stream(EVENTS.assign(time=bad))
    iso = Stream(EVENTS.assign(time=['2020-01-05', '2020-01-04', '2020-01-03', '2020-01-02', '2020-01-01']))
    assert iso.events['item'].tolist()==EVENTS['item'].tolist()[::-1]

# rows 20 and 21: titles
def test_titles_with_separators_and_missing_titles():
    items = pd.DataFrame(dict(title=['Steak knife. Liked by chefs', 'Cotton shirt; blue', np.nan], genres=['Kitchen', np.nan, 'Drama']), index=[1, 2, 3])
    from recinc_nb.click import statements
    h = TextHistory(items)
    for i in (1, 2, 3): h.add('u', i, 0)
    liked,disliked = statements(h.pair('u', 1)[0])
    assert not liked and len(disliked)==3 and 'nan' not in ' '.join(disliked) + h.pair('u', 3)[1]

# rows 23 and 24: other tables
def test_other_tables_are_read():
    import pyarrow as pa
    from datasets import Dataset
    t = pa.Table.from_pandas(EVENTS)
    for X in (t, t.to_batches()[0], Dataset.from_pandas(EVENTS), EVENTS.to_dict('records')):
        assert Stream(X).events['item'].tolist()==EVENTS['item'].tolist()
        assert IncrementalMF(n_factors=2).partial_fit(X).n_==5
    with pytest.raises(TypeError, match='Stream'): IncrementalMF().partial_fit(iter([EVENTS]))

# row 31: one very busy user, one very popular item
def test_the_cost_of_a_long_chain_can_be_capped():
    import time
    def cost(m, n):
        m.partial_fit(dict(user=np.arange(n), item=np.zeros(n, dtype=int)), np.ones(n))
        return min(-time.perf_counter() + (m.learn_one(n+k, 0, 1.), time.perf_counter())[1] for k in range(20))
    ratio = lambda **kw: cost(ImplicitALS(n_factors=4, **kw), 20_000)/cost(ImplicitALS(n_factors=4, **kw), 500)
    assert ratio(max_likes=200) < 8 < ratio()/2 + 8

# row 33: a bad place for results is refused first
def test_the_demo_refuses_a_bad_place_first(tmp_path):
    (tmp_path/'file').write_text('x')
    code = f"from recinc_nb.race import main; raise SystemExit(main(['demo', '--data', 'drift', '--out', {str(tmp_path/'file')!r}]))"
    out = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, cwd=root, timeout=60)
    assert out.returncode==2 and 'BERT runs' not in out.stdout, out

# row 35: labels that are none
@pytest.mark.parametrize('labels', [[-1, 1, 1, -1], [0, 3, 1, 2]])
def test_labels_are_shares(labels):
    with pytest.raises(ValueError, match='label'): Stream(clicks().assign(label=labels))

# row 48: chunks
def test_chunks_are_one_stream():
    s = drift_stream(900, n_users=30, n_items=20, seed=1)
    whole,parts = prequential(IncrementalMF(), s),prequential(IncrementalMF(), s.batches(200))
    np.testing.assert_array_equal(parts.frame['pred'], whole.frame['pred'])
    m = IncrementalMF()
    assert sum(prequential(m, o) for o in s.batches(200)).summary['rmse']==whole.summary['rmse']

# row 49: what others have
def test_exclude_similar_forget_weights():
    m = IncrementalMF(n_factors=4).partial_fit(drift_stream(900, n_users=30, n_items=20, seed=1), sample_weight=np.linspace(.5, 1, 900))
    assert len(m.similar(3, k=4))==4 and 3 not in [i for i,_ in m.recommend(1, exclude_seen=False, k=20, exclude=[3])]
    assert m.forget_user(1) and len(m.seen(1))==0
