"""Partial updates: who may move over random streams, and the calculus of forgetting."""
import math
import numpy as np, pytest
from hypothesis import given, settings, strategies as st
from helpers import state, table
from recinc_nb import IncrementalMF, L2SP, OnlineStack, Remedy, Reservoir, drift_stream
from recinc_nb.mf_strategies import MFStrategy, anchored_step, events_grad, events_loss, forgetting_terms

def rein(strength, after): return (L2SP(strength, after=after),)

few = settings(max_examples=15)
ids = st.sampled_from([0, 1, 2, 3, '0', '1', True, (1, 2), (1, (2, 'a'))])
events = st.lists(st.tuples(ids, ids, st.integers(1, 5)), min_size=1, max_size=40)


def test_settings_outside_their_range():
    for params,words in ((dict(update='touched'), "update is 'touched'"), (dict(update=None), 'update is None'), (dict(warmup=-1), 'warmup is -1'),
                         (dict(warmup=math.nan), 'warmup is nan'), (dict(remedies=rein(-.1, 2)), 'strength is -0.1'), (dict(users=[{1}]), 'users: the id'),
                         (dict(items={1}), 'items is'), (dict(users='ann'), "users is 'ann'"), (dict(lr=0.), 'lr is 0')):
        with pytest.raises(ValueError, match=words): MFStrategy(**params).partial_fit(dict(user=[1], item=[1]), [3.])
    m = MFStrategy().partial_fit(dict(user=[1], item=[1]), [3.])
    before = state(m)
    with pytest.raises(ValueError, match="update is 'none'"): m.set_params(update='none').partial_fit(dict(user=[2], item=[2]), [3.])
    assert state(m)==before


@few
@given(rows=events, seed=st.integers(0, 9), loss=st.sampled_from(['squared', 'logistic']), k=st.sampled_from([0, 1, 7, 32, 33]))
def test_both_is_incremental_mf(rows, seed, loss, k):
    plain,same = (cls(n_factors=k, loss=loss, seed=seed) for cls in (IncrementalMF, MFStrategy))
    np.testing.assert_array_equal(same.predict_learn(*table(rows, plain.target)), plain.predict_learn(*table(rows, plain.target)), strict=True)
    for o,v in plain.arrays().items(): np.testing.assert_array_equal(same.arrays()[o], v, strict=True)


@few
@given(past=events, rows=events, update=st.sampled_from(['both', 'users', 'items', 'biases', 'new rows', 'users and item biases', 'users and new items']), users=st.none() | st.lists(ids, max_size=3))
def test_what_may_not_move_keeps_its_bits(past, rows, update, users):
    m = MFStrategy(update, warmup=len(past), users=users, n_factors=3).partial_fit(*table(past, 'rating'))
    old = {k: v.copy() for k,v in m.arrays().items()}
    m.partial_fit(*table(rows, 'rating'))
    for name,v in m.arrays().items():
        side,_,what = name.partition('_')
        if side not in ('user', 'item') or what=='order': continue
        frozen = (update=='new rows' or update==('items' if side=='user' else 'users') or update=='users and new items' and side=='item'
                  or update=='biases' and what=='factors' or update=='users and item biases' and name=='item_factors')
        keep = np.ones(len(old[name]), bool) if frozen else np.zeros(len(old[name]), bool)
        if side=='user' and users is not None:
            tag = lambda o: (type(o), repr(o))
            keep |= np.array([tag(o) not in {*map(tag, users)} for o in m.users_.ids[:len(keep)]], bool)
        np.testing.assert_array_equal(v[:len(keep)][keep], old[name][keep], strict=True)


def test_the_strategy_may_change_on_the_way():
    stream = drift_stream(400, n_users=20, n_items=15, seed=4)
    m = MFStrategy().partial_fit(stream.events[:200])
    items = m.item_factors_.copy()
    m.set_params(update='users').partial_fit(stream.events[200:300])
    np.testing.assert_array_equal(m.item_factors_[:len(items)], items, strict=True)
    m.set_params(update='both').partial_fit(stream.events[300:])
    assert (m.item_factors_[:len(items)]!=items).any()


@few
@given(d=st.integers(1, 6), lr=st.floats(1e-3, 10), anchor=st.floats(0, 10), seed=st.integers(0, 2**32-1))
def test_anchored_step_is_the_minimum(d, lr, anchor, seed):
    p,q,star = np.random.default_rng(seed).normal(size=(3, d))
    f = lambda x: .5*(1.5 - x@q)**2 + ((x-p)**2).sum()/(2*lr) + anchor/2*((x-star)**2).sum()
    best = anchored_step(p, q, 1.5, star, lr, anchor)
    noise = np.random.default_rng(seed+1).normal(size=(10, d))*1e-2
    assert all(f(best) <= f(best+o) for o in noise)


