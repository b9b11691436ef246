"""IncrementalMF beside plain C and its peers, what strangers cost, and one checkout beside another.

    python tools/speed.py                    every part below that is not recorded, some 40 minutes in all
    python tools/speed.py sweep topk --again   some parts anew; the others stay in the record
    python tools/speed.py --quick            a few events and rounds, into out/, to try it out (--help: more options)
    python tools/speed.py --against FOLDER   the same figures here and in another checkout, in processes that alternate

Writes mf_speed.json, and mf_quality.json and strangers.json for the parts of those names, into recinc_nb/results; chapter 35 draws from
them. Peers run if they are there (`pip install 'recinc_nb[peers]'`), those that are missing are named. Everything runs on one thread,
in rounds in which rivals alternate; what is compared is the median over rounds of the ratio within a round.
"""
import ctypes, gc, inspect, itertools, json, os, shutil, subprocess, sys, tempfile, time
from functools import cache
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from record import Record, root # before the package: it says where that is, unless `--against` has
import numpy as np, pandas as pd
import recinc_nb
from recinc_nb.baselines import ItemItem, Popularity
from recinc_nb.clock import ClockFilter
from recinc_nb.core import machine, progress, scale
from recinc_nb.mf_als import GaussianMF, IncrementalALS
from recinc_nb.stack import OnlineStack
from recinc_nb.mf_online import IncrementalMF
from recinc_nb.mf_speed import _readable, _sgd_ahead, _sgd_fixed, _sgd_loop, _sgd_python, _sgd_rows, _touch, _triad, speed_bars
from recinc_nb import ImplicitALS, RankStack, SoftmaxMF, from_river, prequential, prequential_topn # wherever a checkout has them
from recinc_nb.streams import Stream, movielens_100k
from recinc_nb.vectors import aligned_zeros
from sklearn.base import clone
if (Path(recinc_nb.__file__).parent/'learner.py').exists(): from recinc_nb.learner import IdLearner, IdMap
else: from recinc_nb.baselines import IdLearner, IdMap # `--against` a checkout from before chapter 12a
try: from recinc_nb.streams import read_table
except ImportError: from recinc_nb.streams import event_columns as read_table # its older name

here = root/'tools'
PEERS = 'river', 'implicit', 'lightfm', 'vowpalwabbit', 'flurs', 'torch'

def has(name):
    "A package that we compare with, or None if it cannot be imported here."
    try: return import_module(name)
    except Exception: return None   # old packages fail in their own ways

def rows_of(name): return scale(True, bool(has(name))) # at full scale every row is named, whoever is there to make it

def peers(): return {o: version(o) for o in PEERS if has(o)}

record = Record(__file__, 'mf_speed', machine=lambda: machine() | peers(), spread='lowest, median, highest')

C = """
void sweep(const long *us, const long *is, const float *y, float *pred, float *U, float *V, float *bu, float *bi,
           float mu, float lr, float l2, long n) {
  for (long t = 0; t < n; t++) {
    float *p = U + us[t]*32, *q = V + is[t]*32, dot = 0;
    for (int f = 0; f < 32; f++) dot += p[f]*q[f];
    float s = mu + bu[us[t]] + bi[is[t]] + dot, e = y[t] - s;
    pred[t] = s; bu[us[t]] += lr*(e - l2*bu[us[t]]); bi[is[t]] += lr*(e - l2*bi[is[t]]);
    for (int f = 0; f < 32; f++) { float a = p[f], b = q[f]; p[f] += lr*(e*b - l2*a); q[f] += lr*(e*a - l2*b); }
  }
}
"""
K,USERS,ITEMS = 32,50_000,20_000
STEPS = {'numba loop': _sgd_loop, 'width fixed': _sgd_fixed, 'whole rows': _sgd_rows, 'rows asked for early': _sgd_ahead}

def c_sweep(number='float'):
    "The loop in plain C as a function with the arguments of `_sgd_loop`, on 'float' or 'double'; None without gcc."
    if not shutil.which('gcc'): return None
    with tempfile.TemporaryDirectory() as d:
        (Path(d)/'sweep.c').write_text(C.replace('float', number))
        subprocess.run(['gcc', '-O3', '-march=native', '-ffast-math', '-fPIC', '-c', 'sweep.c'], cwd=d, check=True)
        # linked without -ffast-math: with it gcc adds code that lets the whole process round subnormal numbers to zero
        subprocess.run(['gcc', '-shared', 'sweep.o', '-o', 'sweep.so'], cwd=d, check=True)
        lib = ctypes.CDLL(f'{d}/sweep.so')
    at = lambda a: a.ctypes.data_as(ctypes.c_void_p)
    c_number = getattr(ctypes, f'c_{number}')
    return lambda *given: lib.sweep(*map(at, given[:8]), *map(c_number, given[8:]), ctypes.c_long(len(given[0])))

def made_up(n, n_users=USERS, n_items=ITEMS, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, n_users, n), rng.integers(0, n_items, n), rng.integers(1, 6, n).astype('f4')

def new_tables(n_users=USERS, n_items=ITEMS, dtype='f4', seed=1):
    "U, V, user biases, item biases"
    rng = np.random.default_rng(seed)
    factors = [aligned_zeros((n, K), dtype) for n in (n_users, n_items)]
    for o in factors: o[:] = .05*rng.standard_normal(o.shape, dtype='f4')
    return factors + [np.zeros(n, dtype) for n in (n_users, n_items)]

def frame_of(users, items, y): return pd.DataFrame(dict(user=users, item=items, rating=y.astype(float)))

def seconds(f):
    start = time.perf_counter()
    f()
    return time.perf_counter() - start

