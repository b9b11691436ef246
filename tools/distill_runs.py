"""The runs behind chapter 53: what is gained by asking an old copy, or by bending steps? python tools/distill_runs.py

Made worlds of 60,000 events as in tools/replay_runs.py, with its loss, the regret. `choices` and `agem_choices` look at seeds 10 and 11,
`films_choices` at the first 30,000 events of MovieLens-100K; all else is reported on seeds 0 to 4, on which nothing was chosen. About
ten minutes. Writes recinc_nb/results/distill.json.
"""
from functools import cache
from replay_runs import DRIFTS, EVENTS, MADE, SEEDS, judge, product, world
from record import Record
import numpy as np
from recinc_nb.core import scale
from recinc_nb.difference import paired_bootstrap
from recinc_nb.distill import AGEM, Distill
from recinc_nb.mf_online import IncrementalMF
from recinc_nb.protocol import prequential
from recinc_nb.replay import Replay
from recinc_nb.streams import movielens_100k

THIRD = EVENTS//3
CHOOSE = scale((10, 11), (10,))
record = Record(__file__, 'distill')


class Now(Distill):
    "The null: a teacher that is the learner of this moment, so that a step is shorter by the part `soft`, and nothing is remembered."
    def stops(self, n): return max(n+1, self.after)
    def mix(self, step):
        if step.n<self.after: return step
        self.teacher_ = self
        return super().mix(step)
    def answers(self, rows): return self.learner_.score_rows(rows)
    def learned(self, step): pass

class Counting(AGEM):
    "How many steps were bent, and in how many an old event shares the user or the item."
    asked = bent = shared = 0
    def project(self, grads):
        out = super().project(grads)
        if self.stored_:
            self.asked += 1
            self.bent += any(out[o][1] is not grads[o][1] for o in out)
            self.shared += any((self.old[o][g.any(1)]!=0).any() for o,(_,g) in grads.items())
        return out
    def reference(self, old):
        self.old = super().reference(old)
        return self.old


def regret(drift, seed, remedies=(), **settings):
    m = IncrementalMF(remember_seen=False, remedies=remedies, **{**MADE, **settings})
    out = judge(m, world(drift, seed))
    if remedies and isinstance(m.remedies_[0], Counting): out['bent'] = round(m.remedies_[0].bent/m.remedies_[0].asked, 4)
    return out

def mean_whole(drifts, make, settings):
    runs = [(d, regret(d, s, make(), **settings)) for d in drifts for s in CHOOSE]
    return dict(whole=round(float(np.mean([o['whole'] for _,o in runs])), 4), back=round(float(np.mean([o['back'] for d,o in runs if d=='recurring'])), 4))

@record.part()
def choices():
    "Mean regret over four drifts and seeds 10 and 11; a copy after `every` events, renewed as often."
    for lr in (.07, .1, .14, .2): yield dict(lr=lr, soft=0., every=0), lambda: mean_whole(DRIFTS, tuple, dict(lr=lr))
    for o in product(lr=(.1, .14, .2, .3), soft=(.125, .25, .5, .75), every=(500, 1_000, 2_000, 5_000, 10_000)):
        yield o, lambda: mean_whole(DRIFTS, lambda: (Distill(o['soft'], scale(o['every'], 100), scale(o['every'], 100)),), dict(lr=o['lr']))

@record.part()
def old_choices():
    "The same for one copy, taken at the end of the first third and never renewed: where A returns, it knows A."
    for o in product(lr=(.1, .14, .2), soft=(.25, .5, .75)):
        yield o, lambda: mean_whole(DRIFTS, lambda: (Distill(o['soft'], THIRD, 0),), dict(lr=o['lr']))

@record.part()
def agem_choices(seeds=scale((10,), (10,))):
    "Regret of two worlds, by step size and number of old events that are asked."
    for o in product(drift=('recurring', 'none'), lr=(.1, .14), k=(16, 64, 256)):
        yield o, lambda: regret(o['drift'], 10, (Counting(k=o['k']),), lr=o['lr'])

@record.part()
def bias_choices():
    "The same for no teacher and biases that are shrunk `times` as much, so that they learn more slowly."
    for times in (1, 2, 4, 8, 16): yield dict(times=times), lambda: mean_whole(DRIFTS, tuple, shrunk(times))

