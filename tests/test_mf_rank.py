"""What ISGD, RAISGD and BPRMF promise beyond the notebook: streams of every shape, repeats, faults."""
import math
import numpy as np, pytest
from hypothesis import given
from recinc_nb.learner import L2SP, Reservoir, hash_unit
from recinc_nb.mf_rank import BPRMF, ISGD, RAISGD
from recinc_nb.worlds import drift_stream
from test_likes import EVENTS, few, rows, table


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
                    (ISGD, dict(lr=10., l2=.1)), (BPRMF, dict(lr=10., l2=.1)), (RAISGD, dict(rank_by='best')),
                    (RAISGD, dict(n_negatives=0)), (BPRMF, dict(n_negatives=0)), (BPRMF, dict(n_candidates=0)), (ISGD, dict(remember_seen='no'))):
        with pytest.raises(ValueError, match=f'{cls.__name__}: {[*bad][0]} is'): cls(**bad).partial_fit(one)


@pytest.mark.parametrize('cls,new', [(ISGD, dict(lr=.02, l2=.5)), (RAISGD, dict(n_negatives=3, lr=.05)),
                                     (ISGD, dict(rank_by='distance')), (BPRMF, dict(n_negatives=2, n_candidates=1, lr=.5))])
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


@pytest.mark.parametrize('make', [ISGD, RAISGD, BPRMF])
def test_nothing_of_a_forgotten_user_s_tastes_stays(make):
    m = make(n_factors=3).partial_fit(*table(EVENTS))
    row = m.users_.row(EVENTS[1][0])
    had = m.rows_['user'].used('factors')[row].copy()
    assert m.forget_user(EVENTS[1][0]) and (m.rows_['user'].used('factors')[row]!=had).all() and m.rows_['user'].used('last')[row]==-1
