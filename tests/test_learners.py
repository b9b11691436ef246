"""What every learner of ids promises, on ids of every kind and streams of every shape."""
import json, math
import numpy as np, pandas as pd, pytest
from hypothesis import given, settings, strategies as st
from sklearn.base import clone
from helpers import check_cutting, check_resuming, python, state
from contract import LEARNERS, MOVE_OLD_ROWS, SETTINGS, every, of_ratings
from recinc_nb import BiasBaseline, IncrementalMF, ItemItem, Learner, Popularity, RunningMean, Stream, drift_stream
from recinc_nb.clock import Timed
from recinc_nb.learner import IdMap, grow_rows


few = settings(max_examples=25)

ids = st.recursive(st.one_of(st.integers(0, 6), st.integers(-2**70, 2**70), st.text(max_size=3), st.booleans(), st.sampled_from([0, 1, '0', '1', True, False])),
                   lambda o: st.tuples(o, o), max_leaves=3)
events = st.lists(st.tuples(ids, ids, st.integers(1, 5)), min_size=1, max_size=40)


BOTH = LEARNERS | SETTINGS
with_every_setting = pytest.mark.parametrize('name', BOTH)


@with_every_setting
@few
@given(rows=events, cuts=st.lists(st.integers(0, 40), max_size=4))
def test_any_way_of_cutting_is_the_same_bit_for_bit(name, rows, cuts): check_cutting(BOTH[name], rows, cuts)


@with_every_setting
@few
@given(rows=events, at=st.integers(0, 40))
def test_saved_and_resumed_is_never_having_stopped(name, rows, at, tmp_path_factory):
    check_resuming(BOTH[name], rows, at, tmp_path_factory.mktemp('m'))


def test_all_resumed_in_a_new_process(tmp_path):
    stream = drift_stream(3_000, n_users=60, n_items=50, seed=1)
    wholes = {}
    for n,m in enumerate(LEARNERS.values()):
        whole = clone(m)
        wholes[n] = whole,whole.predict_learn(stream)[1_500:]
        clone(m).partial_fit(stream.take(1_500)).save_pretrained(tmp_path/str(n))
    python('-c', f"""
import numpy as np
from pathlib import Path
from recinc_nb import Learner, drift_stream
stream = drift_stream(3_000, n_users=60, n_items=50, seed=1)
for n in range({len(LEARNERS)}):
    folder = Path({str(tmp_path)!r})/str(n)
    m = Learner.from_pretrained(folder)
    np.save(folder/'p.npy', m.predict_learn(stream[1_500:]))
    m.save_pretrained(folder)
""")
    for n,(whole,expected) in wholes.items():
        np.testing.assert_array_equal(np.load(tmp_path/str(n)/'p.npy'), expected, strict=True)
        back = Learner.from_pretrained(tmp_path/str(n))
        assert type(back) is type(whole) and state(back)==state(whole)


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
    old = m.arrays()
    old = {k: v.copy() for k,v in old.items() if k!='mean' and v.ndim and len(v) in (len(m.users_), len(m.items_))}
    for n in range(200): m.learn_one(('new', n), ('new', n), 1.) # strangers only: no old row has a reason to move
    for k,v in m.arrays().items():
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
    for no in (7., None): assert pytest.raises((TypeError, ValueError), m.row, no)


@every
def test_all_kinds_of_tables_are_the_same(name):
    from datasets import Dataset
    stream = drift_stream(200, n_users=20, n_items=15, seed=4)
    e = stream.events
    columns = {o: e[o].tolist() for o in ('user', 'item', 'rating', 'label', 'time')}
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
    if bad=='no target' and m.positive_only: return # a log of likes: test_a_log_of_likes
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
        with pytest.raises(ValueError, match='at least 1'): m.recommend(1, k=k)
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
    with pytest.raises((TypeError, ValueError), match='1.5 is a float'): IncrementalMF().partial_fit(dict(user=[1.5], item=[2]), [3.])
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


@settings(max_examples=50)
@given(st.lists(st.integers(1, 300), min_size=1, max_size=10))
def test_grow_rows(sizes):
    t = np.arange(6, dtype=np.float32).reshape(3, 2)
    first = t.copy()
    for n in sizes:
        t = grow_rows(t, n)
        assert len(t)>=n and (t[:3]==first).all() and not t[3:].any()


