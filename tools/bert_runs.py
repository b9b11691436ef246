"""The long runs behind chapter 43, on MovieLens-100K with MiniLM: python tools/bert_runs.py [memory] [cost] [latency] [frontier] [blocks]

Each part takes 2 to 15 minutes on two idle cores. What is finished is kept in out/bert_runs.json, so a run that was stopped goes
on where it was (--again PART measures a part anew). At the end recinc_nb/results/bert_online.json is written; parts that were not
asked for stay in it as they were, with the machine that they were measured on.
"""
import argparse, json, os, subprocess, sys, time
from pathlib import Path
import numpy as np

root = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(root))
import torch
import torch.nn.functional as F
from recinc_nb.bert_online import IncrementalBert
from recinc_nb.blocks import BlockLoop
from recinc_nb.core import machine, progress, write_atomic
from recinc_nb.learner import Reservoir
from recinc_nb.lora import LoRA
from recinc_nb.protocol import prequential
from recinc_nb.streams import movielens_100k
from recinc_nb.text import find_checkpoint

OUT,TO = root/'out'/'bert_runs.json',root/'recinc_nb'/'results'/'bert_online.json'
EVENTS,BATCH,SEEDS = 1536,32,(0, 1, 2) # events of the timed loops and the frontier; quality is judged on 1,024 and 2,048
done = json.loads(OUT.read_text()) if OUT.is_file() else {}


def keep(part, name, make):
    "What `make` gives, or what it gave in an earlier run."
    if name not in done.setdefault(part, {}):
        done[part][name] = make()
        write_atomic(OUT, json.dumps(done, indent=1).encode())
        print(part, name, done[part][name], flush=True)
    return done[part][name]



class Sources:
    "The loop of the source articles, done right: one sequence per event, a classifier on top, all parameters, padded to 128."
    target = 'label'
    def __init__(self, seed=0, lr=1e-4, precision=torch.float32):
        from transformers import AutoModelForSequenceClassification, AutoTokenizer, logging
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        torch.manual_seed(seed)
        path = find_checkpoint('auto').path
        self.model = AutoModelForSequenceClassification.from_pretrained(path, num_labels=2, dtype=precision).eval() # no dropout, as everywhere
        self.tokenizer = AutoTokenizer.from_pretrained(path)
        named = list(self.model.named_parameters())
        self.optimizer = torch.optim.AdamW([dict(params=[p for _,p in named if p.ndim>1], weight_decay=.01),
                                            dict(params=[p for _,p in named if p.ndim<=1], weight_decay=0.)], lr=lr)

    def logits(self, text, pair, padding='max_length'):
        inputs = self.tokenizer(list(text), list(pair), truncation='only_first', max_length=128, padding=padding, return_tensors='pt')
        return self.model(**inputs).logits

    def partial_fit(self, X, y=None):
        e = X.events
        loss = F.cross_entropy(self.logits(e['text'], e['text_pair']), torch.from_numpy(e['label'].to_numpy(np.int64)))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.)
        self.optimizer.step()

    def predict(self, X):
        with torch.inference_mode(): z = self.logits(X.events['text'], X.events['text_pair'], 'longest')
        return z.double().softmax(1)[:,1].numpy()


class Padded(IncrementalBert):
    "Our statements, each padded to 128."
    def build(self, texts=()):
        if 'model_' in self.__dict__: return
        super().build(texts)
        self.collate_.pad = lambda said: dict(self.tokenizer_(said, truncation=True, max_length=128, padding='max_length',
                                                              return_token_type_ids=False, return_tensors='pt'))


ROWS = { # name in tables: how it is made, and whether its stores are filled before the clock starts
    "the sources' loop: all, one text per event, padded to 128": (lambda seed: Sources(seed), False),
    'all, statements padded to 128': (lambda seed: Padded(update='all', lr=5e-5, seed=seed), False),
    'all, dynamic padding': (lambda seed: IncrementalBert(update='all', lr=5e-5, seed=seed), False),
    'LoRA, r=4': (lambda seed: IncrementalBert(update=LoRA(r=4), lr=1e-3, seed=seed), False),
    'norms and biases': (lambda seed: IncrementalBert(update='norms', lr=1e-3, seed=seed), False),
    'top-2': (lambda seed: IncrementalBert(update='top-2', seed=seed), False),
    'top-2, activations stored': (lambda seed: IncrementalBert(update='top-2', seed=seed), True),
    'head': (lambda seed: IncrementalBert(update='head', seed=seed), False),
    'head, vectors stored': (lambda seed: IncrementalBert(update='head', seed=seed), True)}


