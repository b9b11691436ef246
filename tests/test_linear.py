"""What the neuron promises: any cutting is the same bits, save and resume, hashing that no process changes, scikit-learn and river, bad input."""
import json, os, threading, warnings
import numpy as np, pandas as pd, pytest
from hypothesis import given, settings, strategies as st
from scipy import sparse
from sklearn.base import clone
from sklearn.linear_model import SGDClassifier, SGDRegressor
from helpers import python, root
from recinc_nb.learner import Learner
from recinc_nb.linear import IncrementalLinear, IncrementalLogistic, hash_features
from recinc_nb.protocol import prequential
from recinc_nb.streams import Stream
from recinc_nb.worlds import drift_stream

few = settings(max_examples=30)
LEARNERS = {'linear': IncrementalLinear(lr=.1, intercept=3.), 'logistic': IncrementalLogistic(lr=.3), 'logistic, l2': IncrementalLogistic(lr=.2, l2=.1, n_features=64),
            'linear, one weight': IncrementalLinear(lr=.05, n_features=1)}
every = pytest.mark.parametrize('name', LEARNERS)
simple = st.one_of(st.integers(-2**70, 2**70), st.text(max_size=3), st.booleans(), st.sampled_from([0, 1, '0', '1', True, False]))
ids = st.recursive(simple, lambda o: st.tuples(o, o), max_leaves=3)
events = st.lists(st.tuples(ids, ids, st.integers(1, 5)), min_size=1, max_size=30)
labelled = lambda m, r: [float(o>=4) if m.target=='label' else float(o) for o in r]

def table(rows, m):
    user,item,r = zip(*rows) if rows else ((), (), ())
    return dict(user=list(user), item=list(item)), labelled(m, r)

def state(m): return getattr(m, 'weights_', np.zeros(0)).tobytes(), getattr(m, 'intercept_', np.zeros(0)).tobytes(), getattr(m, 'kind_', None)


@every
@few
@given(rows=events, cuts=st.lists(st.integers(0, 30), max_size=4))
def test_any_way_of_cutting_is_the_same_bit_for_bit(name, rows, cuts):
    whole,cut,single = (clone(LEARNERS[name]) for _ in range(3))
    X,y = table(rows, whole)
    fused = whole.predict_learn(X, y)
    edges = [0, *sorted(min(c, len(rows)) for c in cuts), len(rows)] # empty batches too
    for a,b in zip(edges, edges[1:]): cut.partial_fit(*table(rows[a:b], cut))
    dicts = [dict(user=u, item=i) for u,i,_ in rows]
    loop = [(single.predict_one(x), single.learn_one(x, t))[0] for x,t in zip(dicts, y)]
    np.testing.assert_array_equal(loop, fused, strict=True)
    assert state(whole)==state(cut)==state(single)
    np.testing.assert_array_equal(whole.predict(X), whole.predict(dicts), strict=True)


@every
@few
@given(rows=events, at=st.integers(0, 30))
def test_saved_and_resumed_is_never_having_stopped(name, rows, at, tmp_path_factory):
    m,whole = clone(LEARNERS[name]),clone(LEARNERS[name])
    expected = whole.predict_learn(*table(rows, whole))[at:]
    m.partial_fit(*table(rows[:at], m))
    folder = tmp_path_factory.mktemp('m')
    m.save_pretrained(folder)
    back = type(m).from_pretrained(folder)
    assert back.get_params()==m.get_params() and state(back)==state(m)
    np.testing.assert_array_equal(back.predict_learn(*table(rows[at:], m)), expected, strict=True)
    assert state(back)==state(whole)


def test_resumed_in_a_new_process_with_another_hash_seed(tmp_path):
    s = drift_stream(2_000, n_users=60, n_items=50, seed=1)
    whole = IncrementalLogistic(l2=.01, columns=['user', 'item', 'taste'])
    taste = s.events.assign(taste=[(u, 'x') for u in s.events['user']])
    expected = whole.predict_learn(taste)[1_000:]
    clone(whole).partial_fit(taste.iloc[:1_000]).save_pretrained(tmp_path/'m')
    python('-c', f"""
import numpy as np
from recinc_nb.learner import Learner
from recinc_nb.linear import IncrementalLogistic
from recinc_nb.worlds import drift_stream
e = drift_stream(2_000, n_users=60, n_items=50, seed=1).events
m = IncrementalLogistic.from_pretrained({str(tmp_path/'m')!r}, columns=('user', 'item', 'taste'))
np.save({str(tmp_path/'p.npy')!r}, m.predict_learn(e.assign(taste=[(u, 'x') for u in e['user']]).iloc[1_000:]))
m.save_pretrained({str(tmp_path/'m')!r})
""", env={**os.environ, 'PYTHONHASHSEED': '77', 'PYTHONPATH': str(root)})
    np.testing.assert_array_equal(np.load(tmp_path/'p.npy'), expected, strict=True)
    assert state(IncrementalLogistic.from_pretrained(tmp_path/'m'))==state(whole)


