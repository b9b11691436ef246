"""What every learner of ids promises, on ids of every kind and streams of every shape."""
import json, math
import numpy as np, pandas as pd, pytest
from hypothesis import given, settings, strategies as st
from sklearn.base import clone
from helpers import check_cutting, check_resuming, python, state, table
from recinc_nb import (BPRMF, ISGD, RAISGD, BiasBaseline, GaussianMF, ImplicitALS, IncrementalALS, IncrementalMF, ItemItem, MFStrategy, OnlineStack,
                       Popularity, RankStack, RunningMean, SoftmaxMF, Stream, drift_stream)
from recinc_nb.baselines import IdMap, grow_rows

LEARNERS = {'mean': RunningMean(), 'mean of labels': RunningMean(target='label'), 'biases': BiasBaseline(), 'biases of labels': BiasBaseline(target='label'),
            'mf': IncrementalMF(n_factors=5, init_std=.2), 'mf, no factors': IncrementalMF(n_factors=0), 'mf, 32': IncrementalMF(seed=9),
            'mf, logistic': IncrementalMF(n_factors=3, loss='logistic'), 'popularity': Popularity(decay=.9), 'item to item': ItemItem(decay=.8, shrink=1.),
            'users only': MFStrategy(update='users', warmup=5, anchor=.1, n_factors=4), 'new rows': MFStrategy(update='new rows', warmup=9, n_factors=3),
            'als': IncrementalALS(n_factors=3, forget=.99), 'gaussian': GaussianMF(n_factors=3), 'stack': OnlineStack([BiasBaseline(), GaussianMF(n_factors=2)]),
            'mf, at most 4 rows': IncrementalMF(n_factors=3, max_rows=4), 'isgd': ISGD(n_factors=3), 'raisgd': RAISGD(n_factors=3, n_negatives=2),
            'bpr': BPRMF(n_factors=3), 'implicit als': ImplicitALS(n_factors=3), 'softmax': SoftmaxMF(n_factors=3), 'rank stack': RankStack(n_factors=3)}
MOVE_OLD_ROWS = {'mf, at most 4 rows', 'bpr', 'softmax', 'rank stack'} # they take rows away, or push other items down
every = pytest.mark.parametrize('name', LEARNERS)
few = settings(max_examples=25, deadline=None)

ids = st.recursive(st.one_of(st.integers(-2**70, 2**70), st.text(max_size=3), st.booleans(), st.sampled_from([0, 1, '0', '1', True, False])),
                   lambda o: st.tuples(o, o), max_leaves=3)
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
def test_resumed_in_a_new_process(name, tmp_path):
    m,whole = clone(LEARNERS[name]),clone(LEARNERS[name])
    stream = drift_stream(3_000, n_users=60, n_items=50, seed=1)
    expected = whole.predict_learn(stream)[1_500:]
    m.partial_fit(stream.take(1_500)).save_pretrained(tmp_path/'m')
    python('-c', f"""
import numpy as np
from recinc_nb import {type(m).__name__}, drift_stream
stream = drift_stream(3_000, n_users=60, n_items=50, seed=1)
m = {type(m).__name__}.from_pretrained({str(tmp_path/'m')!r})
np.save({str(tmp_path/'p.npy')!r}, m.predict_learn(stream.events.iloc[1_500:]))
m.save_pretrained({str(tmp_path/'m')!r})
""")
    np.testing.assert_array_equal(np.load(tmp_path/'p.npy'), expected, strict=True)
    assert state(type(m).from_pretrained(tmp_path/'m'))==state(whole)


@every
def test_strangers_get_the_prior_and_change_nothing(name):
    stream = drift_stream(500, n_users=20, n_items=15, seed=2)
    m = clone(LEARNERS[name])
    nothing = m.predict_one('who', 'what')
    assert nothing==(0. if m.positive_only else .5 if m.target=='label' else 3.)
    m.partial_fit(stream)
    before = state(m)
    mean = 0. if m.positive_only else stream.events[m.target].mean()
    prior = m.predict_one('who', 'what')
    assert prior==pytest.approx(mean, abs=2e-3) # the logistic prior counts one like and one dislike more
    assert set(m.predict(dict(user=['a', 'b'], item=['c', 'd'])))=={prior}
    assert m.recommend('who', k=3, exclude_seen=False) and state(m)==before


