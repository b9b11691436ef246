"""Following a stream under a policy: against a slow witness, however it is cut, resumed to the last bit, and what is refused."""
import copy, json
from fractions import Fraction
import numpy as np, pytest
from recinc_nb import (ADWIN, BiasBaseline, EveryBlock, GaussianMF, IncrementalBert, IncrementalMF, ISGD, Learner, OnAlarm, PageHinkley, RandomShare, Reservoir, Stream,
                       drift_stream, follow_policy, prequential)
from recinc_nb.drift import DriftDetector
from helpers import state as known

world = drift_stream(600, n_users=40, n_items=30, drift='sudden', share=1., seed=3)
KINDS = {'mf': IncrementalMF(n_factors=3), 'gaussian': GaussianMF(n_factors=2), 'biases of labels': BiasBaseline(target='label'), 'mf, logistic': IncrementalMF(n_factors=3, loss='logistic'),
         'replay': IncrementalMF(n_factors=3, remedies=(Reservoir(20, 1),))}
POLICIES = {'all': None, 'random': RandomShare(.3, 5), 'blocks': EveryBlock(.4, 30), 'full': OnAlarm(PageHinkley(threshold=2.), .1, 25), 'empty': OnAlarm(ADWIN(.9), .2, 40, full=False),
            'no bucket': OnAlarm(PageHinkley(threshold=2.), None, 40)}
losses = np.random.default_rng(0).random(2_000)**2


def choices(policy, edges=(0, 2_000)):
    policy = copy.deepcopy(policy)
    policy.start()
    return np.concatenate([policy.choose(losses[a:b]) for a,b in zip(edges, edges[1:])]),policy


def slowly(model, policy, d, f):
    "The same without arrays, cuts or queues: event by event, with the whole past at hand."
    target = model.target
    users,items,y = (world.events[o].tolist() for o in ('user', 'item', target))
    lo,hi = (1., 5.) if target=='rating' else (0., 1.)
    pred,learned,offered = [],[],0
    policy = copy.deepcopy(policy)
    if policy is not None: policy.start()
    for n in range(len(users)):
        pred.append(model.predict_one(users[n], items[n]))
        if (n+1)%f: continue
        picked = []
        while offered < n+1-d:
            loss = ((y[offered] - min(max(pred[offered], lo), hi))/(hi-lo))**2
            if policy is None or policy.choose(np.array([loss]))[0]: picked.append(offered)
            offered += 1
        for j in picked:
            model.learn_one(users[j], items[j], y[j])
            learned.append((j, n+1))
    return pred,learned


@pytest.mark.parametrize('d,f', [(0, 1), (7, 1), (0, 20), (13, 8), (60, 50), (700, 9)])
@pytest.mark.parametrize('name', POLICIES)
def test_against_a_slow_witness(name, d, f):
    a,b = IncrementalMF(n_factors=3),IncrementalMF(n_factors=3)
    run = follow_policy(a, world, POLICIES[name], d, f)
    pred,learned = slowly(b, POLICIES[name], d, f)
    np.testing.assert_array_equal(run.report.frame['pred'], pred)
    assert run.learned.tolist()==[list(o) for o in learned] and known(a)==known(b)


@pytest.mark.parametrize('name', KINDS)
def test_every_learner_at_once_is_prequential(name):
    a,b = copy.deepcopy(KINDS[name]),copy.deepcopy(KINDS[name])
    run,exam = follow_policy(a, world),prequential(b, world)
    np.testing.assert_array_equal(run.report.frame['pred'], exam.frame['pred'], strict=True)
    assert known(a)==known(b) and run.report.summary.equals(exam.summary) and run.report.target==exam.target
    assert run.learned.tolist()==[[n, n+1] for n in range(600)] and not run.state['pred']


@pytest.mark.parametrize('name', [*POLICIES, *KINDS])
def test_however_it_is_cut_saved_and_resumed(name, tmp_path):
    make,policy = copy.deepcopy(KINDS.get(name, KINDS['mf'])),POLICIES.get(name, POLICIES['full'])
    whole,m,state,runs = copy.deepcopy(make),make,None,[]
    straight = follow_policy(whole, world, policy, 17, 10)
    for n,(a,b) in enumerate(zip((0, 1, 5, 30, 31, 220, 440), (1, 5, 30, 31, 220, 440, 600))):
        runs.append(follow_policy(m, world[a:b], policy, 17, 10, state))
        m.save_pretrained(tmp_path/str(n))
        m,state = Learner.from_pretrained(tmp_path/str(n)),json.loads(json.dumps(runs[-1].state))
    np.testing.assert_array_equal(np.concatenate([o.report.frame['pred'] for o in runs]), straight.report.frame['pred'], strict=True)
    np.testing.assert_array_equal(np.concatenate([o.learned for o in runs]), straight.learned)
    assert known(m)==known(whole) and state==straight.state and straight.report.frame.equals(sum(o.report for o in runs).frame)


