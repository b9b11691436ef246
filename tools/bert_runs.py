"""The long runs behind chapters 43 and 43a, on MovieLens-100K with MiniLM: python tools/bert_runs.py

Each part takes 2 to 15 minutes on two idle cores. Writes recinc_nb/results/bert_online.json.
"""
import json, subprocess, sys, time
from functools import cache
from record import Record, root
import numpy as np, torch
import torch.nn.functional as F
from recinc_nb import click
from recinc_nb.bert_online import IncrementalBert
from recinc_nb.blocks import BlockLoop
from recinc_nb.core import progress, scale
from recinc_nb.baselines import BiasBaseline
from recinc_nb.learner import Reservoir
from recinc_nb.lora import LoRA
from recinc_nb.metrics import auc, log_loss, user_auc
from recinc_nb.mf_online import IncrementalMF
from recinc_nb.protocol import prequential
from recinc_nb.streams import TextHistory, movielens_100k
from recinc_nb.text import find_checkpoint

record = Record(__file__, 'bert_online', stream='MovieLens-100K', checkpoint='MiniLM')
EVENTS,BATCH = scale(1536, 64),32 # events of the timed loops

@cache
def told(n): return movielens_100k().take(scale(n, 64)).with_text()


class Sources:
    "The loop of the source articles, done right: one sequence per event, a classifier on top, all parameters, padded to 128."
    target = 'label'
    def __init__(self, seed=0, lr=1e-4, precision=torch.float32, mixed=False):
        from transformers import AutoModelForSequenceClassification, AutoTokenizer, logging
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        torch.manual_seed(seed)
        path = find_checkpoint('auto').path
        self.model = AutoModelForSequenceClassification.from_pretrained(path, num_labels=2, dtype=precision).eval() # no dropout, as everywhere
        self.tokenizer = AutoTokenizer.from_pretrained(path)
        named = list(self.model.named_parameters())
        self.mixed,self.made = mixed,[] # autocast to bfloat16; P(like) of each event, before its step
        self.optimizer = torch.optim.AdamW([dict(params=[p for _,p in named if p.ndim>1], weight_decay=.01),
                                            dict(params=[p for _,p in named if p.ndim<=1], weight_decay=0.)], lr=lr)

    def logits(self, text, pair, padding='max_length'):
        inputs = self.tokenizer(list(text), list(pair), truncation='only_first', max_length=128, padding=padding, return_tensors='pt')
        with torch.autocast('cpu', torch.bfloat16, self.mixed): x = self.model.base_model(**inputs).pooler_output
        return self.model.classifier(x.to(self.model.dtype))

    def partial_fit(self, X, y=None):
        e = X.events
        z = self.logits(e['text'], e['text_pair'])
        loss = F.cross_entropy(z, torch.from_numpy(e['label'].to_numpy(np.int64)))
        self.made.append(z.detach().double().softmax(1)[:,1].numpy())
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


class Watched(IncrementalBert):
    "Keeps what each step predicted before it moved anything: `predict` need not read the batch again."
    def _update(self, step, who):
        p = super()._update(step, who)
        self.__dict__.setdefault('made', []).append(p)
        return p


ROWS = { # name in tables: how it is made, and whether its stores are filled before the clock starts
    "the sources' loop: all, one text per event, padded to 128": (lambda seed: Sources(seed), False),
    'all, statements padded to 128': (lambda seed: Padded(update='all', lr=5e-5, seed=seed), False),
    'all': (lambda seed: IncrementalBert(update='all', lr=5e-5, seed=seed), False),
    'layers': (lambda seed: IncrementalBert(update='layers', lr=5e-5, seed=seed), False),
    'LoRA, r=4': (lambda seed: IncrementalBert(update=LoRA(r=4), lr=1e-3, seed=seed), False),
    'norms and biases': (lambda seed: IncrementalBert(update='norms', lr=1e-3, seed=seed), False),
    'top-2': (lambda seed: IncrementalBert(update='top-2', seed=seed), False),
    'top-2, activations stored': (lambda seed: IncrementalBert(update='top-2', seed=seed), True),
    'head': (lambda seed: IncrementalBert(update='head', seed=seed), False),
    'head, vectors stored': (lambda seed: IncrementalBert(update='head', seed=seed), True)}


DEAR_ROWS = {"the sources' loop: all, one text per event, padded to 128": 4, 'all, statements padded to 128': 8, 'all': 4, 'layers': 4, 'norms and biases': 4}

