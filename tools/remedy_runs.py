"""The table of part 5: remedy × drift × learner. python tools/remedy_runs.py

Each row is one learner with one remedy on made worlds of seeds 0 to 4, on which nothing was chosen (settings are those of the chapters, chosen
on seeds from 10). Measures, all against the truth of the made world (the oracle has 0 in each):
  forward  mean regret of all events, each predicted before it is learned: what a recommender is paid for
  after    the same over the first events after the last turn: A's return where the drift recurs, the second half where it is sudden,
           the last events where there is no turn
  kept     regret, on pairs of A, of the learner as it is at the end of B; `new`: as it was at the end of A; their difference is the
           negative of backward transfer
Regret is squared stars for ratings, nats (Kullback–Leibler) for likes. Writes recinc_nb/results/remedies.json; it goes on where it stopped.
"""
import time
import numpy as np
from record import Record
from recinc_nb import GaussianMF, IncrementalMF, L2SP, Reservoir, drift_stream
from recinc_nb.core import scale

EVENTS,AFTER,SEEDS = scale((60_000, 1_000, 5), (900, 60, 2))
DRIFTS = 'recurring', 'sudden', 'gradual', 'none'
record = Record(__file__, 'remedies')

def likes(remedies=(), **more): return IncrementalMF(loss='logistic', remedies=remedies, **more)
def stars(remedies=(), **more): return IncrementalMF(remedies=remedies, **more)
def gauss(remedies=(), **more): return GaussianMF(remedies=remedies, **more)
LEARNERS = {'IncrementalMF': stars, 'IncrementalMF, likes': likes, 'GaussianMF': gauss}

class Frozen:
    "The null: it learned A, then nothing more."
    def __init__(self, learner, until): self.learner,self.until,self.n = learner,until,0
    def predict_learn(self, part):
        pred = self.learner.predict(part) if self.n>=self.until else self.learner.predict_learn(part)
        self.n += len(part)
        return pred
    def predict(self, part): return self.learner.predict(part)

class Kept(Frozen):
    "The oracle of memory: it learns, and when A returns it goes on from what it was at A's end."
    def __init__(self, learner, left, back): self.learner,self.left,self.back,self.n = learner,left,back,0
    def predict_learn(self, part):
        import copy
        if self.n==self.left: self.then = copy.deepcopy(self.learner)
        if self.n==self.back: self.learner = self.then
        pred = self.learner.predict_learn(part)
        self.n += len(part)
        return pred

THIRD = EVENTS//3
REMEDIES = { # what is asked of each learner; the prediction was written before the run: first for recurring, then for sudden drift
    'naive': (lambda make: make(), '', ''),
    'frozen after A': (lambda make: Frozen(make(), THIRD), 'better', 'worse'),
    'oracle of memory': (lambda make: Kept(make(), THIRD, 2*THIRD), 'better', 'worse'),
    'pull to A (L2SP .1)': (lambda make: make((L2SP(.1, after=THIRD),)), 'better', 'worse'),
    'pull, renewed (L2SP .1)': (lambda make: make((L2SP(.1, after=THIRD, every=THIRD//10),)), 'equal', 'worse'),
    'replay (Reservoir)': (lambda make: make((Reservoir(20_000, k=1),)), 'worse', 'worse'),
}

def regret(pred, truth, likes):
    if not likes: return (pred - truth)**2
    p,q = np.clip(pred, 1e-6, 1-1e-6),np.clip(truth, 1e-9, 1-1e-9)
    return q*np.log(q/p) + (1-q)*np.log((1-q)/(1-p))

def one(learner, make, drift, seed):
    s = drift_stream(EVENTS, drift=drift, share=1., seed=seed)
    kind = 'label' if 'likes' in learner else 'rating'
    e = s.events.iloc[THIRD:THIRD+AFTER] # pairs that nobody has learned when A ends
    old = s._world.expect(s._world.score(e['user'].to_numpy(), e['item'].to_numpy(), np.full(len(e), (THIRD-1)/EVENTS)))[kind=='label']
    pairs = {o: e[o].to_numpy() for o in ('user', 'item')}
    model,pred,at = make(LEARNERS[learner]),[],{}
    began = time.process_time()
    for a in range(0, EVENTS, THIRD):
        pred.append(model.predict_learn(s[a:a+THIRD]))
        at[a+THIRD] = float(regret(model.predict(pairs), old, kind=='label').mean())
    seconds = time.process_time() - began
    r = regret(np.concatenate(pred), s.oracle[kind].to_numpy(), kind=='label')
    turn = {'recurring': 2*THIRD, 'sudden': EVENTS//2}.get(drift, EVENTS-AFTER)
    return dict(forward=float(r.mean()), after=float(r[turn:turn+AFTER].mean()), new=at[THIRD], kept=at[2*THIRD], seconds=seconds)

@record.part(events=EVENTS, after=AFTER, seeds=SEEDS)
def table():
    "Every learner with every remedy on every drift."
    for learner in LEARNERS:
        for drift in DRIFTS:
            for name,(make,*told) in REMEDIES.items():
                def row():
                    runs = [one(learner, make, drift, seed) for seed in range(SEEDS)]
                    return dict(predicted=dict(zip(('recurring', 'sudden'), told)).get(drift, ''),
                        **{o: [round(r[o], 4) for r in runs] for o in runs[0]})
                yield dict(learner=learner, drift=drift, remedy=name), row

if __name__=='__main__': record.main()
