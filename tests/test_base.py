"""What all learners stand on, against slow versions: recommendations, scales, weights, members, replay; on learners of a few lines."""
import numpy as np, pytest
from recinc_nb import L2SP, Learner, Remedy, Reservoir, Stream, drift_stream
from recinc_nb.learner import IdLearner, IdMap, Members, Rows, SeenLog, event_weights, reservoir_order, top_rows

world = drift_stream(300, n_users=20, n_items=25, seed=6)
rows = [*zip(*(world.events[o].tolist() for o in ('user', 'item', 'rating')))]


class Means(IdLearner):
    "A faded mean per item, and one per user."
    weighted,moves = True,('total',)
    def __init__(self, lr=.1, target='rating', remember_seen=True, rating_range=None, remedies=()):
        self.lr,self.target,self.remember_seen,self.rating_range,self.remedies = lr,target,remember_seen,rating_range,remedies
    def begin(self): self.rows_ = {side: Rows(dict(number=3.), total=((), float), number=((), float)) for side in ('user', 'item')}
    def sweep(self, users, items, y, pred, learn, weight=None):
        for n,both in enumerate(zip(users, items)):
            tables = [(self.rows_[side]['total'], self.rows_[side]['number'], row) for side,row in zip(('user', 'item'), both)]
            pred[n] = 3 + sum(total[row]/number[row]/2 for total,number,row in tables if row>=0)
            if learn:
                assert min(both)>=0                              # nothing of a user who was forgotten
                w = 1 if weight is None else weight[n]
                for total,number,row in tables: total[row],number[row] = .9*total[row]+w*(y[n]-3),.9*number[row]+w
    def item_vectors(self): return np.column_stack([self.rows_['item'].used(o) for o in ('total', 'number')])


def slow(rows, weights=None, old=lambda n: (), pull=None, scale=1., strangers=True):
    "The same by a loop; `old(n)`: which old events are learned after the n-th; `pull(n, tables)`: an anchor, or None."
    total,number,said,anchor = {},{},[],None
    start = lambda k: number.setdefault(k, 3.)
    def learn(n):
        u,i,y = rows[n]
        w = 1. if weights is None else weights[n]
        for k in (('user', u), ('item', i)):
            if anchor and k in anchor: total[k] = (total[k] + pull[1]*anchor[k])/(1 + pull[1])
            start(k)
            new = .9*total.get(k, 0.)+w*(y-3)
            total[k],number[k] = total.get(k, 0.) + scale*(new-total.get(k, 0.)),.9*number[k]+w
    for n,(u,i,_) in enumerate(rows):
        if pull and n==pull[0]: anchor = dict(total)
        said.append(3 + sum(total.get(k, 0.)/start(k)/2 for k in (('user', u), ('item', i))))
        for m in (n, *old(n)): learn(m)
    return said,total


def test_weights_and_scales():
    w = np.random.default_rng(0).uniform(0, 3, len(rows))
    np.testing.assert_allclose(Means().predict_learn(world), slow(rows)[0], rtol=1e-12)
    np.testing.assert_allclose(Means().predict_learn(world, sample_weight=w), slow(rows, w)[0], rtol=1e-12)
    ten = Stream(world.events.assign(rating=(world.events['rating']-1)*2.5), rating_range=(0, 10))
    m = Means()
    np.testing.assert_allclose(m.predict_learn(ten), (np.array(slow(rows)[0])-1)*2.5, rtol=1e-12)
    u,i,_ = rows[7]
    star = Means().partial_fit(world)
    for x,one in ((m.predict(dict(user=[u], item=[i]))[0], star.predict_one(u, i)), (m.predict_one(u, i), star.predict_one(u, i)),
                  (m.score_items(u)[3], star.score_items(u)[3]), (m.score_ids(u, [i])[0], star.predict_one(u, i))):
        assert x==pytest.approx((one-1)*2.5, rel=1e-12)
    labels = Means(target='label', rating_range=(0, 10)).predict_learn(world)
    np.testing.assert_allclose(labels, slow([(u, i, float(r>=4)) for u,i,r in rows])[0], rtol=1e-12)
    assert event_weights(None, 3, 'x') is None and event_weights([1, .5], 2, 'x').tolist()==[1., .5]
    for bad in ([1.], [1., -1.], [1., np.nan], ['a', 'b']):
        with pytest.raises(ValueError, match='sample_weight'): event_weights(bad, 2, 'x')


