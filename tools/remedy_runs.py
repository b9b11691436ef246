"""The table of part 5: remedy × drift × learner, behind chapter 57. python tools/remedy_runs.py

`steps` chooses, on seeds 10 and 11, the step size of IncrementalMF for each remedy from the same eight, by the mean regret of four drifts;
biases do not fade, as in chapter 51 (with five steps every remedy was tried with fading biases, too: all were worse). All else is reported on made worlds of seeds 0 to 4, on which nothing was chosen (the remedies' own settings are those
of their chapters, chosen on seeds from 10). A row of the table is one learner with one remedy. All measures are regret against the truth of the made world, so that the oracle has 0 in each: squared stars
for ratings, nats (Kullback–Leibler) for likes.
  forward  mean over all events, each predicted before it is learned: what a recommender is paid for
  after    the same over the first events after the last turn: A's return where drift recurs, the second half where it is sudden, the last
           events where there is no turn
  kept     on pairs of A that nobody has learned, of the learner as it is at the end of B; new: as it was at the end of A. new - kept is
           backward transfer
  seconds of CPU for the stream, predictions included; bytes of what is saved.
Ten minutes, most of them BERT's. It goes on where it stopped. Writes recinc_nb/results/remedies.json.
"""
import copy, tempfile, time
from functools import cache
from pathlib import Path
from replay_runs import MADE
from record import Record
import numpy as np
from recinc_nb import BankBert, Distill, EWC, ForgetOnDrift, GaussianMF, IncrementalBert, IncrementalMF, L2SP, Replay, Reservoir, SnapshotBank, drift_stream
from recinc_nb.core import scale

EVENTS,AFTER,SEEDS = scale((60_000, 1_000, 5), (1_200, 60, 2))
TEXTS,FIRST = scale((6_000, 500), (480, 40)) # of BERT's worlds
DRIFTS = 'recurring', 'sudden', 'gradual', 'none'
record = Record(__file__, 'remedies')

LEARNERS = {
    'IncrementalMF': lambda **more: IncrementalMF(**more),
    'IncrementalMF, tuned': lambda **more: IncrementalMF(**MADE, **more), # the best without a remedy, chosen in chapter 51 on such worlds
    'IncrementalMF, own step': None, # what `steps` chose for the remedy
    'GaussianMF': lambda **more: GaussianMF(**more),
    'IncrementalMF, likes': lambda **more: IncrementalMF(loss='logistic', **more),
    'IncrementalBert': lambda **more: IncrementalBert(history=0, **more)}

def follow(m, part):
    "Predictions made before each event is learned; a BERT is asked by 16."
    if hasattr(m, 'predict_learn'): return m.predict_learn(part)
    out = []
    for batch in part.batches(16):
        out.append(m.predict(batch))
        m.partial_fit(batch)
    return np.concatenate(out)

class Stopped:
    "The null: it learns A, then nothing more."
    def __init__(self, learner, until): self.learner,self.until,self.n = learner,until,0
    def predict(self, part): return self.learner.predict(part)
    def predict_learn(self, part):
        pred = self.predict(part) if self.n>=self.until else follow(self.learner, part)
        self.n += len(part)
        return pred

class PutBack(Stopped):
    "The oracle of memory: when A returns it goes on from what it was at A's end."
    def __init__(self, learner, left): self.learner,self.left,self.n = learner,left,0
    def predict_learn(self, part):
        if self.n==self.left: self.then = copy.deepcopy(self.learner)
        if self.n==2*self.left: self.learner = self.then
        pred = follow(self.learner, part)
        self.n += len(part)
        return pred

def bank(make, share=.01):
    m = make()
    if isinstance(m, IncrementalBert): return BankBert(history=0, every=scale(500, 20))
    return SnapshotBank(m, every=scale(2_000, 40), share=share)

