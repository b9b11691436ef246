"""EWC and its kin: the compiled pull against a slow loop, importance against autograd, anchors, and BERT."""
import time
import numpy as np, pytest, torch
from recinc_nb import EWC, GaussianMF, IncrementalBert, IncrementalMF, ISGD, L2SP, Learner, SynapticIntelligence, drift_stream, fisher_diagonal

world = drift_stream(240, n_users=15, n_items=12, seed=4, drift='sudden')
def columns(s, m): return [np.asarray(o) for o in (m.users_.rows(s.events['user'].to_numpy()), m.items_.rows(s.events['item'].to_numpy()), s.events[m.target])]


def slow_pass(m, s, weight, strength, old):
    "One pass over events of known rows: a slide and a step of its own for each number; predictions, factors."
    log = m.loss=='logistic'
    h,prob = (.25, lambda z: 1/(1+np.exp(-z))) if log else (1., lambda z: z)
    P,Q,bias,met = m.user_factors_.astype(float),m.item_factors_.astype(float),[m.user_bias_.astype(float), m.item_bias_.astype(float)],[m.rows_[o].used('weight').astype(float) for o in ('user', 'item')]
    total,n,lr,l2,out = *m.mean_,m.tuned('lr'),m.tuned('l2'),[]
    for u,i,y,w in zip(*columns(s, m), weight):
        base = (np.log((total+1)/(n-total+1)) if log else total/n) + bias[0][u] + bias[1][i]
        out.append(prob(base + P[u]@Q[i]))
        rates = []
        for table,row,anchor,by in zip((P, Q), (u, i), old, strength):
            if row>=len(anchor): rates.append(lr + 0*table[row]); continue
            table[row] = (table[row] + lr*by[row]*anchor[row])/(1 + lr*by[row])
            rates.append(lr/(1 + lr*by[row]))
        p,q,(a,b) = P[u].copy(),Q[i].copy(),rates
        c = w*(y - prob(base + p@q))/(1 + w*h*(a@q**2 + b@p**2))
        P[u],Q[i] = p - a*(l2*p - c*q),q - b*(l2*q - c*p)
        for o,row,decay,shrink in ((0, u, m.decay_user, m.shrink_user), (1, i, m.decay_item, m.shrink_item)):
            met[o][row] = decay*met[o][row] + w
            bias[o][row] += w*(y-out[-1])/(h*(met[o][row] + shrink))
        total,n = total + w*y,n + w
    return np.array(out),P,Q


@pytest.mark.parametrize('loss', ['squared', 'logistic'])
def test_each_number_slides_and_steps_at_a_rate_of_its_own(loss):
    rng = np.random.default_rng(0)
    m = IncrementalMF(n_factors=5, loss=loss, init_std=.3, lr=.3, l2=.1).partial_fit(world)
    old = [rng.normal(0, .4, (len(o)-k, 5)).astype(np.float32) for k,o in ((4, m.user_factors_), (3, m.item_factors_))] # some rows have no anchor
    by,w = [rng.uniform(0, 9, o.shape).astype(np.float32) for o in old],rng.uniform(0, 2, len(world))
    out,P,Q = slow_pass(m, world, w, by, old)
    u,i,y = columns(world, m)
    pred = np.empty(len(y))
    assert m.sweep_pulled(u, i, y.astype(float), pred, dict(user_factors=(old[0], by[0]), item_factors=(old[1], by[1])), w)
    for a,b in ((pred, out), (m.user_factors_, P), (m.item_factors_, Q)): np.testing.assert_allclose(a, b, rtol=0, atol=2e-5)


def test_equal_strengths_are_l2sp():
    a = IncrementalMF(n_factors=3, init_std=.2).partial_fit(world)
    b = IncrementalMF(n_factors=3, init_std=.2).partial_fit(world)
    u,i,y = columns(world, a)
    old = {o: x+.1 for o,x in dict(user_factors=a.user_factors_, item_factors=a.item_factors_).items()}
    a.sweep_pulled(u, i, y, np.empty(len(y)), {o: (x, .7) for o,x in old.items()}, None)
    b.sweep_pulled(u, i, y, np.empty(len(y)), {o: (x, np.full(x.shape, .7, np.float32)) for o,x in old.items()}, None)
    np.testing.assert_allclose(a.user_factors_, b.user_factors_, atol=1e-5)
    np.testing.assert_allclose(a.item_factors_, b.item_factors_, atol=1e-5)