@pytest.mark.usefixtures('one_thread')
def test_bert(tmp_path):
    s = drift_stream(96, n_users=3, n_items=12, seed=2)
    make = lambda: IncrementalBert(checkpoint='tiny', history=2)
    bits = lambda m: {k: x.tobytes() for k,x in m.arrays().items()}
    exam = prequential(one := make(), s, batch_size=16)
    run = follow_policy(two := make(), s, every=16)
    np.testing.assert_array_equal(run.report.frame['pred'], exam.frame['pred'])
    assert bits(one)==bits(two)
    straight = follow_policy(whole := make(), s, EveryBlock(.5, 8), 5, 16)
    cut,state = make(),None
    for n,(a,b) in enumerate(((0, 40), (40, 96))):
        part = follow_policy(cut, s[a:b], EveryBlock(.5, 8), 5, 16, state)
        cut.save_pretrained(tmp_path/str(n))
        cut,state = Learner.from_pretrained(tmp_path/str(n)),json.loads(json.dumps(part.state))
    np.testing.assert_array_equal(part.report.frame['pred'], straight.report.frame['pred'][40:])
    assert bits(cut)==bits(whole) and state==straight.state


@pytest.mark.parametrize('name', [o for o in POLICIES if o!='all'])
def test_choices_do_not_depend_on_cuts(name):
    whole,policy = choices(POLICIES[name])
    for edges in ((0, 1, 2, 700, 700, 2_000), (*range(0, 2_000, 37), 2_000)): np.testing.assert_array_equal(choices(POLICIES[name], edges)[0], whole)
    assert policy.n_==2_000 and not hasattr(POLICIES[name], 'n_')
    if isinstance(policy, OnAlarm): # its detector is a copy
        policy = OnAlarm(PageHinkley())
        policy.start()
        policy.choose(losses)
        assert not hasattr(policy.detector, 'state_') and policy.detector_.state_[0]==2_000


@pytest.mark.parametrize('share', [.1, .2, .4, 1/3, 1.])
@pytest.mark.parametrize('block', [1, 7, 500])
def test_blocks(share, block):
    picks,_ = choices(EveryBlock(share, block))
    edges = range(0, 2_000, block)
    for n,a in enumerate(edges):
        assert len(set(picks[a:a+block]))==1
        assert sum(picks[o] for o in edges[:n+1])==int(np.ceil(round((n+1)*share, 9)))


def test_random_share():
    picks,_ = choices(RandomShare(.3))
    assert abs(picks.mean()-.3) < .03 and (picks!=choices(RandomShare(.3, 1))[0]).any()
    assert choices(RandomShare(1.))[0].all()
    np.testing.assert_array_equal(picks, np.random.default_rng(0).random(2_000) < .3)


class Bell(DriftDetector):
    "Rises at some numbers."
    def __init__(self, at=()): self.at = at
    def start(self): self.state_ = np.zeros(2)
    def sweep(self, xs, out):
        out[:] = [n in self.at for n in int(self.state_[0])+np.arange(len(xs))]
        self.state_[0] += len(xs)


def spent(*args, **kw): return np.flatnonzero(choices(OnAlarm(Bell((1_000, 1_010)), *args, **kw))[0]).tolist()

def by_hand(rate, size, full):
    "Credit by credit, in fractions."
    credit,wants,out = Fraction(size*full),size*full,[]
    for n in range(2_000):
        if n in (1_000, 1_010): wants = size
        credit += rate or 0
        if rate is None and wants or rate and (credit>=1 and wants or credit>=size):
            out.append(n)
            credit,wants = credit-1,max(0, wants-1)
        assert rate is None or 0<=credit<size+1
    return out

@pytest.mark.parametrize('full', [True, False])
@pytest.mark.parametrize('size', [1, 40, 300])
@pytest.mark.parametrize('rate', [None, Fraction(1, 10), Fraction(1, 3), Fraction(3, 10), Fraction(1)])
def test_a_bucket_credit_by_credit(rate, size, full):
    assert spent(rate and float(rate), size, full=full)==by_hand(rate, size, full)


def test_a_bucket_at_a_glance():
    assert spent(.1, 40)[:42]==[*range(40), 399, 409]            # the start is a turn; then it fills up
    assert spent(.1, 40, full=False)[:3]==[399, 409, 419]        # full after 400 events, then each tenth
    assert spent(None, 40)==[*range(40), *range(1_000, 1_050)]   # a second alarm wants 40 from there


