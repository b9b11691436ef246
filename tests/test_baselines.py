"""Means, biases, popularity and item to item against slow loops, with all that a chapter's example leaves out: weights, growth, forgetting."""
import numpy as np, pytest
from sklearn.base import clone
from recinc_nb import BiasBaseline, ItemItem, Popularity, RunningMean, drift_stream
from recinc_nb.baselines import unchain

LEARNERS = dict(mean=RunningMean(), likes=RunningMean(target='label'), biases=BiasBaseline(shrink_user=2., decay_item=.9), chances=BiasBaseline('label'),
                popular=Popularity(decay=.9), items=ItemItem(decay=.8, shrink=1.))
world = drift_stream(400, n_users=25, n_items=30, seed=3)
rows = [*world.events[['user', 'item', 'rating']].itertuples(index=False, name=None)]
likes = world.events[world.events['label']==1].drop_duplicates(['user', 'item'])


@pytest.mark.parametrize('name', LEARNERS)
def test_before_the_first_event_and_after_others(name):
    m,column = clone(LEARNERS[name]),'label' if LEARNERS[name].target=='label' else 'rating'
    first = m.predict_one('nobody', 'nothing')
    assert first==(0. if m.positive_only else .5 if column=='label' else 3.)
    m.partial_fit(world)
    if not m.positive_only: assert abs(m.predict_one(-1, -1) - world.events[column].mean())<1e-12
    else: assert m.n_skipped_==(world.events['label']==0).sum()


def test_a_weight_of_two_is_not_two_events_but_a_step_twice_as_heavy():
    w = np.random.default_rng(0).uniform(0, 3, len(rows))
    m = BiasBaseline(shrink_user=2., shrink_item=5., decay_user=.8, decay_item=.95)
    sums,weights,mean,said = {},{},np.zeros(2),[]
    for (u,i,y),c in zip(rows, w):
        mu = mean[0]/mean[1] if mean[1] else 3.
        b_u,b_i = (sums.get(k, 0.)/(weights.get(k, 0.)+shrink) for k,shrink in ((('user', u), 2.), (('item', i), 5.)))
        said.append(mu+b_u+b_i)
        for k,decay,other in ((('user', u), .8, b_i), (('item', i), .95, b_u)):
            sums[k],weights[k] = decay*sums.get(k, 0.) + c*(y-mu-other),decay*weights.get(k, 0.) + c
        mean += c*y,c
    np.testing.assert_allclose(m.predict_learn(world, sample_weight=w), said, rtol=1e-9)


def test_labels_are_never_sure():
    m = BiasBaseline('label', shrink_user=.01, shrink_item=.01).partial_fit(dict(user=[1, 2]*20, item=[1, 2]*20), [0., 1.]*20)
    assert [m.predict_one(1, 1), m.predict_one(2, 2)]==[.01, .99]


def slow_items(likes, decay, shrink):
    "Scores of all pairs, and cosines of all pairs, by a loop over histories."
    past,count,pairs = {},{},{}
    for u,i in zip(likes['user'], likes['item']):
        for d,j in enumerate(reversed(past.get(u, []))): pairs[i,j] = pairs[j,i] = pairs.get((i, j), 0.) + decay**d
        past.setdefault(u, []).append(i)
        count[i] = count.get(i, 0) + 1
    cosine = {(i, j): x/np.sqrt((count[i]+shrink)*(count[j]+shrink)) for (i,j),x in pairs.items()}
    return {(u, i): sum(decay**d*cosine.get((i, j), 0.) for d,j in enumerate(reversed(mine))) for u,mine in past.items() for i in count}, cosine


@pytest.mark.parametrize('decay,shrink', [(.7, 3.), (1., 1.), (.9, .5)])
def test_item_to_item_is_a_loop_over_histories(decay, shrink):
    m = ItemItem(decay=decay, shrink=shrink)
    for part in (likes[:1], likes[1:40], likes[40:]): m.partial_fit(part)
    scores,cosine = slow_items(likes, decay, shrink)
    for u in likes['user'].unique():
        want = [scores[u,i] for i in m.items_.ids]
        np.testing.assert_allclose(m.score_items(u), want, rtol=1e-5)
        np.testing.assert_allclose(m.predict(dict(user=[u]*len(want), item=m.items_.ids)), want, rtol=1e-5)
    for i in m.items_.ids[:5]:
        near = m.similar(i, k=len(m.items_))
        assert i not in [j for j,_ in near] and [s for _,s in near]==sorted((s for _,s in near), reverse=True)
        np.testing.assert_allclose([s for _,s in near], [cosine.get((i, j), 0.) for j,_ in near], rtol=1e-5)
    np.testing.assert_array_equal(m.popular(), likes['item'].value_counts()[m.items_.ids])


def test_one_user_is_taken_out_of_the_chains():
    m = ItemItem(decay=.7, shrink=3.).partial_fit(likes)
    gone,*others = likes['user'].unique()[3:]
    chains = lambda: {u: [m.items_.ids[m.item_[at]] for at in chain(m, m.users_.row(u))] for u in others}
    before,scores,n = chains(),{u: m.score_items(u) for u in others},int(m.n_likes_[0])
    assert m.forget_user(gone)
    assert chains()==before and n-m.n_likes_[0]==(likes['user']==gone).sum()
    for u in others: np.testing.assert_array_equal(m.score_items(u), scores[u])
    m.partial_fit(dict(user=[gone], item=[m.items_.ids[0]]))      # somebody new, without a past
    assert chains()==before and len([*chain(m, m.users_.row(gone))])==1
    last = np.array([-1, 0])
    assert [o.tolist() for o in unchain(1, last, np.array([4]), np.array([-1]), np.array([1]))]==[[], [], [0]] and last.tolist()==[-1, -1]


def chain(m, row):
    at = m.last_[row]
    while at>=0:
        yield at
        at = m.before_[at]


def test_an_item_says_nothing_about_itself():
    m = ItemItem(shrink=1.)
    for _ in range(3): m.learn_one(1, 'a', 1.)
    assert m.predict_one(1, 'a')==0.
    m.learn_one(1, 'b', 1.)
    assert m.predict_one(1, 'a')>0.


def test_who_is_taken_out_of_the_chains_has_no_newest_like():
    "Also when a like of somebody else stands before the first."
    last,item,before = np.array([0, 2]),np.array([5, 6, 7]),np.array([-1, -1, 1])
    item,before,n = unchain(1, last, item, before, np.array([3]))
    assert (last.tolist(), item.tolist(), before.tolist(), n.tolist())==([0, -1], [5], [-1], [1])
