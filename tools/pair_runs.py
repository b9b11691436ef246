"""What a cross-encoder sees and costs, beside the bi-encoder and the null, with MiniLM: python tools/pair_runs.py

Some five minutes of one idle core. Writes recinc_nb/results/pair.json. Milliseconds are of processor time in one thread, so that other work on the
machine weighs less.
"""
import copy, time
from record import Record
import numpy as np, torch
import torch.nn.functional as F
from recinc_nb.baselines import BiasBaseline
from recinc_nb.bert import PairCollator, PairModel, decay_groups, last_decides, told
from recinc_nb.bert_online import IncrementalBert, choose_moving, climb, lower_encoder
from recinc_nb.click import ClickBert
from recinc_nb.core import scale
from recinc_nb.metrics import auc, log_loss
from recinc_nb.protocol import prequential
from recinc_nb.streams import TextHistory, movielens_100k
from recinc_nb.text import load_bert

torch.set_num_threads(1)
record = Record(__file__, 'pair', checkpoint='MiniLM')
EVENTS,MOVIES = scale(640, 64),scale(640, 64)
DEPTH = 4 # layers below the cut of the split encoder; two stand above it

def judge(y, p):
    half = len(y)//2
    return dict(auc=round(float(auc(y[half:], p[half:])), 4), log_loss=round(float(log_loss(y[half:], p[half:])), 4))

def int8(bert): return torch.ao.quantization.quantize_dynamic(bert, {torch.nn.Linear}, dtype=torch.qint8)