@pytest.mark.parametrize('observed', [False, True])
@pytest.mark.parametrize('make', [lambda: IncrementalMF(n_factors=3, init_std=.3), lambda: IncrementalMF(n_factors=3, init_std=.3, loss='logistic'), lambda: GaussianMF(n_factors=3, noise=.4)])
def test_row_fisher_by_autograd(make, observed):
    m = make().partial_fit(world)
    u,i,y = columns(world, m)
    found = fisher_diagonal(m, dict(user=u, item=i), y if observed else None)
    pred,params = m.predict(world),{o: torch.tensor(x.astype(float), requires_grad=True) for o,x in m.params().items()}
    (P,Q),gauss = params.values(),isinstance(m, GaussianMF)
    slow = {o: np.zeros(x.shape) for o,x in params.items()}
    for n in range(len(y)):
        z = P[u[n],:-1]@Q[i[n],:-1] + P[u[n],-1] + Q[i[n],-1] if gauss else P[u[n]]@Q[i[n]]
        if m.target=='label': labels = [(y[n], 1.)] if observed else [(0., 1-pred[n]), (1., pred[n])]
        else: labels = [(y[n], 1.)] if observed else [(pred[n]+s, .5) for s in (-1, 1)] # two ratings one standard deviation off
        noise = getattr(m, 'noise', 1.)
        for label,p in labels:
            e = (pred[n]-label)/noise if observed or m.target=='label' else np.sign(pred[n]-label)/noise**.5
            for o,g in zip(slow, torch.autograd.grad(z, list(params.values()), retain_graph=True)): slow[o] += p*(e*g.numpy())**2
    for (o,x),rows in zip(slow.items(), (u, i)):
        np.testing.assert_allclose(found[o], x/np.maximum(np.bincount(rows, minlength=len(x)), 1)[:,None], rtol=2e-4, atol=1e-6)


def test_the_anchor_is_where_the_rows_were_and_importance_that_of_the_events_before():
    a,b = IncrementalMF(n_factors=3, init_std=.2, remedies=(EWC(2., 100, 60, decay=.5),)),IncrementalMF(n_factors=3, init_std=.2)
    a.partial_fit(world[:100])
    b.partial_fit(world[:100])
    r, = a.remedies_
    u,i,_ = columns(world[:100], a)
    first = fisher_diagonal(b, dict(user=u, item=i))
    for o,x in b.params().items():
        np.testing.assert_array_equal(r.anchor_[o], x)
        np.testing.assert_array_equal(r.importance_[o], first[o])
        np.testing.assert_array_equal(r.pull()[o][1], 2*first[o])
    a.partial_fit(world[100:160])
    u,i,_ = columns(world[100:160], a)
    second = fisher_diagonal(a, dict(user=u, item=i))
    for o,x in a.params().items():
        np.testing.assert_array_equal(r.anchor_[o], x)
        n = len(first[o])
        np.testing.assert_allclose(r.importance_[o][:n], second[o][:n] + .5*first[o], rtol=1e-6)
        np.testing.assert_array_equal(r.importance_[o][n:], second[o][n:])
        np.testing.assert_array_equal(r.pull()[o][1], 2*r.importance_[o])


def test_latest_events_alone_when_size_says_so():
    m = IncrementalMF(n_factors=3, init_std=.2, remedies=(EWC(1., 100, size=30),)).partial_fit(world[:100])
    u,i,_ = columns(world[70:100], m)
    for o,x in fisher_diagonal(m, dict(user=u, item=i)).items(): np.testing.assert_array_equal(m.remedies_[0].importance_[o], x)


def test_a_strong_tie_holds_what_was_seen_and_nothing_else():
    held = IncrementalMF(n_factors=3, init_std=.3, remedies=(EWC(1e6, 100),)).partial_fit(world[:100])
    before = held.user_factors_.copy()
    held.partial_fit(world[100:])
    np.testing.assert_allclose(held.user_factors_[:len(before)], before, atol=1e-3)
    assert np.abs(held.user_factors_-IncrementalMF(n_factors=3, init_std=.3).partial_fit(world).user_factors_).max()>.01


