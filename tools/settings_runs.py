"""The runs behind chapter 31a: which settings suit a log that nobody has tuned on? python tools/settings_runs.py

A grid of made worlds: users with 5, 20 or 100 events, scales of 5, 8 or 10 grades, events in time order or shuffled (no usable clock),
five kinds of drift, dense and sparse items. `choose` finds the experts on worlds of seed 0 and the first 30 % of MovieLens-100K; all else
is reported on worlds of seed 1, on which nothing was chosen. About ten minutes. Writes recinc_nb/results/settings.json.
"""
import itertools, time
from dataclasses import replace
from functools import cache
from record import Record
import numpy as np
from numba import njit
from recinc_nb.baselines import BiasBaseline, RunningMean
from recinc_nb.core import scale
from recinc_nb.mf_als import rls_update
from recinc_nb.mf_online import IncrementalMF
from recinc_nb.metrics import log_loss
from recinc_nb.difference import paired_bootstrap
from recinc_nb.protocol import prequential
from recinc_nb.settings import OnlineExperts
from recinc_nb.streams import movielens_100k
from recinc_nb.worlds import drift_stream

EVENTS,TUNED_ON = scale((10_000, 30_000), (300, 300))
TEAM = dict(squared=3, logistic=3) # experts, the tuned default among them
DRIFT = dict(none=dict(), slow=dict(drift='gradual'), sudden=dict(drift='sudden'), fading=dict(drift='popularity'), moods=dict(moods=1.))
ITEMS = dict(dense=100, sparse=2_000)
record = Record(__file__, 'settings')

def product(**values): return [dict(zip(values, o)) for o in itertools.product(*values.values())]

WORLDS = product(per_user=(5, 20, 100), grades=(5, 8, 10), clock=(True, False), drift=tuple(DRIFT), items=tuple(ITEMS))
WORLDS = scale(WORLDS, WORLDS[::61])
BIASES = product(shrink_user=(3., 8., 20., 60.), shrink_item=(3., 10., 30.), decay_user=(.8, .9, .97, 1.), decay_item=(.95, .99, 1.))
FACTORS = dict(squared=(dict(n_factors=0), dict(lr=.1), dict(lr=.2)), logistic=(dict(n_factors=0), dict(lr=.2), dict(lr=.4)))
CANDIDATES = {loss: scale([b | f for f in o for b in BIASES], [b | f for f in o for b in BIASES[::50]]) for loss,o in FACTORS.items()}

