"""Optimizers against PyTorch over random shapes and settings; rows that are not named keep their bits; bad input changes nothing."""
import numpy as np, pytest, torch
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as hnp
from recinc_nb.optim import SGD, AdaGrad, Adam, AdamW, FTRLProximal, Momentum, RMSProp
from recinc_nb.tracking import tracking_lr

lrs = st.floats(1e-4, .5)
share = st.floats(0., .999)
eps = st.sampled_from([1e-10, 1e-8, 1e-3])
pairs = {
    'SGD': (st.fixed_dictionaries(dict(lr=lrs)), SGD, lambda lr: (torch.optim.SGD, dict(lr=lr))),
    'Momentum': (st.fixed_dictionaries(dict(lr=lrs, momentum=share)), Momentum, lambda lr, momentum: (torch.optim.SGD, dict(lr=lr, momentum=momentum))),
    'AdaGrad': (st.fixed_dictionaries(dict(lr=lrs, eps=eps)), AdaGrad, lambda **kw: (torch.optim.Adagrad, kw)),
    'RMSProp': (st.fixed_dictionaries(dict(lr=lrs, decay=share, eps=eps)), RMSProp,
                lambda lr, decay, eps: (torch.optim.RMSprop, dict(lr=lr, alpha=decay, eps=eps))),
    'Adam': (st.fixed_dictionaries(dict(lr=lrs, betas=st.tuples(share, share), eps=eps)), Adam, lambda **kw: (torch.optim.Adam, kw)),
    'AdamW': (st.fixed_dictionaries(dict(lr=lrs, betas=st.tuples(share, share), eps=eps, weight_decay=st.floats(0., 1.))), AdamW,
              lambda **kw: (torch.optim.AdamW, kw)),
}
makers = [lambda: SGD(.1), lambda: Momentum(.1), lambda: AdaGrad(.1), lambda: RMSProp(.1), lambda: Adam(.1), lambda: AdamW(.1, weight_decay=.5),
          lambda: AdamW(.1, weight_decay=.5, anchor=np.full((6, 3), 2.)), lambda: FTRLProximal(.1, l1=.2, l2=.1)]
names = ['SGD', 'Momentum', 'AdaGrad', 'RMSProp', 'Adam', 'AdamW', 'AdamW-anchor', 'FTRLProximal']
every = pytest.mark.parametrize('make', makers, ids=names)


@pytest.mark.parametrize('name', pairs)
@settings(max_examples=30)
@given(data=st.data(), shape=hnp.array_shapes(min_dims=0, max_dims=3, max_side=4), seed=st.integers(0, 2**32-1))
def test_equals_torch_on_any_shape_and_setting(name, data, shape, seed):
    strategy,ours,theirs = pairs[name]
    kw = data.draw(strategy)
    rng = np.random.default_rng(seed)
    w = np.array(rng.normal(size=shape))
    t = torch.tensor(w, requires_grad=True)
    Opt,torch_kw = theirs(**kw)
    a,b = ours(**kw),Opt([t], **torch_kw)
    for _ in range(100):
        g = np.array(rng.normal(size=shape)*10.**rng.integers(-3, 3))
        t.grad = torch.from_numpy(g.copy())
        b.step()
        a.step(w, g)
    np.testing.assert_allclose(w, t.detach().numpy(), rtol=1e-10, atol=1e-10, strict=True)


@settings(max_examples=30)
@given(lr=lrs, beta=st.floats(.1, 2.), l1=st.floats(0., 3.), l2=st.floats(0., 3.), seed=st.integers(0, 2**32-1))
def test_ftrl_is_the_argmin_of_its_whole_history(lr, beta, l1, l2, seed):
    rng = np.random.default_rng(seed)
    opt,w = FTRLProximal(lr, beta, l1, l2), rng.normal(size=5)
    path,gs = [w.copy()],[]
    for _ in range(20):
        gs.append(rng.normal(size=5))
        path.append(opt.step(w, gs[-1]).copy())
    root = np.sqrt(np.cumsum(np.square(gs), 0))
    sigma = np.diff(root, axis=0, prepend=0)/lr
    slope = sum(gs) + (sigma*(w - path[:-1])).sum(0) + beta/lr*(w - path[0]) + l2*w # of the smooth part, at the answer
    zero = w==0
    assert (np.abs(slope[zero]) <= l1 + 1e-9).all()                                 # zero is optimal inside the kink,
    np.testing.assert_allclose(slope[~zero], -l1*np.sign(w[~zero]), rtol=0, atol=1e-9*max(1, np.abs(w).max()/lr)) # else the slope cancels