# ---- one rule for settings ----
def other(m, name):
    "Another value that the setting may have."
    x = getattr(m, name)
    if name in ('learners', 'learner', 'base', 'features', 'users', 'items', 'remedies', 'learn'): return None
    if isinstance(x, bool): return not x
    if isinstance(x, tuple) and x and isinstance(x[0], float): return tuple(.9*o for o in x)
    return dict(loss={'squared': 'logistic', 'logistic': 'squared'}, rank_by={'product': 'distance'}, target={'rating': 'label', 'label': 'rating'}).get(name, {}).get(x) or (
        'biases' if name=='update' else (0., 9.) if name=='rating_range' else 7 if x is None and name in ('max_rows', 'max_likes') else .5 if x is None else
        x+1 if isinstance(x, int) else x*.9 if x>0 else .01)

SETTINGS = [(name, o) for name,m in LEARNERS.items() for o in m.get_params(deep=False)]

@pytest.mark.parametrize('name,setting', SETTINGS)
def test_a_setting_changes_at_once_or_is_refused_by_name(name, setting, tmp_path):
    stream,m = drift_stream(300, n_users=15, n_items=12, seed=3),clone(LEARNERS[name])
    value = other(m, setting)
    if value is None: return
    m.partial_fit(stream.take(200))
    before = state(m)
    try: m.set_params(**{setting: value})
    except ValueError as e:
        assert setting in str(e) and state(m)==before and getattr(m, setting)==getattr(LEARNERS[name], setting) or setting in str(e) and state(m)==before
        with pytest.raises(ValueError): setattr(m, setting, value)
        fresh = clone(LEARNERS[name]).set_params(**{setting: value}) # before the first event anything goes
        assert getattr(fresh, setting)==value
        ready = clone(LEARNERS[name])
        ready.recommend(0)
        if type(value) is type(getattr(ready, setting)): assert getattr(ready.set_params(**{setting: value}), setting)==value
        return
    m.save_pretrained(tmp_path/'m')
    back = type(m).from_pretrained(tmp_path/'m')
    assert getattr(back, setting)==value
    rest = stream[200:]
    went_on = m.predict_learn(rest)
    np.testing.assert_array_equal(back.predict_learn(rest), went_on, strict=True)
    assert state(back)==state(m)
    unchanged = clone(LEARNERS[name]).partial_fit(stream.take(200))
    unchanged.partial_fit(rest)
    idle = {'mf, no factors': ('lr', 'l2'), 'users only': ('decay_item', 'shrink_item')}.get(name, ())
    if setting=='max_likes' or setting in idle: return
    assert state(unchanged)!=state(m) or (unchanged.score_items(0)!=m.score_items(0)).any(), f'{setting} had no effect'

@every
def test_unknown_and_bad_settings_are_refused_and_change_nothing(name):
    m = clone(LEARNERS[name]).partial_fit(drift_stream(100, n_users=9, n_items=9, seed=3))
    before = state(m)
    with pytest.raises(ValueError, match='colour'): m.set_params(colour='red')
    for o,rule in m.rules.items():
        for bad in ('a', -1e9, math.nan, [1]):
            if rule[0].__name__ and o not in ('users', 'items', 'learners', 'learner', 'features', 'base', 'update'):
                with pytest.raises(ValueError, match=o): m.set_params(**{o: bad})
    assert state(m)==before


# ---- the unit of a rating ----
@of_ratings
@pytest.mark.parametrize('low,high', [(0, 10), (0, 100), (-1, 1), (0, 1)])
def test_settings_do_not_depend_on_the_unit_of_the_rating(name, low, high):
    stream = drift_stream(1_500, n_users=40, n_items=30, seed=2)
    unit = (high-low)/4
    e = stream.events.assign(rating=(stream.events['rating']-1)*unit + low).drop(columns='label')
    other = Stream(e, stream.items, rating_range=(low, high))
    stars,theirs = clone(LEARNERS[name]),clone(LEARNERS[name])
    expected,got = stars.predict_learn(stream),theirs.predict_learn(other)
    np.testing.assert_allclose((got-low)/unit + 1, expected, atol=2e-4)
    given = clone(LEARNERS[name]).set_params(rating_range=(low, high))
    np.testing.assert_allclose(given.predict_learn(e), got, atol=2e-4*unit)
    single = clone(LEARNERS[name]).set_params(rating_range=(low, high))
    for u,i,y in e[['user', 'item', 'rating']].head(60).itertuples(index=False): single.learn_one(u, i, y)
    assert abs(single.predict_one(0, 0) - clone(given).partial_fit(e.head(60).drop(columns='time')).predict_one(0, 0)) < 1e-9
    assert [i for i,_ in stars.recommend(0, 3)]==[i for i,_ in theirs.recommend(0, 3)]