def test_hashing_is_the_same_in_every_process():
    values = [1, '1', True, (1, 'a'), (True, 'a'), 'ä', -2**70, '']
    code = f"from recinc_nb.linear import hash_features as h; x = h([dict(user=o) for o in {values!r}]); print([x.indices.tolist(), x.data.tolist()])"
    out = {python('-c', code, env={**os.environ, 'PYTHONHASHSEED': seed, 'PYTHONPATH': str(root)}) for seed in ('0', '1', '2')}
    x = hash_features([dict(user=o) for o in values])
    assert out=={f'{[x.indices.tolist(), x.data.tolist()]}\n'} and len(set(x.indices.tolist()))==len(values)


@few
@given(st.lists(st.tuples(ids, ids, st.floats(-1e6, 1e6)), min_size=1, max_size=20), st.sampled_from([1, 7, 2**10, 2**18]))
def test_hashing_rows_dicts_and_tables_agree(rows, m):
    u,i,a = zip(*rows)
    x = hash_features(dict(user=list(u), item=list(i), age=list(a)), m, ('user', 'item', 'age'))
    d = hash_features([dict(user=p, item=q, age=r) for p,q,r in rows], m)
    assert x.shape==d.shape==(len(rows), m) and (x!=d).nnz==0 and x.has_canonical_format
    again = hash_features([dict(user=u[0], item=i[0], age=a[0])], m)
    assert (again!=x[0]).nnz==0 # what came before does not matter


def test_numpy_and_pandas_columns_are_python_values():
    columns = dict(user=[1, 2, 3], item=['a', 'b', 'a'])
    x = hash_features(columns)
    df = pd.DataFrame(columns)
    for o in (df, df.astype(dict(item='category')), df.astype(dict(user='Int64')), df.astype(object), {k: v.to_numpy() for k,v in df.items()},
              [dict(user=np.int64(u), item=np.str_(i)) for u,i in zip(*columns.values())], Stream(df.assign(rating=3.))):
        assert (hash_features(o)!=x).nnz==0
    from datasets import Dataset
    assert (hash_features(Dataset.from_dict(columns))!=x).nnz==0 and (hash_features(Dataset.from_dict(columns)[:])!=x).nnz==0


@few
@given(st.integers(0, 2**32-1), st.integers(1, 8), st.floats(1e-3, .1), st.sampled_from([0., 1e-4, .5]))
def test_the_same_as_sklearn_on_dense_rows(seed, d, lr, l2):
    rng = np.random.default_rng(seed)
    X,y = rng.normal(size=(60, d)), rng.integers(0, 2, 60)
    stars = X@rng.normal(size=d) + 3 + rng.normal(size=60)
    k = dict(learning_rate='constant', eta0=lr, alpha=l2, shuffle=False, penalty='l2' if l2 else None)
    for ours,theirs in ((IncrementalLinear(lr=lr, l2=l2).partial_fit(X, stars), SGDRegressor(**k).partial_fit(X, stars)),
                        (IncrementalLogistic(lr=lr, l2=l2).partial_fit(X, y), SGDClassifier(loss='log_loss', average=False, **k).partial_fit(X, y, classes=[0, 1]))):
        np.testing.assert_allclose(ours.weights_, theirs.coef_.ravel(), rtol=0, atol=1e-10, strict=True)
        np.testing.assert_allclose(ours.intercept_, theirs.intercept_, rtol=0, atol=1e-10, strict=True)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=0, atol=1e-10, strict=True)


@few
@given(st.integers(0, 2**32-1))
def test_dense_and_sparse_rows_are_the_same_without_a_penalty(seed):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(30, 5))*(rng.random((30, 5))<.4)
    y = rng.random(30)
    a,b,c = (IncrementalLogistic(lr=.1).partial_fit(o, y) for o in (X, sparse.csr_matrix(X), sparse.coo_matrix(X)))
    np.testing.assert_array_equal(a.weights_, b.weights_, strict=True)
    assert state(b)==state(c)


