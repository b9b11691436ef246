"""What ImplicitALS, SoftmaxMF and RankStack promise beyond the notebook: streams of every shape, repeats, faults."""
import numpy as np, pytest
from hypothesis import given, strategies as st
from helpers import state
from recinc_nb.baselines import ItemItem
from recinc_nb.learner import L2SP
from recinc_nb.mf_next import ImplicitALS, RankStack, SoftmaxMF
from recinc_nb.worlds import drift_stream
from test_likes import EVENTS, few, rows, table


@few
@given(events=rows, gone=st.integers(0, 7))
def test_the_gram_matrices_are_those_of_the_rows_and_fold_in_is_a_dense_solve(events, gone):
    m = ImplicitALS(n_factors=3, l2=1.).partial_fit(*table(events))
    if m.forget_user(gone): events = [o for o in events if o[0]!=gone]
    P,Q = m.user_factors_,m.item_factors_
    np.testing.assert_allclose(m.gram_user_, P.T@P, rtol=0, atol=1e-8)
    np.testing.assert_allclose(m.gram_item_, Q.T@Q, rtol=0, atol=1e-8)
    liked = [o for o in events if o[2]]
    if not liked: return
    user = liked[-1][0]
    c,w = np.ones(len(Q)),m.alpha
    for _,i,_ in [o for o in liked if o[0]==user][::-1]:
        c[m.items_.row(i)] += w
        w *= m.decay
    born = len({o[0] for o in liked})
    dense = np.linalg.solve((Q.T*c)@Q + np.eye(3), Q.T@(c*(c>1)) + P.sum(0)/born)
    np.testing.assert_allclose(m.fold_in(user), dense, rtol=0, atol=1e-8)


@few
@given(events=rows, gone=st.integers(0, 7))
def test_the_chains_of_items_are_those_of_the_log(events, gone):
    m = ImplicitALS(n_factors=2).partial_fit(*table(events))
    if m.forget_user(gone): events = [o for o in events if o[0]!=gone]
    m.partial_fit(*table(events))
    for i,row in ((i, m.items_.row(i)) for i in m.items_.ids):
        at,found = m.rows_['item']['newest'][row],[]
        while at>=0: found,at = [m.users_.ids[m.user_[at]], *found],m.earlier_[at]
        assert found==[u for u,j,y in events*2 if j==i and y]


@few
@given(events=rows)
def test_probabilities_sum_to_one(events):
    for m in (SoftmaxMF(n_factors=3), RankStack(n_factors=3)):
        m.partial_fit(*table(events))
        for user in (0, -1):
            p = m.score_items(user)
            assert (p>=0).all() and p.sum()==pytest.approx(float(any(y for *_,y in events)))


def test_the_members_of_the_stack_are_those_that_stand_alone():
    stream = drift_stream(800, n_users=20, n_items=15, seed=4)
    m = RankStack(n_factors=4).partial_fit(stream)
    alone,pairs = SoftmaxMF(n_factors=4).partial_fit(stream),ItemItem().partial_fit(stream)
    np.testing.assert_array_equal(m.softmax_.score_items(3), alone.score_items(3))
    np.testing.assert_array_equal(m.pairs_.pairs_[:15,:15], pairs.pairs_[:15,:15])
    assert not np.array_equal(m.weights_, [.5, .5])


def test_settings_outside_their_range():
    one = dict(user=[1], item=[1], label=[1])
    for cls,bad in ((ImplicitALS, dict(alpha=0.)), (ImplicitALS, dict(l2=0.)), (ImplicitALS, dict(decay=0.)), (ImplicitALS, dict(max_likes=0)),
                    (ImplicitALS, dict(max_likes=2.5)), (SoftmaxMF, dict(decay=1.01)), (SoftmaxMF, dict(lr=-1.)), (RankStack, dict(lr=0.)),
                    (RankStack, dict(softmax=3)), (RankStack, dict(softmax=dict(no_such=1))), (RankStack, dict(pairs=dict(remember_seen=False)))):
        with pytest.raises(ValueError, match=f'{cls.__name__}: {[*bad][0]} is'): cls(**bad).partial_fit(one)
    with pytest.raises(ValueError, match='n_factors is 0'): RankStack(n_factors=0).partial_fit(one)
    with pytest.raises(ValueError, match='decay is 2'): RankStack(pairs=dict(decay=2.)).partial_fit(one)
    with pytest.raises(ValueError, match='take no pull'): ImplicitALS(remedies=(L2SP(),)).partial_fit(one)
    m = RankStack(n_factors=2, pairs=dict(shrink=2.)).partial_fit(one)
    with pytest.raises(ValueError, match='pairs cannot change'): m.set_params(pairs=dict(shrink=3.))
    assert m.set_params(pairs=dict(shrink=2.), lr=.5).lr==.5


