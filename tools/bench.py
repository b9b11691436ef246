"""Time the stream protocol, always beside something in the same run, and record it: python tools/bench.py

On MovieLens-100K, in pairs that alternate: seconds of `prequential` without its metrics over those of one
`predict_learn` on the same events. Then seconds for drift streams of a million events, microseconds per positive of
`prequential_topn`, CPU microseconds per event of `ClockFilter` beside `IncrementalMF`, and million numbers per
CPU second of the detectors of drift beside river's, in pairs that alternate. `samples` times
the sampling of a buffer, `replayed` the remedies that replay, `bert_steps` steps of BERT beside a bare loop in PyTorch. Writes recinc_nb/results/protocol_speed.json and sample_speed.json. The learner itself is timed by `python tools/speed.py`.
"""
import copy, gc, random, time
from record import Record
import numpy as np, torch
from recinc_nb.baselines import BiasBaseline, ItemItem, Popularity
from recinc_nb.bert_online import IncrementalBert
from recinc_nb.click import statements
from recinc_nb.clock import ClockFilter
from recinc_nb.core import progress, scale
from recinc_nb.drift import ADWIN, PageHinkley
from recinc_nb.ewc import EWC
from recinc_nb.learner import Reservoir
from recinc_nb.mf_online import IncrementalMF
from recinc_nb.protocol import prequential
from recinc_nb.replay import Replay, keep_places, skip_sample
from recinc_nb.topn import prequential_topn
from recinc_nb.streams import movielens_100k
from recinc_nb.worlds import drift_stream

record = Record(__file__, 'protocol_speed', rows='minimum, median, maximum')

def events(): return movielens_100k().take(scale(100_000, 1_000))

def seconds(f):
    gc.collect()
    start = time.perf_counter()
    f()
    return time.perf_counter() - start

def cpu(f):
    start = time.process_time()
    f()
    return time.process_time() - start

def turns(n, calls): return calls if n%2 else reversed(calls) # who comes first, in pairs that alternate

def spread(times, digits=3): return [round(float(o), digits) for o in np.percentile(times, (0, 50, 100))]

def ratio(cls, known):
    stream = events()
    make = (lambda m: lambda: m)(cls().partial_fit(stream)) if known else cls
    calls = dict(once=lambda m: m.predict_learn(stream), whole=lambda m: prequential(m, stream))
    for f in calls.values(): f(make()) # compile
    pairs = []
    for n in progress(range(scale(40, 2)), cls.__name__, 'pair'):
        took = {o: seconds(lambda m=make(): calls[o](m)) for o in turns(n, calls)}
        pairs.append(took['whole']/took['once'])
    return spread(pairs)

@record.part(('prequential over predict_learn',))
def protocol():
    "Seconds of `prequential` over those of `predict_learn`, of a new learner and of one that has met all ids."
    for cls in (BiasBaseline, IncrementalMF):
        for known in (False, True): yield f"{cls.__name__}, {'ids known' if known else 'new'}", lambda: ratio(cls, known)

@record.part(('seconds for a million events',))
def worlds():
    "Seconds for drift streams of a million events."
    for name,kw in dict(none={}, sudden=dict(drift='sudden'), gradual=dict(drift='gradual'), recurring=dict(drift='recurring'), popularity=dict(drift='popularity'),
                        births=dict(drift='births'), everything=dict(drift='births', policy='taste', label_noise=.1, tasks=.5)).items():
        yield name, lambda: spread([seconds(lambda: drift_stream(scale(1_000_000, 1_000), **kw)) for _ in range(3)], 2)

@record.part(('top ten, microseconds per positive',))
def topn():
    "Microseconds of `prequential_topn` per positive."
    for cls in (Popularity, ItemItem):
        def run():
            stream = events()
            return spread([prequential_topn(cls(), stream, positive=5.).seconds*1e6/(stream.events['rating']==5).sum() for _ in range(3)], 0)
        yield cls.__name__, run

@record.part(('one sweep, CPU microseconds per event',))
def sweeps():
    "CPU microseconds per event of `partial_fit` on new learners, seven sweeps of each."
    def run(cls):
        stream = events()
        def once():
            start = time.process_time()
            cls().partial_fit(stream)
            return (time.process_time() - start)*1e6/len(stream)
        once() # compile
        return spread([once() for _ in range(scale(7, 2))], 2)
    for cls in (IncrementalMF, ClockFilter): yield cls.__name__, lambda: run(cls)