@pytest.mark.parametrize('name', sorted(LEARNERS.keys() - MOVE_OLD_ROWS))
def test_growing_leaves_the_old_rows_alone(name):
    m = clone(LEARNERS[name])
    m.partial_fit(drift_stream(300, n_users=20, n_items=15, seed=3))
    old = m._arrays()
    old = {k: v.copy() for k,v in old.items() if k!='mean' and v.ndim and len(v) in (len(m.users_), len(m.items_))}
    for n in range(200): m.learn_one(('new', n), ('new', n), 1.) # strangers only: no old row has a reason to move
    for k,v in m._arrays().items():
        if k in old: np.testing.assert_array_equal(v[tuple(map(slice, old[k].shape))], old[k], strict=True)


@given(st.lists(ids, max_size=60))
@few
def test_id_map_keeps_types_apart(many):
    m = IdMap()
    tag = lambda o: tuple(map(tag, o)) + ('tuple',) if isinstance(o, tuple) else (type(o).__name__, o)
    array = np.empty(len(many), dtype=object)
    array[:] = many
    rows = m.rows(array, add=True)
    distinct = list(dict.fromkeys(map(tag, many)))
    assert rows.tolist()==[distinct.index(tag(o)) for o in many] and len(m)==len(distinct)
    assert m.rows(array).tolist()==rows.tolist()


some = st.one_of(st.integers(-3, 40), st.integers(65_500, 66_000), st.integers(2**40, 2**40+3))

@given(st.lists(st.one_of(some, st.lists(some, max_size=8), st.integers(-9, -1).map(lambda n: ('cut', -n))), max_size=12))
@few
def test_columns_of_integers_get_the_rows_of_their_single_ids(steps):
    fast,slow = IdMap(),[]
    for o in steps:
        if isinstance(o, tuple):
            fast.cut(max(len(slow)-o[1], 0))
            del slow[max(len(slow)-o[1], 0):]
            continue
        many = o if isinstance(o, list) else [o]
        before = [slow.index(x) if x in slow else -1 for x in many]
        assert fast.rows(np.array(many, dtype=np.int64)).tolist()==before
        slow += [x for x in dict.fromkeys(many) if x not in slow]
        rows = fast.rows(np.array(many, dtype=np.int64), add=True) if isinstance(o, list) else [fast.row(o, add=True)]
        assert list(rows)==[slow.index(x) for x in many] and fast.ids==slow and all(type(x) is int for x in fast.ids)


def test_numpy_and_pandas_ids_are_python_ids():
    m = IdMap([7, 'a'])
    for column in (np.array([7]), np.array([7], dtype=np.uint8), pd.Series([7], dtype='Int64'), pd.Series([7], dtype=object)):
        assert m.rows(Stream(dict(user=column, item=['x'], rating=[1.])).events['user'].to_numpy()).tolist()==[0]
    for column in (pd.Series(['a']), pd.Series(['a'], dtype='category'), np.array(['a'])):
        assert m.rows(np.asarray(column)).tolist()==[1]
    assert m.rows(np.array([7.])).tolist()==[-1]


@every
def test_all_kinds_of_tables_are_the_same(name):
    from datasets import Dataset
    stream = drift_stream(200, n_users=20, n_items=15, seed=4)
    e = stream.events
    columns = {o: e[o].tolist() for o in ('user', 'item', 'rating', 'label')}
    tables = [stream, e, e.iloc[::1], columns, {o: e[o].to_numpy() for o in columns}, Dataset.from_dict(columns), Dataset.from_dict(columns)[:], next(Dataset.from_dict(columns).iter(200))]
    states = [state(clone(LEARNERS[name]).partial_fit(o)) for o in tables]
    assert all(o==states[0] for o in states)