@of_ratings
def test_a_rating_outside_the_scale_is_said_once_and_another_scale_is_refused(name):
    m = clone(LEARNERS[name]).partial_fit(dict(user=[1, 2], item=[1, 2]), [3., 4.])
    with pytest.warns(UserWarning, match='rating_range') as said:
        for _ in range(3): m.partial_fit(dict(user=[1], item=[2]), [80.])
    assert len([o for o in said if 'rating_range' in str(o.message)])==1
    hundred = Stream(dict(user=[1, 2], item=[1, 2], rating=[0., 100.]), rating_range=(0, 100))
    with pytest.raises(ValueError, match='bring them to one scale'): m.partial_fit(hundred)


# ---- recommendations ----
@every
def test_recommend_for_many_with_what_is_left_out(name):
    m = clone(LEARNERS[name]).partial_fit(drift_stream(300, n_users=9, n_items=12, seed=4))
    many = m.recommend([0, 1, 'who'], k=3)
    assert many==[m.recommend(u, k=3) for u in (0, 1, 'who')]==m.recommend(np.array([0, 1, 'who'], dtype=object), k=3)
    first = m.recommend(0, k=20, exclude_seen=False)
    out = first[0][0]
    assert out not in [i for i,_ in m.recommend(0, k=20, exclude_seen=False, exclude=[out, 'never'])]
    assert [i for i,_ in m.recommend(0, k=20, exclude_seen=False, filter=lambda i: i==out)]==[out]
    some = [i for i,_ in first[:2]]
    assert len(m.recommend(0, candidates=[np.int64(some[0])]*3 + some, exclude_seen=False))==len(some)
    assert all(type(i) is int for i,_ in m.recommend(0, candidates=np.array(some), exclude_seen=False))
    new = m.recommend(0, candidates=['never', 'nobody', some[0]], exclude_seen=False, exclude=['nobody', 'nor this'])
    assert {i for i,_ in new}=={'never', some[0]} # an unknown id leaves out itself and no other
    assert m.recommend([0, 1], candidates=iter(some), exclude=iter(some[:1]), exclude_seen=False)==[
        m.recommend(u, candidates=some, exclude=some[:1], exclude_seen=False) for u in (0, 1)]
    for k in (True, 2., 0, '3', None):
        with pytest.raises(ValueError, match='whole number'): m.recommend(0, k=k)
    for o in ('candidates', 'exclude'):
        with pytest.raises(TypeError, match=o): m.recommend(0, **{o: 'abc'})

@pytest.mark.parametrize('name', ['mean', 'item to item', 'isgd', 'raisgd', 'popularity', 'bpr', 'biases'])
def test_a_stranger_gets_what_suits_everybody(name):
    likes = dict(user=[1, 2, 3, 4, 5, 1], item=['a', 'b', 'b', 'b', 'c', 'c'], rating=[5.]*6, label=[1]*6)
    m = clone(LEARNERS[name]).partial_fit(likes)
    assert m.recommend(99, k=1)[0][0]=='b' or name in ('biases', 'bpr')

@every
def test_similar_and_forgotten(name, tmp_path):
    stream = drift_stream(400, n_users=12, n_items=10, seed=5)
    m = clone(LEARNERS[name]).partial_fit(stream)
    item,before = m.items_.ids[0],state(m)
    try:
        near = m.similar(item, k=3)
        assert len(near)==min(3, len(m.items_)-1) and item not in [i for i,_ in near] and [s for _,s in near]==sorted((s for _,s in near), reverse=True)
        assert name in ('item to item', 'clock items') or all(-1-1e-6<=s<=1+1e-6 for _,s in near)
        with pytest.raises(KeyError, match='never met'): m.similar('nothing')
    except ValueError as e: assert 'no vectors' in str(e)
    assert state(m)==before
    user = m.users_.ids[1]
    assert m.forget_user(user) and not m.forget_user(user) and not m.forget_user('who')
    assert user not in m.users_ and len(m.seen(user))==0 and m.predict_one(user, item)==m.predict_one('who', item)
    m.save_pretrained(tmp_path/'m')
    assert repr(user) not in (tmp_path/'m'/'config.json').read_text() or not isinstance(user, str)
    back = type(m).from_pretrained(tmp_path/'m')
    assert state(back)==state(m)
    rest = drift_stream(200, n_users=12, n_items=10, seed=6)
    np.testing.assert_array_equal(back.predict_learn(rest), m.predict_learn(rest), strict=True)
    assert (user in m.users_ or name=='mf, at most 4 rows') and state(back)==state(m)