def events(per_user, grades, clock, drift, items, seed=1, n=EVENTS, loss='squared'):
    "Columns, targets, what the oracle expects, and the lowest and highest rating of one world."
    s = drift_stream(n, n_users=max(1, n//per_user), n_items=ITEMS[items], grades=grades, seed=seed, **DRIFT[drift])
    order = np.arange(n) if clock else np.random.default_rng(seed).permutation(n)
    target = 'label' if loss=='logistic' else 'rating'
    e = s.events.iloc[order]
    return {o: e[o].to_numpy() for o in ('user', 'item')},e[target].to_numpy(np.float64),s.oracle[target].to_numpy()[order],s.rating_range

def start():
    "The first 30 % of MovieLens-100K."
    e = movielens_100k().take(TUNED_ON).events
    return lambda loss: ({o: e[o].to_numpy() for o in ('user', 'item')},e['label' if loss=='logistic' else 'rating'].to_numpy(np.float64),None,(1., 5.))

def judge(pred, y, rating_range, loss):
    "RMSE in stars, whatever the scale; or log-loss in nats."
    if loss=='logistic': return log_loss(y, np.clip(pred, 1e-6, 1-1e-6))
    low,high = rating_range
    return float(np.sqrt(np.mean((y - np.clip(pred, low, high))**2))*4/(high-low))

def score(model, X, y, rating_range, loss): return judge(model.predict_learn(X, y), y, rating_range, loss)

def one(settings, loss, rating_range): return IncrementalMF(loss=loss, remember_seen=False, rating_range=rating_range, **settings)

def tried(world, loss): # the scores of all candidates in one world
    X,y,_,span = world
    return np.array([score(one(s, loss, span), X, y, span, loss) for s in CANDIDATES[loss]])

def add_one_at_a_time(loss):
    "From the tuned default on, add the setting that brings the best of the team nearest to the best of all: the mean square of the excess, so that the worst worlds count."
    worlds = [events(**w, seed=0, loss=loss) for w in WORLDS[::3 if loss=='squared' else 9]] + [start()(loss)]
    found = np.array([tried(w, loss) for w in worlds])
    own = np.array([score(one({}, loss, span), X, y, span, loss) for X,y,_,span in worlds])
    least,team = np.minimum(found.min(1), own),[{}]
    over = [own/least - 1]
    for _ in range(TEAM[loss]-1):
        pick = int(np.argmin([(np.minimum(over[-1], f/least-1)**2).mean() for f in found.T]))
        team.append(CANDIDATES[loss][pick])
        over.append(np.minimum(over[-1], found[:,pick]/least-1))
    return dict(team=team, worlds=len(worlds), mean_excess=[round(float(o.mean()), 5) for o in over], most_excess=[round(float(o.max()), 5) for o in over])

@record.part(events=EVENTS, tuned_on=TUNED_ON, seed=0, candidates={o: len(x) for o,x in CANDIDATES.items()})
def choose():
    "The experts: the tuned default, and settings added to it one at a time."
    for loss in TEAM: yield loss, lambda: add_one_at_a_time(loss)

@njit(cache=True)
def ridge_sweep(y, given, l2): # the weights of chapter 33's stack, on the experts' predictions alone
    n,N = given.shape
    w,P,room,out,total = np.full(N, 1/N),np.eye(N)/l2,np.empty(N),np.empty(n),0.
    for t in range(n):
        mu = total/t if t else 3.
        z = given[t] - mu
        out[t] = mu + (z*w).sum()
        rls_update(w, P, z, y[t]-out[t], 1., N/l2, room)
        total += y[t]
    return out

def stacked(model, X, y, span, loss): # the same experts, weighed by a ridge
    unit = (span[1]-span[0])/4
    given = np.column_stack([clone_of(o, span).predict_learn(X, y) for o in model.team()])
    return judge(span[0] + (ridge_sweep((y-span[0])/unit + 1, (given-span[0])/unit + 1, 10.) - 1)*unit, y, span, loss)

def clone_of(o, span): return type(o)(**{**o.get_params(deep=False), 'rating_range': span, 'remember_seen': False})

def in_world(world, loss):
    X,y,expected,span = world
    found,kind = tried(world, loss),dict(target='label') if loss=='logistic' else {}
    plain = BiasBaseline(shrink_user=5., shrink_item=5., decay_user=1., decay_item=1., rating_range=span, remember_seen=False, **kind)
    rivals = dict(mean=RunningMean(rating_range=span, **kind), plain=plain, BiasBaseline=BiasBaseline(rating_range=span, **kind), IncrementalMF=one({}, loss, span))
    experts = OnlineExperts(loss=loss, rating_range=span, remember_seen=False)
    row = {o: round(score(m, X, y, span, loss), 5) for o,m in rivals.items()} | dict(OnlineExperts=round(score(experts, X, y, span, loss), 5))
    if loss=='squared': row['ridge'] = round(stacked(OnlineExperts(), X, y, span, loss), 5)
    return row | dict(weights=[round(float(o), 3) for o in experts.weights_], best=round(float(found.min()), 5), settings=CANDIDATES[loss][int(found.argmin())],
                      oracle=round(judge(expected, y, span, loss), 5))

@record.part(events=EVENTS, seed=1, unit='RMSE in stars')
def grid():
    "Every world: the experts, the best setting in hindsight, the null, and the defaults."
    for w in WORLDS: yield w, lambda: in_world(events(**w), 'squared')

@record.part(events=EVENTS, seed=1, unit='log-loss in nats')
def likes():
    "The same for labels, in worlds of five grades."
    for w in WORLDS:
        if w['grades']==5: yield w, lambda: in_world(events(**w, loss='logistic'), 'logistic')

SHORT = scale((300, 1_000, 3_000, 10_000), (100,))

def in_short(n):
    "Excess over the best expert, of the mean and the worst world, in percent."
    out = {o: [] for o in ('OnlineExperts', 'ridge', 'plain average')}
    for w in WORLDS[::7]:
        X,y,_,span = events(**{**w, 'per_user': min(w['per_user'], 20)}, n=n)
        team = [clone_of(o, span) for o in OnlineExperts().team()]
        preds = [o.predict_learn(X, y) for o in team]
        least = min(judge(p, y, span, 'squared') for p in preds)
        scores = score(OnlineExperts(rating_range=span), X, y, span, 'squared'),stacked(OnlineExperts(), X, y, span, 'squared'),judge(sum(preds)/len(preds), y, span, 'squared')
        for o,x in zip(out, scores): out[o].append(100*(x/least-1))
    return {o: dict(mean=round(float(np.mean(x)), 3), most=round(float(np.max(x)), 3)) for o,x in out.items()}

@record.part(seed=1)
def short():
    "Short logs: the same experts weighed by the aggregating algorithm, by a ridge, and evenly."
    for n in SHORT: yield str(n), lambda: in_short(n)

@cache
def reports(seed):
    s = movielens_100k().take(scale(100_000, 600))
    models = dict(OnlineExperts=OnlineExperts([type(o)(**{**o.get_params(deep=False), 'seed': seed}) for o in OnlineExperts().team()]),
                  IncrementalMF=IncrementalMF(seed=seed), BiasBaseline=BiasBaseline(), plain=BiasBaseline(shrink_user=5., shrink_item=5., decay_user=1., decay_item=1.))
    return {o: prequential(m, s, metrics=('rmse',), name=o) for o,m in models.items()}

def on_movielens(seed):
    row = {}
    for part,first in (('all', 0), ('after 30,000', TUNED_ON)):
        rest = {o: replace(r, frame=r.frame.iloc[first:]) for o,r in reports(seed).items()}
        gap = paired_bootstrap(rest['OnlineExperts'], rest['IncrementalMF'], 'rmse', block=scale(1_000, 10))
        row[part] = {o: round(float(r.summary['rmse']), 5) for o,r in rest.items()} | dict(experts_minus_mf=[round(float(gap[o]), 5) for o in ('difference', 'low', 'high')])
    return row

@record.part(stream='MovieLens-100K', tuned_on=TUNED_ON)
def movielens(seeds=(0, 1, 2)):
    "All events of MovieLens-100K, and those after 30,000."
    for seed in seeds: yield str(seed), lambda: on_movielens(seed)

def seconds(make):
    s,took = movielens_100k().take(scale(100_000, 600)),[]
    for _ in range(8):
        m = make().partial_fit(s.take(10))
        begin = time.perf_counter()
        m.predict_learn(s)
        took.append(time.perf_counter()-begin)
    return len(s)/min(took)

@record.part(stream='MovieLens-100K')
def cost():
    "Events a second, one thread: the experts, and one of them. The best of eight passes."
    both = {o.__name__: round(seconds(o)) for o in (IncrementalMF, OnlineExperts)}
    return both | dict(sweeps=round(both['IncrementalMF']/both['OnlineExperts'], 1))


if __name__=='__main__': record.main()
