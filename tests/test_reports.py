"""What reports say, by hand, and the protocol against a loop: small tables, learners of three lines."""
import numpy as np, pandas as pd, pytest
from sklearn.linear_model import SGDClassifier, SGDRegressor
from recinc_nb import Stream, compare, drift_stream, prequential
from recinc_nb.metrics import log_loss
from recinc_nb.difference import paired_bootstrap
from recinc_nb.protocol import Report, from_river, from_sklearn, oracle_report
from recinc_nb.topn import TopReport, prequential_topn

rng = np.random.default_rng(0)
world = drift_stream(240, n_users=15, n_items=12, seed=1, tasks=.5)
rating,pred = rng.integers(1, 6, 10).astype(float),np.array([0., 6, 3, 4, 9, 2, -1, 5, 3, 1])
frame = pd.DataFrame(dict(user=[1]*5+[2]*5, item=range(10), rating=rating, label=(rating>=4)*1, pred=pred))


def test_stars():
    r = Report('a', 's', frame, metrics=('rmse', 'mae'), rating_range=(1., 4.5))
    error = rating - np.clip(pred, 1, 4.5)
    np.testing.assert_allclose(r.summary, [np.sqrt((error**2).mean()), np.abs(error).mean()])
    np.testing.assert_allclose(r.per_event('rmse'), error**2)
    np.testing.assert_allclose(r.per_event('mae'), np.abs(error))
    w = r.windows('rmse', 3)
    assert w.index.tolist()==[3, 6, 10]
    np.testing.assert_allclose(w, [np.sqrt((error[a:b]**2).mean()) for a,b in ((0, 3), (3, 6), (6, 10))])
    f = r.fading('rmse', .5)
    weights = .5**np.arange(10)[::-1]
    assert f.index.tolist()==[*range(1, 11)] and f.iloc[-1]==pytest.approx(np.sqrt(np.average(error**2, weights=weights)))


def test_chances_and_tables():
    p = np.linspace(.1, .9, 10)
    r = Report('a', 's', frame.assign(pred=p), 'label', ('log_loss', 'rmse', 'auc'))
    y = frame['label'].to_numpy()
    np.testing.assert_allclose(r.per_event('log_loss'), -np.log(np.where(y==1, p, 1-p)))
    assert r.per_event('log_loss').mean()==pytest.approx(log_loss(y, p))
    assert compare(r, digits=2).loc['a'].tolist()==[f"{r.summary['log_loss']:.2f}", '–', f"{r.summary['auc']:.2f}"]
    assert compare(Report('b', 's', frame.assign(pred=rating), metrics=('rmse',)), digits=1).iloc[0,0]=='0.0'


def test_two_parts():
    a,b = (Report('a', 's', frame[k:k+5], seconds=1.+k, memory=m) for k,m in ((0, 7.), (5, 3.)))
    both = a + b
    assert (both.seconds, both.memory)==(7., 7.) and both.frame['item'].tolist()==[*range(10)]


def test_lists():
    lists = pd.DataFrame(dict(user=1, item=range(4), rating=5., label=1, better=[0., 1., 3., np.inf], tied=[0., 2., 0., 0.], shown=[[0, 1], [1, 2], [0, 1], [2]]))
    r = TopReport('a', 's', lists, 'positive', ('hit_rate', 'mrr', 'ndcg', 'coverage', 'hit_rate_optimistic', 'hit_rate_pessimistic'), k=2, items=[*range(5)])
    hit,reciprocal,gain = [1, 1/3, 0, 0],[1, (1/2+1/3+1/4)/3, 1/4, 0],[1, 1/np.log2(3)/3, 0, 0]
    np.testing.assert_allclose(r.summary, [np.mean(hit), np.mean(reciprocal), np.mean(gain), 3/5, 2/4, 1/4])
    for o,x in dict(hit_rate=hit, mrr=reciprocal, ndcg=gain).items(): np.testing.assert_allclose(r.per_event(o), x)
    assert TopReport('a', 's', lists, 'positive', ('coverage',), k=2, items=[0, 1, 2]).summary['coverage']==1
    both = r + TopReport('a', 's', lists.assign(shown=[[7]]*4), 'positive', r.metrics, k=2, items=[3, 7])
    assert both.items==[0, 1, 2, 3, 4, 7] and both.summary['coverage']==pytest.approx(4/6)


class Counts:
    "Likes per item, and a little of the id, so that nothing ties."
    def __init__(self): self.n,self.heard = {},[]
    def predict(self, X): return np.array([self.n.get(i, 0)+i/100 for i in np.asarray(X['item']).tolist()])
    def partial_fit(self, X, y=None):
        for u,i,t in zip(X['user'], X['item'], y):
            self.heard.append((u, i, t))
            self.n[i] = self.n.get(i, 0) + (t>=4)
        return self

class LikesAlone(Counts):
    positive_only = True
    def partial_fit(self, X, y=None): return super().partial_fit(X, 4*np.asarray(y))

class OwnRows(Counts):
    "With rows of its own, which stand in another order, and a word on strangers."
    def __init__(self):
        super().__init__()
        self.items_ = type('Ids', (), dict(ids=[]))
    def partial_fit(self, X, y):
        self.items_.ids += [i for i in dict.fromkeys(X['item'][::-1].tolist()) if i not in self.n]
        return super().partial_fit(X, y)
    def score_items(self, user): return np.array([self.n[i]+i/100 for i in self.items_.ids])
    def predict_one(self, user, item): return item/100

class Mute(OwnRows):
    predict_one = property() # hasattr says no