def test_replay_pull_and_projection():
    class Half(Remedy):
        def project(self, grads): return {o: (rows, g/2) for o,(rows,g) in grads.items()}
    w = np.random.default_rng(1).uniform(0, 3, len(rows))
    m = Means(remedies=(Reservoir(size=9, k=2, seed=4),))
    order,own,_ = reservoir_order(0, len(rows), 9, 2, 4)
    after = {n: [] for n in range(len(rows))}
    for o,new in zip(order.tolist(), own.tolist()): # in one call every old event is one of this call's
        if new: now = o
        else: after[now].append(o)
    said,total = slow(rows, w, after.get)
    np.testing.assert_allclose(m.predict_learn(world, sample_weight=w), said, rtol=1e-10)
    np.testing.assert_allclose(Means(remedies=(L2SP(.7, after=120),)).predict_learn(world), slow(rows, pull=(120, .07))[0], rtol=1e-10)
    np.testing.assert_allclose(Means(remedies=(Half(),)).predict_learn(world), slow(rows, scale=.5)[0], rtol=1e-10)


def test_lists():
    m = Means().partial_fit(world)
    user = rows[0][0]
    had = [i for u,i,_ in rows if u==user]
    score = dict(zip(m.items_.ids, m.score_items(user)))
    order = sorted(score, key=score.get, reverse=True)
    assert [m.items_.ids[o] for o in m.seen(user)]==had
    assert m.rank(user, m.items_.ids)==order and m.recommend(user, k=9, exclude_seen=False)==[(i, score[i]) for i in order[:9]]
    left = [i for i in order if i not in had]
    assert [i for i,_ in m.recommend(user, k=5)]==left[:5] and [i for i,_ in m.recommend(user, k=2_000)]==left
    assert [i for i,_ in m.recommend(user, k=5, exclude=left[1:3])]==(left[:1]+left[3:])[:5]
    assert [i for i,_ in m.recommend(user, k=3, candidates=left[4:]+had)]==left[4:7]
    V = m.item_vectors()
    for i in (0, 7):
        cosine = V@V[i]/np.linalg.norm(V, axis=1)/np.linalg.norm(V[i])
        cosine[i] = -9
        near = m.similar(m.items_.ids[i], k=6)
        assert [j for j,_ in near]==[m.items_.ids[n] for n in np.argsort(-cosine)[:6]]
        np.testing.assert_allclose([s for _,s in near], np.sort(cosine)[::-1][:6])
    equal = Means().partial_fit(dict(user=list('abcde'), item=list('xyyzx'), rating=[3.]*5)) # all scores alike: what was met most often
    assert [i for i,_ in equal.recommend('new', k=3)]==['x', 'y', 'z'] and equal.popular().tolist()==[2, 2, 1]
    equal.learn_one('f', 'y', 3.)
    assert [i for i,_ in equal.recommend('new', k=3)]==['y', 'x', 'z']==equal.rank('new', ['x', 'z', 'y'])
    many = Means().partial_fit(dict(user=[1]*9+[2]*1_191, item=[*range(1_200)], rating=np.random.default_rng(2).integers(1, 6, 1_200)))
    score = many.score_items(1)                                  # a long list is sorted, not sought
    want = [n for n in np.argsort(-score, kind='stable').tolist() if n>=9]
    assert [i for i,_ in many.recommend(1, k=1_100)]==want[:1_100] and [i for i,_ in many.recommend(1, k=9)]==want[:9]
    found,best = top_rows(np.array([-np.inf, 1., 1., 2.]), np.array([3]), 3)
    assert found.tolist()==[1, 2] and best.tolist()==[1., 1.]
    for scores,want in (([1., 2., 1., 1.], [1, 0]), ([1., 1., 1.], [0, 1]), ([-np.inf, 0., -np.inf], [1])): # of equal scores the first stays
        assert top_rows(np.array(scores), np.array([], int), 2)[0].tolist()==want


