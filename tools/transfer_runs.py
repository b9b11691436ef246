"""The runs behind chapter 55: how to update, what each way costs, and what it brings. python tools/transfer_runs.py

Each way gets the same grid of settings (step size, penalty, fading of the biases), chosen on the mean of three made worlds of seed 10, and for
MovieLens-100K on its first 30,000 events. The runs are five other seeds, and all of MovieLens. CPU seconds of one process, streams made before.
Some seven minutes. Writes recinc_nb/results/transfer.json.
"""
import itertools, time
from functools import cache
from record import Record
import numpy as np
from recinc_nb.core import scale
from recinc_nb.mf_online import IncrementalMF
from recinc_nb.streams import movielens_100k
from recinc_nb.transfer import follow_blocks
from recinc_nb.worlds import drift_stream

record = Record(__file__, 'transfer')
N,BLOCK,SEEDS = scale(60_000, 2_400),scale(2_000, 400),(0, 1, 2, 3, 4)
WORLDS = 'none', 'sudden', 'gradual', 'recurring'
MF = [dict(lr=lr, l2=l2, **slow) for slow in ({}, dict(decay_user=1., decay_item=1.)) for lr in (.05, .1, .2) for l2 in (.02, .05, .1)]
WAYS = { # a way to update, and the settings of `follow_blocks` among which tuning chooses
    'never': [dict()], 'event by event': [dict()], 'last block, once': [dict()],
    'last block, several times': [dict(passes=2), dict(passes=4)],
    'last block, fixed gate': [dict(gate=g, passes=n) for g in (.3, .5, .7, .8) for n in (1, 2)],
    'last block, learned gate': [dict(gate='learned'), dict(gate='learned', passes=2)],
    'five blocks, once': [dict(keep=4*BLOCK)], 'all, once': [dict(keep=None)],
    'all, shrink and perturb': [dict(keep=None, start=o, noise=.01, passes=2) for o in (.6, .8)],
    'eight blocks, anew': [dict(keep=7*BLOCK, start=0., passes=5)], 'all, anew': [dict(keep=None, start=0., passes=5)]}

@cache
def world(drift, seed): return drift_stream(N, drift=drift, share=1., seed=seed)
def regret(pred, s): return (pred - s.oracle['rating'].to_numpy())**2
def rmse(pred, s): return float(np.sqrt(np.mean((pred.clip(1, 5) - s.events['rating'])**2)))

def run(way, s, mf, more):
    "Predictions, CPU seconds, events learned, and bytes of tables and of events that are kept."
    m,began = IncrementalMF(remember_seen=False, **mf),time.process_time()
    if way=='never':
        m.partial_fit(s[:BLOCK])
        pred,learned = np.r_[np.full(BLOCK, 3.), m.predict(s[BLOCK:])],BLOCK
    elif way=='event by event': pred,learned = m.predict_learn(s),len(s)
    else: pred,m,learned,_ = follow_blocks(m, s, BLOCK, **more)
    took = time.process_time() - began
    tables = sum(m.rows_[side].used(o).nbytes for side in ('user', 'item') for o in ('factors', 'bias', 'weight'))
    keep = more.get('keep', 0)
    kept = {'never': 0, 'event by event': 0}.get(way, BLOCK + (len(s)-BLOCK if keep is None else keep))
    return pred,dict(seconds=round(took, 3), learned=learned, bytes=tables*(2 if more.get('gate', 1.)!=1 else 1) + 20*kept)

def best(way, score):
    tried = [(score(way, mf, more), mf, more) for mf,more in itertools.product(scale(MF, MF[:1]), WAYS[way])]
    won = min(tried, key=lambda o: o[0])
    return dict(score=round(won[0], 5), mf=won[1], more=won[2], tried=len(tried))

def on_worlds(way, mf, more):
    return float(np.mean([regret(run(way, world(o, 10), mf, more)[0], world(o, 10))[BLOCK:].mean() for o in ('none', 'gradual', 'recurring')]))

@cache
def films(): return movielens_100k().take(scale(100_000, 2_400))
EARLY = scale(30_000, 1_200)
def on_films(way, mf, more): return rmse(run(way, films()[:EARLY], mf, more)[0][BLOCK:], films()[BLOCK:EARLY])

@record.part(n_events=N, block=BLOCK, seed=10)
def chosen():
    "For each way, the settings with the lowest regret, mean of the worlds none, gradual and recurring, the first block left out."
    for way in WAYS: yield way, lambda: best(way, on_worlds)

@record.part(at=('chosen_films', 'rows'), events=EARLY)
def chosen_films():
    "The same on the first 30,000 events of MovieLens-100K, by RMSE."
    for way in WAYS: yield way, lambda: best(way, on_films)

def settings(name, way, folder=None):
    won = record.read(name)[2]['rows'][way]
    return won['mf'],won['more']

def judged(way, drift, seed):
    s = world(drift, seed)
    run(way, s[:2*BLOCK], *settings('chosen', way)) # compiled before the clock runs
    pred,cost = run(way, s, *settings('chosen', way))
    q = regret(pred, s)
    back = q[2*N//3:2*N//3+BLOCK//2]
    return dict(regret=round(float(q[BLOCK:].mean()), 5), back=round(float(back.mean()), 5), rmse=round(rmse(pred[BLOCK:], s[BLOCK:]), 5), **cost)

@record.part(at=('worlds', 'rows'), n_worlds=len(WORLDS))
def worlds(seeds=SEEDS):
    "Regret and RMSE of the stream without its first block, regret of the first 1,000 events after two thirds, and what it cost."
    for seed in seeds:
        for drift in WORLDS:
            for way in WAYS: yield dict(drift=drift, way=way, seed=seed), lambda: judged(way, drift, seed)

GATES = .2, .3, .4, .5, .6, .7, .8, .9, 1.

@record.part(n_events=N, gates=GATES)
def gates(seeds=(*SEEDS, 10, 11, 12)):
    "Regret of fixed gates and of the learned one, all with the learned one's settings; seeds from 10 are there to choose a fixed gate on."
    mf,more = settings('chosen', 'last block, learned gate')
    def row(drift, seed):
        s = world(drift, seed)
        return {str(g): round(float(regret(run('gate', s, mf, {**more, 'gate': g})[0], s)[BLOCK:].mean()), 5) for g in (*GATES, 'learned')}
    for seed in seeds:
        for drift in WORLDS: yield dict(drift=drift, seed=seed), lambda: row(drift, seed)

@record.part(at=('films', 'rows'), n_films=scale(100_000, 2_400))
def movies():
    "RMSE on MovieLens-100K without its first block, and after the events of the tuning; the mean squared error of each block after them."
    def row(way):
        run(way, films()[:2*BLOCK], *settings('chosen_films', way)) # compiled before the clock runs
        pred,cost = run(way, films(), *settings('chosen_films', way))
        late = ((pred.clip(1, 5) - films().events['rating'].to_numpy())**2)[EARLY:].reshape(-1, BLOCK).mean(1)
        return dict(rmse=round(rmse(pred[BLOCK:], films()[BLOCK:]), 5), after=round(rmse(pred[EARLY:], films()[EARLY:]), 5),
            blocks=late.round(4).tolist(), **cost)
    for way in WAYS: yield dict(way=way), lambda: row(way)

if __name__=='__main__': record.main()