@pytest.mark.parametrize('rate,size,full', [(.1, 1, True), (.3, 50, False), (1/3, 7, True), (1., 3, False)])
def test_never_overdrawn(rate, size, full):
    picks,policy = choices(OnAlarm(PageHinkley(threshold=1.), rate, size, full))
    sums = np.r_[0, picks.cumsum()] - rate*np.arange(2_001)
    assert (sums - np.minimum.accumulate(sums)).max() <= size + 1e-6 # equation (4), in every window
    assert sums[-1] >= -size - 1                                     # and no token is lost
    assert policy.alarms_


@pytest.mark.parametrize('kw,error,words', [
    (dict(delay=-1), ValueError, 'delay is -1'), (dict(delay=1.5), ValueError, 'delay is 1.5'), (dict(every=0), ValueError, 'every is 0'), (dict(every=True), ValueError, 'every is True'),
    (dict(stream=world[:0]), ValueError, 'stream is empty'), (dict(stream=world.events), TypeError, 'wrap your table'), (dict(model=3), TypeError, 'has no predict'),
    (dict(policy=.2), TypeError, 'cannot choose'), (dict(policy=EveryBlock), TypeError, 'cannot choose'), (dict(policy=RandomShare(0.)), ValueError, 'share is 0.0'),
    (dict(policy=RandomShare(.2, -1)), ValueError, 'seed is -1'), (dict(policy=EveryBlock(1.5)), ValueError, 'share is 1.5'), (dict(policy=EveryBlock(.2, 0)), ValueError, 'block is 0'),
    (dict(policy=OnAlarm(.002)), TypeError, 'detector is 0.002'), (dict(policy=OnAlarm(ADWIN)), TypeError, 'detector is'), (dict(policy=OnAlarm(ADWIN(), 0.)), ValueError, 'rate is 0.0'),
    (dict(policy=OnAlarm(ADWIN(), 2.)), ValueError, 'rate is 2.0'), (dict(policy=OnAlarm(ADWIN(), .1, 0)), ValueError, 'size is 0'), (dict(policy=OnAlarm(ADWIN(), full=1)), ValueError, 'full is 1'),
    (dict(policy=OnAlarm(ADWIN(2.))), ValueError, 'delta is 2.0')])
def test_bad_input_is_refused_before_anything_is_learned(kw, error, words):
    m = IncrementalMF(n_factors=2)
    with pytest.raises(error, match=words): follow_policy(**{**dict(model=m, stream=world), **kw})
    assert not hasattr(m, 'n_') or m.n_==0


def test_a_prediction_or_a_loss_that_is_not_finite():
    class Lost(BiasBaseline):
        def predict(self, X): return np.full(len(X), np.nan)
    with pytest.raises(ValueError, match='Lost.predict gave nan'): follow_policy(Lost(), world)
    bell = OnAlarm(PageHinkley())
    bell.start()
    with pytest.raises(ValueError, match='not finite'): bell.choose(np.array([.1, np.nan]))


def test_a_policy_that_answers_something_else():
    class Numbers:
        def choose(self, loss): return loss
    with pytest.raises(TypeError, match='Numbers.choose gave float64'): follow_policy(IncrementalMF(), world, Numbers())


@pytest.mark.parametrize('kw,words', [(dict(delay=3), 'delay 5'), (dict(every=3), 'every 10'), (dict(policy=None), 'another policy'), (dict(policy=OnAlarm(ADWIN())), 'another policy')])
def test_a_state_of_another_run(kw, words):
    given = dict(policy=EveryBlock(.5), delay=5, every=10)
    m = IncrementalMF(n_factors=2)
    state = follow_policy(m, world[:33], **given).state
    with pytest.raises(ValueError, match=words): follow_policy(m, world[33:], **{**given, **kw}, state=state)
    with pytest.raises(ValueError, match='other columns'): follow_policy(m, Stream(world.events[['user', 'item', 'rating']], rating_range=(1, 5)), **given, state=state)


def test_strings_as_ids_and_the_learner_of_likes():
    e = world.events.assign(user='u'+world.events['user'].astype(str))
    run = follow_policy(ISGD(n_factors=3), Stream(e[['user', 'item', 'label']]), EveryBlock(.5, 20), 3, 10)
    assert np.isfinite(run.report.frame['pred']).all() and 250 < len(run.learned) < 350
    assert json.loads(json.dumps(run.state))['waiting']['user'][0].startswith('u')


def test_the_truth_is_not_shown():
    seen = []
    class Peeking(BiasBaseline):
        def predict(self, X): seen.append((list(X.events), X.oracle)); return super().predict(X)
        def partial_fit(self, X, y=None): seen.append((None, X.oracle)); return super().partial_fit(X, y)
    follow_policy(Peeking(), world, EveryBlock(.5, 10), every=50)
    assert all(o is None and not {'rating', 'label'} & set(c or ()) for c,o in seen)
