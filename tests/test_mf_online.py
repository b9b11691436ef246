"""`IncrementalMF`: the short ways equal the long one to the last bit, and a memory with a limit equals a simple model of it."""
import copy, math, pickle
import numpy as np, pytest
from hypothesis import given, settings, strategies as st
from sklearn.base import clone
from helpers import state, table
from recinc_nb import IncrementalMF, drift_stream, learner, mf_online
from recinc_nb.learner import IdLearner, Remedy
from recinc_nb.streams import _key

LEARNERS = {'squared': IncrementalMF(n_factors=5, init_std=.3), 'logistic': IncrementalMF(n_factors=3, loss='logistic', init_std=.3),
            'no factors': IncrementalMF(n_factors=0), '32': IncrementalMF(seed=4), 'no log': IncrementalMF(n_factors=17, remember_seen=False)}
every = pytest.mark.parametrize('name', LEARNERS)
few = settings(max_examples=25)
POOL = [0, 1, 2, 3, -1, 2**70, '0', '1', 'a', '', True, False, (1, 2), ('a', (1, True)), np.int64(1), np.int32(7), np.str_('1')]
ids = st.sampled_from(POOL)
events = st.lists(st.tuples(ids, ids, st.integers(1, 5)), min_size=1, max_size=40)


def same_bits(a, b): assert np.float64(a).tobytes()==np.float64(b).tobytes()


# ---- the short ways ----
def renewed(m, how, folder):
    if how=='saved':
        m.save_pretrained(folder)
        return IncrementalMF.from_pretrained(folder)
    return dict(nothing=lambda o: o, deepcopy=copy.deepcopy, pickle=lambda o: pickle.loads(pickle.dumps(o)))[how](m)

@every
@few
@given(rows=events, at=st.integers(0, 40), how=st.sampled_from(['nothing', 'deepcopy', 'pickle', 'saved']))
def test_one_event_by_address_is_one_event_of_a_table(name, rows, at, how, tmp_path_factory):
    short,long = clone(LEARNERS[name]),clone(LEARNERS[name])
    y = table(rows, short.target)[1]
    for n,((u, i, _), t) in enumerate(zip(rows, y)):
        if n==at: short = renewed(short, how, tmp_path_factory.mktemp('m'))
        expected = long.predict(table([(u, i, 1)])[0])[0]
        same_bits(short.predict_one(u, i), expected)
        same_bits(IdLearner.predict_one(long, u, i), expected)
        short.learn_one(u, i, t)
        long.partial_fit(table([(u, i, 1)])[0], [t])
    assert state(short)==state(long)
    for u in POOL: same_bits(short.predict_one(u, 1), IdLearner.predict_one(long, u, 1))

def test_the_short_way_is_taken_and_no_other_code_runs(monkeypatch):
    m = IncrementalMF(n_factors=4).partial_fit(drift_stream(200, n_users=9, n_items=9, seed=1)).learn_one('one', 'two', 4.) # makes room
    other = copy.deepcopy(m)
    def refuse(*args): raise AssertionError('the long way')
    monkeypatch.setattr(IdLearner, 'learn_one', refuse)
    monkeypatch.setattr(IdLearner, 'predict_one', refuse)
    m.learn_one(0, 1, 4.)
    assert 1<m.predict_one(0, 1)<5 and 1<m.predict_one('who', 1)<5
    m.learn_one('new', 1, 4.)
    for call in (lambda: m.learn_one(True, 1, 4.), lambda: m.predict_one(0, (1, 2)), lambda: m.learn_one(0, 1, math.nan)):
        with pytest.raises(AssertionError, match='the long way'): call()
    with pytest.raises(AssertionError, match='the long way'): other.learn_one(0, 1, 4.) # a copy has to find its own tables first

@every
@pytest.mark.parametrize('how', ['deepcopy', 'pickle'])
def test_a_copy_learns_in_tables_of_its_own(name, how, tmp_path):
    stream = drift_stream(300, n_users=9, n_items=9, seed=1)
    m = clone(LEARNERS[name]).partial_fit(stream)
    before,other = state(m),renewed(m, how, tmp_path)
    for n in range(40): other.learn_one(n%11, n%10, 1.) # 9 and 10 are new, so tables grow, and the copy takes the short way
    assert state(m)==before!=state(other)
    m.learn_one(0, 0, 1.)
    twin = renewed(other, how, tmp_path)
    for o in (other, twin): o.learn_one(3, 3, 0.)
    assert state(other)==state(twin)
    assert not hasattr(clone(m), 'users_') and clone(m)._short is None