def test_duplicate_and_unsorted_entries_are_one():
    messy = sparse.csr_matrix((np.array([1., 2., 3.]), np.array([2, 0, 2]), np.array([0, 3])), shape=(1, 3))
    a,b = (IncrementalLinear(lr=.1, l2=.5).partial_fit(o, [1.]).partial_fit(o, [1.]) for o in (messy, sparse.csr_matrix([[2., 0., 4.]])))
    assert state(a)==state(b) and messy.nnz==3 # the caller's matrix is left alone


def test_penalty_pulls_on_what_the_event_names_alone():
    m = IncrementalLinear(lr=.1, l2=1.).partial_fit([dict(a='x', b='y')], [5.])
    before = m.weights_.copy()
    m.partial_fit([dict(a='z')], [5.])
    moved = np.flatnonzero(m.weights_!=before)
    assert moved.tolist()==hash_features([dict(a='z')]).indices.tolist()


def test_the_same_as_river():
    linear_model = pytest.importorskip('river.linear_model')
    from river import optim
    rng = np.random.default_rng(0)
    X,names = rng.normal(size=(400, 4)), ['a', 'b', 'c', 'd']
    y,stars = rng.random(400)<.4, X@rng.normal(size=4) + rng.normal(size=400)
    ours,theirs = IncrementalLogistic(lr=.05), linear_model.LogisticRegression(optim.SGD(.05), intercept_lr=.05)
    lin,river = IncrementalLinear(lr=.02), linear_model.LinearRegression(optim.SGD(.01), intercept_lr=.01) # river's squared loss has no half
    for x,t,s in zip(X, y, stars):
        x = dict(zip(names, map(float, x)))
        assert ours.predict_one(x)==pytest.approx(theirs.predict_proba_one(x).get(True, .5), abs=1e-10)
        assert lin.predict_one(x)==pytest.approx(river.predict_one(x), abs=1e-10)
        ours.learn_one(x, t), theirs.learn_one(x, bool(t)), lin.learn_one(x, s), river.learn_one(x, s)


@every
def test_the_table_is_all_kinds_of_table(name):
    from datasets import Dataset
    e = drift_stream(200, n_users=20, n_items=15, seed=4).events
    columns = {o: e[o].tolist() for o in ('user', 'item', 'rating', 'label')}
    states = {state(clone(LEARNERS[name]).partial_fit(o)) for o in (Stream(e), e, columns, {o: e[o].to_numpy() for o in columns}, Dataset.from_dict(columns))}
    assert len(states)==1


@every
def test_prequential_takes_the_sweep_and_the_batches(name):
    s = drift_stream(3_000, n_users=30, n_items=20, seed=3)
    fused = prequential(clone(LEARNERS[name]), s).frame['pred']
    np.testing.assert_array_equal(fused, clone(LEARNERS[name]).predict_learn(s))
    assert np.isfinite(prequential(clone(LEARNERS[name]), s, batch_size=100).frame['pred']).all()


@every
def test_strangers_add_nothing_and_weights_never_grow(name):
    m = clone(LEARNERS[name])
    prior = .5 if m.target=='label' else m.intercept
    assert m.predict_one(dict(user='who', item='what'))==prior
    assert m.predict(np.zeros((2, 3))).tolist()==[prior]*2 and not m.predict(dict(user=[], item=[])).size
    m.partial_fit(drift_stream(500, seed=2))
    assert len(m.weights_)==m.n_features
    before = state(m)
    if m.n_features>1_000:
        base = m.predict_one({})
        assert m.predict_one(dict(user='who', item='what'))==base==m.predict(dict(user=['never'], item=['met']))[0]
    m.partial_fit(dict(user=[], item=[]), [])
    m.predict(drift_stream(50, seed=9))
    assert state(m)==before


