"""Gradients of the losses on random shapes and at extremes, the checker against plausible bugs, and bad input."""
import math
import numpy as np, pytest, torch
from hypothesis import assume, given, settings, strategies as st
from recinc_nb import losses as L
from recinc_nb.attention import attention, attention_grad, gelu, gelu_grad, layer_norm, layer_norm_grad
from recinc_nb.losses import check_gradient, finite_difference, sigmoid, softmax, softplus
from recinc_nb.mf import mf_grad, mf_loss
from recinc_nb.mf_strategies import events_grad, events_loss

few = settings(max_examples=40)
extreme = st.one_of(st.floats(-1e3, 1e3), st.floats(-5, 5), st.sampled_from([0., -0., 1e3, -1e3, 1e-300, 36.7, -745.2]))
soft = st.one_of(st.floats(0, 1), st.sampled_from([0., 1., .5, 5e-324]))

def columns(*kinds): return st.integers(1, 8).flatmap(lambda n: st.tuples(*(st.lists(k, min_size=n, max_size=n).map(np.array) for k in kinds)))


@few
@given(columns(extreme, extreme))
def test_squared_error(a): check_gradient(L.sq_loss, L.sq_loss_grad, *a)


@few
@given(columns(extreme, soft))
def test_log_loss_on_logits(a):
    check_gradient(L.bce_loss, L.bce_loss_grad, *a)
    s,y = a
    theirs = torch.nn.functional.binary_cross_entropy_with_logits(torch.tensor(s), torch.tensor(y), reduction='none').numpy()
    np.testing.assert_allclose(L.bce_loss(s, y), theirs, rtol=1e-12, atol=1e-12)
    assert (L.bce_loss(s, y)>=0).all() and (np.abs(L.bce_loss_grad(s, y))<=1).all()


@few
@given(columns(extreme, extreme))
def test_pairs(a): check_gradient(L.bpr_loss, L.bpr_loss_grad, *a, wrt=(0, 1))


@few
@given(columns(extreme, st.sampled_from([0., 1.])))
def test_hinge_away_from_its_kink(a):
    s,y = a
    assume((np.abs((2*y-1)*s - 1) > .02).all())
    check_gradient(L.hinge_loss, L.hinge_loss_grad, s, y)


@few
@given(st.data(), st.integers(1, 5), st.integers(1, 6))
def test_softmax_cross_entropy(data, n, k):
    scores = np.array(data.draw(st.lists(extreme, min_size=n*k, max_size=n*k))).reshape(n, k)
    y = np.array(data.draw(st.lists(st.integers(0, k-1), min_size=n, max_size=n)))
    check_gradient(L.ce_loss, L.ce_loss_grad, scores, y)
    np.testing.assert_allclose(L.ce_loss_grad(scores, y).sum(1), 0, atol=1e-12)
    np.testing.assert_allclose(softmax(scores).sum(1), 1, rtol=1e-12)
    assert (L.ce_loss(scores, y)>=0).all()


@few
@given(st.integers(0, 2**32-1), st.integers(0, 9), st.sampled_from(['squared', 'logistic']), st.floats(0, 2), st.floats(0, 2))
def test_matrix_factorization(seed, k, loss, l2, l2_bias):
    rng = np.random.default_rng(seed)
    p,q = rng.normal(0, 3, (2, k+1)) # k+1: an empty argument has nothing to check
    b_u,b_i,mean = rng.normal(0, 3, 3)
    y = rng.random() if loss=='logistic' else rng.uniform(1, 5)
    f,g = (lambda p, q, b_u, b_i, mean, y, f=f: f(p, q, b_u, b_i, mean, y, l2, l2_bias, loss) for f in (mf_loss, mf_grad))
    check_gradient(f, g, p, q, b_u, b_i, mean, y, wrt=(0, 1, 2, 3))