def test_growth_between_two_short_calls():
    short,long = IncrementalMF(n_factors=6),IncrementalMF(n_factors=6)
    rng = np.random.default_rng(0)
    for n in range(300): # the tables move again and again
        for u,i in ((n, f'{n}'), (int(rng.integers(0, n+1)), f'{rng.integers(0, n+1)}')):
            short.learn_one(u, i, 4.)
            IdLearner.learn_one(long, u, i, 4.)
    assert state(short)==state(long)

@every
@few
@given(y=st.one_of(st.floats(), st.sampled_from([2., -.1, math.nan, math.inf, -math.inf, None, 'x', [1.]])), known=st.booleans())
def test_a_y_that_cannot_be_learned_changes_nothing(name, y, known):
    m = clone(LEARNERS[name]).partial_fit(drift_stream(60, n_users=5, n_items=5, seed=2))
    before,user = state(m),0 if known else 'new'
    good = isinstance(y, float) and math.isfinite(y) and (m.target=='rating' or 0<=y<=1)
    if good and abs(y)>1e6: return
    if good:
        m.learn_one(user, 1, y)
        assert state(m)!=before
    else:
        with pytest.raises((ValueError, TypeError)): m.learn_one(user, 1, y)
        assert state(m)==before

def test_a_short_call_says_an_overflow_aloud():
    m,long = IncrementalMF(),IncrementalMF()
    def blow_up(learn):
        for n in range(100): learn(1, 1, 1e38*(-1)**n)
    with pytest.raises(FloatingPointError, match='learn_one.*lower the step size'): blow_up(m.learn_one)
    with pytest.raises(FloatingPointError, match='learn_one.*lower the step size'): blow_up(lambda *o: IdLearner.learn_one(long, *o))
    assert state(m)==state(long)
    np.testing.assert_equal(m.predict_one(1, 1), IdLearner.predict_one(long, 1, 1))

@pytest.mark.parametrize('fails_at', [1, 3, 4, 6])
@pytest.mark.parametrize('max_rows', [None, 50])
def test_no_room_in_the_middle_leaves_nothing_behind(monkeypatch, fails_at, max_rows):
    m = IncrementalMF(n_factors=3, max_rows=max_rows).partial_fit(drift_stream(60, n_users=5, n_items=5, seed=2))
    before,calls,grow = state(m),[],learner.grow_rows
    def full(table, n):
        calls.append(n)
        if len(calls)==fails_at: raise MemoryError
        return grow(table, n)
    for module in (mf_online, learner): monkeypatch.setattr(module, 'grow_rows', full)
    with pytest.raises(MemoryError): m.partial_fit(dict(user=range(100, 140), item=range(200, 240)), np.ones(40))
    assert state(m)==before
    twin = copy.deepcopy(m)
    m.learn_one(0, 0, 5.)
    twin.learn_one(0, 0, 5.)
    assert state(m)==state(twin)!=before and m.predict_one(0, 0)==twin.predict_one(0, 0)


# ---- the list of the best ----
@every
@few
@given(seed=st.integers(0, 9), k=st.one_of(st.integers(1, 40), st.sampled_from([1_000, 1_001, 10**6])), exclude=st.booleans(), user=st.sampled_from([0, 3, 'who']))
def test_recommend_is_a_sort_of_all_scores(name, seed, k, exclude, user):
    m = clone(LEARNERS[name]).partial_fit(drift_stream(300, n_users=20, n_items=30, seed=seed))
    if exclude and not m.remember_seen: return
    scores = m.score_items(user)
    left = np.setdiff1d(np.arange(len(scores)), m.seen(user)) if exclude else np.arange(len(scores))
    expected = left[np.argsort(-scores[left], kind='stable')][:k]
    assert m.recommend(user, k=k, exclude_seen=exclude)==[(m.items_.ids[n], scores[n]) for n in expected]

def test_more_than_a_thousand_items():
    m = IncrementalMF(n_factors=8, init_std=.5)
    for n in range(3): m.partial_fit(dict(user=np.arange(2_500)%40, item=np.arange(2_500)), np.random.default_rng(n).integers(1, 6, 2_500))
    for user in (0, 17):
        scores = m.score_items(user)
        scores[m.seen(user)] = -np.inf
        for k in (1, 10, 999, 1_000, 1_001): assert m.recommend(user, k=k)==[(n, scores[n]) for n in np.argsort(-scores, kind='stable')[:k]]


