"""Time what must be fast, always beside something in the same run, and record it.

    python tools/bench.py             both
    python tools/bench.py sweep       the compiled sweep of IncrementalMF beside plain C
    python tools/bench.py protocol    `prequential` beside one call of `predict_learn`; a million made-up events; top ten

**sweep.** Arrays of row numbers, 32 factors, 50,000 users and 20,000 items, one thread, strictly one event after the other. The C loop is
plain SGD with constant steps; ours also normalizes its steps and forgets. Rounds alternate, the median of the ratios is what to
read: single times move with whatever else the machine does. Writes recinc_nb/results/sweep_speed.json.

**protocol.** On MovieLens-100K, in pairs that alternate: seconds of `prequential` without its metrics over those of one
`predict_learn` on the same events. Then seconds for drift streams of a million events, and microseconds per positive of
`prequential_topn`. Writes recinc_nb/results/protocol_speed.json.
"""
import ctypes, gc, json, shutil, subprocess, sys, tempfile, time
from pathlib import Path
import numpy as np

root = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(root))
from recinc_nb.baselines import BiasBaseline, ItemItem, Popularity
from recinc_nb.core import machine, progress
from recinc_nb.mf_online import IncrementalMF, mf_sweep
from recinc_nb.prequential import prequential, prequential_topn
from recinc_nb.streams import drift_stream, movielens_100k

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
N_USERS, N_ITEMS, K, N, ROUNDS = 50_000, 20_000, 32, 2_000_000, 11
rng = np.random.default_rng(0)
users,items,y = rng.integers(0, N_USERS, N), rng.integers(0, N_ITEMS, N), rng.integers(1, 6, N).astype(float)


def tables():
    "Fresh tables: factors, bias and weight of users, then of items."
    r = np.random.default_rng(1)
    return [o for n in (N_USERS, N_ITEMS) for o in (r.normal(0, .05, (n, K)).astype('f4'), np.zeros(n, 'f4'), np.zeros(n, 'f4'))]


def ours():
    t,pred,f = tables(),np.empty(N),np.float32
    start = time.perf_counter()
    mf_sweep(users, items, y, pred, *t, np.zeros(2), N_USERS, N_ITEMS, f(.2), f(.02), f(8), f(3), f(.9), f(.99), False, True)
    return time.perf_counter() - start


def plain_c(lib):
    (U,bu,_,V,bi,_),pred,y4 = tables(),np.empty(N, 'f4'),y.astype('f4')
    at = lambda a: a.ctypes.data_as(ctypes.c_void_p)
    start = time.perf_counter()
    lib.sweep(at(users), at(items), at(y4), at(pred), at(U), at(V), at(bu), at(bi), *map(ctypes.c_float, (3.5, .01, .02)), ctypes.c_long(N))
    return time.perf_counter() - start


def sweep():
    with tempfile.TemporaryDirectory() as d:
        lib = None
        if shutil.which('gcc'):
            (Path(d)/'sweep.c').write_text(C)
            subprocess.run(['gcc', '-O3', '-march=native', '-ffast-math', '-shared', '-fPIC', 'sweep.c', '-o', 'sweep.so'], cwd=d, check=True)
            lib = ctypes.CDLL(f'{d}/sweep.so')
        else: print('no gcc here: the C loop is left out')
        ours(), lib and plain_c(lib) # compile, touch
        times = np.array([(ours(), plain_c(lib) if lib else np.nan) for _ in progress(range(ROUNDS), 'rounds', 'round')])
    rate = N/times/1e6
    out = dict(command='python tools/bench.py sweep', machine=machine(), n_factors=K, n_users=N_USERS, n_items=N_ITEMS, events=N, rounds=ROUNDS,
               million_events_per_second=dict(ours=[round(float(x), 1) for x in np.percentile(rate[:,0], (0, 50, 100))]))
    if lib:
        out['million_events_per_second']['plain C'] = [round(float(x), 1) for x in np.percentile(rate[:,1], (0, 50, 100))]
        out['median ratio to plain C'] = round(float(np.median(times[:,1]/times[:,0])), 3)
    record('sweep_speed', out)


def seconds(f):
    gc.collect()
    start = time.perf_counter()
    f()
    return time.perf_counter() - start


def spread(times, digits=3): return [round(float(o), digits) for o in np.percentile(times, (0, 50, 100))]


def protocol():
    stream = movielens_100k()
    ratio = {}
    for cls in (BiasBaseline, IncrementalMF):
        for known in (False, True): # a new learner, and one that has met all ids
            make = (lambda m: lambda: m)(cls().partial_fit(stream)) if known else cls
            calls = dict(once=lambda m: m.predict_learn(stream), whole=lambda m: prequential(m, stream))
            for f in calls.values(): f(make()) # compile
            pairs = []
            for n in progress(range(40), cls.__name__, 'pair'):
                took = {o: seconds(lambda m=make(): calls[o](m)) for o in (calls if n%2 else reversed(calls))}
                pairs.append(took['whole']/took['once'])
            ratio[f"{cls.__name__}, {'ids known' if known else 'new'}"] = spread(pairs)
    worlds = dict(none={}, sudden=dict(drift='sudden'), gradual=dict(drift='gradual'), recurring=dict(drift='recurring'), popularity=dict(drift='popularity'),
                  births=dict(drift='births'), everything=dict(drift='births', policy='taste', label_noise=.1, tasks=.5))
    million = {o: spread([seconds(lambda: drift_stream(1_000_000, **kw)) for _ in range(3)], 2) for o,kw in progress(worlds.items(), 'streams', 'stream')}
    top = {cls.__name__: spread([prequential_topn(cls(), stream, positive=5.).seconds*1e6/(stream.events['rating']==5).sum() for _ in range(3)], 0)
           for cls in (Popularity, ItemItem)}
    record('protocol_speed', {'command': 'python tools/bench.py protocol', 'machine': machine(), 'rows': 'minimum, median, maximum',
           'prequential over predict_learn': ratio, 'seconds for a million events': million, 'top ten, microseconds per positive': top})


def record(name, out):
    (root/'recinc_nb'/'results'/f'{name}.json').write_text(json.dumps(out, indent=1) + '\n')
    print(json.dumps({o: out[o] for o in out if o not in ('machine', 'command')}, indent=1))


if __name__=='__main__':
    what = dict(sweep=sweep, protocol=protocol)
    for name in sys.argv[1:] or what: what[name]()
