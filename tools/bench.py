"""Time the stream protocol, always beside something in the same run, and record it: python tools/bench.py

On MovieLens-100K, in pairs that alternate: seconds of `prequential` without its metrics over those of one
`predict_learn` on the same events. Then seconds for drift streams of a million events, and microseconds per positive of
`prequential_topn`. Writes recinc_nb/results/protocol_speed.json. The learner itself is timed by `python tools/speed.py`.
"""
import argparse, gc, json, sys, time
from pathlib import Path
import numpy as np

root = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(root))
from recinc_nb.baselines import BiasBaseline, ItemItem, Popularity
from recinc_nb.core import machine, progress
from recinc_nb.mf_online import IncrementalMF
from recinc_nb.protocol import prequential, prequential_topn
from recinc_nb.streams import movielens_100k
from recinc_nb.worlds import drift_stream

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
    out = {'command': 'python tools/bench.py', 'machine': machine(), 'rows': 'minimum, median, maximum',
           'prequential over predict_learn': ratio, 'seconds for a million events': million, 'top ten, microseconds per positive': top}
    (root/'recinc_nb'/'results'/'protocol_speed.json').write_text(json.dumps(out, indent=1) + '\n')
    print(json.dumps({o: out[o] for o in out if o not in ('machine', 'command')}, indent=1))


if __name__=='__main__':
    argparse.ArgumentParser(prog='python tools/bench.py', description='Time the stream protocol, and record it.').parse_args()
    protocol()