# ---- a memory with a limit ----
class Limited:
    "What `max_rows` promises, the simple way: users and items by last use, and a dictionary of who had what."
    def __init__(self, n): self.n,self.last,self.had = n,({}, {}),{}

    def learn(self, user, item):
        for side,id in enumerate((user, item)):
            last = self.last[side]
            if id not in last and len(last)==self.n:
                gone = next(iter(last))
                del last[gone]
                if side==0: del self.had[gone]
                else:
                    for had in self.had.values(): had.pop(gone, None)
            last.pop(id, None)
            last[id] = None
            if side==0: self.had.setdefault(id, {})
        self.had[user].setdefault(item)

def check_memory(m, ref):
    for side,o in enumerate((m.users_, m.items_)):
        assert {_key(x) for x in o.ids}==set(ref.last[side]) and len(o.ids)<=ref.n
        assert [_key(o.ids[n]) for n in m._order[side]]==list(ref.last[side])
    for user in m.users_.ids:
        assert list(dict.fromkeys(_key(m.items_.ids[n]) for n in m.seen(user)))==list(ref.had[_key(user)])

@pytest.mark.parametrize('slack', [1, 4, 10_000])
@settings(max_examples=60)
@given(rows=st.lists(st.tuples(ids, ids, st.integers(1, 5)), min_size=1, max_size=80), n=st.integers(1, 6), cuts=st.lists(st.integers(0, 80), max_size=5),
       at=st.integers(0, 80))