BAD = {
    'no table': (7, [1.], TypeError, 'pass a Stream'), 'list of lists': ([[1, 2]], [1.], TypeError, 'one dict per event'),
    'no user': (dict(item=[1]), [1.], KeyError, 'no column user'), 'lengths': (dict(user=[1, 2], item=[1]), [1.], ValueError, 'differ in length'),
    'y too long': (dict(user=[1], item=[1]), [1., 0.], ValueError, 'differ in length'), 'y nan': (dict(user=[1], item=[1]), [np.nan], ValueError, 'nan in row 0'),
    'y inf': (dict(user=[1], item=[1]), [np.inf], ValueError, 'inf in row 0'), 'y text': (dict(user=[1], item=[1]), ['a'], ValueError, 'not a number'),
    'y missing': (dict(user=[1], item=[1]), None, KeyError, 'no column'), 'user None': (dict(user=[1, None], item=[1, 1]), [1., 1.], ValueError, 'missing'),
    'user nan': (dict(user=[np.nan], item=[1]), [1.], ValueError, 'missing'), 'user float': (dict(user=[1.], item=[1]), [1.], ValueError, 'ids are ints'),
    'user in dict None': ([dict(user='a'), dict(user=None)], [1., 1.], ValueError, r'user is missing.*row 1'), 'nan in dict': ([dict(age=np.nan)], [1.], ValueError, 'age is nan'),
    'inf in dict': ([dict(age=np.inf)], [1.], ValueError, 'age is inf'), 'list in dict': ([dict(a=[1])], [1.], TypeError, 'categories are'),
    'None in tuple': ([dict(a=(1, None))], [1.], ValueError, 'missing'), 'list as user': (dict(user=['x', [1]], item=[1, 2]), [1., 1.], TypeError, 'categories are'),
    'X nan': (np.array([[1., np.nan]]), [1.], ValueError, r'nan in row 0, column 1'), 'X inf': (np.array([[0.], [np.inf]]), [1., 1.], ValueError, 'inf in row 1'),
    'sparse nan': (sparse.csr_matrix([[0., 0.], [0., np.nan]]), [1., 1.], ValueError, 'nan in row 1, column 1'), 'X text': (np.array([['a']]), [1.], ValueError, 'no number'),
    'X one-dimensional': (np.ones(3), [1.], ValueError, r'shape \(3,\)'), 'X no columns': (np.ones((3, 0)), [1.]*3, ValueError, 'no columns'), 'X three-dimensional': (np.ones((1, 1, 1)), [1.], ValueError, 'shape'),
    'array without y': (np.ones((1, 2)), None, ValueError, 'no y came'), 'dicts without y': ([dict(a=1)], None, ValueError, 'no y came'), 'array and y': (np.ones((2, 2)), [1.], ValueError, 'differ in length'),
    'y as a column': (np.ones((2, 2)), np.ones((2, 1)), ValueError, 'shape'),
}

@every
@pytest.mark.parametrize('bad', BAD)
def test_bad_input_is_met_at_the_door(name, bad):
    X,y,exc,why = BAD[bad]
    m = clone(LEARNERS[name])
    for begun in (False, True):
        if begun: m.partial_fit(dict(user=[1, 'a'], item=[2, (3, 'b')]), [1., 0.])
        array = isinstance(X, np.ndarray) or sparse.issparse(X)
        before = state(m) if begun else None
        for f in (m.partial_fit, m.predict_learn):
            with pytest.raises(exc, match=None if begun and array else why): f(X, y)
        if begun: assert state(m)==before
        else: assert not getattr(m, 'weights_', np.zeros(0)).size


@pytest.mark.parametrize('y', [[4.], [-.1], [1.0001]])
def test_labels_outside_0_1(y):
    with pytest.raises(ValueError, match='labels run from'): IncrementalLogistic().partial_fit(dict(user=[1], item=[1]), y)
    with pytest.raises(ValueError, match='labels run from'): IncrementalLogistic().learn_one(dict(user=1), y[0])
    IncrementalLogistic().partial_fit(dict(user=[1, 2], item=[1, 1]), [.3, True]) # soft labels and bools are labels


@pytest.mark.parametrize('params, why', [(dict(lr=-.1), 'lr is -0.1'), (dict(lr=0), 'lr is 0'), (dict(lr=np.nan), 'lr is nan'), (dict(lr=np.inf), 'lr is inf'), (dict(l2=-1.), 'l2 is -1'),
    (dict(lr=.5, l2=2.), 'less than 1/lr'), (dict(n_features=0), 'n_features is 0'), (dict(n_features=2.5), 'n_features is 2.5'), (dict(n_features=2**31), 'whole number'),
    (dict(columns='user'), "columns is 'user'"), (dict(columns=()), 'columns is'), (dict(columns=('user', 'user')), 'each once'), (dict(intercept=np.nan), 'intercept is nan')])
