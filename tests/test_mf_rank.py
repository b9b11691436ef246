"""What the learners of likes promise beyond the notebook: streams of every shape, repeats, faults."""
import math
import numpy as np, pytest
from hypothesis import given, settings, strategies as st
from sklearn.base import clone
import helpers
from helpers import state
from recinc_nb.baselines import ItemItem
from recinc_nb.mf_rank import BPRMF, ISGD, RAISGD, ImplicitALS, RankStack, SoftmaxMF, random_unit
from recinc_nb.streams import drift_stream

LEARNERS = {'isgd': ISGD(n_factors=3, lr=.3), 'raisgd': RAISGD(n_factors=3, lr=.3), 'bpr': BPRMF(n_factors=3, n_candidates=1), 'bpr, hard': BPRMF(n_factors=3, n_candidates=4),
            'als': ImplicitALS(n_factors=3), 'als, all alike': ImplicitALS(n_factors=2, decay=1., alpha=30.), 'softmax': SoftmaxMF(n_factors=5),
            'stack': RankStack(n_factors=3)}
every = pytest.mark.parametrize('name', LEARNERS)
few = settings(max_examples=20, deadline=None)
rows = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 8), st.integers(0, 1)), min_size=1, max_size=50)


def table(events):
    "Columns and labels; `helpers.table` makes labels of stars."
    return helpers.table([(u, i, 5*y) for u,i,y in events], 'label')


@every
@few
@given(events=rows, cuts=st.lists(st.integers(0, 50), max_size=3))
def test_cutting_and_resuming_change_no_bit(name, events, cuts, tmp_path_factory):
    whole,cut = clone(LEARNERS[name]),clone(LEARNERS[name])
    expected,got,edges = whole.predict_learn(*table(events)),[],sorted({0, *(min(c, len(events)) for c in cuts), len(events)})
    for a,b in zip(edges, edges[1:]):
        got.append(cut.predict_learn(*table(events[a:b])))
        folder = tmp_path_factory.mktemp('m')
        cut.save_pretrained(folder)
        cut = type(cut).from_pretrained(folder)
    np.testing.assert_array_equal(np.concatenate(got), expected, strict=True)
    assert state(cut)==state(whole) and np.isfinite(expected).all()


@every
@few
@given(events=rows)
def test_dislikes_teach_nothing(name, events):
    m,only = clone(LEARNERS[name]).partial_fit(*table(events)),clone(LEARNERS[name]).partial_fit(*table([o for o in events if o[2]]))
    assert m.n_skipped_==sum(not o[2] for o in events) and only.n_skipped_==0
    X,_ = table(events)
    np.testing.assert_array_equal(m.predict(X), only.predict(X))


@every
@few
@given(events=rows)
def test_all_items_at_once_are_scored_as_one_by_one(name, events):
    m = clone(LEARNERS[name])
    assert m.predict_one('who', 'what')==0. and m.score_items('who').shape==(0,)
    m.partial_fit(*table(events))
    before = state(m)
    for user in (0, 1, 'who'): np.testing.assert_array_equal(m.score_items(user), [m.predict_one(user, i) for i in m.items_.ids], strict=True)
    mixed = dict(user=[o[0] for o in events]+['who', 1], item=[o[1] for o in events][::-1]+[3, 'what'])
    np.testing.assert_array_equal(m.predict(mixed), [m.predict_one(u, i) for u,i in zip(mixed['user'], mixed['item'])], strict=True)
    assert m.predict_one(0, 'what')==m.predict_one('who', 'what')==0. and state(m)==before


@few
@given(events=rows)
def test_the_gram_matrices_are_those_of_the_rows_and_fold_in_is_a_dense_solve(events):
    m = ImplicitALS(n_factors=3, l2=1.).partial_fit(*table(events))
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
@given(events=rows)
def test_the_queue_holds_each_liked_item_once_and_the_newest_is_last(events):
    m = RAISGD(n_factors=2).partial_fit(*table(events))
    queue,at = [],m._links[0,1] if len(m._links) else 0
    while at>0:
        queue.append(m.items_.ids[at-1])
        at = m._links[at,1]
    liked = [i for _,i,y in events if y]
    assert sorted(queue)==sorted(set(liked)) and (not liked or queue[-1]==liked[-1])


@few
@given(events=rows)
def test_probabilities_sum_to_one(events):
    for m in (SoftmaxMF(n_factors=3), RankStack(n_factors=3)):
        m.partial_fit(*table(events))
        for user in (0, 'who'):
            p = m.score_items(user)
            assert (p>=0).all() and p.sum()==pytest.approx(float(any(y for *_,y in events)))


def test_the_members_of_the_stack_are_those_that_stand_alone():
    stream = drift_stream(800, n_users=20, n_items=15, seed=4)
    m = RankStack(n_factors=4).partial_fit(stream)
    alone,pairs = SoftmaxMF(n_factors=4).partial_fit(stream),ItemItem().partial_fit(stream)
    np.testing.assert_array_equal(m._mf.score_items(3), alone.score_items(3))
    np.testing.assert_array_equal(m._pairs.pairs_[:15,:15], pairs.pairs_[:15,:15])
    assert not np.array_equal(m.weights_, [.5, .5])


def test_settings_outside_their_range():
    one = dict(user=[1], item=[1], label=[1])
    for cls,bad in ((ISGD, dict(lr=0.)), (ISGD, dict(lr=math.nan)), (ISGD, dict(l2=-1.)), (ISGD, dict(n_factors=2.5)), (ISGD, dict(init_std=0.)), (ISGD, dict(seed=-1)),
                    (RAISGD, dict(n_negatives=0)), (BPRMF, dict(n_negatives=0)), (BPRMF, dict(n_candidates=0)), (ImplicitALS, dict(alpha=0.)), (ImplicitALS, dict(l2=0.)),
                    (ImplicitALS, dict(decay=0.)), (SoftmaxMF, dict(decay=1.01)), (SoftmaxMF, dict(lr=-1.)), (RankStack, dict(lr=0.))):
        with pytest.raises(ValueError, match=f'{cls.__name__}: {[*bad][0]} is'): cls(**bad).partial_fit(one)
    with pytest.raises(ValueError, match='n_factors is 0'): RankStack(n_factors=0).partial_fit(one)


def test_no_room_is_as_if_the_events_had_never_come():
    m = RankStack(n_factors=2).partial_fit(dict(user=[1, 1], item=['a', 'b']), [1., 1.])
    before = state(m)
    with pytest.raises(ValueError, match='20,002 items'): m.partial_fit(dict(user=['new']*20_000, item=range(20_000)), np.ones(20_000))
    assert state(m)==before
    assert m.learn_one(1, 'c', 1.).predict_one(1, 'a')>0


def test_draws_are_spread_evenly():
    x = np.array([random_unit(7, n) for n in range(20_000)])
    assert np.abs(np.histogram(x, 20, (0, 1))[0]/1_000 - 1).max()<.12 and len(set(x))==len(x)