def race(runs, rounds, desc):
    "Call each run in turn, in the opposite order every other round, after one round that does not count; what each returned, per round."
    found = {name: [] for name in runs}
    for n in progress(range(rounds+1), desc, 'round'):
        gc.collect()
        for name in (runs if n%2 else reversed(runs)): found[name].append(runs[name]())
    return {name: np.array(x[1:]) for name,x in found.items()}

def three(x): return [float(f'{o:.4g}') for o in np.percentile(x, (0, 50, 100))]

def rates(found, rounds, **more):
    "Events per second of each, and the rate of ours over each other's in the same round: lowest, median, highest."
    ours = next(iter(found))
    return dict(rounds=rounds, **more, events_per_second={o: three(x) for o,x in found.items()},
                ours_over={o: three(found[ours]/x) for o,x in found.items() if o!=ours}, by_round=by_round(found))

def by_round(found): return {o: [float(f'{n:.4g}') for n in x] for o,x in found.items()}

def kernel_run(kernel, events, tables):
    "A run of a kernel with the arguments of `_sgd_loop`: events/s."
    users,items,y = events
    dtype = tables[0].dtype
    y,pred,numbers = y.astype(dtype),np.zeros(len(y), dtype),[dtype.type(o) for o in (3.5, .01, .02)]
    return lambda: len(y)/seconds(lambda: kernel(users, items, y, pred, *tables, *numbers))

def our_run(events, n_users=USERS, n_items=ITEMS):
    "A run of the compiled sweep of `IncrementalMF` on row numbers: events/s."
    users,items,y = events[0],events[1],events[2].astype(float)
    model,pred = IncrementalMF(n_factors=K),np.zeros(len(users))
    if hasattr(model, 'sweep'):
        model.ready()
        model.grow(n_users, n_items)
        return lambda: len(users)/seconds(lambda: model.sweep(users, items, y, pred, True))
    model._ready()                                   # `--against` a checkout from before chapter 12a
    model._grow(n_users, n_items)
    return lambda: len(users)/seconds(lambda: model._sweep(users, items, y, pred, (n_users, n_items), True))

def torch_mf(n_users, n_items):
    "Embeddings with sparse gradients and SGD, as PyTorch's users write it; a function that learns one batch."
    import torch
    torch.manual_seed(0)
    torch.set_num_threads(1)
    U,V = (torch.nn.Embedding(n, K, sparse=True) for n in (n_users, n_items))
    b_u,b_i = (torch.nn.Embedding(n, 1, sparse=True) for n in (n_users, n_items))
    for o,std in ((U, .05), (V, .05), (b_u, 0.), (b_i, 0.)): torch.nn.init.normal_(o.weight, 0., std)
    opt = torch.optim.SGD([o.weight for o in (U, V, b_u, b_i)], lr=.01)
    def learn(u, i, y):
        pred = 3.5 + b_u(u)[:,0] + b_i(i)[:,0] + (U(u)*V(i)).sum(1)
        opt.zero_grad()
        (.5*((y - pred)**2).sum()).backward()
        opt.step()
        return pred.detach()
    return learn

def torch_run(events, batch, n_users=USERS, n_items=ITEMS):
    import torch
    learn,data = torch_mf(n_users, n_items),[torch.as_tensor(o) for o in events]
    def all_of_it():
        for n in range(0, len(data[0]), batch): learn(*(o[n:n+batch] for o in data))
    return lambda: len(data[0])/seconds(all_of_it)

