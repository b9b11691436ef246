"""The runs behind chapter 52: what does a pull towards the past save and cost? python tools/ewc_runs.py

Strengths are chosen on worlds of seeds 10 to 12, by what the next events of a recurring drift lose; the rest is reported on worlds of
seeds 0 to 4, on which nothing was chosen. About five minutes. Writes recinc_nb/results/ewc.json.
"""
import time
from functools import cache
from record import Record
import numpy as np
from recinc_nb.bert_online import IncrementalBert
from recinc_nb.core import scale
from recinc_nb.ewc import EWC, SynapticIntelligence, fisher_diagonal
from recinc_nb.learner import L2SP
from recinc_nb.metrics import auc
from recinc_nb.mf_als import GaussianMF
from recinc_nb.mf_online import IncrementalMF
from recinc_nb.worlds import drift_stream

EVENTS,TOLD = scale((60_000, 2_400), (600, 96)) # of a world for factors, and for BERT
THIRD,DRIFTS = EVENTS//3,('none', 'recurring', 'sudden', 'gradual')
record = Record(__file__, 'ewc')

class Level(EWC):
    "The witness against F: each table has the mean of its F for all its numbers."
    def _measure(self): return {o: np.full_like(x, x[x.any(1)].mean()) for o,x in super()._measure().items()}

def mf(*remedies, **kw): return IncrementalMF(remember_seen=False, remedies=remedies, **kw)