def test_matrix_factorization_bugs_are_caught():
    args = np.array([.5, 1.]), np.array([2., 1.]), .1, -.2, 3., 4.
    f = lambda p, q, b_u, b_i, mean, y: mf_loss(p, q, b_u, b_i, mean, y, .1, .2)
    g = lambda p, q, b_u, b_i, mean, y: mf_grad(p, q, b_u, b_i, mean, y, .1, .2)
    check_gradient(f, g, *args, wrt=(0, 1, 2, 3))
    bugs = {'swapped': lambda *a: (g(*a)[1], g(*a)[0], *g(*a)[2:]), 'no penalty': lambda *a: mf_grad(*a), 'no bias penalty': lambda *a: mf_grad(*a, .1),
            'sign': lambda *a: tuple(-o for o in g(*a)), 'moved already': lambda p, q, *r: (g(p, q, *r)[0], g(p-.1*g(p, q, *r)[0], q, *r)[1], *g(p, q, *r)[2:])}
    for bug in bugs.values():
        with pytest.raises(AssertionError, match='gradient for'): check_gradient(f, bug, *args, wrt=(0, 1, 2, 3))


s,y01,stars = np.array([-2.3, -.4, .1, .7, 3.]), np.array([0., 1., 1., 0., 1.]), np.array([1., 5., 3., 4., 2.])
table,which = np.random.default_rng(0).normal(size=(5, 4)), np.array([0, 3, 1, 2, 2])
hot = lambda scores, y: np.eye(scores.shape[1])[y]


@few
@given(st.integers(0, 2**32-1), st.integers(1, 4), st.integers(1, 4), st.integers(1, 3), st.integers(1, 9))
def test_matrix_factorization_on_many_events(seed, n_users, n_items, d, n):
    rng = np.random.default_rng(seed)
    U,V = rng.normal(size=(n_users, d)),rng.normal(size=(n_items, d))
    args = U, V, rng.integers(0, n_users, n), rng.integers(0, n_items, n), rng.uniform(1, 5, n)
    check_gradient(events_loss, events_grad, *args, wrt=(0, 1))
    if n>1 and all(np.abs(g).max()>1e-3 for g in events_grad(*args)):
        sums = lambda *a: tuple(n*g for g in events_grad(*a)) # a sum where the loss is a mean
        with pytest.raises(AssertionError, match='gradient for U'): check_gradient(events_loss, sums, *args, wrt=(0, 1))


@few
@given(st.integers(0, 2**32-1), st.integers(1, 4), st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.sampled_from([(), (2,)]))
def test_attention(seed, asking, answering, c, c_value, more):
    rng = np.random.default_rng(seed)
    query,key,value,g = (rng.normal(0, 2, (*more, *o)) for o in ((asking, c), (answering, c), (answering, c_value), (asking, c_value)))
    mask = rng.random((asking, answering))<.6
    mask[:, 0] = True
    heard = lambda query, key, value, g, mask=None: attention(query, key, value, mask)*g
    check_gradient(heard, attention_grad, query, key, value, g, wrt=(0, 1, 2))
    check_gradient(heard, attention_grad, query, key, value, g, mask, wrt=(0, 1, 2))


@few
@given(st.integers(0, 2**32-1), st.integers(3, 6), st.sampled_from([(), (3,), (2, 2)]), st.sampled_from([1e-12, 1e-5, .1]))
def test_layer_norm(seed, d, rows, eps):
    rng = np.random.default_rng(seed)
    x,g = rng.normal(0, 2, (2, *rows, d))
    x[..., 0] += 3 # not all alike: there the slope is that of eps
    normed = lambda x, weight, bias, g: layer_norm(x, weight, bias, eps)*g
    slopes = lambda *a: layer_norm_grad(*a, eps)
    args = x, *rng.normal(size=(2, d)), g
    check_gradient(normed, slopes, *args, wrt=(0, 1, 2))
    if eps==1e-12: check_gradient(normed, layer_norm_grad, *args, wrt=(0, 1, 2))