def timed(n=scale(512, 64)):
    "In turns, batch by batch; a dear row only at every fourth or eighth batch."
    models = {o: make(0) for o,(make,_) in ROWS.items()}
    for name,(_,stored) in ROWS.items():
        if stored: models[name].predict(told(n))    # fills the stores
        elif hasattr(models[name], 'model'): models[name].model # builds it
    took,names = {o: [] for o in ROWS},list(ROWS)
    for k,batch in enumerate(progress(list(told(n).batches(BATCH)), 'cost', 'batch')):
        for name in names[k%len(names):] + names[:k%len(names)]:
            if k%DEAR_ROWS.get(name, 1)==0: took[name].append(clock(lambda: models[name].partial_fit(batch)))
    return {o: dict(ms_per_event=round(1e3*float(np.mean(x))/BATCH, 3), batches=len(x)) for o,x in took.items()}


def texts():
    tok = Sources().tokenizer
    lengths = np.array([len(o) for o in tok(*(c.tolist() for c in (told(EVENTS).events['text'], told(EVENTS).events['text_pair'])))['input_ids']])
    return dict(events=EVENTS, tokens_per_event=round(float(lengths.mean()), 1), cut_to_128=round(float(np.minimum(lengths, 128).mean()), 1))


@record.part()
def cost():
    "Milliseconds per event of the first 512 events, in turns within one run, by batches of 32."
    yield 'texts', texts
    yield 'seconds', timed


def percentiles(x): return {f'p{q}': round(1e3*float(np.percentile(x, q)), 2) for q in (50, 99)} | {'n': len(x)}

def clock(f):
    start = time.perf_counter()
    f()
    return time.perf_counter()-start

@cache
def updates(update='top-2'):
    "A model after 100 updates, and how long they took."
    model,out = IncrementalBert(update=update),[]
    for b in progress(list(movielens_100k().take(scale(3200, 96)).batches(BATCH)), 'updates', 'batch'):
        model.predict(b)
        out.append(clock(lambda: model.partial_fit(b)))
    return model,percentiles(out[1:])

@cache
def updated(update='top-2'):
    "That model, its stream, and 300 users with 100 candidates each."
    (model,_),rng = updates(update),np.random.default_rng(0)
    users,items = [list(o.ids) for o in (model.users_, model.items_)]
    n = min(100, len(items))
    asks = [(users[rng.integers(len(users))], [items[k] for k in rng.choice(len(items), n, replace=False)]) for _ in range(scale(300, 4))]
    for u,i in asks: model.rank(u, i)
    return model,movielens_100k().take(scale(3200, 96)),asks

def scores():
    model,_,asks = updated()
    return percentiles([clock(lambda: model.rank(*o)) for o in asks])

def scores_after(update='top-2'):
    (model,stream,asks),out = updated(update),[]
    for o,b in zip(asks[:40], stream.batches(BATCH)):
        model.partial_fit(b)
        out.append(clock(lambda: model.rank(*o)))
    return percentiles(out)

def cross(history):
    _,stream,asks = updated()
    model,h = Sources(precision=torch.bfloat16),TextHistory(stream.items, history)
    for e in stream.events.itertuples(): h.add(e.user, e.item, e.label)
    pairs = [list(zip(*(h.pair(u, i) for i in some))) for u,some in asks[:30]]
    n_tokens = np.mean([len(o) for p in pairs[:10] for o in model.tokenizer(list(p[0]), list(p[1]), truncation='only_first', max_length=128)['input_ids']])
    def score(p):
        with torch.inference_mode(): model.logits(*p, padding='longest')
    score(pairs[0])
    return percentiles([clock(lambda: score(p)) for p in pairs]) | {'tokens': round(float(n_tokens), 1)}

@record.part()
def latency():
    "Milliseconds of an update and of a score."
    yield 'update of 32 events, top-2', lambda: updates()[1]
    yield 'score 100 candidates, bi-encoder, vectors stored', scores
    yield 'score 100 candidates, bi-encoder, right after an update of top-2', scores_after
    yield 'update of 32 events, head', lambda: updates('head')[1]
    yield 'score 100 candidates, bi-encoder, right after an update of head', lambda: scores_after('head')
    for history in (10, 2): yield f'score 100 candidates, cross-encoder, history {history}, bfloat16', lambda: cross(history)


