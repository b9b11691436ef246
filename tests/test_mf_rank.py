"""What ISGD, RAISGD and BPRMF promise beyond the notebook: streams of every shape, repeats, faults."""
import json, math
import numpy as np, pytest
from hypothesis import given, settings, strategies as st
from sklearn.base import clone
import helpers
from helpers import root, state
from recinc_nb.learner import L2SP, Learner, Reservoir, hash_unit
from recinc_nb.mf_rank import BPRMF, ISGD, RAISGD
from recinc_nb.worlds import drift_stream

LEARNERS = {'isgd': ISGD(n_factors=3, lr=.3), 'raisgd': RAISGD(n_factors=3, lr=.3), 'bpr': BPRMF(n_factors=3, n_candidates=1), 'bpr, hard': BPRMF(n_factors=3, n_candidates=4),
            'isgd, replay': ISGD(n_factors=3, remedies=(Reservoir(size=9, k=2),)), 'bpr, pull': BPRMF(n_factors=3, remedies=(L2SP(.5, after=10),))}
OLD = {'isgd': 'isgd', 'raisgd': 'raisgd', 'bpr': 'bpr'}
EVENTS = [(int(9*hash_unit(1, 2*n)), int(12*hash_unit(1, 2*n+1)), int(n%3>0)) for n in range(120)]
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
    assert m.predict_one(-1, -2)==0. and m.score_items(-1).shape==(0,)
    m.partial_fit(*table(events))
    before = state(m)
    for user in (0, 1, -1): np.testing.assert_array_equal(m.score_items(user), [m.predict_one(user, i) for i in m.items_.ids], strict=True)
    mixed = dict(user=[o[0] for o in events]+[-1, 1], item=[o[1] for o in events][::-1]+[3, -2])
    np.testing.assert_array_equal(m.predict(mixed), [m.predict_one(u, i) for u,i in zip(mixed['user'], mixed['item'])], strict=True)
    assert m.predict_one(0, -2)==m.predict_one(-1, -2)==0. and state(m)==before


@every
def test_a_checkpoint_of_the_code_before_the_base_goes_on_bit_for_bit(name):
    if name not in OLD: return
    folder = root/'tests/data/old'/OLD[name]
    then = json.loads((folder/'goes_on.json').read_text())
    m = Learner.from_pretrained(folder)
    assert type(m) is type(LEARNERS[name]) and m.n_==30
    assert m.predict_learn(then['next']).tolist()==then['predictions']


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


@few
@given(events=rows)
def test_the_queue_holds_each_liked_item_once_and_the_newest_is_last(events):
    m = RAISGD(n_factors=2).partial_fit(*table(events))
    queue,at = [],m.links_[0,1] if len(m.links_) else 0
    while at>0:
        queue.append(m.items_.ids[at-1])
        at = m.links_[at,1]
    liked = [i for _,i,y in events if y]
    assert sorted(queue)==sorted(set(liked)) and (not liked or queue[-1]==liked[-1])


def test_settings_outside_their_range():
    one = dict(user=[1], item=[1], label=[1])
    for cls,bad in ((ISGD, dict(lr=0.)), (ISGD, dict(lr=math.nan)), (ISGD, dict(l2=-1.)), (ISGD, dict(n_factors=2.5)), (ISGD, dict(init_std=0.)), (ISGD, dict(seed=-1)),
                    (RAISGD, dict(n_negatives=0)), (BPRMF, dict(n_negatives=0)), (BPRMF, dict(n_candidates=0)), (ISGD, dict(remember_seen='no'))):
        with pytest.raises(ValueError, match=f'{cls.__name__}: {[*bad][0]} is'): cls(**bad).partial_fit(one)


@pytest.mark.parametrize('cls,new', [(ISGD, dict(lr=.02, l2=.5)), (RAISGD, dict(n_negatives=3, lr=.05)), (BPRMF, dict(n_negatives=2, n_candidates=1, lr=.5))])
def test_what_can_change_changes_at_once_and_is_saved(cls, new, tmp_path):
    s = drift_stream(400, n_users=20, n_items=15, seed=4)
    m,other = cls(n_factors=3).partial_fit(s[:200]),cls(n_factors=3).partial_fit(s[:200])
    m.set_params(**new).save_pretrained(tmp_path)
    back = cls.from_pretrained(tmp_path)
    np.testing.assert_array_equal(back.predict_learn(s[200:]), m.predict_learn(s[200:]), strict=True)
    assert not np.array_equal(m.predict(s), other.partial_fit(s[200:]).predict(s))
    with pytest.raises(ValueError, match='n_factors cannot change'): m.set_params(n_factors=4)


def test_replay_is_a_loop_and_a_replayed_dislike_is_not_counted_again():
    m = BPRMF(n_factors=3, remedies=(Reservoir(size=10, k=2, seed=5),)).partial_fit(*table(EVENTS))
    slow,places = BPRMF(n_factors=3),[]
    for n,(u,i,y) in enumerate(EVENTS):
        old = [places[int(hash_unit(10, 2*n+d)*min(n, 10))] for d in range(2)] if n else []
        for o in [(u, i, y), *old]: slow.learn_one(*o)
        if n<10: places.append((u, i, y))
        elif (place := int(hash_unit(11, n)*(n+1)))<10: places[place] = (u, i, y)
    np.testing.assert_array_equal(m.user_factors_, slow.user_factors_)
    assert m.n_skipped_==sum(not y for *_,y in EVENTS) and m.n_==len(EVENTS) and m.n_likes_[0]==slow.n_likes_[0]


def test_a_pull_moves_the_rows_of_a_like_and_none_of_a_dislike():
    m = ISGD(n_factors=3, lr=.1, remedies=(L2SP(5., after=60),)).partial_fit(*table(EVENTS[:60])).partial_fit(*table(EVENTS[60:100]))
    anchor,P,Q = m.remedies_[0].anchor_,m.user_factors_.copy(),m.item_factors_.copy()
    u,i = m.users_.row(EVENTS[0][0]),m.items_.row(EVENTS[0][1])
    m.learn_one(*EVENTS[0][:2], 0)
    np.testing.assert_array_equal(m.user_factors_, P)
    p,q = ((x + .5*a)/1.5 for x,a in ((P[u], anchor['user_factors'][u]), (Q[i], anchor['item_factors'][i])))
    m.learn_one(*EVENTS[0][:2], 1)
    e = 1 - p@q
    np.testing.assert_allclose(m.user_factors_[u], p + .1*(e*q - .01*p), rtol=1e-10)
    np.testing.assert_allclose(m.item_factors_[i], q + .1*(e*p - .01*q), rtol=1e-10)


def test_draws_are_spread_evenly():
    x = np.array([hash_unit(7, n) for n in range(20_000)])
    assert np.abs(np.histogram(x, 20, (0, 1))[0]/1_000 - 1).max()<.12 and len(set(x))==len(x)