def test_bad_settings(params, why, tmp_path):
    for cls in (IncrementalLinear, IncrementalLogistic):
        for f in (lambda m: m.partial_fit(dict(user=[1], item=[1]), [1.]), lambda m: m.predict(np.ones((1, 2))), lambda m: m.learn_one(dict(a=1), 1.), lambda m: m.save_pretrained(tmp_path/'x')):
            with pytest.raises(ValueError, match=why): f(cls(**params))


def test_a_learner_keeps_to_what_it_began_with():
    m = IncrementalLinear().partial_fit(np.ones((2, 3)), [1., 2.])
    for X in (np.ones((1, 4)), dict(user=[1], item=[1]), [dict(a=1)]):
        for f in (m.predict, lambda X: m.partial_fit(X, [1.])):
            with pytest.raises(ValueError, match='begun with 3 array'): f(X)
    with pytest.raises(ValueError, match='begun with 64 hashed'): IncrementalLinear(n_features=64).partial_fit([dict(a=1)], [1.]).predict(np.ones((1, 64)))
    assert IncrementalLinear().partial_fit(np.ones((0, 3)), []).partial_fit(np.ones((1, 2)), [1.]).weights_.shape==(2,) # an empty batch began nothing


def test_one_event_is_a_dict():
    for f in (lambda m: m.learn_one('user', 1.), lambda m: m.predict_one(7)):
        with pytest.raises(TypeError, match='dict'): f(IncrementalLogistic())
    with pytest.raises(ValueError, match='nan in row 0'): IncrementalLinear().learn_one(dict(a=1), np.nan)
    with pytest.raises(KeyError, match='no column age'): hash_features(dict(user=[1], item=[1]), columns=('age',))


def test_overflow_is_an_error():
    with pytest.raises(FloatingPointError, match='lower lr'): IncrementalLinear(lr=5.).partial_fit(np.ones((2_000, 3)), np.ones(2_000))


def test_checkpoints_of_others_and_contradictions(tmp_path):
    IncrementalLogistic(lr=np.float64(.2)).save_pretrained(tmp_path/'m') # before anything was learned
    assert IncrementalLogistic.from_pretrained(tmp_path/'m', lr=.2).predict_one(dict(a=1))==.5
    with pytest.raises(ValueError, match="belongs to 'IncrementalLogistic'"): IncrementalLinear.from_pretrained(tmp_path/'m')
    for bad in (dict(lr=.3), dict(columns=('user',)), dict(nothing=1)):
        with pytest.raises(ValueError, match='you asked for'): IncrementalLogistic.from_pretrained(tmp_path/'m', **bad)
    with pytest.raises(FileExistsError): IncrementalLinear().save_pretrained(tmp_path/'m')
    with pytest.raises(FileNotFoundError): IncrementalLinear.from_pretrained(tmp_path/'nowhere')
    assert json.loads((tmp_path/'m'/'config.json').read_text())['params']['n_features']==2**18


@pytest.mark.parametrize('name', ['linear', 'logistic'])
def test_a_checkpoint_of_the_code_before_the_base_goes_on_bit_for_bit(name):
    folder = root/'tests/data/old'/name
    then = json.loads((folder/'goes_on.json').read_text())
    m = Learner.from_pretrained(folder)
    assert type(m) is {'linear': IncrementalLinear, 'logistic': IncrementalLogistic}[name] and m.n_>0 and m.columns==('user', 'item')
    before = state(m)
    m.set_params(lr=m.lr) # nothing that was learned is lost
    assert state(m)==before and m.predict_learn(then['next']).tolist()==then['predictions']


def test_what_can_change_changes_at_once_and_is_saved(tmp_path):
    s = drift_stream(400, n_users=20, n_items=15, seed=4)
    m = IncrementalLogistic(n_features=64).partial_fit(s[:200])
    slow = IncrementalLogistic(n_features=64, lr=.7, l2=.1)
    slow.ready()
    slow.weights_,slow.intercept_,slow.kind_ = m.weights_.copy(),m.intercept_.copy(),'hashed'
    m.set_params(lr=.7, l2=.1).save_pretrained(tmp_path)
    back = IncrementalLogistic.from_pretrained(tmp_path)
    expected = slow.predict_learn(s[200:])
    for o in (m, back): np.testing.assert_array_equal(o.predict_learn(s[200:]), expected, strict=True)
    for name,x in dict(n_features=128, columns=('item',), intercept=1., rating_range=(0, 1)).items():
        with pytest.raises(ValueError, match=f'{name} cannot change'): m.set_params(**{name: x})
    with pytest.raises(ValueError, match='less than 1/lr'): m.set_params(l2=2.)
    assert (m.lr, m.l2, m.n_)==(.7, .1, 400)