@few
@given(st.lists(extreme, min_size=1, max_size=8))
def test_gelu(x):
    check_gradient(gelu, gelu_grad, np.array(x))
    theirs = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    torch.nn.functional.gelu(theirs).sum().backward()
    np.testing.assert_allclose(gelu_grad(x), theirs.grad.numpy(), rtol=1e-9, atol=1e-12)


def test_no_exported_gradient_is_left_out():
    "Each name that ends in _grad is held against finite differences in this file."
    from pathlib import Path
    import re
    here = Path(__file__).read_text()
    names = {o for p in (Path(L.__file__).parent).glob('*.py') if p.name!='_modidx.py' for o in re.findall(r'^def (\w+_grad)\(', p.read_text(), re.M) if o[0]!='_'}
    assert len(names)>=6
    missing = [o for o in names if not re.search(rf'(check_gradient\(|for f in \()[^)]*\b{o}\b', here)]
    assert not missing, f'{missing} are exported gradients that no test checks'


BUGS = {
    'squared: sign': (L.sq_loss, lambda s, y: y-s, s, stars),
    'squared: the 2 kept': (L.sq_loss, lambda s, y: 2*(s-y), s, stars),
    'squared: mean': (L.sq_loss, lambda s, y: (s-y)/len(s), s, stars),
    'squared: summed': (L.sq_loss, lambda s, y: np.full(len(s), (s-y).sum()), s, stars),
    'squared: towards the mean': (L.sq_loss, lambda s, y: s-y.mean(), s, stars),
    'squared: absolute': (L.sq_loss, lambda s, y: np.sign(s-y), s, stars),
    'log: sign': (L.bce_loss, lambda s, y: y-sigmoid(s), s, y01),
    'log: of probabilities': (L.bce_loss, lambda s, y: -y/sigmoid(s)+(1-y)/(1-sigmoid(s)), s, y01),
    'log: squared error on probabilities': (L.bce_loss, lambda s, y: (sigmoid(s)-y)*sigmoid(s)*sigmoid(-s), s, y01),
    'log: forgot the sigmoid': (L.bce_loss, lambda s, y: s-y, s, y01),
    'log: labels as signs': (L.bce_loss, lambda s, y: sigmoid(s)-(2*y-1), s, y01),
    'log: two signs that cancel': (L.bce_loss, lambda s, y: (1-y)*sigmoid(s)/sigmoid(-s) - y*sigmoid(-s)/(1+sigmoid(s)), s, y01),
    'log: ignores the label': (L.bce_loss, lambda s, y: -1/(4*np.cosh((s-y)/2)**2), s, y01),
    'log: hard labels': (L.bce_loss, lambda s, y: sigmoid(s)-np.round(y), s, np.array([.2, .7, .9, .1, .6])),
    'log: 0.003 % off everywhere': (L.bce_loss, lambda s, y: (sigmoid(s)-y)*(1+3e-5), s, y01),
    'softmax: without the label': (L.ce_loss, lambda s, y: softmax(s), table, which),
    'softmax: diagonal alone': (L.ce_loss, lambda s, y: (softmax(s)-1)*hot(s, y), table, which),
    'softmax: label shifted by one': (L.ce_loss, lambda s, y: softmax(s)-hot(s, (y+1)%4), table, which),
    'softmax: over events': (L.ce_loss, lambda s, y: softmax(s.T).T-hot(s, y), table, which),
    'softmax: a sigmoid each': (L.ce_loss, lambda s, y: sigmoid(s)-hot(s, y), table, which),
    'softmax: mean': (L.ce_loss, lambda s, y: (softmax(s)-hot(s, y))/len(y), table, which),
    'hinge: 0/1 for signs': (L.hinge_loss, lambda s, y: np.where(y*s<1, -y, 0.), s, y01),
    'hinge: perceptron': (L.hinge_loss, lambda s, y: np.where((2*y-1)*s<0, 1-2*y, 0.), s, y01),
    'hinge: never rests': (L.hinge_loss, lambda s, y: 1-2*y, s, y01),
    'shape (n, 1)': (L.sq_loss, lambda s, y: (s-y)[:, None], s, stars),
    'a number': (L.sq_loss, lambda s, y: float((s-y).sum()), s, stars),
    'nan at one place': (L.bce_loss, lambda s, y: np.where(s>2, np.nan, sigmoid(s)-y), s, y01),
    'overflow': (L.bce_loss, lambda s, y: np.exp(s)/(1+np.exp(s))-y, np.array([0., 800.]), np.array([0., 1.])),
    'loss overflows': (lambda s, y: np.log(1+np.exp(s))-y*s, lambda s, y: sigmoid(s)-y, np.array([0., 800.]), np.array([0., 1.])),
}

