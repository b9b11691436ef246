"""What every learner of likes promises beyond the notebooks: streams of every shape, repeats, faults."""
import json
import numpy as np, pytest
from hypothesis import given, settings, strategies as st
from sklearn.base import clone
import helpers
from helpers import root, state
from recinc_nb.learner import L2SP, Learner, Reservoir, hash_unit
from recinc_nb.mf_next import ImplicitALS, RankStack, SoftmaxMF
from recinc_nb.mf_rank import BPRMF, ISGD, RAISGD

LEARNERS = {'isgd': ISGD(n_factors=3, lr=.3), 'raisgd': RAISGD(n_factors=3, lr=.3),
            'isgd, by distance': ISGD(n_factors=3, lr=.3, rank_by='distance'), 'bpr': BPRMF(n_factors=3, n_candidates=1), 'bpr, hard': BPRMF(n_factors=3, n_candidates=4),
            'isgd, replay': ISGD(n_factors=3, remedies=(Reservoir(size=9, k=2),)), 'bpr, pull': BPRMF(n_factors=3, remedies=(L2SP(.5, after=10),)),
            'als': ImplicitALS(n_factors=3), 'als, all alike': ImplicitALS(n_factors=2, decay=1., alpha=30.), 'als, at most 3': ImplicitALS(n_factors=2, max_likes=3),
            'als, replay': ImplicitALS(n_factors=3, remedies=(Reservoir(size=9, k=2),)), 'softmax': SoftmaxMF(n_factors=5),
            'softmax, pull': SoftmaxMF(n_factors=3, remedies=(L2SP(.5, after=10, every=20),)), 'stack': RankStack(n_factors=3),
            'stack, settings': RankStack(n_factors=3, softmax=dict(decay=.5, lr=.2), pairs=dict(shrink=2.))}
OLD = {'isgd': 'isgd', 'raisgd': 'raisgd', 'bpr': 'bpr', 'als': 'implicit_als', 'softmax': 'softmax', 'stack': 'rank_stack'}
EVENTS = [(int(9*hash_unit(1, 2*n)), int(12*hash_unit(1, 2*n+1)), int(n%3>0)) for n in range(120)]
every = pytest.mark.parametrize('name', LEARNERS)

few = settings(max_examples=20)
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
    if 'replay' in name or 'pull' in name: return # they count events
    m,only = clone(LEARNERS[name]).partial_fit(*table(events)),clone(LEARNERS[name]).partial_fit(*table([o for o in events if o[2]]))
    assert m.n_skipped_==sum(not o[2] for o in events) and only.n_skipped_==0
    X,_ = table(events)
    np.testing.assert_array_equal(m.predict(X), only.predict(X))


@every
@few
@given(events=rows)
def test_all_items_at_once_are_scored_as_one_by_one(name, events):
    m = clone(LEARNERS[name])
    nobody = -1. if 'distance' in name else 0. # a product of 0 lies 1 from 1
    assert m.predict_one(-1, -2)==nobody and m.score_items(-1).shape==(0,)
    m.partial_fit(*table(events))
    before = state(m)
    for user in (0, 1, -1): np.testing.assert_array_equal(m.score_items(user), [m.predict_one(user, i) for i in m.items_.ids], strict=True)
    mixed = dict(user=[o[0] for o in events]+[-1, 1], item=[o[1] for o in events][::-1]+[3, -2])
    np.testing.assert_array_equal(m.predict(mixed), [m.predict_one(u, i) for u,i in zip(mixed['user'], mixed['item'])], strict=True)
    assert m.predict_one(0, -2)==m.predict_one(-1, -2)==nobody and state(m)==before


@every
def test_a_checkpoint_of_the_code_before_the_base_goes_on(name):
    if name not in OLD: return
    folder = root/'tests/data/old'/OLD[name]
    then = json.loads((folder/'goes_on.json').read_text())
    m = Learner.from_pretrained(folder)
    assert type(m) is type(LEARNERS[name]) and m.n_==30
    now = m.predict_learn(then['next'])
    if name=='stack': np.testing.assert_allclose(now, then['predictions'], rtol=1e-12) # another processor adds in another order
    else: assert now.tolist()==then['predictions']


@every
def test_a_log_of_likes_needs_no_label(name):
    likes = [(u, i) for u,i,y in EVENTS if y]
    bare = dict(user=[u for u,_ in likes], item=[i for _,i in likes])
    a,b = clone(LEARNERS[name]).partial_fit(bare),clone(LEARNERS[name]).partial_fit(bare, np.ones(len(likes)))
    assert state(a)==state(b) and a.n_skipped_==0


@every
def test_what_nobody_has_liked_comes_last(name):
    m = clone(LEARNERS[name]).partial_fit(*table(EVENTS)).partial_fit(*table([(0, 90, 0), (1, 91, 0)]))
    for user in (0, 1, -1):
        ids = [i for i,_ in m.recommend(user, k=99, exclude_seen=False)]
        assert ids[-2:]==[90, 91] and len(ids)==len(m.items_)
        assert m.rank(user, [90, *ids])[-3:]==[90, 90, 91] and m.recommend(user, candidates=[90, ids[0]], exclude_seen=False)[0][0]==ids[0]
    if 'replay' in name: return # it counts likes again
    likes = np.bincount([i for _,i,y in EVENTS if y])
    if not len(set(m.score_items(-1)))>1: assert m.recommend(-1, k=1)[0][0]==likes.argmax()
    np.testing.assert_array_equal(m.popular(), [likes[i] if i<90 else 0 for i in m.items_.ids])


@every
def test_a_forgotten_user_leaves_the_chains_and_the_rest_goes_on(name, tmp_path):
    m = clone(LEARNERS[name]).partial_fit(*table(EVENTS))
    items = m.item_vectors().copy()
    n = int(getattr(m, 'pairs_', m).n_likes_[0])
    assert m.forget_user(0) and not m.forget_user(0)
    np.testing.assert_array_equal(m.item_vectors(), items)
    if 'replay' not in name: assert int(getattr(m, 'pairs_', m).n_likes_[0])==n-sum(u==0 and y for u,_,y in EVENTS)
    m.save_pretrained(tmp_path)
    back = Learner.from_pretrained(tmp_path)
    again = [o for o in EVENTS if o[0]!=1]
    np.testing.assert_array_equal(back.predict_learn(*table(again)), m.predict_learn(*table(again)), strict=True)
    assert state(back)==state(m) and np.isfinite(m.score_items(0)).all()


@every
def test_similar_items_and_weights(name):
    m = clone(LEARNERS[name]).partial_fit(*table(EVENTS)).partial_fit(*table([(0, 90, 0)]))
    item,V = EVENTS[0][1],m.item_vectors()
    (first,cosine),*_ = m.similar(item, k=3)
    a,b = V[m.items_.row(item)],V[m.items_.row(first)]
    assert cosine==pytest.approx(a@b/np.linalg.norm(a)/np.linalg.norm(b)) and m.similar(item, k=99)[-1][0]==90
    with pytest.raises(ValueError, match=f'{type(m).__name__} has no weights'): m.partial_fit(*table(EVENTS[:2]), sample_weight=[1., 2.])