PROBE = """
import json, resource, sys
sys.path.insert(0, {root!r})
from recinc_nb.bert_online import IncrementalBert
from recinc_nb.streams import movielens_100k
def rss(): return int(open('/proc/self/statm').read().split()[1])*4096/2**20
stream = movielens_100k().take({n})
m = IncrementalBert(update={update!r}, items=stream.items)
{body}
print(json.dumps(dict(out, peak_MiB=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/1024))))
"""

def probed(update, body):
    code = PROBE.format(root=str(root), update=update, body=body, n=scale(3000, 96))
    return json.loads(subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout.splitlines()[-1])

@record.part()
def memory():
    "Peak resident memory of a process of its own, and its growth over 10,000 updates of one event."
    stored = "out['stored_MiB'] = round(sum(o.size for o in (m._activations, m._vectors))/2**20, 1)"
    run = f"out = {{}}\nfor b in stream.batches(32):\n    m.predict(b)\n    m.partial_fit(b)\n{stored}"
    n = scale(1000, 5)
    grow = (f"at = []\nrows = list(stream.take({n}).events[['user', 'item', 'label']].itertuples(index=False, name=None))\n"
            f"for n in range({10*n}):\n    m.learn_one(*rows[n%{n}])\n    if n+1 in ({n}, {2*n}, {10*n}): at.append(round(rss(), 1))\nout = dict(rss_MiB_after_1000_2000_10000=at)")
    for name,update,body in (('top-2, batches of 32', 'top-2', run), ('all, batches of 32, dynamic padding', 'all', run), ('10,000 updates of one event, top-2', 'top-2', grow)):
        yield name, lambda: probed(update, body)


@cache
def read():
    "The vectors of all statements, by a BERT that stands still."
    m = IncrementalBert(update='head')
    m.predict(told(26_000))
    return m._vectors

def head(**kw):
    "A head that need not read again."
    m = IncrementalBert(update='head', **kw)
    m.build()
    m._vectors = read()
    return m

LONG = scale(12_000, 64)
PARTS = {f'{a:,}-{b:,}': slice(*scale((a, b), (0, 64))) for a,b in ((0, 900), (900, 3000), (3000, 6000), (6000, 9000), (9000, 12000), (6000, 12000))}
FOLLOW = { # name in tables: the learner, and rows per call
    'not learning': (lambda: head(head_lr=0.), 16),
    'biases': (lambda: BiasBaseline(), 1), 'logistic factorization': (lambda: IncrementalMF(loss='logistic'), 1),
    'head': (lambda: head(), 16), 'head, event by event': (lambda: head(), 1),
    'head, with the biases, event by event': (lambda: head(prior=BiasBaseline(target='label')), 1),
    **{f'head, with the ids{", event by event" if n==1 else ""}{f", seed {seed}" if seed else ""}':
       (lambda seed=seed: head(prior=IncrementalMF(loss='logistic', seed=seed)), n) for n,seeds in ((16, (0, 1, 2)), (1, (0,))) for seed in seeds}}

@cache
def followed(name):
    "What was predicted for each event."
    make,n = FOLLOW[name]
    return prequential(make(), told(LONG), metrics=('auc',), batch_size=n).frame['pred'].to_numpy()

