"""Meta-learning and the prior of new users: against loops, closed forms and what the paper's formulas say."""
import numpy as np, pytest, torch
from recinc_nb import meta_gradient, user_posterior, user_prior

def parabola(h, c): return lambda x: .5*h*((x - c)**2).sum()

@pytest.mark.parametrize('steps', [1, 2, 5])
def test_directions_of_a_parabola(steps):
    h,c,lr,x = 1.7,.4,.3,torch.tensor([2., -1.], dtype=torch.float64)
    q = parabola(.8, -.6)
    left = (1 - lr*h)**steps
    end = c + left*(x - c)
    for kind,want in (('maml', left*.8*(end + .6)), ('fomaml', .8*(end + .6)), ('reptile', (x - end)/(lr*steps))):
        np.testing.assert_allclose(meta_gradient(x, parabola(h, c), q, lr, steps, kind), want, rtol=1e-12, err_msg=kind)

def test_a_dict_of_tensors_is_a_start():
    start = dict(a=torch.ones(2, dtype=torch.float64), b=torch.zeros(1, dtype=torch.float64))
    loss = lambda at: ((at['a']*at['b'] - 1)**2).sum()
    for kind in ('maml', 'fomaml', 'reptile'):
        g = meta_gradient(start, loss, loss, .1, kind=kind)
        assert set(g)=={'a', 'b'} and g['a'].shape==(2,) and start['b'].item()==0
    # after a step b is .4, and a has not moved; d(after)/d(b) = 1 - .1·4 in b, and a's cross term
    np.testing.assert_allclose(meta_gradient(start, loss, loss, .1)['b'], 2*2*(.4 - 1)*(1 - .1*4) + 2*.4*(.4 - 1)*.1*2*2, rtol=1e-12)

@pytest.mark.parametrize('bad,words', [(dict(kind='MAML'), "kind is 'MAML'"), (dict(lr=0.), 'lr is 0.0'), (dict(lr=float('nan')), 'lr is nan'), (dict(steps=0), 'steps is 0')])
def test_bad_settings(bad, words):
    with pytest.raises(ValueError, match=words): meta_gradient(torch.zeros(1), parabola(1, 0), parabola(1, 0), **dict(lr=.1) | bad)

def test_posterior_is_the_conditional_of_a_joint_gaussian():
    rng = np.random.default_rng(0)
    X,y,m = rng.normal(size=(4, 3)),rng.normal(size=4),rng.normal(size=3)
    S = (lambda A: A@A.T)(rng.normal(size=(3, 3)))
    gain = S@X.T@np.linalg.inv(X@S@X.T + .7*np.eye(4)) # the other form of the same
    np.testing.assert_allclose(user_posterior(X, y, m, S, .7)[0], m + gain@(y - X@m), rtol=1e-8)
    np.testing.assert_allclose(user_posterior(X, y, m, S, .7)[1], S - gain@X@S, rtol=1e-8)
    np.testing.assert_allclose(user_posterior(X[:0], y[:0], m, S, .7)[1], S, rtol=1e-9)
    np.testing.assert_array_equal(user_posterior(X[:0], y[:0], m, S, .7)[0], m) # nobody's ratings: the mean

def test_prior_of_many_users_is_the_truth():
    rng = np.random.default_rng(1)
    m,S = np.array([1., -2.]),np.array([[1., .6], [.6, .5]])
    users = [(X, X@o + .5*rng.normal(size=6)) for X,o in zip(rng.normal(size=(1_500, 6, 2)), rng.multivariate_normal(m, S, 1_500))]
    mean,cov,noise = user_prior(users, 60)
    np.testing.assert_allclose(mean, m, atol=.1)
    np.testing.assert_allclose(cov, S, atol=.1)
    assert abs(noise-.25) < .02

def test_one_round_by_hand():
    users = [(np.ones((1, 1)), np.array([2.])), (np.ones((2, 1)), np.array([1., 3.]))]
    guess,left = np.array([1., 4/3]),np.array([1/2, 1/3]) # from mean 0, covariance 1, noise 1
    mean,cov,noise = user_prior(users, 1)
    np.testing.assert_allclose([mean[0], cov[0,0]], [guess.mean(), guess.var() + left.mean()], rtol=1e-12)
    np.testing.assert_allclose(noise, ((2-1)**2 + 1/2 + (1-4/3)**2 + (3-4/3)**2 + 2/3)/3, rtol=1e-12)

@pytest.mark.parametrize('change,words', [(dict(y=[1., 2.]), r'X is \(1, 2\)'), (dict(cov=np.eye(3)), r'cov \(3, 3\)'), (dict(noise=0.), 'noise is 0.0'), (dict(y=[np.nan]), 'nan')])
def test_bad_ratings(change, words):
    with pytest.raises(ValueError, match=words): user_posterior(**dict(X=[[1., 0.]], y=[1.], mean=[0., 0.], cov=np.eye(2), noise=1.) | change)

def test_no_users():
    with pytest.raises(ValueError, match='0 users'): user_prior([])
    with pytest.raises(ValueError, match='rounds=0'): user_prior([(np.ones((1, 1)), [1.])], 0)