@few
@given(n=st.integers(1, 30), d=st.integers(0, 4), seed=st.integers(0, 2**32-1))
def test_forgetting_is_exact_for_one_side_and_the_loss_is_a_quartic(n, d, seed):
    rng = np.random.default_rng(seed)
    U,V,dU,dV = (rng.normal(size=(k, d)) for k in (5, 4, 5, 4))
    old = rng.integers(0, 5, n),rng.integers(0, 4, n),rng.normal(size=n)
    for one in ((dU, 0*dV), (0*dU, dV)):
        F = events_loss(U+one[0], V+one[1], *old) - events_loss(U, V, *old)
        assert sum(forgetting_terms(U, V, *old, *one))==pytest.approx(F, rel=1e-9, abs=1e-10)
    g_U,g_V = events_grad(U, V, *old)
    assert forgetting_terms(U, V, *old, dU, dV)[0]==pytest.approx(float((g_U*dU).sum() + (g_V*dV).sum()), rel=1e-9, abs=1e-10)


def test_bad_events_and_rows():
    U,V = np.ones((3, 2)),np.ones((2, 2))
    for args,words in (((U, np.ones((2, 3)), [0], [0], np.ones(1)), 'factors have shapes'), ((U, V, [], [], np.ones(0)), 'at least one event'),
                       ((U, V, [0, 1], [0], np.ones(1)), '2 users, 1 items'), ((U, V, [3], [0], np.ones(1)), 'users go from 3'),
                       ((U, V, [0], [-1], np.ones(1)), 'items go from -1'), ((U, V, [0], [0], np.array([np.nan])), 'a rating is nan')):
        for f in (events_loss, events_grad, lambda *a: forgetting_terms(*a, U, V)):
            with pytest.raises(ValueError, match=words): f(*args)
    with pytest.raises(ValueError, match='the steps have shapes'): forgetting_terms(U, V, [0], [0], np.ones(1), V, U)
    p = np.ones(2)
    for args,words in (((p, np.ones(3), 1., p, .1, 0.), 'three of one shape'), ((p, p, 1., p, 0., 0.), 'lr is 0'), ((p, p, 1., p, .1, -1.), 'anchor -1'),
                       ((p, p, math.nan, p, .1, 0.), 'y nan')):
        with pytest.raises(ValueError, match=words): anchored_step(*args)


def test_a_strategy_goes_on_from_a_pretrained_model(tmp_path):
    world = drift_stream(400, n_users=20, n_items=15, seed=4)
    model = IncrementalMF(n_factors=3, shrink_user=5., seed=2, init_std=.2).partial_fit(world.take(200))
    model.save_pretrained(tmp_path/'m')
    for update in ('users', 'new rows', 'users and item biases', 'users and new items'):
        m,whole = MFStrategy.from_pretrained(tmp_path/'m', update=update),MFStrategy(update, 200, n_factors=3, shrink_user=5., seed=2, init_std=.2)
        expected = whole.predict_learn(world)[200:]
        assert m.warmup==200 and m.recommend(0, k=3)==model.recommend(0, k=3)
        np.testing.assert_array_equal(m.predict_learn(world.events.iloc[200:]), expected, strict=True)
        assert state(m)==state(whole)
    with pytest.raises(ValueError, match='n_factors is 3'): MFStrategy.from_pretrained(tmp_path/'m', n_factors=4)
    IncrementalMF(max_rows=9).partial_fit(world).save_pretrained(tmp_path/'capped')
    with pytest.raises(ValueError, match='max_rows=9'): MFStrategy.from_pretrained(tmp_path/'capped')
    with pytest.raises(ValueError, match='belongs to'):
        OnlineStack().save_pretrained(tmp_path/'stack')
        MFStrategy.from_pretrained(tmp_path/'stack')