def test_the_path_of_a_row_is_its_squared_moves_over_the_step():
    m,ω,start = IncrementalMF(n_factors=3, init_std=.2, l2=0., remedies=(SynapticIntelligence(.5, 60, damping=.2),)),{},{}
    for n,(u,i,y) in enumerate(zip(*(world.events[o].tolist() for o in ('user', 'item', 'rating')))):
        if n==60: break
        before = {o: x.copy() for o,x in m.params().items()} if n else {}
        m.learn_one(u, i, y)
        for o,x in m.params().items():
            old = before.get(o, x[:0])
            if len(old)<len(x): # a new row began at random
                fresh = m._starts[o.split('_')[0]]
                table = np.zeros((len(x), 3), np.float32)
                type(fresh)([0, ['user', 'item'].index(o.split('_')[0])], 3, .2, np.float32).fill(table, len(x), None)
                old = np.concatenate([old, table[len(old):]])
                start[o] = np.concatenate([start.get(o, x[:0]), old[len(start.get(o, x[:0])):]])
                ω[o] = np.concatenate([ω.get(o, 0.*x[:0]), np.zeros((len(x)-len(ω.get(o, x[:0])), 3))])
            ω[o] = ω[o] + (x-old)**2/.2
    for o,x in m.params().items():
        np.testing.assert_allclose(m.remedies_[0].importance_[o], ω[o]/((x-start[o])**2 + .2), rtol=2e-3, atol=1e-6)
        np.testing.assert_array_equal(m.remedies_[0].anchor_[o], x)


def told(n=64, seed=1): return drift_stream(n, n_users=6, n_items=15, seed=seed).with_text()
def bert(*remedies, update='top-1', **kw): return IncrementalBert('tiny', update=update, device='cpu', remedies=remedies, **kw)

def test_fisher_of_a_bert_head_in_closed_form():
    s = told()
    m = bert(update='head').partial_fit(s)
    rows = {o: s.events[o].tolist() for o in ('text', 'text_pair')}
    found,p,seen = fisher_diagonal(m, rows),m.predict(s),[]
    hook = m.model_.classifier.register_forward_pre_hook(lambda _,x: seen.append(x[0].detach()))
    m.predict(s)
    hook.remove()
    x = torch.cat(seen).double().numpy()
    slow = ((p*(1-p))@x**2)/len(p)
    for row in range(2): np.testing.assert_allclose(found['classifier.weight'][row], slow, rtol=1e-3, atol=1e-8)
    np.testing.assert_allclose(found['classifier.bias'], np.mean(p*(1-p)), rtol=1e-3)
    y = s.events['label'].to_numpy()
    np.testing.assert_allclose(fisher_diagonal(m, rows, y)['classifier.bias'], np.mean((p-y)**2), rtol=1e-3)


@pytest.mark.parametrize('remedy', [EWC(2., 32, size=20), EWC(2., 32, 32, decay=.5), SynapticIntelligence(.5, 32), SynapticIntelligence(.5, 32, 32)])
def test_bert_goes_on_where_it_was_saved(remedy, tmp_path):
    torch.set_num_threads(1)
    s = told(96)
    whole,half,plain = bert(remedy).partial_fit(s),bert(remedy),bert().partial_fit(s)
    half.partial_fit(s[:48])
    half.save_pretrained(tmp_path/'m')
    half = Learner.from_pretrained(tmp_path/'m').partial_fit(s[48:])
    np.testing.assert_array_equal(half.predict(s), whole.predict(s))
    assert np.abs(whole.predict(s)-plain.predict(s)).max()>1e-6, 'no effect'
    r, = whole.remedies_
    assert r.pull() and all((x>=0).all() for x in r.importance_.values()) and any((x>0).any() for x in r.importance_.values())


def test_berts_path_is_slope_times_move():
    s,seen = told(32),[]
    m = bert(SynapticIntelligence(.5, 32, damping=.2))
    class Watch(SynapticIntelligence):
        def project(self, grads):
            seen.append({o: (g.clone(), self.learner_.params()[o].detach().clone()) for o,(_,g) in grads.items()})
            return grads
    w = bert(Watch(.5, 32, damping=.2)).partial_fit(s)
    m.partial_fit(s)
    after = [*({o: p for o,(_,p) in x.items()} for x in seen[1:]), {o: p.detach() for o,p in w.params().items()}]
    for o,x in m.remedies_[0].importance_.items():
        ω = sum(-(g[o][0]*(b[o]-g[o][1])) for g,b in zip(seen, after))
        np.testing.assert_allclose(x, ω.clamp(min=0)/((after[-1][o]-seen[0][o][1])**2 + .2), rtol=1e-3, atol=1e-7)


