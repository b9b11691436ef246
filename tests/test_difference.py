"""What error bars promise: whatever the draws, and for lists too."""
import numpy as np, pytest
from hypothesis import given, strategies as st
from recinc_nb import BiasBaseline, drift_stream, prequential
from recinc_nb.baselines import Popularity
from recinc_nb.difference import _resampled, paired_bootstrap
from recinc_nb.topn import prequential_topn
from test_protocol import Constant, few


@few
@given(n=st.integers(20, 200), share=st.floats(.001, .1), seed=st.integers(0, 9))
def test_bootstrap_is_antisymmetric_repeats_itself_and_finds_nothing_between_twins(n, share, seed):
    s,block = drift_stream(n),max(1, int(n*share))
    a,b = prequential(BiasBaseline(), s),prequential(Constant(), s)
    ab,ba = (paired_bootstrap(*o, block=block, n_boot=50, seed=seed) for o in ((a, b), (b, a)))
    np.testing.assert_allclose(ab[['difference', 'low', 'high', 'se']], [-ba['difference'], -ba['high'], -ba['low'], ba['se']], rtol=1e-9, atol=1e-12)
    assert ab.equals(paired_bootstrap(a, b, block=block, n_boot=50, seed=seed))
    assert (paired_bootstrap(a, a, block=block, n_boot=50)==0).all()
    np.testing.assert_allclose(ab['difference'], a.summary['rmse']-b.summary['rmse'], rtol=1e-9, atol=1e-12)


@few
@given(n=st.integers(1, 40), block=st.integers(1, 40), seed=st.integers(0, 99))
def test_resampled_means_are_those_of_the_blocks_drawn(n, block, seed):
    block = min(n, block)
    x = np.random.default_rng(0).normal(size=(n, 2))
    k = -(-n//block)
    start = np.random.default_rng(seed).integers(0, n, (5, k))
    rows = [np.concatenate([(a+np.arange(block))%n for a in o])[:n] for o in start]
    np.testing.assert_allclose(_resampled(x, block, 5, np.random.default_rng(seed)), [x[r].mean(0) for r in rows], rtol=1e-9, atol=1e-12)


def test_bootstrap_works_on_lists():
    s = drift_stream(2_000)
    a,b = (prequential_topn(m, s, name=n) for m,n in ((Popularity(), 'counts'), (Popularity(decay=.5), 'forgets all')))
    d = paired_bootstrap(a, b, 'hit_rate', block=20, n_boot=200)
    assert d['low'] <= d['difference'] <= d['high'] and d['se']>0
    np.testing.assert_allclose(d['difference'], a.summary['hit_rate']-b.summary['hit_rate'], atol=1e-12)
    with pytest.raises(ValueError, match='is no mean'): paired_bootstrap(a, b, block=20)