def test_lists_and_rules_may_change_on_the_way_and_are_saved(tmp_path):
    world = drift_stream(400, n_users=20, n_items=15, seed=4)
    m = MFStrategy(warmup=100, n_factors=3).partial_fit(world.take(200))
    m.set_params(users=[0, (1, 'a')], update='users')
    m.save_pretrained(tmp_path)
    back,old = MFStrategy.from_pretrained(tmp_path),m.user_factors_.copy()
    assert back.users==m.users and back.warmup==100
    np.testing.assert_array_equal(back.predict_learn(world.events.iloc[200:]), m.predict_learn(world.events.iloc[200:]), strict=True)
    assert set(np.flatnonzero((m.user_factors_[:len(old)]!=old).any(1)))=={m.users_.row(0)}
    with pytest.raises(ValueError, match='warmup cannot change'): m.warmup = 3


@pytest.mark.parametrize('update', ['users', 'items', 'users and item biases'])
def test_the_sweep_is_the_step_of_equation_8_on_either_side(update):
    world = drift_stream(900, n_users=20, n_items=15, seed=4)
    m = MFStrategy(update, 300, n_factors=3, init_std=.3, l2=.05, remedies=rein(2., 300)).partial_fit(world.take(500))
    side = 'item' if update=='items' else 'user'
    star = m.remedies_[0].anchor_[f'{side}_factors']
    for u,i,r in world.events[['user', 'item', 'rating']].iloc[500:560].itertuples(index=False):
        a,b = m.users_.row(u),m.items_.row(i)
        row,other = (a, b) if side=='user' else (b, a)
        p,q = (x.astype(float) for x in ((m.user_factors_[a], m.item_factors_[b]) if side=='user' else (m.item_factors_[b], m.user_factors_[a])))
        left = r - m.mean_[0]/m.mean_[1] - m.user_bias_[a] - m.item_bias_[b]
        slid,rate = (p + .2*2*star[row])/(1 + .2*2),.2/(1 + .2*2)
        expected = (1 - rate*.05)*slid + rate*(left - slid@q)/(1 + rate*q@q)*q
        before = [x.copy() for x in (m.user_factors_, m.item_factors_)]
        m.learn_one(u, i, r)
        table = m.user_factors_ if side=='user' else m.item_factors_
        np.testing.assert_allclose(table[row], expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(m.item_factors_ if side=='user' else m.user_factors_, before[side=='user'])


class Halves(Remedy): # a strength per row: no sweep takes that by itself
    def mix(self, step):
        if step.n>=20 and not hasattr(self, 'anchor_'): self.anchor_ = {o: 0*x for o,x in self.learner_.params().items()}
        return step
    def pull(self): return {o: (x, np.ones(x.shape)) for o,x in getattr(self, 'anchor_', {}).items()}

class Turns(Remedy):
    def project(self, grads): return grads

def test_a_pull_from_outside_leaves_alone_what_may_not_move():
    world = drift_stream(100, n_users=8, n_items=8, seed=4)
    m = MFStrategy('users', 20, users=[1, 2, 3], n_factors=3, init_std=.3, remedies=(Halves(),)).partial_fit(world.take(60))
    old = m.user_factors_.copy(),m.item_factors_.copy()
    m.partial_fit(world.events.iloc[60:])
    np.testing.assert_array_equal(m.item_factors_, old[1], strict=True)
    moved = set(np.flatnonzero((m.user_factors_!=old[0]).any(1)))
    assert moved and moved <= {m.users_.row(o) for o in (1, 2, 3)}
    with pytest.raises(ValueError, match='Turns projects'): MFStrategy(remedies=(Turns(),)).partial_fit(world)


def test_the_warm_up_ends_where_it_should_inside_a_stack_too():
    world = drift_stream(300, n_users=20, n_items=15, seed=4)
    stack = OnlineStack([MFStrategy('users', 120, n_factors=3)]).partial_fit(world.take(300))
    alone = MFStrategy('users', 120, n_factors=3).partial_fit(world)
    np.testing.assert_array_equal(stack.learners_[0].item_factors_, alone.item_factors_, strict=True)


def test_replayed_events_do_not_shorten_the_warm_up():
    world = drift_stream(100, n_users=8, n_items=8, seed=4)
    m = MFStrategy('users', 60, n_factors=3, remedies=(Reservoir(20, k=3),)).partial_fit(world.take(50))
    early = m.item_factors_.copy()
    old = m.partial_fit(world.events.iloc[50:60]).item_factors_.copy()
    assert (old[:len(early)]!=early).any()
    m.partial_fit(world.events.iloc[60:])
    np.testing.assert_array_equal(m.item_factors_[:len(old)], old, strict=True)
    assert state(MFStrategy('users', 60, n_factors=3, remedies=(Reservoir(20, k=3),)).partial_fit(world))==state(m)
