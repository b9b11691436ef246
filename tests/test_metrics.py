"""Metrics of single events on shapes and ties that nobody chose by hand: what must hold for all of them, and what is refused."""
import warnings
import numpy as np, pytest
from hypothesis import given, settings, strategies as st
from sklearn import metrics as sk
from sklearn.calibration import calibration_curve
from recinc_nb.metrics import auc, calibration, calibration_ratio, log_loss, mae, normalized_entropy, rmse, user_auc

seeds = st.integers(0, 2**32-1)
profile = settings(max_examples=50)


@st.composite
def labeled(draw, most=60):
    "Labels with both classes, and scores from so few values that most of them tie"
    rng,n = np.random.default_rng(draw(seeds)), draw(st.integers(2, most))
    y = rng.permutation(np.r_[0, 1, rng.integers(0, 2, n-2)])
    return y, rng.integers(0, draw(st.integers(1, 6)), n), rng


# ---- order ----
@profile
@given(labeled())
def test_auc_equals_sklearn_and_sees_the_order_alone(case):
    y,s,_ = case
    np.testing.assert_allclose(auc(y, s), sk.roc_auc_score(y, s), rtol=1e-12)
    assert auc(y, s**3+7)==auc(y, s)
    np.testing.assert_allclose([auc(y, -s), auc(1-y, s)], 1-auc(y, s), atol=1e-12)


@profile
@given(labeled(), st.integers(1, 5))
def test_user_auc_moves_with_neither_the_order_of_rows_nor_a_shift_per_user(case, n_users):
    y,s,rng = case
    user = rng.integers(0, n_users, len(y))
    value,shuffle = user_auc(y, s, user), rng.permutation(len(y))
    names = np.array(['ann', 'bob', 'cid', 'dee', 'eva'])[user]
    for other in (user_auc(y[shuffle], s[shuffle], user[shuffle]), user_auc(y, s**3 + 1_000*user, user), user_auc(y, s, names)):
        np.testing.assert_allclose(other, value, rtol=1e-12)
    np.testing.assert_allclose(user_auc(y, s, np.zeros(len(y))), auc(y, s), rtol=1e-12)


# ---- probabilities ----
@profile
@given(labeled(), st.integers(1, 12))
def test_probabilities_equal_sklearn(case, bins):
    y,_,rng = case
    p = rng.integers(1, 20, len(y))/20
    np.testing.assert_allclose(log_loss(y, p), sk.log_loss(y, p), rtol=1e-12)
    np.testing.assert_allclose(normalized_entropy(y, p), sk.log_loss(y, p)/sk.log_loss(y, np.full(len(y), y.mean())), rtol=1e-10)
    observed,predicted = calibration_curve(y, p, n_bins=bins, strategy='quantile')
    np.testing.assert_allclose(calibration(y, p, bins)[['predicted', 'observed']], np.c_[predicted, observed], rtol=1e-12)


@profile
@given(labeled(), st.integers(1, 12))
def test_a_reliability_curve_loses_no_event_and_does_not_look_at_the_order_of_rows(case, bins):
    y,_,rng = case
    p = rng.integers(0, 9, len(y))/8
    t = calibration(y, p, bins)
    assert t['events'].sum()==len(y) and len(t)<=bins and t['predicted'].is_monotonic_increasing
    np.testing.assert_allclose([t['events']@t['predicted'], t['events']@t['observed']], [p.sum(), y.sum()], rtol=1e-12)
    np.testing.assert_allclose(t['events']@t['predicted']/(t['events']@t['observed']), calibration_ratio(y, p), rtol=1e-12)
    shuffle = rng.permutation(len(y))
    np.testing.assert_allclose(calibration(y[shuffle], p[shuffle], bins), t, rtol=1e-12)


@profile
@given(labeled(), st.floats(.01, .99))
def test_no_constant_beats_the_base_rate(case, c):
    y = case[0]
    assert normalized_entropy(y, np.full(len(y), c)) >= 1-1e-9


# ---- nothing, one class ----
def test_nothing_gives_nan_and_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        for f in (rmse, mae, auc, log_loss, normalized_entropy, calibration_ratio): assert np.isnan(f([], [])), f.__name__
        assert np.isnan(user_auc([], [], []))
        assert list(calibration([], []).columns)==['events', 'predicted', 'observed'] and not len(calibration([], []))


@pytest.mark.parametrize('y', ([1, 1, 1], [0, 0, 0], [1], [0]))
def test_one_class_alone_is_nan_where_two_are_needed(y):
    p = np.linspace(.2, .8, len(y))
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert np.isnan([auc(y, p), user_auc(y, p, y), normalized_entropy(y, p)]).all() and np.isfinite(log_loss(y, p))
        assert np.isnan(calibration_ratio(y, p))==(y[0]==0)


def test_all_ties_are_a_coin(): assert auc([1, 0, 1], [.3]*3)==.5


# ---- bad input ----
@pytest.mark.parametrize('call, says', [
    (lambda: calibration([0, 1], [.1, .2], bins=0), 'bins is 0'),
    (lambda: calibration([0, 1], [.1, .2], bins=2.5), 'bins is 2.5'),
    (lambda: user_auc([0, 1], [.1, .2], [1]), '1 users for 2 events'),
])
def test_refused(call, says):
    with pytest.raises(ValueError, match=says): call()


@pytest.mark.parametrize('f', (auc, log_loss, normalized_entropy, calibration_ratio, calibration))
def test_labels_and_scores_are_checked(f):
    for y,p,says in (([0, 1], [[.1], [.2]], 'shape'), ([0, 1], [.1], 'shape'), ([0, 2], [.1, .2], 'labels are 0 or 1'),
                     ([0, 1], [.1, np.nan], 'nan'), ([0, np.nan], [.1, .2], 'nan'), ([0, 1], [.1, np.inf], 'inf')):
        with pytest.raises(ValueError, match=says): f(y, p)
    if f is not auc:
        for p in ([.1, 1.2], [-.1, .2]):
            with pytest.raises(ValueError, match='not stars or logits'): f([0, 1], p)