BAD = {
    'nan': (dict(user=[1, 2], item=[1, 2]), [1., math.nan], ValueError, 'nan in row 1'),
    'inf': (dict(user=[1, 2], item=[1, 2]), [math.inf, 1.], ValueError, 'inf in row 0'),
    'missing y': (dict(user=[1], item=[2]), [None], ValueError, 'in row 0|not a number'),
    'text': (dict(user=[1], item=[2]), ['four'], ValueError, 'not a number'),
    'missing user': (dict(user=[1, None], item=[1, 2]), [1., 1.], ValueError, 'user is missing in row 1'),
    'nan item': (dict(user=[1., 2.], item=[1., math.nan]), [1., 1.], ValueError, 'item is missing in row 1'),
    'pandas missing': (pd.DataFrame(dict(user=pd.array([1, None], dtype='Int64'), item=[1, 2])), [1., 1.], ValueError, 'user is missing in row 1'),
    'no column': (dict(user=[1]), [1.], KeyError, 'no column item'),
    'no target': (dict(user=[1], item=[2]), None, KeyError, 'no column (rating|label)'),
    'lengths': (dict(user=[1, 2], item=[1]), [1., 1.], ValueError, 'differ in length'),
    'y too short': (dict(user=[1, 2], item=[1, 2]), [1.], ValueError, 'differ in length'),
    'matrix y': (dict(user=[1, 2], item=[1, 2]), np.ones((2, 1)), ValueError, 'shape'),
    'unhashable': (dict(user=[1, [2]], item=[1, 2]), [1., 1.], TypeError, 'unhashable'),
    'unhashable item': (dict(user=['new', 'newer'], item=[1, [2]]), [1., 1.], TypeError, 'unhashable'),
    'list': ([(1, 2, 3.)], None, TypeError, 'got list'), 'None': (None, None, TypeError, 'got NoneType'), 'number': (3, None, TypeError, 'got int'),
}

@every
@pytest.mark.parametrize('bad', BAD)
def test_bad_input_is_met_at_the_door(name, bad):
    m = clone(LEARNERS[name]).partial_fit(drift_stream(100, n_users=9, n_items=9, seed=5))
    before = state(m)
    X,y,error,words = BAD[bad]
    for method in (m.partial_fit, m.predict_learn):
        with pytest.raises(error, match=words) as e: method(X, y)
        assert type(m).__name__ in str(e.value) or 'IdMap' in str(e.value)
    assert state(m)==before


@every
def test_one_event_is_checked_like_many(name):
    m = clone(LEARNERS[name]).partial_fit(drift_stream(100, n_users=9, n_items=9, seed=5))
    before = state(m)
    for user,item,y,error in ((1, 2, math.nan, ValueError), (1, 2, math.inf, ValueError), (None, 2, 1., ValueError), ('new', math.nan, 1., ValueError),
                              ('new', None, 1., ValueError), ('new', [1], 1., TypeError), (1, 2, 'x', ValueError), (1, 2, None, TypeError)):
        with pytest.raises(error): m.learn_one(user, item, y)
    if m.target=='label':
        with pytest.raises(ValueError, match='labels run from'): m.learn_one(1, 2, 4.)
        with pytest.raises(ValueError, match='labels run from'): m.partial_fit(dict(user=[1], item=[2]), [4.])
    for k in (0, -1):
        with pytest.raises(ValueError, match='use at least 1'): m.recommend(1, k=k)
    assert state(m)==before


@every
def test_empty_batches_and_large_k(name):
    m = clone(LEARNERS[name])
    none = dict(user=[], item=[])
    assert m.partial_fit(none, []) is m and len(m.predict(none))==0 and len(m.predict_learn(none, []))==0 and m.recommend('x')==[]
    stream = drift_stream(100, n_users=9, n_items=9, seed=6)
    m.partial_fit(stream)
    before = state(m)
    m.partial_fit(stream.take(0))
    assert state(m)==before
    had = set(stream.events.loc[stream.events['user']==0, 'item'])
    if getattr(m, 'max_rows', None): had = {m.items_.ids[n] for n in m.seen(0)} & had # what was taken away is forgotten
    assert len(m.recommend(0, k=10**6))==len(m.items_)-len(had) and len(m.recommend(0, k=10**6, exclude_seen=False))==len(m.items_)
    best = m.recommend(0, k=3, exclude_seen=False)
    assert [s for _,s in best]==sorted((s for _,s in best), reverse=True)
    assert [i for i,_ in best]==m.rank(0, m.items_.ids)[:3] and all(s==m.predict_one(0, i) for i,s in best)
    assert {i for i,_ in m.recommend(0, candidates=['never', 3], exclude_seen=False)}=={'never', 3}


def test_settings_outside_their_range():
    for params,words in ((dict(n_factors=-1), 'n_factors is -1'), (dict(lr=0.), 'lr is 0'), (dict(l2=-.1), 'l2 is'), (dict(loss='hinge'), "loss is 'hinge'"),
                         (dict(decay_user=0.), 'decay_user'), (dict(shrink_item=0.), 'shrink_item')):
        with pytest.raises(ValueError, match=words): IncrementalMF(**params).partial_fit(dict(user=[1], item=[1]), [3.])
    for cls,params in ((Popularity, dict(decay=0.)), (ItemItem, dict(decay=1.1)), (ItemItem, dict(shrink=-1.)), (ItemItem, dict(shrink=math.nan))):
        with pytest.raises(ValueError, match=f'{cls.__name__}: {[*params][0]} is'): cls(**params).partial_fit(dict(user=[1], item=[1]), [1.])
    for params in (dict(target='stars'), dict(shrink_user=-1.), dict(decay_item=1.5)):
        with pytest.raises(ValueError, match='BiasBaseline'): BiasBaseline(**params).predict_one(1, 1)


