"""The runs behind chapter 51: what is kept of old events, and how far may one of them move us? python tools/replay_runs.py

Made worlds of 60,000 events in which all tastes turn: never, suddenly, gradually, or to and back. The loss is the *regret*: mean squared
distance of the prediction to the expected rating, in stars², over the whole stream, and over the 1,000 events after world A returns.
`choose` looks at seeds 10 and 11 and at the first 30,000 events of MovieLens-100K; all else is reported on seeds 0 to 4, on which nothing
was chosen. About five minutes. Writes recinc_nb/results/replay.json.
"""
import itertools
from functools import cache
from record import Record
import numpy as np
from recinc_nb.core import scale
from recinc_nb.difference import paired_bootstrap
from recinc_nb.mf_online import IncrementalMF
from recinc_nb.protocol import prequential
from recinc_nb.replay import Replay
from recinc_nb.streams import movielens_100k
from recinc_nb.worlds import drift_stream

EVENTS = scale(60_000, 600)
SEEDS,DRIFTS = scale(range(5), range(1)),('recurring', 'none', 'sudden', 'gradual')
MADE = dict(lr=.1, decay_user=1., decay_item=1.) # the best without replay, by `choose`
record = Record(__file__, 'replay')

def product(**values): return [dict(zip(values, o)) for o in itertools.product(*values.values())]

@cache
def world(drift, seed): return drift_stream(EVENTS, drift=drift, share=1., seed=seed)