@record.part()
def agem_shares():
    "How often one of k old events has the user or the item of the new one, and how many of those steps are bent."
    def run(k):
        m = IncrementalMF(remember_seen=False, remedies=(Counting(k=k),), **MADE).partial_fit(world('none', 10).take(scale(8_000, 200)))
        r, = m.remedies_
        return dict(shared=round(r.shared/r.asked, 4), bent=round(r.bent/r.asked, 4))
    for k in (16, 64, 256): yield dict(k=k), lambda: run(k)

def shrunk(times): return dict(shrink_user=8.*times, shrink_item=3.*times) # 8 and 3 are the defaults

ARMS = {'naive': ((), {}), 'naive, step .2': ((), dict(lr=.2)), 'teacher of now': ((Now(after=0),), dict(lr=.2)),
        'teacher renewed': ((Distill(.25, scale(2_000, 100), scale(2_000, 100)),), dict(lr=.2)),
        **{f'old teacher, s = {s}': ((Distill(s, THIRD, 0),), dict(lr=.14)) for s in (.25, .5, .75)},
        'replay': ((Replay(),), {}), 'A-GEM': ((Counting(),), {}),
        'naive, slower biases': ((), shrunk(4)), # the best of bias_choices
        **{f'null of the old teacher, s = {s}': ((Now(s, THIRD),), dict(lr=.14)) for s in (.25, .5, .75)}}

@record.part()
def arms(seeds=SEEDS):
    "Regret of each arm, per drift and seed."
    for arm,(remedies,settings) in ARMS.items():
        for drift in DRIFTS:
            for seed in seeds: yield dict(arm=arm, drift=drift, seed=seed), lambda: regret(drift, seed, remedies, **settings)

@cache
def films(): return movielens_100k().take(scale(100_000, 300))

@record.part()
def films_choices():
    "RMSE on the first 30,000 events of MovieLens-100K, from the tuned learner."
    def run(o, lr):
        s = films().take(scale(30_000, 200))
        return dict(rmse=round(float(np.sqrt(np.mean((IncrementalMF(lr=lr, remedies=o).predict_learn(s).clip(1, 5) - s.events['rating'])**2))), 4))
    for lr in (.14, .2, .3): yield dict(lr=lr, soft=0., every=0), lambda: run((), lr)
    for o in product(lr=(.14, .2, .3), soft=(.125, .25, .5), every=(1_000, 2_000, 5_000)): yield o, lambda: run((Distill(o['soft'], o['every'], o['every']),), o['lr'])

def of_films(seed, remedies):
    s,cut,out = films(),scale(30_000, 100),{}
    a,b = (prequential(IncrementalMF(seed=seed, remedies=o), s) for o in (remedies, ()))
    for name,rows in (('all', slice(None)), ('after', slice(cut, None))):
        x,y = (type(o)(o.name, o.stream_name, o.frame.iloc[rows], rating_range=o.rating_range) for o in (a, b))
        d = paired_bootstrap(x, y, 'rmse', scale(1_000, 10))
        out[name] = dict(rmse=round(float(np.sqrt(x.per_event('rmse').mean())), 4), naive=round(float(np.sqrt(y.per_event('rmse').mean())), 4),
            **{f: round(float(d[f]), 5) for f in ('difference', 'low', 'high')})
    return out

@record.part()
def film_arms(seeds=scale(range(3), range(1))):
    "RMSE on MovieLens-100K, and difference to naive with its 95 % interval: all events, and those after the first 30,000."
    for seed in seeds: yield dict(seed=seed), lambda: of_films(seed, (Distill(),))

@record.part()
def film_null(seeds=scale(range(3), range(1))):
    "The same for a teacher of now, with the same s and step."
    for seed in seeds: yield dict(seed=seed), lambda: of_films(seed, (Now(),))

@record.part()
def seconds():
    "CPU seconds for 20,000 events of a made world, the least of three runs."
    import time
    def run(remedies):
        s,least = world('none', 0).take(THIRD),np.inf
        for _ in range(scale(3, 1)):
            start = time.process_time()
            IncrementalMF(remember_seen=False, remedies=remedies, **MADE).partial_fit(s)
            least = min(least, time.process_time()-start)
        return dict(seconds=round(least, 3))
    for arm,remedies in {'naive': (), 'teacher renewed': (Distill(),), 'replay': (Replay(),), 'A-GEM': (AGEM(),)}.items(): yield dict(arm=arm), lambda: run(remedies)


if __name__=='__main__': record.main()
