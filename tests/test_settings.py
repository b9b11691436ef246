"""OnlineExperts: what is its own."""
import numpy as np, pytest
from recinc_nb import BiasBaseline, GaussianMF, IncrementalMF, OnlineExperts, OnlineStack, Popularity, drift_stream, results
from recinc_nb.settings import _EXPERTS, expert_team, experts_sweep

ETA = {False: (1/8, 1., 5.), True: (1., 1e-6, 1-1e-6)}


def loss(given, y, logistic):
    eta,low,high = ETA[logistic]
    p,y = given.clip(low, high),np.reshape(y, (-1,)+(1,)*(given.ndim-1))
    return -(y*np.log(p) + (1-y)*np.log(1-p)) if logistic else (y-p)**2


@pytest.mark.parametrize('logistic', [False, True])
@pytest.mark.parametrize('J', [1, 2, 5])
@pytest.mark.parametrize('kind', ['random', 'ends', 'one is right', 'turned'])
def test_regret(kind, J, logistic):
    "At every moment, whatever the experts say: the loss is at most that of the best plus ln J/η; each step at most the mix loss."
    rng,n = np.random.default_rng(J),400
    low,high = ((0., 1.) if logistic else (1., 5.))
    y = rng.choice([low, high], n) if kind!='random' else rng.uniform(low, high, n)
    given = rng.uniform(low, high, (n, J)) if kind=='random' else rng.choice([low, high], (n, J))
    if kind=='one is right': given[:,-1] = y
    if kind=='turned': given[:n//2,0],given[n//2:,-1] = y[:n//2],y[n//2:]
    pred,eta = np.empty(n),ETA[logistic][0]
    experts_sweep(y, pred, given, np.zeros(J), *ETA[logistic], logistic, True)
    L,own = loss(given, y, logistic).cumsum(0),loss(pred, y, logistic).cumsum()
    assert (own <= L.min(1) + np.log(J)/eta + 1e-6).all()
    top = L.min(1)
    mix = top - np.log(np.exp(-eta*(L-top[:,None])).mean(1))/eta # the sum of the mix losses
    assert (np.diff(own, prepend=0) <= np.diff(mix, prepend=0) + 1e-6).all()


def test_one_expert_is_that_expert():
    world = drift_stream(2_000, n_users=50, seed=3)
    for m in (IncrementalMF(), BiasBaseline()):
        np.testing.assert_allclose(OnlineExperts([m]).predict_learn(world), m.predict_learn(world), rtol=1e-6) # also beyond the scale


def test_weights_that_were_lost_come_back():
    "A weight is kept as a logarithm: after a thousand bad events an expert is not dead."
    given,y = np.tile([1., 5.], (4_011, 1)),np.r_[np.full(2_000, 1.), np.full(2_011, 5.)]
    pred,w = np.empty(4_011),np.zeros(2)
    experts_sweep(y, pred, given, w, *ETA[False], False, True)
    assert pred[2_000] < 1.001 and pred[-1] > 4.9 and w.max()==0 and w.argmax()==1


def test_scale_and_order():
    "Another scale is only another scale; and lists keep their order where all experts are beyond it."
    world = drift_stream(3_000, n_users=60, n_items=50, grades=9, seed=2)
    m = OnlineExperts().partial_fit(world)
    assert m.rating_range_==(1., 9.)
    stars = OnlineExperts(rating_range=(1, 5)).partial_fit({o: world.events[o] for o in ('user', 'item')}, (world.events['rating']-1)/2 + 1)
    np.testing.assert_allclose(m.predict(world), (stars.predict(world)-1)*2 + 1, rtol=1e-5)
    np.testing.assert_array_equal(m.weights_, stars.weights_)
    happy = OnlineExperts().partial_fit(dict(user=[0]*40 + [1]*40, item=list(range(40))*2), [5.]*20 + [4.]*20 + [5.]*20 + [4.]*20)
    scores = happy.score_items(0)
    assert (scores[:20] > scores[20:].max()).all()


@pytest.mark.parametrize('loss, wrong, error, words', [
    ('squared', [], ValueError, 'give at least one'), ('squared', [3], TypeError, 'no expert on ratings'), ('squared', [Popularity()], TypeError, 'no expert on ratings'),
    ('squared', [OnlineExperts()], TypeError, 'no expert on ratings'), ('squared', [IncrementalMF(loss='logistic')], TypeError, 'no expert on ratings'),
    ('logistic', [IncrementalMF()], TypeError, "no expert on labels by ids; with loss='logistic'"), ('logistic', [Popularity()], TypeError, 'no expert on labels'),
    ('squared', [IncrementalMF(max_rows=5)], ValueError, 'max_rows=5'), ('squared', [BiasBaseline(rating_range=(0, 10))], ValueError, r'rating_range=\(0, 10\); give it to OnlineExperts')])
def test_no_experts(loss, wrong, error, words):
    with pytest.raises(error, match=f'OnlineExperts.*{words}'): OnlineExperts(wrong, loss=loss).predict_one(1, 1)


def test_inside_a_stack_and_back(tmp_path):
    world = drift_stream(600, n_users=40, n_items=30, seed=1)
    a,b = (OnlineStack([OnlineExperts(), GaussianMF(n_factors=2)]) for _ in range(2))
    a.partial_fit(world)
    b.partial_fit(world[:300]).save_pretrained(tmp_path)
    b = OnlineStack.from_pretrained(tmp_path).partial_fit(world[300:])
    np.testing.assert_array_equal(a.predict(world), b.predict(world))


def test_the_team_is_what_the_command_chose():
    chosen = results('settings')['choose']['rows']
    for loss in ('squared', 'logistic'):
        assert chosen[loss]['team']==_EXPERTS[loss] and _EXPERTS[loss][0]=={}
        assert [o.seed for o in expert_team(loss, 7)]==[7]*len(_EXPERTS[loss])


def test_the_bars_of_the_grid():
    "Made worlds on which nothing was chosen: within 1 % of the best setting in hindsight, and below plain biases, in each."
    book = results('settings')
    rows = book['grid']['rows']
    assert len(rows)==180 and all(o['OnlineExperts'] <= 1.01*o['best'] and o['OnlineExperts'] < o['plain'] for o in rows)
    for o in book['movielens']['rows'].values():
        for part in o.values(): assert part['experts_minus_mf'][1] <= 0 or part['experts_minus_mf'][0] < 1e-4
    assert book['cost']['rows']['sweeps'] < 6