def test_a_forgotten_user_leaves_nothing():
    for r in (EWC(1., 100, 200), SynapticIntelligence(1., 100, 200)):
        m = IncrementalMF(n_factors=3, init_std=.2, remedies=(r,)).partial_fit(world)
        m.forget_user(m.users_.ids[2])
        r, = m.remedies_
        for part in r._parts().values():
            assert not part['user_factors'][2].any() and part['item_factors'].any()
        if isinstance(r, EWC): assert len(r.kept_['user'])==len(r.kept_['item'])>0 and not (r.kept_['user']==2).any()
        assert not r.pull()['user_factors'][1][2].any()


def test_likes_alone_are_kept_of_a_learner_of_likes():
    m = ISGD(n_factors=3, remedies=(EWC(1., 1_000),)).partial_fit(world)
    assert len(m.remedies_[0].kept_['user'])==int(world.events['label'].sum())


@pytest.mark.parametrize('bad,words', [(EWC(-1.), 'strength'), (EWC(after=0), 'after'), (EWC(decay=0.), 'decay'), (EWC(decay=1.1), 'decay'), (EWC(size=0), 'size'), (EWC(float('nan')), 'strength'),
                                       (SynapticIntelligence(damping=0.), 'damping'), (SynapticIntelligence(every=-1), 'every')])
def test_what_cannot_be_is_refused(bad, words):
    with pytest.raises(ValueError, match=words): IncrementalMF(remedies=(bad,)).learn_one(1, 1, 3.)


def test_two_anchors_are_refused():
    for pair in ((EWC(), L2SP()), (L2SP(), EWC()), (EWC(), SynapticIntelligence()), (EWC(), EWC())):
        with pytest.raises(ValueError, match='anchors of their own'): IncrementalMF(remedies=pair).learn_one(1, 1, 3.)


def test_a_pull_stays_compiled():
    s = drift_stream(40_000, seed=0)
    X,y = {o: s.events[o].to_numpy() for o in ('user', 'item')},s.events['rating'].to_numpy()
    took = {}
    for n in range(12):
        for o,r in dict(plain=(), tied=(EWC(3., 100),)).items():
            m = IncrementalMF(remember_seen=False, remedies=r)
            m.predict_learn({k: x[:200] for k,x in X.items()}, y[:200])
            start = time.process_time()
            m.predict_learn({k: x[200:] for k,x in X.items()}, y[200:])
            took[o] = min(took.get(o, 9.), time.process_time()-start) if n else 9.
    assert took['tied']<15*took['plain'], took # three to five, by machine; a loop in Python would be a hundred


class Fake: # one tensor that moves as told
    def __init__(self): self.w = torch.tensor([1., 2.])
    def params(self): return {'w': self.w}

def test_the_slope_of_the_task_alone_counts_and_each_way_begins_at_its_anchor():
    fake,r = Fake(),SynapticIntelligence(.5, 1, 1, damping=.1)
    r.begin(fake)
    def go(g, move):
        r.project({'w': (None, torch.tensor(g))})
        fake.w = fake.w + torch.tensor(move)
        r._watch(None)
    go([3., -1.], [-.5, .1])
    first = r._measure()['w']
    torch.testing.assert_close(first, torch.tensor([1.5/(.25+.1), .1/(.01+.1)]))
    r.anchor_,r.importance_ = {'w': torch.tensor([0., 0.])},{'w': torch.tensor([2., 2.])}
    w = fake.w.clone()                          # the loss's slope holds the pull's: .5·2·w
    go([1., 4.], [-.2, -.3])
    second = r._measure()['w']
    ω = -(torch.tensor([1., 4.])-w)*torch.tensor([-.2, -.3])
    torch.testing.assert_close(second, ω.clamp(min=0)/(torch.tensor([.04, .09])+.1))