@record.part(('samples',), file='sample_speed')
def samples():
    "Events per CPU second of an even sample of 1,000: by algorithm R, which draws for each event, and by algorithm L, which skips."
    def run(f, n):
        f(10_000)
        def once():
            start = time.process_time()
            f(n)
            return n/(time.process_time() - start)
        return spread([once() for _ in range(scale(9, 2))], 0)
    yield 'algorithm R', lambda: run(lambda n: keep_places(0, n, 1_000, 0, 1), scale(20_000_000, 1_000_000))
    yield 'algorithm L', lambda: run(lambda n: [skip_sample(n//50, 1_000, seed) for seed in range(50)], scale(1_000_000_000, 1_000_000))

@record.part(('steps',), file='sample_speed')
def replayed():
    "CPU microseconds per event of `partial_fit` on a new learner, without replay, with `Reservoir` and with `Replay`."
    stream = drift_stream(scale(60_000, 1_000))
    def run(remedies):
        def once():
            m,start = IncrementalMF(remedies=remedies),time.process_time()
            m.partial_fit(stream)
            return (time.process_time() - start)*1e6/len(stream)
        once()
        return spread([once() for _ in range(scale(7, 2))], 2)
    for name,remedies in (('naive', ()), ('Reservoir', (Reservoir(20_000),)), ('Replay', (Replay(),))): yield name, lambda: run(remedies)

@record.part(('detectors, million numbers per CPU second',))
def detectors():
    "Million numbers per CPU second of `updates`, and of river's loop over `update`, on coins; and the ratio of both, in pairs that alternate."
    from river import drift
    coins = (np.random.default_rng(0).random(scale(500_000, 2_000))<.3)*1.
    for cls in (ADWIN, PageHinkley):
        def run(cls=cls):
            def theirs(listed=coins.tolist(), one=getattr(drift, cls.__name__)()):
                for x in listed: one.update(x)
            cls().updates(coins) # compile
            calls,took = dict(ours=lambda: cls().updates(coins), river=theirs),[]
            for n in range(scale(9, 2)): took.append({o: cpu(calls[o]) for o in turns(n, calls)})
            return {**{o: spread([len(coins)/t[o]/1e6 for t in took], 2) for o in calls}, 'ratio': spread([t['river']/t['ours'] for t in took], 1)}
        yield cls.__name__, run

def plain_torch(m, old=(), pull=None):
    "A step in bare PyTorch on the network of a learner: read, cross-entropy, slopes, clip, AdamW for the encoder and SGD for the head."
    net = copy.deepcopy(m.model_).train(m.model_.training)
    named = dict(net.named_parameters())
    encoder,head = [p for o,p in named.items() if o.startswith('bert.') and p.requires_grad],list(net.classifier.parameters())
    optimizers = torch.optim.AdamW(encoder, lr=1e-4, weight_decay=.01),torch.optim.SGD(head, lr=.1)
    draw = random.Random(0)
    def step(rows, y):
        rows,y = list(rows) + (draw.sample(old, len(rows)) if old else []),list(y)
        if old: rows,y = [o[:2] for o in rows],y + [o[2] for o in rows[len(y):]]
        batch = m.collate_([dict(text=t, text_pair=p, label=k) for (t, p),k in zip(rows, y)])
        loss = torch.nn.functional.cross_entropy(net(**{o: x for o,x in batch.items() if o!='labels'}), batch['labels'])
        if pull: loss = loss + sum(.5*(k*(named[o]-a)**2).sum() for o,(a,k) in pull.items())
        for o in optimizers: o.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(encoder, 1.)
        for o in optimizers: o.step()
        return loss.item()
    return step

@record.part(('BERT, seconds of a step over those of bare PyTorch',))
def bert_steps():
    "CPU seconds of 20 steps of 16 rows of `IncrementalBert`, all of a small encoder moving, over those of a bare loop with the same remedy; pairs alternate."
    events = movielens_100k().take(2_000).with_text().events
    rows = [(tuple(map(tuple, statements(t))), p) for t,p in zip(events['text'], events['text_pair'])]
    y = events['label'].to_numpy(float)
    def run(remedy):
        m = IncrementalBert('tiny', update='all', device='cpu', batch_size=16, remedies=(remedy,) if remedy else ())
        for a in range(0, 640, 16): m.partial_fit(rows[a:a+16], y[a:a+16])
        old = [(*r, k) for r,k in zip(rows[:640], y)] if isinstance(remedy, Reservoir) else []
        calls = dict(ours=m.partial_fit, plain=plain_torch(m, old, m.remedies_[0].pull() if isinstance(remedy, EWC) else None))
        def steps(f, at):
            for a in range(at, at+320, 16): f(rows[a:a+16], y[a:a+16])
        took = []
        for n in progress(range(scale(15, 2)), type(remedy).__name__ if remedy else 'naive', 'pair'):
            at = 640 + n%4*320
            took.append({o: cpu(lambda: steps(calls[o], at)) for o in turns(n, calls)})
        return spread([t['ours']/t['plain'] for t in took], 2)
    for name,remedy in (('naive', None), ('EWC', EWC(after=640, size=200)), ('Reservoir', Reservoir(2_000))): yield name, lambda: run(remedy)


if __name__=='__main__': record.main()