@every
def test_all_items_at_once_are_scored_as_one_by_one(name):
    m = clone(LEARNERS[name])
    assert m.score_items('who').shape==(0,)
    m.partial_fit(drift_stream(400, n_users=20, n_items=15, seed=7))
    before = state(m)
    for user in (0, 1, 'who'): np.testing.assert_array_equal(m.score_items(user), [m.predict_one(user, i) for i in m.items_.ids], strict=True)
    assert state(m)==before


def test_no_room_is_as_if_the_events_had_never_come():
    m = ItemItem().partial_fit(dict(user=[1, 1], item=['a', 'b']), [1., 1.])
    before = state(m)
    with pytest.raises(ValueError, match='20,002 items need 1.6 GB'): m.partial_fit(dict(user=['new']*20_000, item=range(20_000)), np.ones(20_000))
    assert state(m)==before and 'new' not in m.users_ and 7 not in m.items_
    m.learn_one(1, 'c', 1.)
    assert m.items_.ids==['a', 'b', 'c'] and m.predict_one(1, 'a')>0


def test_positive_only_learners_learn_nothing_from_the_rest():
    stream = drift_stream(500, n_users=20, n_items=15, seed=8)
    for cls in (Popularity, ItemItem):
        m = cls().partial_fit(stream)
        likes = cls().partial_fit(stream.events[stream.events['label']==1])
        assert m.n_skipped_==(stream.events['label']==0).sum() and likes.n_skipped_==0
        users,items = stream.events['user'],stream.events['item']
        np.testing.assert_array_equal(m.predict(dict(user=users, item=items)), likes.predict(dict(user=users, item=items)))


def test_an_overflow_is_said_aloud():
    with pytest.raises(FloatingPointError, match='lower the step size'):
        IncrementalMF().partial_fit(dict(user=[1]*50, item=[1]*50), [1e38, -1e38]*25)


def test_checkpoints_of_others_and_ids_that_cannot_be_written(tmp_path):
    m = IncrementalMF().partial_fit(dict(user=[1.5], item=[2]), [3.])
    with pytest.raises(TypeError, match=r'cannot write the id 1.5 \(float\)'): m.save_pretrained(tmp_path/'a')
    IncrementalMF(seed=np.int64(3)).partial_fit(dict(user=[1], item=[2]), [3.]).save_pretrained(tmp_path/'b')
    assert IncrementalMF.from_pretrained(tmp_path/'b', seed=3).seed==3
    with pytest.raises(ValueError, match="belongs to 'IncrementalMF'"): BiasBaseline.from_pretrained(tmp_path/'b')
    with pytest.raises(ValueError, match='you asked for 9'): IncrementalMF.from_pretrained(tmp_path/'b', seed=9)
    with pytest.raises(ValueError, match='colour is None'): IncrementalMF.from_pretrained(tmp_path/'b', colour='red')
    with pytest.raises(FileExistsError, match='holds IncrementalMF'): RunningMean().save_pretrained(tmp_path/'b')
    assert json.loads((tmp_path/'b'/'config.json').read_text())['class']=='IncrementalMF'


def test_predict_proba_only_where_labels_are_learned():
    assert not hasattr(IncrementalMF(), 'predict_proba') and not hasattr(BiasBaseline(), 'predict_proba')
    assert not hasattr(Popularity(), 'predict_proba') and not hasattr(ItemItem(), 'predict_proba') # scores are no probabilities
    m = IncrementalMF(loss='logistic').partial_fit(drift_stream(200, seed=1))
    p = m.predict_proba(dict(user=[1, 'new'], item=[2, 3]))
    assert p.shape==(2, 2) and np.allclose(p.sum(1), 1) and (p>0).all()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 300), min_size=1, max_size=10))
def test_grow_rows(sizes):
    t = np.arange(6, dtype=np.float32).reshape(3, 2)
    first = t.copy()
    for n in sizes:
        t = grow_rows(t, n)
        assert len(t)>=n and (t[:3]==first).all() and not t[3:].any()