@pytest.mark.parametrize('name', BUGS)
def test_bugs_are_caught(name):
    loss,grad,*args = BUGS[name]
    with pytest.raises(AssertionError, match='check_gradient of'): check_gradient(loss, grad, *args)


@pytest.mark.parametrize('bug', [lambda p, n: (-sigmoid(p-n), sigmoid(p-n)), lambda p, n: (sigmoid(n-p), -sigmoid(n-p)),
                                 lambda p, n: (-sigmoid(n-p), -sigmoid(n-p)), lambda p, n: (-sigmoid(n-p), 0*n), lambda p, n: (-sigmoid(n-p),)])
def test_bugs_in_pairs_are_caught(bug):
    with pytest.raises(AssertionError): check_gradient(L.bpr_loss, bug, s, stars, wrt=(0, 1))


@given(st.integers(0, 4), st.floats(1e-3, 1e3), st.sampled_from([-1, 1]))
@few
def test_one_wrong_coordinate_is_named(at, size, sign):
    def bug(s, y):
        g = L.bce_loss_grad(s, y)
        g[at] += sign*size
        return g
    with pytest.raises(AssertionError, match=rf'for score at \[{at}\] is'): check_gradient(L.bce_loss, bug, s, y01)


def test_the_checker_takes_numbers_tables_and_means():
    check_gradient(lambda x: x**3, lambda x: 3*x**2, 2.)
    check_gradient(lambda a, x: (a@x).mean(), lambda a, x: (np.outer(np.ones(3), x)/3, a.mean(0)), np.arange(6.).reshape(3, 2), np.array([1., -2.]), wrt=(0, 1))
    x = np.array([1., 2.])
    check_gradient(lambda x: x@x, lambda x: 2*x, x)
    assert x.tolist()==[1., 2.] # what it was given is left alone
    check_gradient(lambda x: x@x, lambda x: 2*x, np.array([1, 2])) # ints are nudged as floats


def test_the_checker_wants_something_to_check():
    for args,wrt,why in (((np.zeros(0), np.zeros(0)), 0, 'score is empty'), ((s, y01), 2, 'there are 2 arguments'), ((s, y01), (), 'there are 2'), ((s, y01), -1, 'there are 2')):
        with pytest.raises(ValueError, match=why): check_gradient(L.bce_loss, L.bce_loss_grad, *args, wrt=wrt)


@given(st.floats(-700, 700))
@few
def test_sigmoid_and_softplus_keep_their_digits(x):
    p = float(sigmoid(x))
    assert p==pytest.approx(math.exp(x)/(1+math.exp(x)) if x<0 else 1/(1+math.exp(-x)), rel=1e-13) and 0<p<=1
    assert float(softplus(x))>=max(x, 0) and float(softplus(x))==pytest.approx(np.logaddexp(0, x), rel=1e-12)
    assert p+float(sigmoid(-x))==pytest.approx(1, abs=1e-15)