@every
@settings(max_examples=20)
@given(data=st.data(), seed=st.integers(0, 2**32-1))
def test_rows_not_named_keep_bits_and_state(make, data, seed):
    rng = np.random.default_rng(seed)
    opt,w = make(),rng.normal(size=(6, 3))
    opt.step(w, rng.normal(size=w.shape))                  # everybody has a state
    for _ in range(5):
        rows = data.draw(st.lists(st.integers(0, 5), unique=True))
        others = np.setdiff1d(np.arange(6), rows)
        before = [a[others].tobytes() for a in (w, *opt.state.values())]
        opt.step(w, rng.normal(size=(len(rows), 3)), rows=rows)
        assert [a[others].tobytes() for a in (w, *opt.state.values())]==before


@every
def test_all_rows_in_any_order_equal_a_whole_step(make):
    rng = np.random.default_rng(0)
    a,b = make(),make()
    w = rng.normal(size=(6, 3))
    v = w.copy()
    for _ in range(10):
        g,order = rng.normal(size=w.shape), rng.permutation(6)
        assert a.step(w, g) is w
        b.step(v, g[order], rows=order)
        np.testing.assert_array_equal(v, w, strict=True)


@pytest.mark.parametrize('make', makers[1:], ids=names[1:]) # SGD has no state to contradict
def test_one_optimizer_serves_one_array(make):
    opt,w = make(),np.ones((6, 3))
    opt.step(w, w)
    with pytest.raises(ValueError, match='one optimizer per array'): opt.step(np.ones((6, 4)), np.ones((6, 4)))
    with pytest.raises(ValueError, match='one optimizer per array'): opt.step(np.ones((5, 3)), np.ones((1, 3)), rows=[0])


@pytest.mark.parametrize('make', makers[:-1], ids=names[:-1])
def test_a_frozen_learner_keeps_its_bits(make):
    opt,w = make(),np.random.default_rng(0).normal(size=(6, 3))
    was,opt.lr = w.tobytes(),0.
    for _ in range(3): opt.step(w, np.ones((6, 3)))
    assert w.tobytes()==was


@every
def test_float32_stays_float32(make):
    opt,w = make(),np.ones((6, 3), dtype=np.float32)
    for _ in range(3): opt.step(w, np.ones((6, 3)))
    opt.step(w, np.ones((1, 3)), rows=[2])
    assert w.dtype==np.float32 and np.isfinite(w).all() and all(a.dtype==np.float32 for o,a in opt.state.items() if o!='anchor')


@every
@pytest.mark.parametrize('params,grad,rows,exc,why', [
    (None, np.ones((6, 2)), None, ValueError, r'grad has shape \(6, 2\); give it shape \(6, 3\)'),
    (None, 1., None, ValueError, r'grad has shape \(\)'),
    (None, np.ones((6, 3)), [0], ValueError, r'give it shape \(1, 3\)'),
    (None, np.full((6, 3), np.nan), None, ValueError, '18 values that are not finite'),
    (None, np.array([[np.inf, 0, 0]]), [1], ValueError, '1 values that are not finite'),
    (None, np.ones((1, 3)), [6], ValueError, 'use 0 to 5'),
    (None, np.ones((1, 3)), [-1], ValueError, 'use 0 to 5'),
    (None, np.ones((2, 3)), [1, 1], ValueError, 'names a row twice'),
    (None, np.ones((1, 3)), [.5], ValueError, 'give a list of row numbers'),
    (None, np.ones((6, 3)), [True]*6, ValueError, 'give a list of row numbers'),
    (None, np.ones((1, 3)), 1, ValueError, 'give a list of row numbers'),
    (np.ones((6, 3), dtype=int), np.ones((6, 3)), None, TypeError, 'pass a writable NumPy array of floats'),
    ([[1., 2., 3.]]*6, np.ones((6, 3)), None, TypeError, 'params is list'),
])
def test_bad_input_is_refused_and_changes_nothing(make, params, grad, rows, exc, why):
    opt,w = make(),np.random.default_rng(0).normal(size=(6, 3))
    opt.step(w, np.ones((6, 3)))
    before = opt.t, [a.tobytes() for a in (w, *opt.state.values())]
    with pytest.raises(exc, match=why): opt.step(w if params is None else params, grad, rows=rows)
    assert (opt.t, [a.tobytes() for a in (w, *opt.state.values())])==before