@pytest.mark.parametrize('make', [Counts, LikesAlone, OwnRows, Mute])
@pytest.mark.parametrize('positive', ['label', 4, 5])
def test_lists_are_asked_before_each_positive(make, positive):
    m,n,met,own,found = make(),{},[],{},[]
    r = prequential_topn(m, world, k=3, positive=positive)
    for u,i,y in world.events[['user', 'item', 'rating']].itertuples(index=False, name=None):
        good = y>=(4 if positive=='label' else positive)
        mine = own.setdefault(u, set())
        if good and i not in mine:
            low = min((x+j/100 for j,x in n.items()), default=1.) - 1
            score = {j: n[j]+j/100 if j in n else low if make is Mute else j/100 for j in met if j not in mine}
            order = sorted(score, key=lambda j: -score[j]) # of equals the first met
            at = np.inf if i not in score else sum(x>score[i] for x in score.values())
            found.append((at, len(score), order[:3]))
            mine.add(i)
        if i not in met: met.append(i)
        if not make is LikesAlone or good: n[i] = n.get(i, 0) + (y>=4 or make is LikesAlone)
    assert r.frame[['better', 'candidates', 'shown']].values.tolist()==[[*o] for o in found]
    assert r.frame['hit'].tolist()==[float(at<3) or (t and h) for (at,*_),t,h in zip(found, r.frame['tied'], r.frame['hit'])] and r.items==met
    if make is not LikesAlone: assert m.heard==[*world.events[['user', 'item', 'rating']].itertuples(index=False, name=None)]


def test_an_item_that_the_learner_skipped_gets_its_word_on_strangers():
    class Picky(OwnRows):
        def partial_fit(self, X, y):
            keep = X['item']!=3
            return super().partial_fit({o: X[o][keep] for o in ('user', 'item')}, y[keep]) if keep.any() else self
        def predict_one(self, user, item): return 2.5
    r = prequential_topn(Picky(), Stream(dict(user=[1, 2, 3, 4], item=[3, 1, 1, 3], rating=[5., 5, 5, 5])), k=2)
    assert r.frame['better'].tolist()==[np.inf, np.inf, 1, 0] and r.frame['shown'].tolist()==[[], [3], [3, 1], [3, 1]]


def test_each_event_is_asked_and_then_told():
    class Spoils(Counts):
        last = np.zeros(7)
        def predict(self, X):
            assert not {'rating', 'label', 'click', 'dwell', 'purchase'} & set(X.events) and X.oracle is None
            self.last = np.array([len(self.heard)]*len(X), dtype=float)
            return self.last
        def partial_fit(self, X, y):
            self.last[:] = -1
            return super().partial_fit(X.events, y)
    m = Spoils()
    r = prequential(m, [world[:100], world[100:160], world[160:]], batch_size=7)
    want = [a+n//7*7 for a,b in ((0, 100), (100, 160), (160, 240)) for n in range(b-a)]
    assert r.frame['pred'].tolist()==want and m.heard==[*world.events[['user', 'item', 'rating']].itertuples(index=False, name=None)]


def test_learners_of_others():
    class River:
        def __init__(self): self.heard = []
        def learn_one(self, x, y): self.heard.append((x['user'], x['item'], y))
        def predict_one(self, x): return len(self.heard)
    class Classifier(River):
        def predict_proba_one(self, x): return {True: .9, False: .1} if self.heard else {}
    for make,target,first in ((River, 'rating', [0., 1.]), (Classifier, 'label', [.5, .9])):
        m = from_river(make())
        assert m.predict_learn(world.events)[:2].tolist()==first
        column = world.events[target].tolist()
        assert m.model.heard==[(str(u), str(i), y>.5 if target=='label' else y) for u,i,y in zip(world.events['user'], world.events['item'], column)]
    stars,likes = from_sklearn(SGDRegressor(random_state=0), 2**10),from_sklearn(SGDClassifier(loss='log_loss', random_state=0), 2**10)
    assert stars.predict(world.events[:2]).tolist()==[3., 3.] and likes.predict(world.events[:2]).tolist()==[.5, .5]
    X = likes._features(dict(user=[1, 2, 1], item=[2, 1, 2])).toarray()
    assert (X>=0).all() and X.sum(1).tolist()==[3.]*3 and (X[0]==X[2]).all() and (X[0]!=X[1]).sum()==4 # 1 and 2 differ as users and as items
    for _ in range(5): likes.partial_fit(dict(user=[1, 2]*50, item=[1, 1]*50), [1, 0]*50)
    assert likes.predict(dict(user=[1], item=[1]))[0] > .7 > .3 > likes.predict(dict(user=[2], item=[1]))[0]
    for target in ('rating', 'label'):
        r = oracle_report(world, target)
        assert r.target==target and r.frame['pred'].tolist()==world.oracle[target].tolist()


def test_blocks_are_drawn_as_a_loop_draws_them():
    n,block = 57,5
    a,b = (Report(o, 's', pd.DataFrame(dict(user=range(n), item=range(n), rating=3., label=0, pred=rng.uniform(1, 5, n)))) for o in 'ab')
    got = paired_bootstrap(a, b, 'rmse', block, 200, seed=4)
    first,second = a.per_event('rmse'),b.per_event('rmse')
    k = -(-n//block)
    at = [np.concatenate([(s+np.arange(block))%n for s in starts])[:n] for starts in np.random.default_rng(4).integers(0, n, (200, k))]
    drawn = np.array([np.sqrt(first[o].mean())-np.sqrt(second[o].mean()) for o in at])
    low,high = np.quantile(drawn, [.025, .975])
    np.testing.assert_allclose(got, [np.sqrt(first.mean())-np.sqrt(second.mean()), drawn.std(ddof=1), low, high], rtol=1e-9)