@pytest.mark.parametrize('kind', ['log', 'squared'])
def test_weights_are_those_of_sklearn(kind):
    rng = np.random.default_rng(0)
    X,w = rng.normal(size=(80, 4)),rng.uniform(0, 3, 80)*(rng.random(80)<.8)
    y = (rng.random(80)<.5).astype(float)
    k = dict(learning_rate='constant', eta0=.05, shuffle=False, penalty=None)
    ours = (IncrementalLogistic if kind=='log' else IncrementalLinear)(lr=.05).partial_fit(X, y, sample_weight=w)
    theirs = SGDClassifier(loss='log_loss', **k).partial_fit(X, y, classes=[0, 1], sample_weight=w) if kind=='log' else SGDRegressor(**k).partial_fit(X, y, sample_weight=w)
    np.testing.assert_allclose(ours.weights_, theirs.coef_.ravel(), rtol=0, atol=1e-10)
    m = IncrementalLinear(l2=.1)
    for bad,why in (([1.], 'shape'), (['1', '2'], 'not a number'), ([1., -1.], 'at least 0'), ([1., np.nan], 'at least 0'), ([1., 300.], 'stay below 1')):
        with pytest.raises(ValueError, match=why): m.partial_fit(X[:2], y[:2], sample_weight=bad)
    assert m.n_==0 and not m.weights_.size


def test_an_event_of_weight_0_is_none_and_the_penalty_is_weighted_too():
    s = drift_stream(60, n_users=9, n_items=8, seed=4)
    m = IncrementalLinear(l2=.5, lr=.1, n_features=64).partial_fit(s, sample_weight=np.arange(60)<40)
    assert state(m)==state(IncrementalLinear(l2=.5, lr=.1, n_features=64).partial_fit(s[:40]))
    twice = IncrementalLinear(l2=.5, lr=.1, n_features=64).partial_fit(s, sample_weight=np.full(60, 2.))
    np.testing.assert_allclose(twice.weights_, IncrementalLinear(l2=.5, lr=.2, n_features=64).partial_fit(s).weights_, rtol=1e-12)


@pytest.mark.parametrize('age,exc,why', [
    (pd.array([1, None], dtype='Int64'), ValueError, r'age is missing.*\(row 1\)'), (pd.array([.5, None], dtype='Float64'), ValueError, r'age is missing.*\(row 1\)'),
    (pd.array([True, None], dtype='boolean'), ValueError, r'age is missing.*\(row 1\)'), (pd.to_datetime(['2020-01-01', '2021-01-01']), TypeError, 'age holds times'),
    (np.array(['2020-01-01', 'NaT'], dtype='datetime64[ns]'), TypeError, 'age holds times'), ([pd.Timestamp('2020-01-01')]*2, TypeError, r'age is the time 2020.*\(row 0\)'),
    ([1., pd.NaT], ValueError, r'age is missing.*\(row 1\)'), ([1j, 2.], TypeError, 'age is 1j'), (np.ones((2, 2)), TypeError, 'categories are'), ('ab', TypeError, 'not a column')])
def test_cells_that_are_no_feature_are_named_with_row_and_column(age, exc, why):
    m = IncrementalLinear(columns=('user', 'item', 'age'))
    with pytest.raises(exc, match=why): m.partial_fit(dict(user=[1, 2], item=[1, 2], age=age), [1., 2.])
    assert m.n_==0


@pytest.mark.parametrize('y', [np.array([1j, 2]), np.array(['1', '2'], dtype=object), [None, 1.], pd.array([1, None], dtype='Int64')])
def test_targets_that_are_no_number(y):
    for X in (np.ones((2, 3)), dict(user=[1, 2], item=[1, 2]), [dict(a=1.), dict(a=2.)]):
        with pytest.raises(ValueError, match='number|missing|nan'): IncrementalLinear().partial_fit(X, y)
    for X in (np.ones((2, 3))*1j, sparse.csr_matrix(np.ones((2, 3))*1j), np.array([['2020-01-01']], dtype='datetime64[s]')):
        with pytest.raises(ValueError, match='which is no number'): IncrementalLinear().partial_fit(X, [1., 2.][:X.shape[0]])