def test_a_read_only_array_and_a_bad_schedule_are_refused():
    w = np.ones(2)
    w.flags.writeable = False
    opt = Adam(.1)
    with pytest.raises(TypeError, match='writable'): opt.step(w, np.ones(2))
    for lr in (-1., np.nan, np.inf):
        opt.lr = lr
        with pytest.raises(ValueError, match='lr is'): opt.step(np.ones(2), np.ones(2))
    assert opt.t==0


@pytest.mark.parametrize('make,why', [
    *[(lambda C=C, lr=lr: C(lr), 'lr is') for C in (SGD, Momentum, AdaGrad, RMSProp, Adam, AdamW, FTRLProximal) for lr in (-.1, np.nan, np.inf)],
    *[(lambda b=b: Momentum(.1, b), 'momentum is') for b in (-.1, 1., np.nan)],
    *[(lambda b=b: RMSProp(.1, b), 'decay is') for b in (-.1, 1., np.nan)],
    *[(lambda C=C, b=b: C(.1, betas=b), 'betas is') for C in (Adam, AdamW) for b in ((1., .9), (.9, 1.), (-.1, .9), (.9, np.nan), (.9,))],
    *[(lambda C=C, e=e: C(.1, eps=e), 'eps is') for C in (AdaGrad, RMSProp, Adam, AdamW) for e in (0., -1., np.nan, np.inf)],
    *[(lambda d=d: AdamW(.1, weight_decay=d), 'decay is') for d in (-1., np.nan, np.inf)],
    (lambda: AdamW(.1, anchor=[1., np.nan]), 'anchor is'),
    (lambda: FTRLProximal(0.), 'lr is'),
    *[(lambda b=b: FTRLProximal(.1, beta=b), 'beta is') for b in (0., -1., np.nan)],
    *[(lambda o=o, x=x: FTRLProximal(.1, **{o: x}), f'{o} is') for o in ('l1', 'l2') for x in (-1., np.nan, np.inf)],
])
def test_bad_settings_are_refused_when_made(make, why):
    with pytest.raises(ValueError, match=why): make()


def test_the_old_name_of_weight_decay_is_refused():
    "In RMSProp decay is what a step leaves; in AdamW it was what a step removes."
    with pytest.raises(TypeError, match='called weight_decay'): AdamW(.1, decay=.5)


def test_the_anchor_is_a_copy_and_can_be_moved():
    w = np.array([1., 2.])
    opt = AdamW(.1, weight_decay=.5, anchor=w)        # the parameters themselves: were it a view, nothing would ever decay
    opt.step(w, np.ones(2))
    assert opt.state['anchor'].tolist()==[1., 2.]
    opt.state['anchor'][:] = 0.
    was = w.copy()
    plain = AdamW(.1, weight_decay=.5)
    plain.t,plain.state = opt.t,{o: a.copy() for o,a in opt.state.items() if o!='anchor'}
    np.testing.assert_array_equal(opt.step(w, np.ones(2)), plain.step(was, np.ones(2)))  # an anchor at 0 is no anchor
    with pytest.raises(ValueError, match='anchor has'): AdamW(.1, anchor=np.ones(3)).step(was, np.ones(2))


@settings(max_examples=100)
@given(q=st.floats(0., 1e300), r=st.floats(0., 1e300))
def test_tracking_lr_is_a_step_in_0_1_and_the_best(q, r):
    if q==r==0: return
    eta = tracking_lr(q, r)
    assert 0<=eta<=1
    if 1e-6 < q < 1e6 and 1e-6 < r < 1e6:
        V = lambda e: (q + e*e*r)/(e*(2 - e))
        assert all(V(eta) <= V(o)*(1 + 1e-12) for o in (eta*.9, min(1.9, eta*1.1)))
        np.testing.assert_allclose(r*eta**2 + q*eta, q, rtol=1e-9)


@pytest.mark.parametrize('q,r', [(-1., 1.), (1., -1.), (np.nan, 1.), (1., np.nan), (np.inf, 1.), (1., np.inf), (0., 0.)])
def test_tracking_lr_refuses_what_is_no_variance(q, r):
    with pytest.raises(ValueError, match='tracking_lr'): tracking_lr(q, r)