def gain(y, p, null, n=100, draws=200):
    "The gain in AUC over another learner, and its 95 % interval over blocks of n events."
    rng,blocks = np.random.default_rng(0),np.array_split(np.arange(len(y)), max(len(y)//n, 1))
    def difference(at): return auc(y[at], p[at]) - auc(y[at], null[at])
    found = [difference(np.concatenate([blocks[k] for k in rng.integers(len(blocks), size=len(blocks))])) for _ in range(draws)]
    return [round(float(o), 4) for o in (difference(np.arange(len(y))), *np.percentile(found, [2.5, 97.5]))]

def judged(p, parts, null=None):
    "By parts, and what was gained over not learning."
    e,null = told(LONG).events[:len(p)],followed('not learning') if null is None else null
    y,u = e['label'].to_numpy(float),e['user'].to_numpy()
    p = p if p.max()<=1 else (p-1)/4 # stars
    return {o: dict(auc=round(float(auc(y[s], p[s])), 4), user_auc=round(float(user_auc(y[s], p[s], u[s])), 4),
                   log_loss=round(float(log_loss(y[s], p[s].clip(.001, .999))), 4), gain=gain(y[s], p[s], null[s])) for o,s in parts.items()}

def by_part(name):
    p,y = followed(name),told(LONG).events['label'].to_numpy(float)
    return judged(p, PARTS) | dict(auc_per_1000=[round(float(auc(y[a:a+1000], p[a:a+1000])), 4) for a in range(0, len(y), 1000)])

@record.part()
def pays():
    "By parts of the first 12,000 events: AUC, AUC per user, log-loss, and the gain over the BERT that does not learn, with its interval."
    for name in FOLLOW: yield name, lambda: by_part(name)


def users_of(s, draws=300):
    "How many users a part has, and the 95 % interval of the AUC of the BERT that does not learn, over users that are drawn."
    e,p,rng = told(LONG).events[s],followed('not learning')[s],np.random.default_rng(0)
    y,of = e['label'].to_numpy(float),[np.flatnonzero(e['user']==u) for u in e['user'].unique()]
    found = [auc(y[at], p[at]) for at in (np.concatenate([of[k] for k in rng.integers(len(of), size=len(of))]) for _ in range(draws))]
    return dict(users=len(of), auc_of_drawn_users=[round(float(o), 3) for o in np.percentile(found, [2.5, 97.5])])

@record.part()
def users():
    "By parts: how many users, and how far the AUC of the BERT that does not learn depends on who they are."
    for o,s in PARTS.items(): yield o, lambda: users_of(s)


@record.part()
def ahead():
    "By parts: the gain in AUC of the head with the ids over each learner of ids alone, with its interval over the same blocks."
    y = told(LONG).events['label'].to_numpy(float)
    for n in ('', ', event by event'):
        for rival in ('biases', 'logistic factorization'):
            yield f'head, with the ids{n}, over {rival}', lambda: {o: gain(y[s], followed(f'head, with the ids{n}')[s], followed(rival)[s]) for o,s in PARTS.items()}


TUNED,END = scale((1200, 4800), (32, 64))
THIRDS = {f'{a:,}-{b:,}': slice(a, b) for a,b in zip(*(np.linspace(TUNED, END, 4).astype(int)[o].tolist() for o in (slice(3), slice(1, 4))))}
THIRDS[f'{TUNED:,}-{END:,}'] = slice(TUNED, END)
POLICIES = { # name in tables: a learner with this step size, and which sizes
    'head': (lambda lr: Watched(update='head', head_lr=lr), (.2, .4, .8)),
    'top-2': (lambda lr: Watched(update='top-2', lr=lr), (1e-5, 3e-5, 1e-4)),
    'LoRA, r=4': (lambda lr: Watched(update=LoRA(r=4, lr=lr)), (1e-4, 3e-4, 1e-3))}

def tuned(make, sizes, end, name):
    "The step size that is best on the first events, and what its learner predicts of all."
    y,tried,best = told(LONG).events['label'].to_numpy(float),{},None
    batches = list(told(LONG).take(end).batches(16))
    n = -(-TUNED//16)
    for lr in sizes:
        m = make(lr)
        for b in batches[:n]: m.partial_fit(b)
        p = np.concatenate(m.made)[:TUNED]
        tried[str(lr)] = round(float(log_loss(y[:TUNED], p.clip(.001, .999))), 4)
        print(name, lr, tried[str(lr)], flush=True)
        if min(tried.values())==tried[str(lr)]: best = m
    for b in batches[n:]: best.partial_fit(b)
    return dict(tried=tried, best=min(tried, key=tried.get), tuned_on=TUNED),np.concatenate(best.made)

def on_thirds(name):
    told_of,p = tuned(*POLICIES[name], END, name)
    return told_of | judged(p, THIRDS)

@record.part(tuned_on=TUNED, events=END)
def policies():
    "Each policy by the best of three step sizes on the first events, judged on those that follow, in thirds; steps of 16 events."
    for name in ('not learning', 'biases', 'logistic factorization'): yield name, lambda: judged(followed(name)[:END], THIRDS)
    for name in POLICIES: yield name, lambda: on_thirds(name)


DEAR = scale(1800, 48)
@cache
def null(): return prequential(IncrementalBert(update='head', head_lr=0.), told(LONG).take(DEAR), metrics=('auc',), batch_size=16).frame['pred'].to_numpy()

def alone(p): return judged(p, {f'{TUNED:,}-{DEAR:,}': slice(TUNED, DEAR)}, null())

def the_loop():
    told_of,p = tuned(lambda lr: Sources(lr=lr, mixed=True), (3e-5, 1e-4, 3e-4), DEAR, 'loop')
    return told_of | alone(p)

@record.part(tuned_on=TUNED, events=DEAR)
def loop():
    "The sources' loop in bfloat16, all parameters, tuned as the policies are, judged on the next events beside the null and learners of ids."
    yield 'not learning', lambda: alone(null())
    for name in ('biases', 'logistic factorization'):
        yield name, lambda: alone(prequential(FOLLOW[name][0](), told(LONG).take(DEAR), metrics=('auc',), batch_size=1).frame['pred'].to_numpy())
    yield "the sources' loop", the_loop


def trailing(n):
    "For each event the mean label of the last n events before its batch of 16."
    y = told(LONG).events['label'].to_numpy(float)[:DEAR]
    return np.array([y[max(0, k-k%16-n):max(k-k%16, 1)].mean() for k in range(DEAR)])

def lagging():
    "What the loop ranks by: its AUC as it is, by the mean of each batch alone, by what is left, with its weights of event 1,200, and without the last sitting."
    m,y,s = Sources(lr=1e-4),told(LONG).events['label'].to_numpy(float)[:DEAR],slice(TUNED, DEAR)
    batches,first = list(told(LONG).take(DEAR).batches(16)),-(-TUNED//16)
    for b in batches[:first]: m.partial_fit(b)
    stopped = np.concatenate([m.predict(b) for b in batches[first:]])
    for b in batches[first:]: m.partial_fit(b)
    p = np.concatenate(m.made)
    means = np.concatenate([np.full(len(o), o.mean()) for o in m.made])
    early = slice(TUNED, DEAR - scale(60, 4)) # without the last sitting
    return dict(batch_means=[round(float(o.mean()), 4) for o in m.made[first:]]) | {k: round(float(v), 4) for k,v in dict(auc=auc(y[s], p[s]), by_batch_means=auc(y[s], means[s]), by_the_rest=auc(y[s], (p-means)[s]),
        before_the_last_sitting=auc(y[early], p[early]), stopped_at_1200=auc(y[s], stopped), spread=p[s].std(), spread_of_means=means[s].std(),
        **{f'correlation_with_last_{n}': np.corrcoef(means[s], trailing(n)[s])[0,1] for n in (16, 64, 256, 1024)}).items()}

@record.part(tuned_on=TUNED, events=DEAR)
def lag():
    "Why is the AUC of the sources' loop below a coin? Its best step size, in fp32, beside the mean of the last labels, which knows neither user nor item."
    y,s = told(LONG).events['label'].to_numpy(float),slice(TUNED, DEAR)
    for n in (16, 64, 256, 1024): yield f'mean of the last {n} labels', lambda: dict(auc=round(float(auc(y[s], trailing(n)[s])), 4))
    yield "the sources' loop", lagging


@record.part()
def harm():
    "What a first call of n rows does to the log-loss of the events that follow, against the same learner before the call."
    def lost(n, places, then=500, bound=click._SHIFT):
        out,kept,click._SHIFT = [],click._SHIFT,bound
        for a in range(0, scale(6000, 40), scale(6000, 40)//places):
            after,m = told(26_000)[a+n:a+n+then],head()
            y,before = after.events['label'].to_numpy(float),m.predict(after)
            m.partial_fit(told(26_000)[a:a+n])
            out.append(log_loss(y, m.predict(after)) - log_loss(y, before))
        click._SHIFT = kept
        return dict(mean=round(float(np.mean(out)), 4), worst=round(float(np.max(out)), 4), places=places, then=then)
    for n,places in scale(((1, 20), (16, 20), (1000, 10), (20_000, 3)), ((1, 2), (16, 2))): yield f'head, {n:,} rows', lambda: lost(n, places)
    yield 'head, 16 rows, no bound', lambda: lost(16, scale(20, 2), bound=np.inf)


@record.part()
def blocks():
    "Several passes over a block by the head, judged on the next; replay; and a model that learns nothing. First 3,072 events, those after 900 count."
    def run(passes, **kw):
        loop = BlockLoop(IncrementalBert(update='head', **kw), block=scale(256, 32), passes=passes)
        r = loop.run(told(3072))
        late = r.frame.iloc[scale(900, 0):]
        return {k: round(float(v), 4) for k,v in dict(auc=auc(late['label'].to_numpy(float), late['pred'].to_numpy()), log_loss=log_loss(late['label'].to_numpy(float), late['pred'].to_numpy())).items()} | dict(passes=loop.n_passes_)
    yield 'learns nothing', lambda: run(1, head_lr=0.)
    yield 'one pass', lambda: run(1)
    yield 'up to three passes', lambda: run(3)
    yield 'up to three passes, replay of 32', lambda: run(3, remedies=(Reservoir(2000, k=1),))


if __name__=='__main__': record.main()
