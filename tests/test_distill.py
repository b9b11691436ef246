"""Temperatures, teachers and bent steps: formulas, what a copy knows, and BERT."""
import copy
import numpy as np, pytest, torch
from recinc_nb import AGEM, ClockFilter, Distill, IncrementalBert, IncrementalMF, MFStrategy, Replay, drift_stream
from recinc_nb.distill import distill_slope, harmless, soften

world = drift_stream(240, n_users=15, n_items=12, seed=4, drift='sudden')


@pytest.mark.parametrize('T', [.5, 1., 3., 20.])
def test_distill_slope_is_that_of_torch(T):
    z,v = np.random.default_rng(0).normal(size=(2, 6, 4))*3
    x = torch.tensor(z, requires_grad=True)
    loss = T**2*torch.nn.functional.kl_div(torch.log_softmax(x/T, -1), torch.softmax(torch.tensor(v)/T, -1), reduction='sum')
    np.testing.assert_allclose(distill_slope(z, v, T), torch.autograd.grad(loss, x)[0], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(soften(z, T), torch.softmax(torch.tensor(z)/T, -1), rtol=1e-12)


def test_a_step_is_bent_only_as_far_as_needed():
    rng = np.random.default_rng(1)
    for _ in range(50):
        g,r = (dict(a=rng.normal(size=(3, 2)), b=rng.normal(size=4)) for _ in range(2))
        x,y,z = (np.concatenate([o.ravel() for o in d.values()]) for d in (g, r, harmless(g, r)))
        np.testing.assert_allclose(z, x - min(0, x@y)/(y@y)*y, rtol=1e-12, atol=1e-14)
    assert harmless(g, dict(a=np.zeros((3, 2)))) is g
    part = harmless(dict(a=np.array([1.]), b=np.array([5.])), dict(a=np.array([-2.])))
    assert part['a'][0]==0 and part['b'][0]==5


def test_a_teacher_says_nothing_of_strangers_and_of_old_events():
    m = IncrementalMF(n_factors=3, init_std=.2, remedies=(Replay(40, 2), Distill(1., 100))).partial_fit(world.take(160))
    teacher,seen = m.remedies_[1].teacher_,[]
    n_users,n_items = teacher.known
    rows = dict(user=np.array([0, n_users, 0, n_users-1]), item=np.array([0, 0, n_items, n_items-1]))
    np.testing.assert_array_equal(np.isnan(teacher.answers(rows)), [False, True, True, False])
    class Spy(Distill):
        def mix(self, step):
            out = super().mix(step)
            if self.teacher_: seen.append((step, out))
            return out
    IncrementalMF(n_factors=3, remedies=(Replay(40, 2), Spy(1., 100))).partial_fit(world.take(220))
    step,out = seen[-1]
    np.testing.assert_array_equal(out.y[~step.new], step.y[~step.new])
    assert (out.y[step.new]!=step.y[step.new]).mean()>.9 and (~step.new).any()


def test_a_teacher_is_the_learner_of_then():
    m = IncrementalMF(n_factors=3, init_std=.2, remedies=(Distill(.5, 60, 50),)).partial_fit(world.take(110))
    pairs = world.events[['user', 'item']].iloc[:60]
    rows = dict(user=m.users_.rows(pairs['user'].to_numpy()), item=m.items_.rows(pairs['item'].to_numpy()))
    then = m.predict(pairs)
    m.partial_fit(world[110:150])
    np.testing.assert_array_equal(m.remedies_[0].teacher_.answers(rows), then)
    assert np.abs(m.predict(pairs) - then).max()>1e-3
    m.partial_fit(world[150:160])
    assert np.abs(m.remedies_[0].teacher_.answers(rows) - then).max()>1e-3


def test_other_factorizations():
    plain,m = (MFStrategy(n_factors=3, init_std=.2, remedies=o) for o in ((), (Distill(.3, 50, 40),)))
    assert np.abs(plain.predict_learn(world) - m.predict_learn(world)).max()>1e-5
    with pytest.raises(ValueError, match='AGEM projects'): MFStrategy(remedies=(AGEM(),)).partial_fit(world)
    with pytest.raises(TypeError): Distill().begin(ClockFilter())


def test_bert_is_taught_and_its_gradient_is_bent(tmp_path):
    class Watched(AGEM):
        every,dots = 25,()
        def project(self, grads):
            self.ref = None
            out = super().project(grads)
            if self.ref: self.dots += ((sum(float((grads[o][1]*r).sum()) for o,r in self.ref.items()), sum(float((out[o][1]*r).sum()) for o,r in self.ref.items())),)
            return out
        def reference(self, old):
            self.ref = super().reference(old)
            return self.ref
    m = IncrementalBert('tiny', update='head', remedies=(Watched(100, 8),))
    for b in world.batches(16): m.partial_fit(b)
    dots = np.array(m.remedies_[0].dots)
    assert (dots[:,0]<0).any() and dots[:,1].min()>-1e-6 and (dots[:,0]>0).any()

    m = IncrementalBert('tiny', update='head', remedies=(Distill(.9, 48, 64),))
    for b in world.take(48).batches(16): m.partial_fit(b)
    heads = copy.deepcopy(m.params())
    m.partial_fit(world[48:64])
    for o,x in m.remedies_[0].teacher_.kept.items(): torch.testing.assert_close(x, heads[o].detach())
    m = IncrementalBert('tiny', update='head', remedies=(Distill(.9, 48, 0),)) # asking a copy leaves the learner as it was
    for b in world.take(80).batches(16): m.partial_fit(b)
    told = world.with_text()
    teacher,now = m.remedies_[0].teacher_,copy.deepcopy(m.params())
    rows = {o: told[:8].events[o].tolist() for o in ('text', 'text_pair')}
    teacher.answers(rows)
    for o,x in m.params().items(): torch.testing.assert_close(x.detach(), now[o].detach())
    assert any((x.detach()!=teacher.kept[o]).any() for o,x in m.params().items())
    texts = []
    class Spy(Distill):
        def mix(self, step):
            out = super().mix(step)
            texts.append((step, out.y))
            return out
    s = IncrementalBert('tiny', update='head', remedies=(Spy(.9, 48, 64),))
    for b in world.take(64).batches(16): s.partial_fit(b)
    step,soft = texts[-1]
    s2 = IncrementalBert('tiny', update='head')
    for b in world.take(48).batches(16): s2.partial_fit(b)
    np.testing.assert_allclose(soft, .1*step.y + .9*s2._chances(step.rows), atol=1e-5)
    np.testing.assert_array_equal(texts[0][0].y, texts[0][1])


def test_the_old_gradient_weighs_events_and_forgets_users():
    asked = []
    class Spy(AGEM):
        def reference(self, old):
            asked.append(old['user'])
            return super().reference(old)
    m = IncrementalMF(n_factors=3, init_std=.2, remedies=(Spy(60, 40),)).partial_fit(world.take(150))
    old = dict(user=np.array([0, 1]), item=np.array([2, 3]), y=np.array([5., 1.]), weight=np.array([3., .5]))
    e = m.score_rows(old) - old['y']
    ref = m.remedies_[0].reference(old)
    for j,w in enumerate((3/3.5, .5/3.5)):
        np.testing.assert_allclose(ref['user_factors'][j], w*e[j]*m.item_factors_[j+2], rtol=1e-5)
        np.testing.assert_allclose(ref['item_factors'][j+2], w*e[j]*m.user_factors_[j], rtol=1e-5)
    gone = m.users_.ids[0]
    m.forget_user(gone)
    asked.clear()
    m.partial_fit(world.events.iloc[150:].query('user!=@gone'))
    assert asked and min(o.min() for o in asked)>=1
    assert len({o.tobytes() for o in asked[:20]})>15, 'each step draws old events of its own'