def test_a_kind_of_value_that_is_new_in_a_column_is_said_once(tmp_path):
    m = IncrementalLinear(columns=('user', 'item', 'hour')).partial_fit(dict(user=[1], item=[1], hour=[24]), [3.])
    with pytest.warns(UserWarning, match=r'hour 24.0 is a float \(a number\), but there is also an integer'): m.predict(dict(user=[1], item=[1], hour=[24.]))
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        m.partial_fit(dict(user=[1], item=[1], hour=[24.]), [3.])
    m.save_pretrained(tmp_path)
    back = IncrementalLinear.from_pretrained(tmp_path)
    with pytest.warns(UserWarning, match="user '1' is a string, but there is also an integer"): back.predict_one(dict(user='1', item=1, hour=24))
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        back.predict(dict(user=['1'], item=[1], hour=[24]))
        hash_features(dict(user=np.array([1, 2]), item=pd.Series(['a', 'b'])))


def test_a_table_needs_no_more_than_its_columns():
    t = dict(age=[1., 2., 3.], rating=[1., 2., 3.])
    a,b = IncrementalLinear(columns=('age',)).partial_fit(t),IncrementalLinear(columns=('age',)).partial_fit(pd.DataFrame(t).to_records(index=False))
    c = IncrementalLinear(columns=('age',)).partial_fit(dict(age=t['age']), t['rating'])
    assert state(a)==state(b)==state(c)
    with pytest.raises(KeyError, match='no column rating; got age'): a.partial_fit(dict(age=[1.]))
    with pytest.raises(KeyError, match='no column user; got age'): IncrementalLinear().partial_fit(dict(age=[1.]), [1.])


def test_the_scale_of_a_stream(tmp_path):
    s = drift_stream(300, n_users=20, n_items=15, seed=4)
    percent = Stream(s.events.assign(rating=(s.events['rating']-1)*25), rating_range=(0, 100))
    learned = IncrementalLinear(intercept=3.)
    stars = learned.predict_learn(s)
    for m in (IncrementalLinear(intercept=3.), IncrementalLinear(intercept=3., rating_range=(0, 100))):
        np.testing.assert_allclose(m.predict_learn(percent), (stars-1)*25, rtol=1e-9)
        np.testing.assert_allclose(m.predict(percent), (learned.predict(s)-1)*25, rtol=1e-9)
        m.save_pretrained(tmp_path/'m')
        back = IncrementalLinear.from_pretrained(tmp_path/'m')
        np.testing.assert_array_equal(back.predict_learn(percent.events), m.predict_learn(percent.events), strict=True)
        with pytest.raises(ValueError, match='one scale'): m.partial_fit(s)
    plain = IncrementalLinear().partial_fit(dict(user=[1], item=[1]), [77.]) # any numbers, as they are
    assert plain.predict_one(dict(user=1, item=1))==pytest.approx(3*.05*77) and plain.partial_fit(s).n_==301
    with pytest.raises(ValueError, match='one scale'): plain.partial_fit(percent)


def test_threads_do_not_tear_it():
    m,s = IncrementalLogistic(n_features=64),drift_stream(2_000, n_users=20, n_items=15, seed=4)
    threads = [threading.Thread(target=m.partial_fit, args=(s[a:a+500],)) for a in range(0, 2_000, 500)]
    for o in threads: o.start()
    for o in threads: o.join()
    assert m.n_==2_000 and np.isfinite(m.weights_).all()


@pytest.mark.parametrize('make', [IncrementalLinear, IncrementalLogistic])
def test_a_weight_lengthens_the_step_and_the_decay(make):
    rng = np.random.default_rng(0)
    X,c = rng.normal(size=(40, 3)),rng.uniform(0, 3, 40)
    y = (X[:,0]>0)*1.
    m,w,b,said = make(lr=.1, l2=.3),np.zeros(3),0.,[]
    for x,t,k in zip(X, y, c):
        s = x@w + b
        said.append(1/(1+np.exp(-s)) if make is IncrementalLogistic else s)
        w,b = w - .1*k*((said[-1]-t)*x + .3*w),b - .1*k*(said[-1]-t)
    np.testing.assert_allclose(m.predict_learn(X, y, sample_weight=c), said, rtol=1e-9)
    np.testing.assert_allclose([*m.weights_, m.intercept_[0]], [*w, b], rtol=1e-9)