@pytest.mark.parametrize('cls,new', [(ImplicitALS, dict(alpha=9., l2=1., decay=.5, max_likes=4)), (SoftmaxMF, dict(lr=.5, decay=.3)), (RankStack, dict(lr=.9))])
def test_what_can_change_changes_at_once_and_is_saved(cls, new, tmp_path):
    s = drift_stream(400, n_users=20, n_items=15, seed=4)
    m,other = cls(n_factors=3).partial_fit(s[:200]),cls(n_factors=3).partial_fit(s[:200])
    m.set_params(**new).save_pretrained(tmp_path)
    back = cls.from_pretrained(tmp_path)
    np.testing.assert_array_equal(back.predict_learn(s[200:]), m.predict_learn(s[200:]), strict=True)
    assert not np.array_equal(m.predict(s), other.partial_fit(s[200:]).predict(s))


def test_most_likes_bound_what_a_like_costs_and_none_is_all():
    events = [(u, i, 1) for u in range(30) for i in (0, 1 + u%7)]
    a,b = (ImplicitALS(n_factors=3, max_likes=n).partial_fit(*table(events)) for n in (None, 1_000))
    np.testing.assert_array_equal(a.item_factors_, b.item_factors_)
    few_of_them = ImplicitALS(n_factors=3, max_likes=5).partial_fit(*table(events))
    row = few_of_them.items_.row(0)
    few_of_them.learn_one(30, 0, 1)                                      # the item is solved for with its five newest likes, this one among them
    users = [30, 29, 28, 27, 26]
    Z = few_of_them.user_factors_[[few_of_them.users_.row(u) for u in users]]
    q = np.linalg.solve(few_of_them.gram_user_ + 3*Z.T@Z + 10*np.eye(3), 4*Z.sum(0))
    np.testing.assert_allclose(few_of_them.item_factors_[row], q, rtol=1e-8)


def test_a_pull_of_the_softmax_has_the_step_of_its_row():
    m = SoftmaxMF(n_factors=3, lr=.1, remedies=(L2SP(5., after=60),)).partial_fit(*table(EVENTS[:60])).partial_fit(*table(EVENTS[60:100]))
    assert m.pull_rate('user_factors', 0)[0]==pytest.approx(.1/np.sqrt(.01 + m.rows_['user']['sum_user'][0]))
    assert m.pull_rate('item_factors', 2)[0]==pytest.approx(.1/np.sqrt(.01 + m.rows_['item']['sum_item'][2]))


def test_no_room_is_as_if_the_events_had_never_come():
    m = RankStack(n_factors=2).partial_fit(dict(user=[1, 1], item=[-1, -2]), [1., 1.])
    before = state(m)
    with pytest.raises(ValueError, match='20,002 items'): m.partial_fit(dict(user=[7]*20_000, item=range(20_000)), np.ones(20_000))
    assert state(m)==before
    assert m.learn_one(1, -3, 1.).predict_one(1, -1)>0


def test_another_seed_begins_elsewhere():
    a,b,c = (SoftmaxMF(n_factors=3, seed=o).partial_fit(*table(EVENTS[:60])) for o in (1, 1, 2))
    rows = table(EVENTS[60:90])[0]
    np.testing.assert_array_equal(a.predict(rows), b.predict(rows))
    assert not np.allclose(a.predict(rows), c.predict(rows))