@every
def test_weights(name):
    m,plain = clone(LEARNERS[name]),clone(LEARNERS[name])
    stream = drift_stream(300, n_users=12, n_items=10, seed=7)
    n = len(stream)
    if not m.weighted:
        with pytest.raises(ValueError, match='no weights'): m.partial_fit(stream, sample_weight=np.ones(n))
        return
    for bad in (np.ones(n-1), -np.ones(n), np.full(n, np.nan), ['1']*n, [None]*n, 2., 'abc', [1j]*n, np.full(n, 1j), np.full(n, 'NaT', dtype='m8[s]')):
        with pytest.raises(ValueError, match='sample_weight'): m.partial_fit(stream, sample_weight=bad)
    m.partial_fit(stream, sample_weight=np.ones(n))
    plain.partial_fit(stream)
    assert m.predict(stream)==pytest.approx(plain.predict(stream), abs=1e-6)
    w = np.random.default_rng(0).uniform(0, 2, n)
    whole,pieces = clone(LEARNERS[name]),clone(LEARNERS[name])
    pred = whole.predict_learn(stream, sample_weight=w)
    cut = [pieces.predict_learn(stream[a:a+70], sample_weight=w[a:a+70]) for a in range(0, n, 70)]
    np.testing.assert_array_equal(np.concatenate(cut), pred, strict=True)
    assert state(whole)==state(pieces) and np.abs(pred-clone(LEARNERS[name]).predict_learn(stream)).max()>1e-3


# ---- ids and tables that people have ----
@every
def test_ids_are_met_at_the_door(name):
    import datetime, decimal, uuid
    m = clone(LEARNERS[name]).partial_fit(dict(user=[1, 2], item=[1, 2], rating=[3., 4.], label=[0, 1]))
    before = state(m)
    for bad in (1.5, 1., b'x', uuid.uuid4(), decimal.Decimal(1), datetime.date(2020, 1, 1), None, math.nan, 1j, [1], {1}):
        column = np.empty(2, dtype=object)
        column[:] = [1, bad]
        for X in (dict(user=column, item=[1, 2]), dict(user=[1, 2], item=column)):
            with pytest.raises((ValueError, TypeError)): m.partial_fit(X, [1., 1.])
        with pytest.raises((ValueError, TypeError)): m.learn_one(bad, 1, 1.)
        with pytest.raises((ValueError, TypeError)): m.learn_one(1, bad, 1.)
    assert state(m)==before

@every
def test_a_tensor_is_the_number_that_it_holds(name, tmp_path):
    import torch
    from datasets import Dataset
    e = drift_stream(200, n_users=10, n_items=8, seed=8).events
    plain = clone(LEARNERS[name]).partial_fit(e)
    columns = {o: e[o].tolist() for o in ('user', 'item', 'rating', 'label', 'time')}
    tensors = [dict(columns, user=torch.tensor(columns['user']), item=[torch.tensor(i) for i in columns['item']]), Dataset.from_dict(columns).with_format('torch'),
               Dataset.from_dict(columns).with_format('numpy'), Dataset.from_dict(columns).with_format('pandas'), Dataset.from_dict(columns).with_format('arrow')]
    for X in tensors: assert state(clone(LEARNERS[name]).partial_fit(X))==state(plain)
    single = clone(LEARNERS[name])
    for u,i,r,l,t in zip(*columns.values()):
        when = dict(time=t) if isinstance(single, Timed) else {}
        single.learn_one(torch.tensor(u), np.int64(i), l if single.target=='label' else r, **when)
    assert state(single)==state(plain)
    pair = clone(LEARNERS[name]).partial_fit(dict(user=[(np.int64(1), 'a')], item=[np.str_('x')], rating=[3.], label=[1]))
    pair.save_pretrained(tmp_path/'m')
    assert type(pair).from_pretrained(tmp_path/'m').users_.ids==[(1, 'a')]

@every
def test_ids_of_a_kind_never_met_are_named(name):
    m = clone(LEARNERS[name]).partial_fit(drift_stream(50, n_users=9, n_items=9, seed=5))
    with pytest.warns(UserWarning, match="user '3' is a string"): m.predict(dict(user=['3'], item=[1]))
    with pytest.warns(UserWarning, match="item '4' is a string"): m.recommend(1, candidates=['4'])

@every
def test_read_only_and_memory_mapped_columns(name, tmp_path):
    e = drift_stream(200, n_users=10, n_items=8, seed=8).events
    mapped = {}
    for o in ('user', 'item', 'rating', 'label', 'time'):
        np.save(tmp_path/f'{o}.npy', e[o].to_numpy())
        mapped[o] = np.load(tmp_path/f'{o}.npy', mmap_mode='r')
    assert state(clone(LEARNERS[name]).partial_fit(mapped))==state(clone(LEARNERS[name]).partial_fit(e))