def test_shapes_and_types_of_the_simple_ones():
    assert sigmoid(0)==.5 and sigmoid([[0, 0]]).shape==(1, 2) and sigmoid(np.zeros(0)).shape==(0,)
    assert sigmoid([np.inf, -np.inf]).tolist()==[1., 0.] and softplus([-np.inf]).tolist()==[0.]
    assert softmax([1e3, 0.]).tolist()==[1., 0.] and softmax(np.zeros((2, 0, 3))).shape==(2, 0, 3)
    for f,g in ((L.sq_loss, L.sq_loss_grad), (L.bce_loss, L.bce_loss_grad), (L.hinge_loss, L.hinge_loss_grad)):
        assert f([], []).shape==g([], []).shape==(0,) and f([1], [1]).dtype==np.float64
    assert L.ce_loss(np.zeros((0, 3)), np.zeros(0, dtype=int)).shape==(0,)


PAIRS = [L.sq_loss, L.sq_loss_grad, L.bce_loss, L.bce_loss_grad, L.bpr_loss, L.bpr_loss_grad, L.hinge_loss, L.hinge_loss_grad]

@pytest.mark.parametrize('f', PAIRS, ids=lambda f: f.__name__)
@pytest.mark.parametrize('a, b, why', [(np.zeros((3, 1)), np.zeros(3), r'\(3, 1\)'), (np.zeros(3), np.zeros(2), 'one shape'), (0., 0., 'one shape'),
    (['a'], [1.], 'no number'), ([None], [1.], 'nan|no number'), ([np.nan], [1.], 'nan in row 0'), ([0., np.inf], [1., 1.], 'inf in row 1'), ([0.], [np.nan], 'nan in row 0')])
def test_bad_columns(f, a, b, why):
    with pytest.raises(ValueError, match=why) as e: f(a, b)
    assert str(e.value).startswith(f.__name__+':')


@pytest.mark.parametrize('f, args, why', [
    (L.bce_loss, ([0.], [4.]), 'not stars'), (L.bce_loss_grad, ([0.], [-.1]), r'in \[0, 1\]'), (L.hinge_loss, ([0.], [.5]), '0 or 1'), (L.hinge_loss_grad, ([0.], [-1.]), '0 or 1'),
    (L.ce_loss, ([[0., 1.]], [2]), 'from 0 to 1'), (L.ce_loss, ([[0., 1.]], [-1]), 'from 0 to 1'), (L.ce_loss_grad, ([[0., 1.]], [.5]), 'whole numbers'), (L.ce_loss, ([[0., 1.]], [np.nan]), 'whole numbers'),
    (L.ce_loss, ([0., 1.], [1]), r'\(n, K\)'), (L.ce_loss, ([[0., 1.]], [[1]]), r'\(n, K\)'), (L.ce_loss, (np.zeros((1, 0)), [0]), r'\(n, K\)'), (L.ce_loss, ([[0., np.nan]], [1]), 'not finite in row 0'),
    (softmax, (0.,), 'at least one class'), (softmax, ([],), 'at least one class'), (softmax, ([np.nan],), 'not finite'),
    (L.sampled_logit, ([0.], 0), 'rate is 0'), (L.sampled_logit, ([0.], 1.5), 'rate is 1.5'), (L.sampled_logit, ([0.], -1), 'rate is -1'), (L.sampled_logit, ([0.], np.nan), 'rate is nan'),
    (finite_difference, (np.sum, [1.], 0.), 'h is 0'), (finite_difference, (np.sum, [1.], -1.), 'h is -1'), (finite_difference, (np.sum, [1.], np.inf), 'h is inf'), (finite_difference, (np.sum, [np.nan]), 'no slope')])
def test_bad_input(f, args, why):
    with pytest.raises(ValueError, match=why): f(*args)


@given(st.floats(1e-6, 1-1e-6), st.floats(1e-3, 1))
@few
def test_sampled_logit_is_bayes(p, rate):
    kept = p/(p + (1-p)*rate)
    assert float(sigmoid(L.sampled_logit(math.log(kept/(1-kept)), rate)))==pytest.approx(p, rel=1e-6)
