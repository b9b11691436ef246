"""The table of losses and its measures: small tables by hand, copies that are left alone, and what is refused."""
import numpy as np, pytest
from hypothesis import given, strategies as st
from hypothesis.extra.numpy import arrays
from helpers import state
from recinc_nb import IncrementalMF, RunningMean, drift_stream
from recinc_nb.forgetting import score_matrix, transfer_measures

world = drift_stream(90, n_users=6, n_items=5, seed=2)
parts = list(world.batches(30))
def squared(pred, exam): return np.mean((pred - exam.events['rating'])**2)


@given(st.integers(2, 6).flatmap(lambda T: arrays(float, (T+1, T), elements=st.floats(0, 10))))
def test_measures_follow_the_indices(R):
    T = R.shape[1]
    out = transfer_measures(R)
    np.testing.assert_allclose(out['next'], sum(R[k-1,k-1] for k in range(1, T+1))/T, atol=1e-12)
    np.testing.assert_allclose(out['forward'], sum(R[0,j-1] - R[j-1,j-1] for j in range(2, T+1))/(T-1), atol=1e-12)
    np.testing.assert_allclose(out['backward'], sum(R[j,j-1] - R[T,j-1] for j in range(1, T))/(T-1), atol=1e-12)
    np.testing.assert_allclose(out['forgetting'], sum(R[T,j-1] - min(R[k,j-1] for k in range(1, T)) for j in range(1, T))/(T-1), atol=1e-12)
    assert out['forgetting'] >= -out['backward'] - 1e-12        # the best row before the last is at least as good as the diagonal
    assert abs(transfer_measures(np.tile(R[0], (T+1, 1)))[1:]).max() < 1e-12 # who does not learn has no transfer and no forgetting


def test_a_table_is_a_loop_and_the_learner_given_is_left_alone():
    m = IncrementalMF(n_factors=3, seed=4).partial_fit(world[:10])
    before = state(m)
    R = score_matrix(m, parts, parts, squared)
    assert state(m)==before and R.shape==(4, 3)
    again,rows = IncrementalMF(n_factors=3, seed=4),[]
    for k in range(4):
        if k: again.partial_fit(parts[k-1])
        rows.append([squared(again.predict(o), o) for o in parts])
    np.testing.assert_array_equal(R, rows)


def test_parts_of_one_event_are_predict_then_learn():
    events = [world[n:n+1] for n in range(len(world))]
    for m in (RunningMean(), IncrementalMF(n_factors=2)):
        own = type(m)(**m.get_params()).predict_learn(world)
        np.testing.assert_allclose(transfer_measures(score_matrix(m, events, events, squared))['next'], np.mean((own - world.events['rating'])**2), rtol=1e-12)


def test_iterators_are_read_once():
    np.testing.assert_array_equal(score_matrix(RunningMean(), iter(parts), iter(parts), squared), score_matrix(RunningMean(), parts, parts, squared))


@pytest.mark.parametrize('shape', [(3,), (2, 1), (3, 3), (2, 3), (0, 0), (4, 3, 1)])
def test_another_shape_is_refused(shape):
    with pytest.raises(ValueError, match='transfer_measures: R has shape'): transfer_measures(np.ones(shape))


def test_what_is_refused():
    for bad in (np.nan, np.inf):
        with pytest.raises(ValueError, match='not finite'): transfer_measures(np.array([[1, 1], [1, bad], [1, 1]]))
    for a,b in ((0, 0), (0, 1), (2, 3), (3, 2)):
        with pytest.raises(ValueError, match=f'{a} parts and {b} exams'): score_matrix(RunningMean(), parts[:a], parts[:b], squared)
