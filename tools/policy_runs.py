"""The runs behind chapter 54a: how old a model may be, and which events are worth learning. python tools/policy_runs.py

Settings of the buckets are chosen on made worlds of seeds 10 and 11. The runs are seeds 0 to 4, and all of MovieLens-100K with the same settings.
Some ten minutes. Writes recinc_nb/results/policies.json.
"""
import copy, itertools
from functools import cache
from record import Record
import numpy as np
from recinc_nb.core import scale
from recinc_nb.baselines import BiasBaseline
from recinc_nb.drift import ADWIN, PageHinkley
from recinc_nb.mf_als import GaussianMF
from recinc_nb.mf_online import IncrementalMF
from recinc_nb.policies import EveryBlock, OnAlarm, RandomShare, follow_policy
from recinc_nb.streams import Stream, movielens_100k
from recinc_nb.worlds import drift_stream

record = Record(__file__, 'policies')
N,WARM,EVERY,SEEDS = scale(60_000, 2_400),scale(3_000, 300),300,(0, 1, 2, 3, 4)
TURNS = {'none': (0,), 'sudden': (0, N//2), 'gradual': (0,), 'recurring': (0, N//3, 2*N//3)}
DELAYS = scale([0, 100, 300, 1_000, 3_000], [0, 10])
SHARES = .1, .2, .4
DETECTORS = {'ADWIN, δ = .002': ADWIN(), 'ADWIN, δ = .3': ADWIN(.3), **{f'Page–Hinkley, {o:g}': PageHinkley(threshold=o) for o in (10., 20., 40.)}}
LEARNERS = {o.__name__: o for o in (IncrementalMF, GaussianMF, BiasBaseline)}

@cache
def world(drift, seed): return drift_stream(N, drift=drift, share=1., seed=seed)
def regret(pred, s): return (pred - s.oracle['rating'].to_numpy())**2
def rounded(x, digits=5): return round(float(x), digits)

def late(make, s, d, f):
    "Predictions, if labels come d events late and what has come is learned before every f-th event."
    m,known,pred = make(),0,np.empty(len(s))
    users,items,y = (s.events[o].tolist() for o in ('user', 'item', 'rating'))
    for n in range(len(s)):
        if n%f==0:
            for j in range(known, n-d): m.learn_one(users[j], items[j], y[j])
            known = max(known, n-d)
        pred[n] = m.predict_one(users[n], items[n])
    return pred

def ages_of(learner, drift, seed, window=scale(2_000, 200)):
    "The regret at age 0; what each delay (rows) and wait (columns) adds; and equation (3) per event of age."
    s,make = world(drift, seed),LEARNERS[learner]
    base,slope = regret(make().predict_learn(s), s),0.
    for a,b in zip(TURNS[drift], (*TURNS[drift][1:], N)):
        m = make().partial_fit(s[:a]) if a else make()
        slope += (regret(m.predict(s[a:a+window]), s[a:a+window]).mean() - base[b-window:b].mean())/N
    cost = [[rounded(regret(late(make, s, d, 2*o+1), s).mean() - base.mean()) for o in DELAYS] for d in DELAYS]
    return dict(regret=rounded(base.mean()), slope=rounded(slope, 9), cost=cost)

@record.part(at=('ages', 'rows'), delays=DELAYS)
def ages(seeds=SEEDS):
    "Delay against frequency: rows have the delay d of `delays`, columns an update every 2d+1 events."
    for learner,drifts in (('IncrementalMF', TURNS), ('GaussianMF', ('none', 'recurring'))):
        for drift in drifts:
            for seed in seeds: yield dict(learner=learner, drift=drift, seed=seed), lambda: ages_of(learner, drift, seed)

class Told:
    "The oracle: it is told the turns, and spends an equal part of its budget right after each of them."
    def __init__(self, turns, budget): self.turns,self.budget,self.n_ = turns,budget,0
    def choose(self, loss):
        n = self.n_ + np.arange(len(loss))
        self.n_ += len(loss)
        return np.any([(n>=o) & (n<o+self.budget/len(self.turns)) for o in self.turns], axis=0)

class Never:
    def choose(self, loss): return np.zeros(len(loss), dtype=bool)

def bucket(share, n, detector, part):
    "Half of the budget (or another part) at once, the rest as it comes."
    size = int(part*share*n)
    return OnAlarm(DETECTORS[detector], share - size/n, size)

def policies(share, n, turns, chosen):
    return {'random': RandomShare(share), 'blocks': EveryBlock(share), 'saved up': OnAlarm(DETECTORS[chosen['saved up']['detector']], share, max(1, int(chosen['saved up']['part']*share*n)), full=False),
        'full bucket': bucket(share, n, **chosen['full bucket']), 'no bucket': OnAlarm(DETECTORS[chosen['full bucket']['detector']], None, int(share*n/2)),
        'told': Told([max(0, o-WARM) for o in turns], share*n)}

@cache
def warm(learner, drift, seed): return LEARNERS[learner]().partial_fit(world(drift, seed)[:WARM])

def under(policy, drift, seed, learner='IncrementalMF'):
    "Mean regret after the warm-up, and the share of events learned; an update every 300 events."
    s = world(drift, seed)[WARM:]
    run = follow_policy(copy.deepcopy(warm(learner, drift, seed)), s, policy, every=EVERY)
    return regret(run.report.frame['pred'].to_numpy(), s).mean(),run

@cache
def ends(drift, seed): return [under(o, drift, seed)[0] for o in (Never(), None)]

def gap(policy, drift, seed):
    never,always = ends(drift, seed)
    return (never - under(policy, drift, seed)[0])/(never - always)

def choose(full):
    "The detector and the part of the budget in the bucket, at a fifth of the events, by the mean share of the gap over worlds and seeds."
    n,share,tried = N-WARM,.2,[]
    for detector,part in itertools.product(DETECTORS, (.15, .3, .5, .7) if full else (.05, .15, .3)):
        policy = bucket(share, n, detector, part) if full else OnAlarm(DETECTORS[detector], share, max(1, int(part*share*n)), full=False)
        tried.append((np.mean([gap(policy, drift, seed) for drift in TURNS for seed in (10, 11)]), detector, part))
    best = max(tried)
    return dict(gap=rounded(best[0], 4), detector=best[1], part=best[2], tried=len(tried))

@record.part(seeds=(10, 11), n_events=N, warm=WARM, every=EVERY, share=.2)
def chosen():
    "Settings of the two triggers with a bucket."
    yield 'saved up', lambda: choose(False)
    yield 'full bucket', lambda: choose(True)

def settings(): return {o: {k: record.read('chosen')[2]['rows'][o][k] for k in ('detector', 'part')} for o in ('saved up', 'full bucket')}

DEAF = {'deaf bucket': 'full bucket', 'deaf, no bucket': 'no bucket'} # the null of each trigger

def judged(name, share, drift, seed, learner='IncrementalMF'):
    if name in DEAF: # as many events as the trigger learned here, at random moments
        policy = RandomShare(judged(DEAF[name], share, drift, seed, learner)['learned'], seed+1)
    else: policy = {'never': Never(), 'always': None}[name] if name in ('never', 'always') else policies(share, N-WARM, TURNS[drift], settings())[name]
    value,run = under(policy, drift, seed, learner)
    alarms = (run.state['policy'] or {}).get('alarms_', [])
    return dict(regret=rounded(value), learned=rounded(len(run.learned)/(N-WARM), 4), alarms=[int(o)+WARM for o in alarms])

NAMES = 'random', 'blocks', 'saved up', 'full bucket', 'no bucket', 'told', *DEAF

@record.part(at=('runs', 'rows'), every=EVERY)
def runs(seeds=SEEDS):
    "Regret and share learned of each policy, share, world and seed."
    for drift in TURNS:
        for seed in seeds:
            for name in ('never', 'always'): yield dict(policy=name, share=None, drift=drift, seed=seed), lambda: judged(name, None, drift, seed)
            for share in SHARES:
                for name in NAMES: yield dict(policy=name, share=share, drift=drift, seed=seed), lambda: judged(name, share, drift, seed)

@record.part(at=('simple', 'rows'), every=EVERY)
def simple(seeds=SEEDS):
    "The same for a model with two numbers per row, at 40 %."
    for drift in TURNS:
        for seed in seeds:
            for name in ('never', 'always', 'blocks', 'full bucket', 'told'):
                yield dict(policy=name, share=.4, drift=drift, seed=seed), lambda: judged(name, .4, drift, seed, 'BiasBaseline')

@cache
def films(shuffled):
    s = movielens_100k().take(scale(100_000, 2_400))
    if not shuffled: return s
    e = s.events[['user', 'item', 'rating']].sample(frac=1, random_state=0).reset_index(drop=True)
    return Stream(e, name='shuffled', rating_range=(1, 5))

EARLY = scale(30_000, 1_200)
def rmse(pred, s, first=0): return rounded(np.sqrt(np.mean((np.clip(pred, 1, 5) - s.events['rating'].to_numpy())[first:]**2)))

def missed(s, age):
    "The mean share of a user's earlier events that a model of some age does not know; events with nothing before them left out."
    users = s.events['user'].to_numpy()
    own = s.events.groupby('user').cumcount().to_numpy()
    at = {}
    known = np.empty(len(users))
    for n,u in enumerate(users):
        if n>age: at[users[n-1-age]] = at.get(users[n-1-age], 0) + 1
        known[n] = at.get(u, 0)
    return rounded(1 - (known[own>0]/own[own>0]).mean(), 4)

@record.part(at=('films', 'rows'), n_films=scale(100_000, 2_400), early=EARLY)
def movies():
    "RMSE on MovieLens-100K at some ages, all events and those after the events of tuning; in time order and shuffled, which is the null."
    def row(learner, order, age):
        s = films(order=='shuffled')
        pred = late(LEARNERS[learner], s, age, 1)
        return dict(rmse=rmse(pred, s), after=rmse(pred, s, EARLY), missed=missed(s, age))
    for learner in ('IncrementalMF', 'BiasBaseline'):
        for order in ('in time', 'shuffled'):
            for age in scale((0, 10, 100, 1_000, 10_000), (0, 10)): yield dict(learner=learner, order=order, age=age), lambda: row(learner, order, age)

@record.part(at=('film_policies', 'rows'), share=.2, every=20)
def movie_policies():
    "A fifth of MovieLens-100K is learned after the warm-up; an update every 20 events."
    s = films(False)
    n = len(s)-WARM
    def row(name):
        policy = {'never': Never(), 'always': None}[name] if name in ('never', 'always') else policies(.2, n, (0,), settings())[name]
        run = follow_policy(IncrementalMF().partial_fit(s[:WARM]), s[WARM:], policy, every=20)
        pred = run.report.frame['pred'].to_numpy()
        return dict(rmse=rmse(pred, s[WARM:]), after=rmse(pred, s[WARM:], EARLY-WARM), learned=rounded(len(run.learned)/n, 4))
    for name in ('never', 'always', 'random', 'blocks', 'full bucket'): yield dict(policy=name), lambda: row(name)

if __name__=='__main__': record.main()