# name in tables: strengths to choose from, and the learner of one
ARMS = {
    'L2-SP': ((.03, .1, .3, 1.), lambda o: mf(L2SP(o, THIRD))),
    'EWC': ((.3, 1., 3., 10., 30.), lambda o: mf(EWC(o, THIRD))),
    'EWC, step .1': ((.3, 1., 3., 10., 30.), lambda o: mf(EWC(o, THIRD), lr=.1)),
    'online EWC, no turn told': ((1., 3., 10., 30.), lambda o: mf(EWC(o, EVENTS//12, EVENTS//12, decay=.9))),
    'synaptic intelligence': ((.003, .01, .03, .1), lambda o: mf(SynapticIntelligence(o, THIRD))),
    'L2-SP, step .1': ((.03, .1, .3, 1.), lambda o: mf(L2SP(o, THIRD), lr=.1)),
    'EWC, F leveled, step .1': ((.3, 1., 3., 10., 30.), lambda o: mf(Level(o, THIRD), lr=.1)),
    'online EWC, step .1': ((1., 3., 10., 30.), lambda o: mf(EWC(o, EVENTS//12, EVENTS//12, decay=.9), lr=.1)),
}
PLAIN = {'naive': mf, 'naive, step .1': lambda: mf(lr=.1), 'GaussianMF': lambda: GaussianMF(remember_seen=False)}

@cache
def world(drift, seed): return drift_stream(EVENTS, drift=drift, share=1., seed=seed)

def regrets(model, stream):
    "Regret MSE of all events, of the first 1,000 of the last third, and of that third; and AUC of the second half."
    pred = model.predict_learn(stream)
    loss = (pred.clip(1, 5) - stream.oracle['rating'].to_numpy())**2
    half,last = EVENTS//2,2*THIRD
    return dict(all=round(float(loss.mean()), 4), first=round(float(loss[last:last+1_000].mean()), 4), last=round(float(loss[last:].mean()), 4),
                auc=round(float(auc(stream.events['label'].to_numpy()[half:], pred[half:])), 4))

@record.part(seeds=(10, 11, 12), drift='recurring')
def choose():
    "Strengths over decades, in worlds that are for choosing."
    for name,(strengths,make) in ARMS.items():
        for o in strengths:
            def mean(): return {k: round(float(np.mean([regrets(make(o), world('recurring', s))[k] for s in (10, 11, 12)])), 4) for k in ('all', 'first', 'last')}
            yield dict(arm=name, strength=o), mean

def chosen():
    "Of each arm the strength whose next events lost least."
    rows = record.read('choose')[2].get('rows', [])
    return {o: min((r for r in rows if r['arm']==o), key=lambda r: r['all'], default=dict(strength=1.))['strength'] for o in ARMS}

@record.part(events=EVENTS)
def drifts(seeds=(0, 1, 2, 3, 4)):
    "Each arm at its chosen strength, and learners that are not pulled."
    for drift in DRIFTS:
        for seed in seeds:
            for name,make in PLAIN.items(): yield dict(drift=drift, arm=name, seed=seed), lambda: regrets(make(), world(drift, seed))
            for name,(_,make) in ARMS.items():
                if name=='synaptic intelligence': continue # event by event: it is judged in the worlds for choosing alone
                yield dict(drift=drift, arm=name, seed=seed), lambda: regrets(make(chosen()[name]), world(drift, seed))
            yield dict(drift=drift, arm='EWC, strong', seed=seed), lambda: regrets(mf(EWC(10., THIRD)), world(drift, seed))
            yield dict(drift=drift, arm='EWC, strong, step .1', seed=seed), lambda: regrets(mf(EWC(10., THIRD), lr=.1), world(drift, seed))

def what_is_left(make, seed):
    "Mean square distance to A's truth, on the events of A's return, of what was known before B and after it."
    m,s = make(),world('recurring', seed)
    A,truth = s[2*THIRD:],s.oracle['rating'].to_numpy()[2*THIRD:]
    known = lambda: round(float(np.mean((m.partial_fit(s[m.n_:m.n_+THIRD]).predict(A).clip(1, 5) - truth)**2)), 4)
    return dict(before=known(), after=known())

@record.part(events=EVENTS)
def forgetting(seeds=(0, 1, 2, 3, 4)):
    "What B leaves of A."
    for seed in seeds:
        yield dict(arm='naive', seed=seed), lambda: what_is_left(mf, seed)
        for o in ('L2-SP', 'EWC'): yield dict(arm=o, seed=seed), lambda: what_is_left(lambda: ARMS[o][1](chosen()[o]), seed)
        yield dict(arm='EWC, strong', seed=seed), lambda: what_is_left(lambda: mf(EWC(10., THIRD)), seed)
        yield dict(arm='naive, step .1', seed=seed), lambda: what_is_left(PLAIN['naive, step .1'], seed)
        for o in ('L2-SP, step .1', 'EWC, step .1'): yield dict(arm=o, seed=seed), lambda: what_is_left(lambda: ARMS[o][1](chosen()[o]), seed)
        yield dict(arm='EWC, strong, step .1', seed=seed), lambda: what_is_left(lambda: mf(EWC(10., THIRD), lr=.1), seed)

def bert(make, drift, seed):
    s,loss = drift_stream(TOLD, n_users=10, n_items=40, share=1., drift=drift, seed=seed).with_text(),[]
    m,last = make(),2*TOLD//3
    for b in s.batches(16):
        loss.append((m.predict(b) - b.oracle['label'].to_numpy())**2)
        m.partial_fit(b)
    loss = np.concatenate(loss)
    return dict(all=round(float(loss.mean()), 5), first=round(float(loss[last:last+200].mean()), 5), last=round(float(loss[last:].mean()), 5))

@record.part(events=TOLD, checkpoint='tiny', update='head')
def head(seeds=(0, 1, 2)):
    "The head of a small BERT: regret MSE in P(like)."
    build = lambda *remedies, **kw: IncrementalBert('tiny', update='head', device='cpu', remedies=remedies, **kw)
    arms = {'not learning': lambda: build(head_lr=0.), 'naive': build, 'L2-SP .1': lambda: build(L2SP(.1, TOLD//3))}
    arms |= {f'EWC {o:g}': lambda o=o: build(EWC(o, TOLD//3, size=200)) for o in (1., 10.)}
    for drift in ('recurring', 'sudden'):
        for seed in seeds:
            for name,make in arms.items(): yield dict(drift=drift, arm=name, seed=seed), lambda: bert(make, drift, seed)

@record.part(tied_after=1_000)
def cost():
    "CPU seconds of a pass of EVENTS events, the least of nine, after one that compiles; and of the Fisher information of a third of them."
    makes = {'naive': mf, 'L2-SP': lambda: mf(L2SP(.1, 1_000)), 'EWC': lambda: mf(EWC(3., 1_000))}
    s,took = world('none', 0),{}
    columns,y = {o: s.events[o].to_numpy() for o in ('user', 'item')},s.events['rating'].to_numpy()
    def clock(name, f):
        start = time.process_time()
        out = f()
        took.setdefault(name, []).append(time.process_time()-start)
        return out
    for _ in range(10):
        for o,make in makes.items(): m = clock(o, lambda: make().predict_learn(columns, y))
    m = mf().partial_fit(s)
    rows = {o: getattr(m, f'{o}s_').rows(columns[o][:THIRD]) for o in columns}
    for _ in range(10): clock('Fisher information', lambda: fisher_diagonal(m, rows))
    slow = {o: x[:THIRD//10] for o,x in columns.items()}
    for _ in range(2): clock('synaptic intelligence', lambda: mf(SynapticIntelligence(.01, 1_000)).predict_learn(slow, y[:THIRD//10]))
    took['synaptic intelligence'] = [30*o for o in took['synaptic intelligence']] # a thirtieth of the events
    return {o: round(min(x[1:]), 4) for o,x in took.items()}

if __name__=='__main__': record.main()