@record.part(events=EVENTS, batch=16)
def order(seeds=(0,)):
    "A made world in which the last like decides: AUC and log-loss of the second half; and of the last quarter in int8, learned before it."
    def run(reads, seed, **kw):
        pasts,items,y,_ = last_decides(EVENTS, seed=seed)
        rows,m,out = list(zip(((o, []) for o in pasts), items)),ClickBert(reads=reads, device='cpu', **kw),[]
        for a in range(0, EVENTS, 16):
            if a==EVENTS//4*3: kept = copy.deepcopy(m)
            out.append(m.predict(rows[a:a+16]))
            m.partial_fit(rows[a:a+16], y[a:a+16])
        found = judge(y, np.concatenate(out))
        if reads=='pair':
            last = slice(EVENTS//4*3, None)
            p = kept.predict(rows[last])
            kept.model_.bert = int8(kept.model_.bert)
            q = kept.predict(rows[last])
            found |= dict(stopped=round(float(auc(y[last], p)), 4), stopped_int8=round(float(auc(y[last], q)), 4), largest_gap=round(float(np.abs(p-q).max()), 3))
        return found
    def apart(seed):
        "The split encoder, its upper layers and a head learning."
        pasts,items,y,_ = last_decides(EVENTS, seed=seed)
        split,out = Split(*load_bert()),[]
        net = PairModel(split.bert)
        choose_moving(split.bert, f'top-{len(split.bert.encoder.layer)-DEPTH}')
        optimizer = torch.optim.AdamW([*decay_groups(split.bert.named_parameters()), dict(params=net.classifier.parameters(), lr=.1, weight_decay=0.)], lr=1e-4)
        for a in range(0, EVENTS, 16):
            z = net.classifier(F.normalize(split([(told((o, ())), i) for o,i in zip(pasts[a:a+16], items[a:a+16])]), dim=1))
            out.append((z[:,1]-z[:,0]).sigmoid().detach().numpy())
            optimizer.zero_grad()
            F.cross_entropy(z, torch.from_numpy(y[a:a+16]).long()).backward()
            torch.nn.utils.clip_grad_norm_(split.bert.parameters(), 1.)
            optimizer.step()
        return judge(y, np.concatenate(out).astype(float))
    for seed in seeds:
        yield dict(who='the truth', seed=seed), lambda: judge(*last_decides(EVENTS, seed=seed)[2:])
        yield dict(who='pair', seed=seed), lambda: run('pair', seed)
        yield dict(who='statements', seed=seed), lambda: run('statements', seed)
        yield dict(who='pair, top-2, lower layers apart', seed=seed), lambda: apart(seed)

@record.part(events=MOVIES, batch=32)
def movielens():
    "The first events of MovieLens-100K, all of them and those after the first 30 %; nothing was tuned for the cross-encoder."
    def run(make):
        start = time.process_time()
        n = MOVIES
        frame = prequential(make(), movielens_100k().take(n), batch_size=32).frame
        y,p = (frame[o].to_numpy() for o in ('label', 'pred'))
        late = slice(int(.3*n), None)
        out = {f'{f.__name__}{name}': round(float(f(y[k], p[k])), 4) for f in (auc, log_loss) for name,k in (('', slice(None)), (', after 30 %', late))}
        return out | dict(ms_per_event=round(1e3*(time.process_time()-start)/n, 1))
    yield 'biases', lambda: run(lambda: BiasBaseline(target='label'))
    yield 'statements, frozen', lambda: run(lambda: IncrementalBert(update='head', head_lr=0., device='cpu'))
    yield 'statements, top-2', lambda: run(lambda: IncrementalBert(update='top-2', lr=1e-4, device='cpu'))
    yield 'pair, top-2', lambda: run(lambda: IncrementalBert(reads='pair', update='top-2', lr=1e-4, history=5, device='cpu'))

def asks(n=scale(11, 3)):
    "Users with 100 candidates each, and a history of two likes and two dislikes."
    stream,rng = movielens_100k().take(scale(3200, 96)),np.random.default_rng(0)
    h,items = TextHistory(stream.items, 2),stream.events['item'].unique()
    for e in stream.events.itertuples(): h.add(e.user, e.item, e.label)
    for u in rng.choice(stream.events['user'].unique(), n):
        pairs = [h.pair(u, i) for i in rng.choice(items, min(100, len(items)), replace=False).tolist()]
        yield pairs

def clocked(score):
    took = []
    with torch.inference_mode():
        for n,pairs in enumerate(asks()):
            start = time.process_time()
            score(pairs)
            if n: took.append(1e3*(time.process_time()-start)) # the first warms up
    return {f'p{q}': round(float(np.percentile(took, q)), 1) for q in (50, 99)} | dict(n=len(took))

def read(bert, collate, pairs, size=100):
    at = np.argsort(collate.lengths(pairs))
    for a in range(0, len(pairs), size): bert(**collate.pad([pairs[k] for k in at[a:a+size]]))

class Split:
    "The lower layers read past and item apart; items are stored, and only the layers above the cut read both."
    def __init__(self, bert, tokenizer): self.bert,self.tokenizer,self.lower,self.there = bert,tokenizer,lower_encoder(bert, DEPTH),{}
    def below(self, texts):
        new = sorted({o for o in texts if o not in self.there}, key=len)
        for a in range(0, len(new), 25):
            inputs = self.tokenizer(new[a:a+25], padding=True, truncation=True, max_length=128, return_tensors='pt')
            h = self.lower(**inputs).last_hidden_state
            self.there.update(zip(new[a:a+25], (o[:n].clone() for o,n in zip(h, inputs['attention_mask'].sum(1).tolist()))))
    def __call__(self, pairs):
        with torch.no_grad(): self.below([t for pair in pairs for t in pair])
        return climb(self.bert, DEPTH, [torch.cat([self.there[t], self.there[i][1:]]) for t,i in pairs])

@record.part(history=2, candidates=100)
def latency():
    "Milliseconds of processor time for 100 candidates of one user, history of two likes and two dislikes."
    def tokens():
        _,tokenizer = load_bert()
        n = [len(o) for pairs in asks() for o in tokenizer(*map(list, zip(*pairs)))['input_ids']]
        return dict(tokens=round(float(np.mean(n)), 1))
    def whole(make=lambda bert: bert, size=100):
        bert,tokenizer = load_bert()
        bert,collate = make(bert),PairCollator(tokenizer)
        return clocked(lambda pairs: read(bert, collate, pairs, size))
    def split(make=lambda bert: bert):
        s = Split(*load_bert())
        s.bert = make(s.bert)
        with torch.inference_mode():
            for pairs in asks(): s.below([i for _,i in pairs]) # the catalog is read before anybody asks
        return clocked(s)
    yield 'tokens of a pair', tokens
    yield 'fp32, four groups by length', lambda: whole(size=25)
    yield 'int8, four groups by length', lambda: whole(int8, 25)
    yield 'fp32, lower four layers apart', split
    yield 'int8 above, lower four layers apart', lambda: split(int8)


if __name__=='__main__': record.main()