def judge(m, s):
    "Regret of a learner of ratings in a made world: of all events, and of the first twentieth of the last third, when A is back."
    off,third = (m.predict_learn(s).clip(1, 5) - s.oracle['rating'].to_numpy())**2,EVENTS//3
    return dict(whole=round(float(off.mean()), 4), back=round(float(off[2*third:2*third+third//20].mean()), 4))

def regret(drift, seed, remedies=(), **settings): return judge(IncrementalMF(remember_seen=False, remedies=remedies, **settings), world(drift, seed))


class Hard(Replay):
    "Old events in proportion to their error now, as in prioritized replay (Schaul et al. 2016), which has the error of an event's last visit."
    def join(self):
        super().join()
        n = min(self.stored_, self.size)
        now = self.learner_.score_rows({o: self.kept_[o][:n] for o in ('user', 'item')})
        self.sums_ = np.cumsum(self.chance(np.abs(self.kept_['y'][:n] - now)))
    def begin(self, learner):
        super().begin(learner)
        self.learner_ = learner
    def chance(self, error): return error + 1e-3
    def places(self, u): return np.minimum(np.searchsorted(self.sums_, u*self.sums_[-1], side='right'), len(self.sums_)-1)

class Ranked(Hard):
    "Old events by the rank of their error now, the best predicted e times less often than the worst: as in SPMF (Wang et al. 2018), which has likes."
    def chance(self, error): return np.exp(np.argsort(np.argsort(error))/len(error))

class Herded(Replay):
    "Per item, as many old events as its share; those whose users' factors have the mean nearest to that of all: as in ADER (Mi et al. 2020)."
    every = 2_000
    def begin(self, learner):
        super().begin(learner)
        self.learner_ = learner
    def join(self):
        n = min(self.stored_, self.size)
        at = np.r_[:n, self.size:self.size+self.late_]
        if len(at)>self.size: at = at[self.chosen(self.kept_['item'][at], self.learner_.user_factors_[self.kept_['user'][at]].astype(np.float64))]
        for x in self.kept_.values(): x[:len(at)] = x[at]
        self.stored_,self.late_ = self.stored_+self.late_,0
    def chosen(self, item, vectors):
        out,share = [],self.size/len(item)
        counts = np.bincount(item)
        quota = np.diff(np.floor(np.concatenate([[0], np.cumsum(counts)])*share + 1e-9).astype(int))
        for i in np.flatnonzero(quota):
            rows = np.flatnonzero(item==i)
            out += rows[herd(vectors[rows], quota[i])].tolist()
        return np.array(out)

def herd(x, n):
    "Which n rows, taken one by one, keep their mean nearest to the mean of all."
    total,taken,mean = np.zeros(x.shape[1]),[],x.mean(0)
    free = np.ones(len(x), dtype=bool)
    for j in range(1, n+1):
        far = ((mean - (total+x)/j)**2).sum(1)
        far[~free] = np.inf
        best = int(far.argmin())
        taken.append(best)
        free[best],total = False,total+x[best]
    return taken


@record.part()
def naive_choices():
    "Mean regret over four drifts and seeds 10 and 11, without replay."
    for o in product(lr=(.05, .1, .14, .2), decay_user=(.9, .97, 1.), decay_item=(.99, 1.)):
        yield o, lambda: dict(whole=mean_whole((), o))

def mean_whole(remedies, settings, seeds=scale((10, 11), (10,))):
    return round(float(np.mean([regret(d, s, remedies, **settings)['whole'] for d in DRIFTS for s in seeds])), 4)

@record.part()
def replay_choices():
    "The same, with replay from an even sample of 20,000."
    for o in product(lr=(.05, .1, .2), k=(1, 4), weight=(.25, .5, 1.), soft=(0., .5, 1.)):
        yield o, lambda: dict(whole=mean_whole((Replay(k=o['k'], weight=o['weight'], soft=o['soft']),), {**MADE, 'lr': o['lr']}))

@record.part()
def buffer_choices():
    "The same, with other buffers."
    for o in product(keep=('even', 'recent', 'fading'), size=(2_000, 5_000, 20_000)):
        yield o, lambda: dict(whole=mean_whole((Replay(o['size'], keep=o['keep']),), MADE))

ARMS = {'naive, as tuned on films': ((), {}), 'naive': ((), MADE), 'plain': ((Replay(weight=1., soft=0.),), MADE),
        'plain, small step': ((Replay(weight=1., soft=0.),), {**MADE, 'lr': .05}), 'own step': ((Replay(soft=0.),), MADE),
        'own step, a quarter': ((Replay(weight=.25, soft=0.),), MADE),
        'soft': ((Replay(weight=1.),), MADE), 'old predictions alone': ((Replay(soft=1.),), MADE), 'both': ((Replay(),), MADE),
        'both, k=4': ((Replay(k=4),), MADE), 'both, window': ((Replay(5_000, keep='recent'),), MADE), 'both, fading': ((Replay(keep='fading'),), MADE),
        'both, 5,000 even': ((Replay(5_000),), MADE), 'both, 5,000 fading': ((Replay(5_000, keep='fading'),), MADE),
        'both, 20,000 window': ((Replay(keep='recent'),), MADE),
        'both, by error': ((Hard(),), MADE), 'both, by rank': ((Ranked(),), MADE), 'both, 2,000 even': ((Replay(2_000),), MADE),
        'both, 2,000 herded': ((Herded(2_000),), MADE)}

@record.part()
def arms(seeds=SEEDS):
    "Regret of each arm, per drift and seed."
    for arm,(remedies,settings) in ARMS.items():
        for drift in DRIFTS:
            for seed in seeds: yield dict(arm=arm, drift=drift, seed=seed), lambda: regret(drift, seed, remedies, **settings)

@record.part()
def memory(seeds=SEEDS):
    "The 1,000 events after A's return, for a learner that has never met B: what perfect memory would have."
    def run(seed):
        s,third = world('recurring', seed),EVENTS//3
        e = s.events.iloc[np.r_[:third, 2*third:2*third+third//20]]
        off = IncrementalMF(**MADE).predict_learn(e[['user', 'item', 'rating']]).clip(1, 5) - s.oracle['rating'].to_numpy()[e.index]
        return dict(back=round(float((off[third:]**2).mean()), 4))
    for seed in seeds: yield dict(seed=seed), lambda: run(seed)

FILMS = {'naive': (), 'plain': (Replay(weight=1., soft=0.),), 'both': (Replay(),), 'both, window': (Replay(keep='recent'),)}

@record.part()
def films_choices():
    "RMSE on the first 30,000 events of MovieLens-100K, with the tuned learner."
    def run(remedies):
        s = movielens_100k().take(scale(30_000, 300))
        return dict(rmse=round(float(np.sqrt(np.mean((IncrementalMF(remedies=remedies).predict_learn(s).clip(1, 5) - s.events['rating'])**2))), 4))
    yield dict(keep='none'), lambda: run(())
    for o in product(keep=('even', 'recent'), size=(5_000, 20_000), weight=(.25, .5, 1.), soft=(0., .5)): yield o, lambda: run((Replay(**o),))

@record.part()
def films(seeds=scale(range(3), range(1))):
    "RMSE on MovieLens-100K, and difference to naive with its 95 % interval: all events, and those after the first 30,000."
    def run(remedies, seed):
        s,cut = movielens_100k().take(scale(100_000, 300)),scale(30_000, 100)
        a,b = (prequential(IncrementalMF(seed=seed, remedies=o), s) for o in (remedies, ()))
        out = {}
        for name,rows in (('all', slice(None)), ('after', slice(cut, None))):
            x,y = (type(o)(o.name, o.stream_name, o.frame.iloc[rows], rating_range=o.rating_range) for o in (a, b))
            d = paired_bootstrap(x, y, 'rmse', scale(1_000, 10))
            out[name] = dict(rmse=round(float(np.sqrt(x.per_event('rmse').mean())), 4), **{f: round(float(d[f]), 5) for f in ('difference', 'low', 'high')})
        return out
    for arm,remedies in FILMS.items():
        for seed in seeds: yield dict(arm=arm, seed=seed), lambda: run(remedies, seed)


if __name__=='__main__': record.main()