@record.part()
def sweep():
    "Arrays of row numbers, one thread, strictly one event after the other"
    n,rounds = scale((2_000_000,11), (40_000,3))
    events,c = made_up(n),c_sweep()
    few = lambda m: [o[:m] for o in events]
    runs = {'IncrementalMF': our_run(events)}
    if c: runs['plain C'] = kernel_run(c, events, new_tables())
    else: print('sweep: no gcc here: plain C is left out')
    for name,kernel in STEPS.items(): runs[name] = kernel_run(kernel, events, new_tables())
    runs['Python loop'] = kernel_run(_sgd_python, few(n//500), new_tables())
    runs['PyTorch sparse, batches of 1,000'] = torch_run(few(n//10), 1_000)
    runs['PyTorch sparse, one at a time'] = torch_run(few(n//2_000), 1)
    return rates(race(runs, rounds, 'sweep'), rounds, events=n, n_users=USERS, n_items=ITEMS, n_factors=K)

def calls_ours(events, rows):
    "Calls of `partial_fit` on tables of so many rows: events/s of a learner that has met all ids, and of a new one."
    frame = frame_of(*events)
    parts = [frame.iloc[n:n+rows].reset_index(drop=True) for n in range(0, len(frame), rows)]
    known = IncrementalMF(n_factors=K).partial_fit(frame)
    def run(model):
        def feed():
            for o in parts: model.partial_fit(o)
        return len(frame)/seconds(feed)
    return lambda: run(known), lambda: run(IncrementalMF(n_factors=K))

def one_by_one(events, learn):
    "Events/s of a function that learns one event from Python numbers."
    rows = list(zip(*(o.tolist() for o in events)))
    def feed():
        for u,i,y in rows: learn(u, i, y)
    return lambda: len(rows)/seconds(feed)

def vw():
    "Vowpal Wabbit's factorization; a function that learns one event."
    from vowpalwabbit import Workspace
    model = Workspace(f'--quiet -q ui --rank {K} -b 22 --l2 1e-6 --learning_rate .02')
    return lambda u,i,y: model.learn(f'{y} |u {u} |i {i}')

def river_mf(**settings):
    from river import optim, reco
    lr = settings.pop('lr', .02)
    return reco.BiasedMF(n_factors=K, bias_optimizer=optim.SGD(lr), latent_optimizer=optim.SGD(lr), **settings)

def flurs_mf(n_users, n_items):
    "FluRS; a function that learns one event. It copies all items for each new one, so they are registered before the clock starts."
    from flurs.data.entity import Event, Item, User
    from flurs.recommender import MFRecommender
    model = MFRecommender(k=K)
    model.initialize()
    users,items = [User(n) for n in range(n_users)],[Item(n) for n in range(n_items)]
    for o in users: model.register(o)
    for o in items: model.register(o)
    return lambda u,i,y: model.update(Event(users[u%n_users], items[i%n_items], 1.)) # it takes likes alone

@record.part()
def calls():
    "One Python call per table, and one per event; ids are integers, and looking them up is part of it"
    n,rounds = scale((1_000_000,7), (20_000,3))
    load = round(os.getloadavg()[0], 2)
    events = made_up(n)
    few = lambda m: [o[:m] for o in events]
    runs = {}
    for rows in (100_000, 1_000): runs[f'{rows:,} rows'],runs[f'{rows:,} rows, new learner'] = calls_ours(events, rows)
    tables = race(runs, rounds, 'tables of rows')
    model = IncrementalMF(n_factors=K).partial_fit(frame_of(*events))
    runs = {'IncrementalMF.learn_one': one_by_one(few(n//5), model.learn_one)}
    if has('river'): runs['river BiasedMF.learn_one'] = one_by_one(few(n//50), river_mf().learn_one)
    if has('vowpalwabbit'): runs['Vowpal Wabbit learn'] = one_by_one(few(n//20), vw())
    if has('flurs'): runs['FluRS update'] = one_by_one(few(n//100), flurs_mf(2_000, 1_000))
    runs['PyTorch sparse, one at a time'] = torch_run(few(n//1_000), 1)
    single = rates(race(runs, rounds, 'one by one'), rounds)
    return dict(load_before=load, events=n, rounds=rounds, partial_fit={o: three(x) for o,x in tables.items()}, learn_one=single)

@record.part()
def topk():
    "Ten of many items for one user who had a hundred of them: pairs that alternate"
    if not has('implicit'): return dict(missing='implicit')
    from implicit.cpu.als import AlternatingLeastSquares
    from threadpoolctl import threadpool_limits
    threadpool_limits(1)
    from scipy.sparse import csr_matrix
    out,rng = {},np.random.default_rng(0)
    for n_items,calls in scale(((20_000, 300), (1_000_000, 4)), ((2_000, 20),)):
        items = np.r_[np.arange(n_items), rng.choice(n_items, 1_000)]
        users = np.r_[10 + np.arange(n_items)%1_000, np.repeat(np.arange(10), 100)]
        model = IncrementalMF(n_factors=K).partial_fit(frame_of(users, items, rng.integers(1, 6, len(items))))
        peer = AlternatingLeastSquares(factors=K, num_threads=1)
        peer.user_factors,peer.item_factors = model.user_factors_[model.users_.row(0)][None].copy(),model.item_factors_.copy()
        had = csr_matrix((np.ones(100, 'f4'), (np.zeros(100, int), model.seen(0))), shape=(1, n_items))
        for seen in (True, False):
            def ours():
                for _ in range(calls): model.recommend(0, 10, exclude_seen=seen)
            def theirs():
                for _ in range(calls): peer.recommend(0, had, N=10, filter_already_liked_items=seen)
            found = race(dict(ours=lambda: seconds(ours)/calls*1e6, implicit=lambda: seconds(theirs)/calls*1e6), 20, f'{n_items:,} items')
            out[f"{n_items:,} items, {'without' if seen else 'with'} those seen"] = dict(
                microseconds={o: three(x) for o,x in found.items()}, ours_over_implicit=three(found['ours']/found['implicit']))
    return dict(pairs=20, **out)

def growing(n, rows=100_000, seed=0, every_user=5, every_item=50):
    "Tables of events in which every fifth event brings a new user and every fiftieth a new item."
    rng = np.random.default_rng(seed)
    for start in range(0, n, rows):
        t = np.arange(start, min(start+rows, n))
        pick = lambda every: np.where(t%every==0, t//every, (rng.random(len(t))*(t//every + 1)).astype(np.int64))
        yield pd.DataFrame(dict(user=pick(every_user), item=pick(every_item), rating=rng.integers(1, 6, len(t)).astype(float)))

def saturating(n, rows=100_000, n_users=200_000, n_items=20_000, full=800_000, seed=0):
    "Tables of events whose ids grow in number until event `full`, and no further."
    rng = np.random.default_rng(seed)
    for start in range(0, n, rows):
        t = np.arange(start, min(start+rows, n))
        share = np.minimum(1, (t+1)/full)
        yield pd.DataFrame(dict(user=(rng.random(len(t))*share*n_users).astype(np.int64), item=(rng.random(len(t))*share*n_items).astype(np.int64),
                                rating=rng.integers(1, 6, len(t)).astype(float)))

def resident_bytes():
    gc.collect()
    status = Path('/proc/self/status')
    if not status.exists(): raise OSError('memory: this part reads /proc/self/status; run it on Linux')
    return next(int(line.split()[1])*1024 for line in status.read_text().splitlines() if line.startswith('VmRSS'))

def resident(what, n):
    "In a fresh process: print how many bytes came with n events, and how many rows are live. what: 'learner', 'no log', 'ids' or 'PyTorch'"
    users,items = (n+4)//5,(n+49)//50
    if what=='PyTorch':
        torch_run(made_up(1_000, 100, 100), 1_000, 100, 100)()
        before = resident_bytes()
        keep = torch_run(made_up(1_000, users, items), 1_000, users, items)
        keep()
    else:
        for o in growing(200_000): IncrementalMF(n_factors=K).partial_fit(o).learn_one(0, 0, 3.)
        before = resident_bytes()
        keep = IncrementalMF(n_factors=K, remember_seen=what=='learner') if what!='ids' else (IdMap(), IdMap())
        for o in growing(n):
            if what!='ids': keep.partial_fit(o)
            else:
                for ids,column in zip(keep, ('user', 'item')): ids.rows(o[column].to_numpy(), add=True)
            del o
    print(json.dumps(dict(bytes=resident_bytes() - before, rows=users+items)))

@record.part()
def memory():
    "Bytes that the process holds after growing, each learner in a fresh process"
    n,found = scale(10_000_000, 100_000),{}
    for what in progress(('learner', 'no log', 'ids', 'PyTorch'), 'memory', 'process'):
        run = subprocess.run([sys.executable, '-c', f'import speed; speed.resident({what!r}, {n})'], cwd=here,
                             capture_output=True, text=True, check=True)
        found[what] = json.loads(run.stdout.splitlines()[-1])
    rows,byte = found['ids']['rows'],{o: x['bytes'] for o,x in found.items()}
    per_row = {'tables': byte['no log'] - byte['ids'], 'ids': byte['ids'], 'log': byte['learner'] - byte['no log'], 'PyTorch': byte['PyTorch']}
    per_row = {o: round(x/rows, 1) for o,x in per_row.items()}
    return dict(events=n, rows=rows, ideal=4*(K+1), bytes_per_row=per_row, log_bytes_per_event=round((byte['learner'] - byte['no log'])/n, 2))

@record.part()
def growth():
    "What an event costs later over what it cost earlier; tables of 100,000 rows"
    million,rounds = scale((1_000_000,5), (20_000,2))
    rows,out = million//10,{}
    streams = dict(saturating=lambda: saturating(5*million, rows, million//5, million//50, million*8//10),
                   growing=lambda: growing(5*million, rows))
    for name,stream in streams.items():
        ratios,cost = [],[]
        for _ in progress(range(rounds), f'{name} ids', 'round'):
            model,took = IncrementalMF(n_factors=K),[]
            for o in stream(): took.append(seconds(lambda: model.partial_fit(o))/len(o)*1e9)
            early,late = np.median(took[10:20]),np.median(took[-10:])   # the second million and the fifth
            ratios.append(late/early)
            cost.append(took)
        out[name] = dict(late_over_early=three(ratios), nanoseconds_per_event=[float(f'{o:.4g}') for o in np.median(cost, 0)])
    return dict(events=5*million, rows_per_call=rows, rounds=rounds, early='events 1 to 2 million', late='events 4 to 5 million', **out)

def copy_over(a, b, c, times):
    for _ in range(times): np.copyto(b, a)

def bandwidth(loop, n_arrays, size):
    "A run of a loop over arrays that take `size` bytes together: bytes/s."
    arrays = [np.zeros(size//4//n_arrays, 'f4') for _ in range(n_arrays)] + [np.zeros(0, 'f4')]*(3-n_arrays)
    times = max(1, 200_000_000//size)
    return lambda: times*size/seconds(lambda: loop(*arrays, times))

def bytes_per_event(k=K): return 2*2*4*k + 2*4*4 + 3*8 + 4   # rows and biases and weights, read and written; u, i, y; prediction

@record.part()
def roofline():
    "What memory allows for tables of several sizes, and how far below it the sweeps stay"
    n,rounds = scale((500_000,11), (20_000,2))
    out,c = [],c_sweep()
    for rows in scale((4_000, 70_000, 500_000, 4_000_000), (4_000, 70_000)):
        n_users,n_items = rows*5//7,rows - rows*5//7
        events,tables = made_up(n, n_users, n_items),new_tables(n_users, n_items)
        touch = lambda: n/seconds(lambda: _touch(*events[:2], *tables[:2]))
        runs = {'IncrementalMF': our_run(events, n_users, n_items), **({'plain C': kernel_run(c, events, tables)} if c else {}),
                **{o: kernel_run(f, events, tables) for o,f in STEPS.items()}, 'rows alone': touch}
        found = race({'copy': bandwidth(copy_over, 2, rows*4*K), 'triad': bandwidth(_triad, 3, rows*4*K), **runs}, rounds, f'{rows:,} rows')
        out.append(dict(rows=rows, table_bytes=rows*4*K, bytes_per_second={o: three(found.pop(o)) for o in ('copy', 'triad')},
                        events_per_second={o: three(x) for o,x in found.items()}, by_round=by_round(found)))
    caches = [o.read_text().strip() for o in sorted(Path('/sys/devices/system/cpu/cpu0/cache').glob('index*/size'))]
    return dict(events=n, rounds=rounds, caches=caches, bytes_per_event=bytes_per_event(), sizes=out)

@record.part()
def dtype():
    "Rows of float32 over rows of float64: events/s of the same loops"
    n,rounds = scale((500_000,11), (20_000,2))
    out = {}
    for rows in scale((4_000, 70_000, 4_000_000), (4_000, 70_000)):
        n_users,n_items = rows*5//7,rows - rows*5//7
        events = made_up(n, n_users, n_items)
        loops = {'numba loop': (_sgd_loop, _sgd_loop)}
        if c_sweep(): loops['plain C'] = c_sweep(),c_sweep('double')
        runs = {(o, d): kernel_run(f, events, new_tables(n_users, n_items, d)) for o,pair in loops.items() for d,f in zip(('f4', 'f8'), pair)}
        found = race(runs, rounds, f'{rows:,} rows')
        out[f'{rows:,} rows'] = {o: three(found[o, 'f4']/found[o, 'f8']) for o in loops}
    return dict(events=n, rounds=rounds, float32_over_float64=out)

class TorchRatings:
    "PyTorch's embeddings as a learner of ratings, with the running mean; it makes room for everybody beforehand."
    def __init__(self, lr=.05, l2=.02, seed=0):
        self.lr,self.l2,self.seed,self.users_,self.items_,self.total,self.n = lr,l2,seed,IdMap(),IdMap(),0.,0

    def _rows(self, X):
        import torch
        if not self.n and not self.users_.ids:
            torch.manual_seed(self.seed)
            torch.set_num_threads(1)
            self.tables = [torch.nn.Embedding(2_000, width, sparse=True) for width in (K, K, 1, 1)]
            for o,std in zip(self.tables, (.05, .05, 0., 0.)): torch.nn.init.normal_(o.weight, 0., std)
            self.opt = torch.optim.SGD([o.weight for o in self.tables], lr=self.lr)
        return (torch.as_tensor(m.rows(X[o], add=True)) for m,o in ((self.users_, 'user'), (self.items_, 'item')))

    def _score(self, X):
        u,i = self._rows(X)
        p,q,b_u,b_i = (o(rows) for o,rows in zip(self.tables, (u, i, u, i)))
        return (self.total/self.n if self.n else 3.) + b_u[:,0] + b_i[:,0] + (p*q).sum(1), (p, q, b_u, b_i)

    def predict(self, X): return self._score(read_table(X, target=None))[0].detach().numpy().astype(float)

    def partial_fit(self, X, y=None):
        import torch
        X = read_table(X, y)
        (pred,parts),y = self._score(X),X['y']
        self.opt.zero_grad()
        (.5*((torch.as_tensor(np.asarray(y, np.float32)) - pred)**2).sum() + .5*self.l2*sum((o**2).sum() for o in parts)).backward()
        self.opt.step()
        self.total,self.n = self.total+float(np.sum(y)),self.n+len(y)
        return self

class ImplicitRefit:
    "implicit's ALS: a full fit every so many likes, `partial_fit_users` after each one between; popularity for users before their first."
    target,positive_only = 'label',True
    def __init__(self, factors=32, regularization=.1, alpha=3., every=1_000, seed=0):
        self.settings,self.every = dict(factors=factors, regularization=regularization, alpha=alpha, random_state=seed, num_threads=1),every
        self.users_,self.items_,self.had,self.counts,self.model,self.n = IdMap(),IdMap(),[],[],None,0

    def partial_fit(self, X, y):
        for user,item in zip(X['user'], X['item']):
            u,i = self.users_.row(user, add=True),self.items_.row(item, add=True)
            if u==len(self.had): self.had.append([])
            if i==len(self.counts): self.counts.append(0)
            self.had[u].append(i)
            self.counts[i] += 1
            self.n += 1
            if self.n%self.every==0: self._fit()
            elif self.model is not None: self.model.partial_fit_users([u], self._matrix([[o for o in self.had[u] if o<self.fitted]], self.fitted))
        return self

    def _matrix(self, rows, n_items):
        from scipy.sparse import csr_matrix
        flat = np.concatenate([np.asarray(o, int) for o in rows])
        return csr_matrix((np.ones(len(flat), 'f4'), flat, np.cumsum([0, *map(len, rows)])), shape=(len(rows), n_items))

    def _fit(self):
        from implicit.cpu.als import AlternatingLeastSquares
        self.fitted,self.model = len(self.items_),AlternatingLeastSquares(**self.settings)
        self.model.fit(self._matrix(self.had, self.fitted), show_progress=False)

    def score_items(self, user):
        u,s = self.users_.row(user),np.array(self.counts, float)
        if self.model is None or u<0 or u>=len(self.model.user_factors) or not self.had[u]: return s
        known = self.model.item_factors @ self.model.user_factors[u]
        return np.concatenate([known, np.full(len(s)-self.fitted, known.min()-1)])

def grid(**values): return [dict(zip(values, o)) for o in itertools.product(*values.values())]

SEEDS = range(3)
def spread(x): return [round(float(np.mean(x)), 5), round(float(np.std(x, ddof=1)), 5) if len(x)>1 else 0.]

@cache
def films(): return movielens_100k().take(scale(100_000, 2_000))
def first(): return films().take(int(.3*len(films())))
def ten(m, positive, on=None): return prequential_topn(m, on or films(), positive=positive).summary['hit_rate']

POSITIVES = {'rating = 5': 5., 'rating ≥ 4': 'label'}

@cache
def best(name):
    "A peer's settings with the lowest score on the first 30 %."
    rate = lambda m, **kwargs: prequential(m, first(), metrics=('rmse',), **kwargs).summary['rmse']
    if name=='river BiasedMF': judge,tried = lambda **s: rate(from_river(river_mf(seed=0, **s))),grid(lr=(.01, .02, .04), l2_latent=(0., .05))
    elif name=='PyTorch sparse': judge,tried = lambda **s: rate(TorchRatings(**s), batch_size=10),grid(lr=(.02, .04), l2=(0., .02))
    else:
        judge = lambda **s: -ten(ImplicitRefit(**s), POSITIVES[name.removeprefix('implicit, ')], first())
        tried = grid(regularization=(.1, 10.), alpha=(1., 3.))
    return dict(settings=min((judge(**s), n, s) for n,s in enumerate(progress(tried, f'tuning {name}', 'setting')))[2], tried=len(tried))

ASKED = dict(stream='MovieLens-100K', events=scale(100_000, 2_000), seeds=len(SEEDS), spread='mean, standard deviation over seeds')

@record.part(('ratings',), 'mf_quality', **ASKED)
def quality():
    "MovieLens-100K, every event predicted before it is learned"
    def rate(make, chance=True, **kwargs):
        found = [prequential(m, films(), metrics=('rmse', 'mae'), **kwargs).summary for m in ([make(seed=s) for s in SEEDS] if chance else [make()])]
        return {o: spread([x[o] for x in found]) for o in ('rmse', 'mae')}
    yield 'IncrementalMF, no factors', lambda: rate(lambda: IncrementalMF(n_factors=0), False)
    for cls in (IncrementalMF, IncrementalALS, GaussianMF, ClockFilter): yield cls.__name__, lambda: rate(cls)
    yield 'OnlineStack', lambda: rate(OnlineStack, False)
    if rows_of('river'): yield 'river BiasedMF', lambda: rate(lambda seed: from_river(river_mf(seed=seed, **best('river BiasedMF')['settings'])))
    yield 'PyTorch sparse, batches of ten', lambda: rate(lambda seed: TorchRatings(seed=seed, **best('PyTorch sparse')['settings']), batch_size=10)

@record.part(('tuned on the first 30 %',), 'mf_quality', **ASKED)
def tuned():
    "What the peers were given"
    for name in ['river BiasedMF']*rows_of('river') + ['PyTorch sparse'] + [f'implicit, {o}' for o in POSITIVES if rows_of('implicit')]:
        yield name, lambda: best(name)

def lists(name):
    positive = POSITIVES[name]
    for cls in (Popularity, ItemItem): yield cls.__name__, lambda: spread([ten(cls(), positive)])
    for cls in (ImplicitALS, SoftmaxMF, RankStack): yield cls.__name__, lambda: spread([ten(cls(seed=s), positive) for s in SEEDS])
    if rows_of('implicit'): yield 'implicit ALS, refit every 1,000', lambda: spread(
        [ten(ImplicitRefit(seed=s, **best(f'implicit, {name}')['settings']), positive) for s in SEEDS])

@record.part(('hit rate of ten', 'rating = 5'), 'mf_quality')
def fives():
    "Before each five-star rating, a list of ten"
    yield from lists('rating = 5')

@record.part(('hit rate of ten', 'rating ≥ 4'), 'mf_quality')
def likes():
    "Before each rating of four stars or more, a list of ten"
    yield from lists('rating ≥ 4')


@record.part(('rows',), 'visits', stream='MovieLens-100K', spread='hit rate of ten: all events, after event 30,000')
def visits():
    "The lists of chapter 36a, each beside its null"
    from recinc_nb.visit import ClockItems, VisitStack # no older checkout has them
    stream = movielens_100k().take(scale(100_000, 2_000))
    when = stream.events['time'].to_numpy()
    shuffled = Stream(stream.events.assign(time=when[0] + np.r_[0, np.cumsum(np.random.default_rng(0).permutation(np.diff(when)))]))
    def hits(m, on=stream):
        found = {}
        for name,positive in POSITIVES.items():
            hit = prequential_topn(clone(m), on, positive=positive).frame['hit']
            found[name] = [round(float(o.mean()), 5) for o in (hit, hit[hit.index>=.3*len(on)])]
        return found
    class Deaf(VisitStack): reads_rest = False
    yield 'Popularity', lambda: hits(Popularity())
    yield 'ItemItem', lambda: hits(ItemItem())
    yield 'ClockItems, pauses shuffled', lambda: hits(ClockItems(), shuffled)
    yield 'ClockItems', lambda: hits(ClockItems())
    yield 'RankStack', lambda: hits(RankStack())
    yield 'VisitStack, told likes alone', lambda: hits(Deaf())
    yield 'VisitStack', lambda: hits(VisitStack())


# strangers

MOST = {'ItemItem': 15_000} # rows that a learner can be grown to: it keeps a table of pairs of items, and refuses 20,000

def learners_of_ids():
    "Name and a new learner, for every learner of ids that the package exports; made-up item vectors for those of text."
    vectors = pd.DataFrame(np.random.default_rng(0).standard_normal((100, 8)), index=pd.RangeIndex(100, name='item'))
    for name in recinc_nb.__all__:
        cls = getattr(recinc_nb, name)
        if not (isinstance(cls, type) and issubclass(cls, IdLearner)): continue
        needs = [o for o in inspect.signature(cls).parameters.values() if o.default is o.empty]
        yield name, cls(*(vectors for _ in needs))

def observed(model): return 4. if model.target=='rating' else 1.

def pace(learn, y, pairs, budget):
    "Events/s of a function of user, item, y; and how many it learned before so many seconds were over."
    done,start = 0,time.perf_counter()
    while done<len(pairs):
        for u,i in pairs[done:done+100]: learn(u, i, y)
        done = min(done+100, len(pairs))
        if time.perf_counter() - start > budget: break
    return done/(time.perf_counter() - start), done

as_integers = lambda rows: [(int(u), int(i)) for u,i in rows]
as_strings = lambda rows: [(f'user {u}', f'item {i}') for u,i in rows]

def stranger_runs(make, y, n, budget):
    "Runs of a learner's `learn_one`: both ids new, then both known, each as integers and as strings; events/s."
    runs,last,rng = {},{},np.random.default_rng(0)
    for kind,write in (('integers', as_integers), ('strings', as_strings)):
        strangers,first = write((k, k) for k in range(200, n+200)),write((k, k) for k in range(200))
        def new(kind=kind, strangers=strangers, first=first):
            learn = make()
            for u,i in first + first: learn(u, i, y) # compiled, and past its first events
            rate,done = pace(learn, y, strangers, budget)
            last[kind] = learn,done+200
            return rate
        def known(kind=kind, write=write):
            if kind not in last: new()
            learn,met = last[kind]
            return pace(learn, y, write(zip(*rng.integers(0, met, (2, n)))), budget)[0]
        runs[f'known {kind}'],runs[f'new {kind}'] = known,new
    return runs

def stranger_rates(make, y, n, rounds, budget):
    "Events/s of the four kinds, and how much more a stranger costs than a known id, in the same round."
    runs,found = stranger_runs(make, y, n, budget),{}
    for _ in range(rounds):
        gc.collect()
        for kind in ('integers', 'strings'):                  # who is known was new just before, in the same learner
            for o in (f'new {kind}', f'known {kind}'): found.setdefault(o, []).append(runs[o]())
    found = {o: np.array(x) for o,x in found.items()}
    cost = {kind: three(found[f'known {kind}']/found[f'new {kind}']) for kind in ('integers', 'strings')}
    return dict(events_per_second={o: three(x) for o,x in found.items()}, cost_of_a_stranger=cost)

def single_calls(model, n, write, budget):
    "Microseconds of single calls of `learn_one` while both tables grow by a row each time: on the clock, and of the thread's own time, in which no other process ran."
    y,took,own,clock,mine = observed(model),np.empty(n, np.int64),np.empty(n, np.int64),time.perf_counter_ns,time.thread_time_ns
    for u,i in write((k, k) for k in range(-200, 0)): model.learn_one(u, i, y)
    learn,k,end = model.learn_one,0,clock() + int(budget*1e9)
    while k<n and clock()<end:
        for u,i in write((j, j) for j in range(k, min(k+1_000, n))):
            begun,start = mine(),clock()
            learn(u, i, y)
            took[k],own[k] = clock() - start,mine() - begun
            k += 1
    (p50,p99,p999),p999_own = np.percentile(took[:k], (50, 99, 99.9))/1e3,np.percentile(own[:k], 99.9)/1e3
    return {'rows of each table': k+200, 'p50': round(p50, 2), 'p99': round(p99, 2), 'p99.9': round(p999, 2), 'longest': round(took[:k].max()/1e3, 1),
            'p99.9, own time': round(p999_own, 2), 'longest, own time': round(own[:k].max()/1e3, 1)}

def stream_of(users, items, seed=0):
    return Stream(pd.DataFrame(dict(user=users, item=items, rating=np.random.default_rng(seed).integers(1, 6, len(users)).astype(float))))

@record.part((), 'strangers')
def strangers():
    "Ids that were never seen: users and items both new with each event, for every learner of ids"
    n,rounds,budget,rows = scale((50_000, 5, 1., 1_000_000), (400, 1, .2, 1_000))
    single = {}
    for name,model in progress(list(learners_of_ids()), 'strangers', 'learner'):
        single[name] = stranger_rates(lambda: clone(model).learn_one, observed(model), min(n, MOST.get(name, n)), rounds, budget)
    if has('river'): single['river BiasedMF'] = stranger_rates(lambda: river_mf().learn_one, 4., n, rounds, budget)
    calls = {}
    for name,model in progress(list(learners_of_ids()), 'single calls', 'learner'):
        ours = name=='IncrementalMF'
        most,seconds_each = (rows, 300.) if ours else (min(rows//10, MOST.get(name, rows)), 5.)
        for kind,write in (('integers', as_integers), ('strings', as_strings))[:1 + ours]:
            calls[f'{name}, {kind}'] = single_calls(clone(model), most, write, scale(seconds_each, 2.))
    big = frame_of(*made_up(scale(1_000_000, 20_000)))
    table = lambda: len(big)/seconds(lambda: IncrementalMF(n_factors=K).partial_fit(big))
    fit = race(dict(new=table), scale(7, 2), 'partial_fit')['new']
    m,rng = scale(200_000, 2_000),np.random.default_rng(0)
    streams = {'new integers': stream_of(np.arange(m), np.arange(m)), 'new strings': stream_of([f'u{k}' for k in range(m)], [f'i{k}' for k in range(m)]),
               'known integers': stream_of(*rng.integers(0, m//10, (2, m)))}
    met = IncrementalMF(n_factors=K).partial_fit(stream_of(np.arange(m//10), np.arange(m//10)))
    def whole(name):
        model = met if 'known' in name else IncrementalMF(n_factors=K)
        return m/seconds(lambda: prequential(model, streams[name], metrics=('rmse',)))
    found = race({o: lambda o=o: whole(o) for o in streams}, scale(5, 2), 'prequential')
    return dict(rounds=rounds, learn_one=single, single_calls=calls,
                partial_fit={'rows': len(big), 'n_users': USERS, 'n_items': ITEMS, 'new learner': three(fit)},
                prequential=dict(events=m, events_per_second={o: three(x) for o,x in found.items()},
                                 cost_of_a_stranger={o: three(found['known integers']/found[o]) for o in streams if 'new' in o}))

def stranger_bars(record):
    "What is asked where nobody is known yet, and what came of it."
    one,calls = record['learn_one'],record['single_calls']
    rows = [(f'events/s, one by one, {o}', one['IncrementalMF']['events_per_second'][o][1], least, None) for o,least in
            (('new integers', 200_000), ('new strings', 150_000))]
    rows += [(f'µs, {x} of a single call, {o}', calls[f'IncrementalMF, {o}'][x], None, 1_000) for o in ('integers', 'strings') for x in ('p99.9', 'p99.9, own time')]
    rows.append(('rows/s of partial_fit, new learner', record['partial_fit']['new learner'][1], 8_000_000, None))
    rows += [(f'events/s of prequential, {o}', record['prequential']['events_per_second'][o][1], least, None) for o,least in
             (('new integers', 200_000), ('new strings', 150_000))]
    rows += [(f'{name}: a new id over a known one, {o}', x[1], None, 5) for name,found in one.items() if 'river' not in name
             for o,x in found['cost_of_a_stranger'].items()]
    return pd.DataFrame([dict(what=what, measured=x, bar=f'≥ {least:,}' if most is None else f'≤ {most:,}', met=x>=least if most is None else x<=most)
                         for what,x,least,most in rows])


# one checkout beside another

def probe(quick=False):
    "The figures that `--against` compares, of the checkout that is imported: rates per second, each its fastest round."
    n,rounds = (20_000,2) if quick else (1_000_000,9)
    events = made_up(n)
    frame,few = frame_of(*events),[o[:n//10] for o in events]
    known = IncrementalMF(n_factors=K).partial_fit(frame)
    calls = 20 if quick else 300
    def top():
        for _ in range(calls): known.recommend(0, 10)
    runs = {'partial_fit, ids known': lambda: n/seconds(lambda: known.partial_fit(frame)),
            'partial_fit, new learner': lambda: n/seconds(lambda: IncrementalMF(n_factors=K).partial_fit(frame)),
            'learn_one, ids known': one_by_one(few, known.learn_one), 'ten of 20,000 items': lambda: calls/seconds(top)}
    try: runs = {'sweep': our_run(events), **runs}
    except (AttributeError, TypeError) as e: print(f'sweep: left out, {e}', file=sys.stderr) # a checkout whose sweep is called another way
    return {o: float(np.max(x)) for o,x in race(runs, rounds, 'probe').items()} # what else runs here can only slow a round down

def probed(tree, quick):
    code = (f'import sys, pathlib, json; sys.path.insert(0, {str(tree)!r}); import recinc_nb; sys.path.insert(0, {str(here)!r}); import speed; '
            f'assert pathlib.Path(recinc_nb.__file__).is_relative_to({str(tree)!r}), recinc_nb.__file__; print(json.dumps(speed.probe({quick})))')
    run = subprocess.run([sys.executable, '-c', code], cwd=tree, capture_output=True, text=True)
    if run.returncode: raise OSError(f'the measurement in {tree} failed: {run.stderr.strip()[-600:]}')
    return json.loads(run.stdout.splitlines()[-1])

def against(other, times=7):
    """Measure this checkout and another in processes that alternate; each figure's rate here over the rate there: lowest, median, highest.

    Raises `ValueError` for a folder that is no checkout."""
    trees = dict(here=root, there=Path(other).resolve())
    if not (trees['there']/'recinc_nb'/'mf_online.py').is_file(): raise ValueError(
        f'--against: {other} holds no recinc_nb/mf_online.py; name the folder of a checkout')
    if times<1: raise ValueError(f'--times is {times}; at least 1')
    found = {o: [] for o in trees}
    for n in progress(range(times+1), 'checkouts', 'pair'):                  # the first pair compiles, and does not count
        for o in (trees if n%2 else reversed(trees)): found[o].append(probed(trees[o], scale(not n, True)))
    both = [o for o in found['here'][0] if o in found['there'][0]]
    ratio = {o: three([a[o]/b[o] for a,b in zip(found['here'][1:], found['there'][1:])]) for o in both}
    rate = {place: {o: float(np.median([x[o] for x in found[place][1:]])) for o in both} for place in trees}
    table = pd.DataFrame({'here, 1/s': {o: f'{rate["here"][o]:,.0f}' for o in both}, 'there, 1/s': {o: f'{rate["there"][o]:,.0f}' for o in both},
        **{f'ratio, {name}': {o: f'{ratio[o][k]:.3f}' for o in both} for k,name in enumerate(('lowest', 'median', 'highest'))},
        'within 5 %': {o: 'yes' if ratio[o][1]>=.95 else 'no' for o in both}})
    print(f'here: {root}\nthere: {trees["there"]}\n{times} pairs of processes, in turns\n\n{table.to_string()}')
    return ratio


# the command

def bars(folder=None):
    "What was asked, and what came of it, for what is in the records of speed and of strangers."
    one,other = (record.read(o, folder)[1] for o in ('sweep', 'strangers'))
    return pd.concat([speed_bars(one), stranger_bars(other) if 'learn_one' in other else None])

def main(argv=None):
    p = record.parser()
    p.add_argument('--against', metavar='FOLDER', help='another checkout: the same figures in both, in processes that alternate')
    p.add_argument('--times', type=int, default=7, help='how many pairs of processes for --against (default: 7)')
    args = p.parse_args(argv)
    if args.against:
        try: return against(args.against, args.times)
        except ValueError as e: p.error(str(e))
    if not args.list:
        missing = [o for o in PEERS if o not in peers()]
        if missing: print(f"missing: {', '.join(missing)}; pip install 'recinc_nb[peers]' brings all but LightFM, which Python 3.11 and later cannot build")
    record.main(argv, p)
    if args.list: return
    if len(found := bars(args.out)): print(f"\n{found.assign(measured=found['measured'].map(_readable)).to_string(index=False)}")


if __name__=='__main__': main()
