"""Places in a list on counts and ties that nobody chose by hand: what must hold for all of them, and what is refused."""
import warnings
from itertools import permutations
import numpy as np, pytest
from hypothesis import given, settings, strategies as st
from sklearn import metrics as sk
from recinc_nb.ranks import coverage, hit_rate, mrr, ndcg, ndcg_at_k, rank_counts, rank_gain, recall_at_k

RULES = ('optimistic', 'expected', 'pessimistic')
ONE_TARGET = (hit_rate, mrr, ndcg)
seeds = st.integers(0, 2**32-1)
profile = settings(max_examples=50)


@st.composite
def counted(draw):
    "Counts of n events, some of them misses, and a list length"
    rng,n = np.random.default_rng(draw(seeds)), draw(st.integers(1, 40))
    better = rng.integers(0, draw(st.integers(1, 50)), n).astype(float)
    better[rng.random(n)<.1] = np.inf
    return better, rng.integers(0, draw(st.integers(1, 50)), n), draw(st.integers(1, 60))


@st.composite
def matrices(draw, rows=8, cols=12):
    "Relevances with at least one relevant item per row, and scores with ties"
    rng = np.random.default_rng(draw(seeds))
    shape = draw(st.integers(1, rows)), draw(st.integers(2, cols))
    r = rng.integers(0, 4, shape)*(rng.random(shape)<draw(st.floats(0, 1)))
    r[np.arange(len(r)),rng.integers(0, shape[1], len(r))] += 1
    return r, rng.integers(0, draw(st.integers(1, 6)), shape).astype(float), draw(st.integers(1, cols+3))


# ---- one target per event ----
@profile
@given(counted())
def test_the_optimist_is_never_below_the_mean_nor_the_mean_below_the_pessimist(case):
    better,tied,k = case
    for f in ONE_TARGET:
        high,mean,low = (f(better, tied, k=k, ties=o) for o in RULES)
        assert 1>=high>=mean-1e-12 and mean>=low-1e-12>=-1e-12
        assert len({f(better, 0*tied, k=k, ties=o) for o in RULES})==1      # no ties, no rule
        more = f(better, tied, k=k+1)
        assert more >= mean-1e-12
    for o in RULES: assert hit_rate(better, tied, k, o) >= ndcg(better, tied, k, o)-1e-12 >= mrr(better, tied, k, o)-2e-12


@profile
@given(counted(), st.integers(1, 39))
def test_parts_weighted_by_their_size_give_the_whole(case, cut):
    better,tied,k = case
    parts = [(better[s], tied[s]) for s in (slice(None, cut), slice(cut, None)) if len(better[s])]
    for f in ONE_TARGET: np.testing.assert_allclose(
        np.average([f(b, t, k=k) for b,t in parts], weights=[len(b) for b,_ in parts]), f(better, tied, k=k), rtol=1e-12, atol=1e-15)


@profile
@given(seeds, st.integers(1, 5), st.integers(1, 6))
def test_expected_is_the_mean_over_every_way_to_break_the_ties(seed, n, k):
    "A stable sort of the columns in each possible order; no counts are involved."
    rng = np.random.default_rng(seed)
    s,target = rng.integers(0, 3, n), rng.integers(n)
    places = np.array([[o[j] for j in np.argsort(-s[list(o)], kind='stable')].index(target)+1 for o in permutations(range(n))])
    b,t = rank_counts(s, target)
    for f,gain in ((hit_rate, np.ones_like), (mrr, lambda j: 1/j), (ndcg, lambda j: 1/np.log2(j+1))):
        worth = np.where(places<=k, gain(places.astype(float)), 0)
        np.testing.assert_allclose([f([b], [t], k=k, ties=o) for o in RULES], [worth.max(), worth.mean(), worth.min()], rtol=1e-12, atol=1e-15)


@profile
@given(matrices())
def test_counts_see_the_order_alone_and_leave_no_one_out(case):
    r,s,_ = case
    target = r.argmax(1)
    b,t = rank_counts(s, target)
    mine = s[np.arange(len(s)),target][:,None]
    assert (b+t+1+(s<mine).sum(1)==s.shape[1]).all()
    for other in (rank_counts(s**3+7, target), rank_counts(np.c_[s, np.full(len(s), -np.inf)], target), [np.array(o) for o in
                  zip(*(rank_counts(row, i) for row,i in zip(s, target)))]):
        np.testing.assert_array_equal(other, (b, t))


@profile
@given(matrices())
def test_one_target_equals_sklearn(case):
    r,s,k = case
    target = r.argmax(1)
    hot = np.eye(s.shape[1])[target]
    b,t = rank_counts(s, target)
    np.testing.assert_allclose(ndcg(b, t, k), sk.ndcg_score(hot, s, k=k), rtol=1e-12)
    np.testing.assert_allclose(mrr(b, t, ties='pessimistic'), sk.label_ranking_average_precision_score(hot, s), rtol=1e-12)
    np.testing.assert_allclose((b+t+1).mean(), sk.coverage_error(hot, s), rtol=1e-12)
    if k<s.shape[1]>2:
        theirs = sk.top_k_accuracy_score(target, s, k=k, labels=np.arange(s.shape[1]))
        assert hit_rate(b, t, k, 'pessimistic')-1e-12 <= theirs <= hit_rate(b, t, k, 'optimistic')+1e-12