# what is made of a learner and the length of A; then what was predicted of `forward` beside naive, for recurring, sudden, gradual and no drift,
# before any of it ran on these seeds: + worse, - better, 0 within a hundredth, ? came too late to be predicted
REMEDIES = {
    'naive': (lambda make, a: make(), '0000'),
    'stops after A': (lambda make, a: Stopped(make(), a), '++++'),
    'put back (oracle)': (lambda make, a: PutBack(make(), a), '-+++'),
    'L2SP to A': (lambda make, a: make(remedies=(L2SP(.1, after=a),)), '-++0'),
    'L2SP, renewed': (lambda make, a: make(remedies=(L2SP(.1, after=a//10, every=a//10),)), '0+00'),
    'EWC to A': (lambda make, a: make(remedies=(EWC(3., after=a, size=min(a, 20_000)),)), '-++0'),
    'online EWC': (lambda make, a: make(remedies=(EWC(3., after=a//10, every=a//10, decay=.9, size=a//10),)), '0+00'),
    'replay as if new': (lambda make, a: make(remedies=(Reservoir(a, k=1),)), '++++'),
    'Replay': (lambda make, a: make(remedies=(Replay(a),)), '-+0-'),
    'Distill': (lambda make, a: make(remedies=(Distill(after=a//10, every=a//10),)), '????'),
    'ForgetOnDrift': (lambda make, a: make(remedies=(ForgetOnDrift(),)), '--00'),
    'SnapshotBank': (lambda make, a: bank(make), '-+++'),
    'SnapshotBank .001': (lambda make, a: bank(make, .001), '????')} # its share as chapter 53a chose it on seeds 10 to 12 for the tuned learner

ORACLES = 'stops after A', 'put back (oracle)' # these two have the naive learner's settings
SPARED = 'Distill', 'SnapshotBank .001', 'L2SP, renewed', 'online EWC', 'replay as if new', 'ForgetOnDrift' # not asked of BERT, whose rows cost seconds

def regret(pred, truth, likes):
    if not likes: return (pred - truth)**2
    p,q = np.clip(pred, 1e-6, 1-1e-6),np.clip(truth, 1e-9, 1-1e-9)
    return q*np.log(q/p) + (1-q)*np.log((1-q)/(1-p))

def saved(model):
    m = model.learner if isinstance(model, Stopped) else model
    with tempfile.TemporaryDirectory() as d:
        m.save_pretrained(d)
        size = sum(o.stat().st_size for o in Path(d).rglob('*') if o.is_file())
    return size*(1 + isinstance(model, PutBack))

@cache
def world(drift, seed, bert=False):
    return drift_stream(TEXTS if bert else EVENTS, drift=drift, share=1., seed=seed, **(dict(n_users=1, n_items=200) if bert else {}))

STEPS = .05, .07, .1, .12, .14, .17, .2, .25

@record.part(events=EVENTS, chosen_on=(10, 11), steps=STEPS)
def steps():
    "Regret of IncrementalMF with each remedy, per step size: mean of four drifts and two seeds."
    def mean(make, lr):
        streams = [world(drift, seed) for drift in DRIFTS for seed in scale((10, 11), (10,))]
        losses = [regret(make(lambda **more: IncrementalMF(**{**MADE, 'lr': lr}, **more), EVENTS//3).predict_learn(s), s.oracle['rating'].to_numpy(), False) for s in streams]
        return dict(forward=round(float(np.mean(losses)), 5))
    for name,(make,_) in REMEDIES.items():
        if name in ORACLES: continue
        for lr in STEPS: yield dict(remedy=name, lr=lr), lambda: mean(make, lr)

def own(name):
    "The step size that was best with a remedy."
    rows = [o for o in record.read('steps')[2].get('rows', []) if o['remedy']==('naive' if name in ORACLES else name)]
    if len(rows)!=len(STEPS): raise SystemExit(f'{name} has not chosen its step; first run python tools/remedy_runs.py steps')
    return min(rows, key=lambda o: o['forward'])['lr']

def one(learner, name, drift, seed):
    bert,make = learner=='IncrementalBert',REMEDIES[name][0]
    n,after = (TEXTS, FIRST) if bert else (EVENTS, AFTER)
    s = world(drift, seed, bert)
    build = LEARNERS[learner] or (lambda **more: IncrementalMF(**{**MADE, 'lr': own(name)}, **more))
    kind,a = ('label' if bert or 'likes' in learner else 'rating'),n//3
    e = s.events.iloc[a:a+after] # pairs that nobody has learned when A ends, with the truth of that moment
    old = s._world.expect(s._world.score(e['user'].to_numpy(), e['item'].to_numpy(), np.full(len(e), (a-1)/n)))[kind=='label']
    model,pred,at = make(build, a),[],{}
    began = time.process_time()
    for t in range(0, n, a):
        pred.append(follow(model, s[t:t+a]))
        at[t+a] = float(regret(model.predict(s[a:a+after]), old, kind=='label').mean())
    seconds = time.process_time() - began
    r = regret(np.concatenate(pred), s.oracle[kind].to_numpy(), kind=='label')
    turn = {'recurring': 2*a, 'sudden': n//2}.get(drift, n-after)
    return dict(forward=float(r.mean()), after=float(r[turn:turn+after].mean()), new=at[a], kept=at[2*a], seconds=seconds, bytes=saved(model))

@record.part(events=EVENTS, after=AFTER, texts=TEXTS, first=FIRST, seeds=SEEDS)
def table():
    "Every learner with every remedy on every drift; BERT on two."
    for learner in LEARNERS:
        for drift in DRIFTS if learner!='IncrementalBert' else ('recurring', 'none'):
            for name,(_,told) in REMEDIES.items():
                if learner=='IncrementalBert' and name in SPARED: continue
                def row():
                    runs = [one(learner, name, drift, seed) for seed in range(SEEDS)]
                    return dict(predicted=told[DRIFTS.index(drift)], **{o: [round(r[o], 5) for r in runs] for o in runs[0]},
                                **(dict(lr=own(name)) if LEARNERS[learner] is None else {}))
                yield dict(learner=learner, drift=drift, remedy=name), row

if __name__=='__main__': record.main()