def cost():
    "Seconds per batch of 32, in turns within one run; and the prequential AUC of each."
    told = movielens_100k().take(EVENTS).with_text()
    text = [c.tolist() for c in (told.events['text'], told.events['text_pair'])]
    tok = Sources().tokenizer
    lengths = np.array([len(o) for o in tok(*text)['input_ids']])
    keep('cost', 'texts', lambda: dict(events=EVENTS, tokens_per_event=round(float(lengths.mean()), 1), cut_to_128=round(float(np.minimum(lengths, 128).mean()), 1)))
    keep('cost', 'seconds', lambda: timed(told))
    for name,(make,stored) in ROWS.items():
        if stored or 'padded' in name and 'sources' not in name: continue # the same numbers as the row before
        seeds = SEEDS if 'sources' in name else SEEDS[:1] # elsewhere the seed draws nothing: MiniLM's weights, a head of zeros, LoRA's own seed
        for seed in seeds: keep('cost', f'auc of {name}, seed {seed}', lambda: quality(make(seed), told.take(1024))[0])


def quality(model, told, n=BATCH):
    "The metrics of a run, and the milliseconds that an event took, predictions included."
    r = prequential(model, told, metrics=('auc', 'user_auc', 'log_loss'), batch_size=n)
    return {k: round(float(v), 4) for k,v in r.summary.items()},round(1e3*r.seconds/len(told), 2)


def timed(told):
    models = {o: make(0) for o,(make,_) in ROWS.items()}
    batches = list(told.batches(BATCH))
    for name,(_,stored) in ROWS.items():
        if stored: models[name].predict(told)            # fills the stores
        elif hasattr(models[name], 'model'): models[name].model # builds it
    took,names = {o: [] for o in ROWS},list(ROWS)
    for n,batch in enumerate(progress(batches, 'cost', 'batch')):
        for name in names[n%len(names):] + names[:n%len(names)]:
            if 'statements padded' in name and n%8: continue
            start = time.perf_counter()
            models[name].partial_fit(batch)
            took[name].append(time.perf_counter()-start)
    base = names[0]
    at = {o: list(range(0, len(batches), 8)) if 'statements padded' in o else list(range(len(batches))) for o in names}
    return {o: dict(ms_per_event=round(1e3*float(np.mean(took[o]))/BATCH, 3),
                    times_cheaper=round(float(np.sum([took[base][k] for k in at[o]])/np.sum(took[o])), 2)) for o in names}


def percentiles(x): return {f'p{q}': round(1e3*float(np.percentile(x, q)), 2) for q in (50, 99)} | {'n': len(x)}


def clock(f):
    start = time.perf_counter()
    f()
    return time.perf_counter()-start


def latency():
    "Milliseconds of an update and of a score."
    stream = movielens_100k().take(3200)
    model,rng = IncrementalBert(update='top-2'),np.random.default_rng(0)
    batches = list(stream.batches(BATCH))
    def updates():
        out = []
        for b in progress(batches, 'updates', 'batch'):
            model.predict(b)
            out.append(clock(lambda: model.partial_fit(b)))
        return percentiles(out[1:])
    keep('latency', 'update of 32 events, top-2', updates)
    if not hasattr(model, 'model_'): model.partial_fit(stream)
    users,items = [list(o.ids) for o in (model.users_, model.items_)]
    asks = [(users[rng.integers(len(users))], [items[n] for n in rng.choice(len(items), 100, replace=False)]) for _ in range(300)]
    for u,i in asks: model.rank(u, i)
    keep('latency', 'score 100 candidates, bi-encoder, vectors stored', lambda: percentiles([clock(lambda: model.rank(*o)) for o in asks]))
    def after():
        out = []
        for n,o in enumerate(asks[:40]):
            model.partial_fit(batches[n])
            out.append(clock(lambda: model.rank(*o)))
        return percentiles(out)
    keep('latency', 'score 100 candidates, bi-encoder, right after an update of top-2', after)
    from recinc_nb.streams import TextHistory
    for history,precision in ((10, torch.bfloat16), (2, torch.bfloat16)):
        cross,h = Sources(precision=precision),TextHistory(stream.items, history)
        for e in stream.events.itertuples(): h.add(e.user, e.item, e.label)
        pairs = [list(zip(*(h.pair(u, i) for i in some))) for u,some in asks[:30]]
        n_tokens = np.mean([len(o) for p in pairs[:10] for o in cross.tokenizer(list(p[0]), list(p[1]), truncation='only_first', max_length=128)['input_ids']])
        def score(p):
            with torch.inference_mode(): cross.logits(*p, padding='longest')
        score(pairs[0])
        kind = str(precision).split('.')[1]
        keep('latency', f'score 100 candidates, cross-encoder, history {history}, {kind}',
             lambda: percentiles([clock(lambda: score(p)) for p in pairs]) | {'tokens': round(float(n_tokens), 1)})