# ---- several targets ----
@profile
@given(matrices())
def test_several_targets_equal_sklearn_and_stay_in_bounds(case):
    r,s,k = case
    np.testing.assert_allclose(ndcg_at_k(r, s, k), sk.ndcg_score(r, s, k=k), rtol=1e-12)
    np.testing.assert_allclose([ndcg_at_k(r, r, k), recall_at_k(r, s, s.shape[1])], 1., rtol=1e-12)
    for f in (ndcg_at_k, recall_at_k):
        high,mean,low = (f(r, s, k, o) for o in RULES)
        assert 1+1e-12>=high>=mean-1e-12 and mean>=low-1e-12>=-1e-12
        np.testing.assert_allclose(f(r, s**3+7, k), mean, rtol=1e-12)
        np.testing.assert_allclose(f(np.r_[r, 0*r[:1]], np.r_[s, s[:1]], k), mean, rtol=1e-12)     # who wants nothing is left out


@profile
@given(matrices(rows=2, cols=5))
def test_several_targets_are_a_mean_over_every_way_to_break_the_ties(case):
    r,s,k = case
    strict = []
    for o in permutations(range(s.shape[1])):
        place = np.argsort(np.lexsort((np.broadcast_to(o, s.shape), -s)), axis=1)        # distinct by construction
        strict.append([f(r, -place, k) for f in (ndcg_at_k, recall_at_k)])
    np.testing.assert_allclose([f(r, s, k) for f in (ndcg_at_k, recall_at_k)], np.mean(strict, axis=0), rtol=1e-12)


@profile
@given(st.lists(st.lists(st.integers(0, 30), max_size=5), max_size=10))
def test_coverage_grows_with_lists(lists):
    shares = [coverage(lists[:n], 31) for n in range(len(lists)+1)]
    assert shares==sorted(shares) and shares[-1]*31==pytest.approx(len({i for o in lists for i in o}))
    assert coverage([[str(i) for i in o] for o in lists], 31)==shares[-1]


# ---- nothing, all ties, a miss ----
def test_nothing_gives_nan_and_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        for f in ONE_TARGET: assert np.isnan(f([], [])), f.__name__
        for f in (recall_at_k, ndcg_at_k):
            assert np.isnan(f(np.zeros((0, 3)), np.zeros((0, 3)))) and np.isnan(f(np.zeros((2, 3)), np.ones((2, 3))))
        assert [o.shape for o in rank_counts(np.zeros((0, 3)), [])]==[(0,), (0,)]
        assert coverage([], 5)==0==coverage([[]], 5)


@pytest.mark.parametrize('n', (1, 2, 10, 1_000))
def test_a_constant_predictor(n):
    b,t = rank_counts(np.full((4, n), .3), np.arange(4)%n)
    assert [hit_rate(b, t, 10, o) for o in RULES]==[1., min(10/n, 1), float(n<=10)]


def test_a_miss_earns_nothing_whatever_the_rule():
    for f in ONE_TARGET:
        for o in RULES: assert f([np.inf], [0], ties=o)==0==f([np.inf], [3], ties=o) and f([np.inf, 0], [5, 0], ties=o)==.5
    assert mrr([np.inf], [0], k=None)==0 and ndcg([3], [0], k=None)==pytest.approx(1/np.log2(5), rel=1e-12)
    np.testing.assert_array_equal(rank_gain([0, np.inf], [0, 0], np.ones_like, k=10**12), [1, 0])


# ---- bad input ----
@pytest.mark.parametrize('call, says', [
    (lambda: rank_counts([[1, 2]], 0), 'give one target per row'),
    (lambda: rank_counts([1, 2], [0]), 'give one target per row'),
    (lambda: rank_counts(3., 0), 'give one target per row'),
    (lambda: rank_counts([1, 2], 2), 'there are 2 columns'),
    (lambda: rank_counts([1, 2], -1), 'there are 2 columns'),
    (lambda: rank_counts(np.zeros(0), 0), 'there are 0 columns'),
    (lambda: rank_counts([1, 2], 1.), 'target is float64'),
    (lambda: rank_counts([1, np.nan], 0), 'a score is nan'),
    (lambda: rank_counts([1, -np.inf], 1), 'no candidate'),
    (lambda: coverage([[1]], 0), 'n_items is 0'),
    (lambda: coverage([[1, 2], [3]], 2), '3 different items'),
])
def test_refused(call, says):
    with pytest.raises(ValueError, match=says): call()


@pytest.mark.parametrize('f', ONE_TARGET)
def test_counts_are_checked(f):
    for b,t,says in (([-1], [0], 'better holds -1'), ([0], [-1], 'tied holds -1'), ([.5], [0], 'better holds 0.5'), ([0], [.5], 'tied holds 0.5'),
                     ([np.nan], [0], 'better holds nan'), ([0], [np.nan], 'tied holds nan'), ([0], [np.inf], 'tied holds inf'),
                     ([0, 1], [0], 'shape'), ([[0]], [[0]], 'shape'), ([0], 0, 'shape')):
        with pytest.raises(ValueError, match=says): f(b, t)
    for k in (0, -3, 2.5, True):
        with pytest.raises(ValueError, match=f'k is {k}'): f([0], [0], k=k)
    for ties in ('lucky', None, 'Expected'):
        with pytest.raises(ValueError, match="use 'optimistic', 'expected' or 'pessimistic'"): f([0], [0], ties=ties)


@pytest.mark.parametrize('f', (recall_at_k, ndcg_at_k))
def test_matrices_are_checked(f):
    ok = np.ones((2, 3))
    for r,s,says in ((ok, ok[:1], 'shape'), (ok[0], ok[0], 'shape'), (-ok, ok, 'negative or not finite'), (ok*np.nan, ok, 'negative or not finite'),
                     (ok, ok*np.nan, 'a score is nan')):
        with pytest.raises(ValueError, match=says): f(r, s)
    with pytest.raises(ValueError, match='k is 0'): f(ok, ok, 0)
    with pytest.raises(ValueError, match='optimistic'): f(ok, ok, ties='lucky')