def test_a_limited_memory_forgets_like_the_simple_model(slack, rows, n, cuts, at, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(IncrementalMF, '_slack', slack)
        whole,cut,single = (IncrementalMF(n_factors=2, max_rows=n) for _ in range(3))
        pred,ref,loop = whole.predict_learn(*table(rows)),Limited(n),[]
        edges = sorted({0, *(min(c, len(rows)) for c in cuts), len(rows)})
        for a,b in zip(edges, edges[1:]): cut.partial_fit(*table(rows[a:b]))
        for e,(user,item,y) in enumerate(rows):
            if e==at: single = renewed(single, 'saved', tmp_path_factory.mktemp('m'))
            loop.append(single.predict_one(user, item))
            single.learn_one(user, item, float(y))
            ref.learn(_key(user), _key(item))
            check_memory(single, ref)
            assert len(single.seen_) < 2*n*n + slack
        np.testing.assert_array_equal(loop, pred, strict=True)
        assert state(whole)==state(cut)==state(single)
        check_memory(whole, ref)

def test_a_row_that_changes_hands_starts_at_random():
    m = IncrementalMF(n_factors=200, max_rows=1, lr=1e-9, init_std=.5).learn_one(1, 1, 3.)
    before = {o: getattr(m, o).copy() for o in ('user_factors_', 'item_factors_')}
    m.learn_one(2, 2, 3.)
    for o,x in before.items():
        now = getattr(m, o)
        assert now.shape==x.shape==(1, 200) and .4<now.std()<.6 and abs(np.corrcoef(now[0], x[0])[0,1])<.4

@few
@given(rows=events)
def test_a_limit_that_is_never_met_changes_nothing(rows):
    limited,free = IncrementalMF(n_factors=3, max_rows=100),IncrementalMF(n_factors=3)
    np.testing.assert_array_equal(limited.predict_learn(*table(rows)), free.predict_learn(*table(rows)), strict=True)
    for o in ('user_factors_', 'item_factors_', 'user_bias_', 'item_bias_'): np.testing.assert_array_equal(getattr(limited, o), getattr(free, o))
    assert limited.users_.ids==free.users_.ids and [limited.recommend(u) for u in POOL]==[free.recommend(u) for u in POOL]

def test_the_log_is_cleared_with_the_real_slack():
    rng,ref,m = np.random.default_rng(0),Limited(30),IncrementalMF(n_factors=2, max_rows=30)
    users,items = rng.integers(0, 60, 25_000),rng.integers(0, 40, 25_000)
    m.partial_fit(dict(user=users, item=items), rng.integers(1, 6, 25_000))
    for u,i in zip(users.tolist(), items.tolist()): ref.learn(u, i)
    check_memory(m, ref)
    assert 0<m._kept<len(m.seen_)<2*900+10_000
    few_pairs = IncrementalMF(n_factors=2, max_rows=5).partial_fit(dict(user=np.arange(25_000)%5, item=np.arange(25_000)%5), np.full(25_000, 3.))
    assert few_pairs._kept==5 and len(few_pairs.seen_)<10_050 # nobody ever left, yet the log has an end

BAD = [(dict(user=['x', [1]], item=[1, 2]), [1., 1.], TypeError), (dict(user=['x', 'y'], item=[1, [2]]), [1., 1.], TypeError),
       (dict(user=['x', None], item=[1, 2]), [1., 1.], ValueError), (dict(user=['x', 'y'], item=[1, 2]), [1., math.nan], ValueError),
       (dict(user=['x'], item=[1, 2]), [1., 1.], ValueError), (dict(user=['x', 'y'], item=[1, 2]), [1.], ValueError)]

@pytest.mark.parametrize('n', [1, 3, 20])
def test_bad_input_evicts_nobody(n):
    m = IncrementalMF(n_factors=2, max_rows=n).partial_fit(drift_stream(60, n_users=9, n_items=9, seed=5))
    before = state(m)
    for X,y,error in BAD:
        for method in (m.partial_fit, m.predict_learn):
            with pytest.raises(error): method(X, y)
    for user,item,y,error in (('x', [1], 1., TypeError), ('x', None, 1., ValueError), ('x', 1, math.inf, ValueError), ([1], 1, 1., TypeError)):
        with pytest.raises(error): m.learn_one(user, item, y)
    m.partial_fit(dict(user=[], item=[]), [])
    for user in ('who', 0): m.recommend(user, exclude_seen=False)
    assert state(m)==before

def test_one_row_is_enough():
    m = IncrementalMF(n_factors=3, max_rows=1)
    for id in (1, '1', True, (1,), 1, 1): m.learn_one(id, id, 5.)
    assert m.users_.ids==m.items_.ids==[1] and m.seen(1).tolist()==[0, 0] and m.seen('1').tolist()==[] and m.recommend(1)==[]
    assert m.recommend('1')==m.recommend('who')!=[] and m.predict_one('1', 1)==m.predict_one('who', 1)
    with pytest.raises(ValueError, match='max_rows is 0'): IncrementalMF(max_rows=0).learn_one(1, 1, 3.)


# ---- what others use ----
class Zeros(Remedy):
    "Pulls towards zero from the 40th event on, with a strength per row, which no sweep takes by itself."
    def mix(self, step):
        if step.n>=40 and not hasattr(self, 'anchor_'): self.anchor_ = {o: 0*x for o,x in self.learner_.params().items()}
        return step
    def pull(self): return {o: (x, np.full(x.shape, .5)) for o,x in getattr(self, 'anchor_', {}).items()}

def test_a_pull_by_rows_slides_by_the_step_size():
    world,kw = drift_stream(41, n_users=6, n_items=5, seed=4),dict(n_factors=3, init_std=.3, lr=.1)
    pulled = IncrementalMF(**kw, remedies=(Zeros(),)).partial_fit(world[:40]).partial_fit(world[40:])
    m = IncrementalMF(**kw).partial_fit(world[:40])
    for side,ids in (('user', m.users_), ('item', m.items_)): m.rows_[side]['factors'][ids.row(int(world.events[side].iloc[40]))] /= 1 + .1*.5
    m.set_params(lr=.1/(1 + .1*.5)).partial_fit(world[40:]) # the step shrinks as the slide does
    for o in ('user_factors_', 'item_factors_'): np.testing.assert_allclose(getattr(pulled, o), getattr(m, o), rtol=1e-5, atol=1e-7)

def test_similar_items_point_the_same_way():
    m = IncrementalMF(n_factors=3, init_std=.3).partial_fit(drift_stream(200, n_users=6, n_items=9, seed=4))
    V = m.item_factors_/np.linalg.norm(m.item_factors_, axis=1)[:,None]
    for row,id in enumerate(m.items_.ids):
        near = sorted(((float(V[n]@V[row]), o) for n,o in enumerate(m.items_.ids) if n!=row), reverse=True)[:4]
        assert [o for o,_ in m.similar(id, k=4)]==[o for _,o in near]

def test_single_events_of_another_scale():
    events = drift_stream(80, n_users=6, n_items=9, seed=4).events[['user', 'item', 'rating']]
    one,many = (IncrementalMF(n_factors=3, init_std=.3, rating_range=(0, 100)) for _ in range(2))
    rows = [(int(u), int(i), 25*(float(r)-1)) for u,i,r in events.itertuples(index=False)]
    pred = many.predict_learn(dict(user=[o[0] for o in rows], item=[o[1] for o in rows]), [o[2] for o in rows])
    np.testing.assert_allclose([(one.predict_one(u, i), one.learn_one(u, i, y))[0] for u,i,y in rows], pred, rtol=1e-6)
    np.testing.assert_array_equal(one.user_factors_, many.user_factors_, strict=True)