PROBE = """
import json, resource, sys
sys.path.insert(0, {root!r})
from recinc_nb.bert_online import IncrementalBert
from recinc_nb.streams import movielens_100k
def rss(): return int(open('/proc/self/statm').read().split()[1])*4096/2**20
stream = movielens_100k().take(3000)
m = IncrementalBert(update={update!r}, items=stream.items)
{body}
print(json.dumps(dict(out, peak_MiB=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/1024))))
"""

def memory():
    "Peak resident memory of a process of its own, and its growth over 10,000 updates of one event."
    stored = "out['stored_MiB'] = round(sum(o.size for o in (m._activations, m._vectors))/2**20, 1)"
    run = f"out = {{}}\nfor b in stream.batches(32):\n    m.predict(b)\n    m.partial_fit(b)\n{stored}"
    grow = ("at = []\nrows = list(stream.take(1000).events[['user', 'item', 'label']].itertuples(index=False, name=None))\n"
            "for n in range(10000):\n    m.learn_one(*rows[n%1000])\n    if n in (999, 1999, 9999): at.append(round(rss(), 1))\nout = dict(rss_MiB_after_1000_2000_10000=at)")
    for name,update,body in (('top-2, batches of 32', 'top-2', run), ('all, batches of 32, dynamic padding', 'all', run), ('10,000 updates of one event, top-2', 'top-2', grow)):
        code = PROBE.format(root=str(root), update=update, body=body)
        keep('memory', name, lambda: json.loads(subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout.splitlines()[-1]))


def frontier():
    "Update every n events × which parameters: milliseconds per event, predictions included, and quality."
    told = movielens_100k().take(1024).with_text()
    for update,lr in (('head', None), ('top-1', None), ('top-2', None), ('all', 5e-5)):
        for n in (128, 32, 8):
            def run():
                m = IncrementalBert(update=update, lr=lr)
                m.model
                metrics,ms = quality(m, told, n)
                return metrics | dict(ms_per_event=ms)
            keep('frontier', f'{update} every {n}', run)


def blocks():
    "Several passes over a block, judged on the next; replay; and a model that reads on and learns nothing."
    told = movielens_100k().take(1536).with_text()
    replay = Reservoir(2000, k=1), # 32 older events in each batch of 32
    arms = {'one pass': (1, dict(update='top-2')), 'up to three passes': (3, dict(update='top-2')),
            'up to three passes, replay of 32': (3, dict(update='top-2', remedies=replay)), 'learns nothing': (1, dict(update='head', head_lr=0.))}
    for name,(passes,kw) in arms.items():
        def run():
            loop = BlockLoop(IncrementalBert(**kw), block=256, passes=passes)
            return {k: round(float(v), 4) for k,v in loop.run(told).summary[['auc', 'log_loss']].items()} | dict(passes=loop.n_passes_)
        keep('blocks', f'{name}, seed 0', run)


PARTS = dict(memory=memory, cost=cost, latency=latency, frontier=frontier, blocks=blocks)
BY_PART = 'load', 'threads', 'machines' # what is noted for each part

def whole(old, done, here):
    "The record: the parts that are `done`, and beside them those of the `old` record that are not; each with its load, threads and machine."
    old = old | dict(machines={o: old['machine'] for o in PARTS if o in old} | old.get('machines', {})) if old else {}
    new = [o for o in PARTS if o in done and done[o]!=old.get(o)] # the others are from the same run as those in the record
    notes = {name: old.get(name, {}) | {o: x for o,x in done.get(name, {}).items() if o in new} for name in BY_PART}
    notes['machines'] |= {o: here for o in new}
    parts = {o: done[o] if o in new else old[o] for o in PARTS if o in done or o in old}
    return dict(command='python tools/bert_runs.py', stream='MovieLens-100K', checkpoint='MiniLM', machine=here if new or not old else old['machine'], **parts, **notes)

def main(argv=None):
    p = argparse.ArgumentParser(prog='python tools/bert_runs.py', description='The long runs behind chapter 43, on MovieLens-100K with MiniLM.')
    p.add_argument('parts', nargs='*', metavar='part', help=f"some of {', '.join(PARTS)}; all without any")
    p.add_argument('--again', action='store_true', help='measure the parts anew, also where they are finished')
    args = p.parse_args(argv)
    if wrong := [o for o in args.parts if o not in PARTS]: p.error(f"there is no part {', '.join(wrong)}; use some of {', '.join(PARTS)}")
    for o in args.parts or PARTS:
        if args.again:
            for part in (done, done.get('load', {}), done.get('threads', {})): part.pop(o, None)
        done.setdefault('load', {}).setdefault(o, round(os.getloadavg()[0], 2))
        done.setdefault('threads', {}).setdefault(o, torch.get_num_threads())
        PARTS[o]()
    old = json.loads(TO.read_text()) if TO.is_file() else {}
    write_atomic(TO, (json.dumps(whole(old, done, machine()), indent=1) + '\n').encode())


if __name__=='__main__': main()