def test_a_user_is_forgotten_and_the_others_are_not(tmp_path):
    m = Means(remedies=(Reservoir(size=400), L2SP(.1, after=50))).partial_fit(world)
    gone,other = m.users_.ids[4],m.users_.ids[9]
    seen,scores = m.seen(other).tolist(),m.score_items(other)
    assert m.forget_user(gone) and gone not in m.users_
    assert m.seen(other).tolist()==seen and len(m.seen_)==300-sum(u==gone for u,*_ in rows)
    np.testing.assert_array_equal(m.score_items(other), scores)
    assert (m.rows_['user'].used('total')[4], m.rows_['user'].used('number')[4])==(0, 3)
    assert not (m.remedies_[0].kept_['user']==4).any() and (m.remedies_[0].kept_['user']==9).any()
    assert m.remedies_[1].anchor_['user_total'][4]==0!=m.remedies_[1].anchor_['item_total'][4]
    m.learn_one(gone, rows[0][1], 4.)                           # a new row, for an id that was never met
    assert m.users_.row(gone)==len(m.users_)-1 and m.users_.row(other)==9
    m.save_pretrained(tmp_path/'m')
    back = Learner.from_pretrained(tmp_path/'m')
    assert back.n_==m.n_==301 and back.users_.row(gone)==m.users_.row(gone) and back.users_.row(other)==9
    for o in (m, back): o.partial_fit(world[:80])
    np.testing.assert_array_equal(back.score_items(other), m.score_items(other))
    assert all(len(x)==len(m.users_ if 'user' in o else m.items_) for o,x in m.arrays().items())


def test_members_share_ids_and_keep_their_own():
    class Both(IdLearner):
        def __init__(self, remember_seen=True): self.remember_seen = remember_seen
        def begin(self):
            self.members_ = Members([Means(), Means(lr=.2)], 'Both')
            self.members_.adopt(self)
        def grow(self, n_users, n_items): self.members_.grow(n_users, n_items)
        def wipe_user(self, u): self.members_.wipe_user(u)
        def arrays(self): return self.members_.arrays()
        def sweep(self, users, items, y, pred, learn):
            for scale,o in zip((1., 2.), self.members_): o.sweep(users, items, y*scale if learn else y, pred, learn)
    both,alone = Both().partial_fit(world),Means().partial_fit(world)
    first,second = both.members_
    for o in (first, second): assert o.users_ is both.users_ and o.n_==both.n_==300
    np.testing.assert_array_equal(first.score_items(rows[0][0]), alone.score_items(rows[0][0]))
    back = Members.restored(both.members_.specs(), both.arrays(), both)
    for a,b in zip(back, both.members_): np.testing.assert_array_equal(a.score_items(rows[0][0]), b.score_items(rows[0][0]))
    assert np.abs(first.score_items(rows[0][0])-second.score_items(rows[0][0])).max()>.1
    both.forget_user(rows[0][0])
    assert not any(o.rows_['user'].used('total')[0] for o in both.members_)


def test_parts():
    ids = IdMap(range(3))
    held = ids._small
    ids.rows(np.arange(60_000), add=True)
    assert held[0]==-1                                       # who holds the old table is told
    table = Rows(dict(a=5.), a=((), float), b=((2,), float))
    table.grow(2)
    table['a'][:] = 1.
    table.grow(30)
    assert table.used('a').tolist()==[1.]*2+[5.]*28 and len(table.arrays('x_')['x_a'])==30
    table.wipe(0)
    again = Rows(dict(a=5.), a=((), float), b=((2,), float))
    again.restore(table.arrays('x_'), 'x_')
    assert table.used('a')[0]==5. and len(again)==30 and again.used('a').tolist()==table.used('a').tolist()
    log = SeenLog()
    for n in range(20): log.extend([n%3], [n])
    log.extend(np.array([1, 2]), np.array([50, 51]))
    assert len(log)==22 and log[1][log.of(1, 3)].tolist()==[*range(1, 20, 3), 50] and log[0].tolist()==[n%3 for n in range(20)]+[1, 2]