@every
def test_complex_and_text_ratings_are_refused(name):
    m = clone(LEARNERS[name]).partial_fit(drift_stream(50, n_users=9, n_items=9, seed=5))
    before = state(m)
    for y in (np.array([1+2j]), np.array(['1'], dtype=object), np.array([None], dtype=object)):
        with pytest.raises((ValueError, TypeError)): m.partial_fit(dict(user=[1], item=[1]), y)
    for y in (1+2j, '1', None, [1.]):
        with pytest.raises((ValueError, TypeError)): m.learn_one(1, 1, y)
    assert state(m)==before


@pytest.mark.parametrize('name', [o for o,m in LEARNERS.items() if m.positive_only])
def test_a_log_of_likes(name):
    e = drift_stream(100, n_users=9, n_items=9, seed=5).events[['user', 'item']]
    assert state(clone(LEARNERS[name]).partial_fit(e))==state(clone(LEARNERS[name]).partial_fit(e, np.ones(len(e))))
    with pytest.raises(KeyError, match='no column label'): clone(LEARNERS[name]).partial_fit(e.assign(rating=3.)) # stars may be dislikes


# ---- copies ----
@every
def test_copies_go_on_alone(name):
    import copy, pickle
    stream = drift_stream(400, n_users=12, n_items=10, seed=9)
    m = clone(LEARNERS[name]).partial_fit(stream.take(200))
    copies = copy.deepcopy(m),pickle.loads(pickle.dumps(m))
    expected = m.predict_learn(stream[200:])
    for o in copies:
        np.testing.assert_array_equal(o.predict_learn(stream[200:]), expected, strict=True)
        assert state(o)==state(m) and o._lock is not m._lock

def predicted(m): return m.predict_one(0, 0)

def test_learners_travel_to_spawned_processes():
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context
    stream = drift_stream(200, n_users=12, n_items=10, seed=9)
    models = [clone(m).partial_fit(stream) for m in LEARNERS.values()]
    with ProcessPoolExecutor(1, mp_context=get_context('spawn')) as pool: assert list(pool.map(predicted, models))==[m.predict_one(0, 0) for m in models]


# ---- what a stranger found ----
def test_a_warning_points_at_the_line_that_called():
    m = IncrementalMF(n_factors=2).partial_fit(dict(user=[1], item=[1]), [3.])
    for call in (lambda: m.predict(dict(user=['a'], item=[1])), lambda: m.learn_one(1, 1, 70.)):
        with pytest.warns(UserWarning) as said: call()
        assert [o.filename for o in said]==[__file__]*len(said)

def test_integers_beyond_the_largest_are_ids_in_a_column_too():
    m = IncrementalMF(n_factors=2).partial_fit(dict(user=[0, 0], item=[0, 2**63]), [1., 1.])
    assert m.items_.ids==[0, 2**63]

def test_a_setting_of_a_learner_at_work_is_refused():
    m,stream = IncrementalMF(n_factors=4),drift_stream(20_000, n_users=60, n_items=50, seed=1)
    class Slow(type(m)):
        def sweep(self, *args, **kw):
            import threading
            def change():
                try: self.set_params(n_factors=16)
                except ValueError as e: refused.append(str(e))
            self.other = threading.Thread(target=change)
            self.other.start()
            super().sweep(*args, **kw)
    refused,slow = [],Slow(n_factors=4)
    slow.partial_fit(stream)
    slow.other.join()
    assert refused and slow.n_factors==4

def test_the_scale_that_was_given_is_kept():
    m = IncrementalMF(n_factors=2, rating_range=(0, 10))
    with pytest.raises(ValueError, match='one scale'): m.partial_fit(Stream(dict(user=[1, 2], item=[1, 2], rating=[1., 5.])))
    with pytest.raises(ValueError, match='remedies'):
        r = RunningMean().partial_fit(dict(user=[1], item=[1]), [3.])
        r.remedies = (1,)


def test_a_class_that_the_reader_defines_goes_before_the_package_s():
    "Also when the package's module, which has a class of that name, was not imported yet."
    python('-c', """
from recinc_nb.learner import IdLearner, Learner, find_class
class ItemItem(IdLearner): pass
assert find_class(Learner, 'ItemItem') is ItemItem
import recinc_nb
assert recinc_nb.ItemItem is not ItemItem
assert find_class(Learner, 'BPRMF') is recinc_nb.BPRMF
""")
