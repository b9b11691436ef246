"""What a cross-encoder sees and costs, beside the bi-encoder and the null, with MiniLM; and the programs of 42_bert, 42b_pair and 42c_step
in worlds that the chapters do not draw: python tools/pair_runs.py

Some fifteen minutes of one idle core. Writes recinc_nb/results/pair.json. Milliseconds are of processor time in one thread, so that other work on the
machine weighs less.
"""
import ast, copy, json, time
from record import Record, root
import numpy as np, torch, torch.nn.functional as F # noqa: F401, for a chapter that imports them in a block of its own
from recinc_nb.baselines import BiasBaseline
from recinc_nb.bert import PairCollator, PairModel, PrefixCollator, PrefixModel, last_decides
from recinc_nb.bert_online import IncrementalBert, climb, lower_encoder
from recinc_nb.click import ClickBert
from recinc_nb.core import scale
from recinc_nb.metrics import auc, log_loss
from recinc_nb.protocol import prequential
from recinc_nb.streams import TextHistory, movielens_100k
from recinc_nb.text import load_bert

torch.set_num_threads(1)
record = Record(__file__, 'pair', checkpoint='MiniLM')
EVENTS,MOVIES = scale(640, 64),scale(640, 64)
OTHERS,MANY = (tuple(range(3, scale(n, 4))) for n in (15, 39)) # the chapters draw worlds 0 to 2
DEPTH = 4  # layers below the cut of the split encoder; two stand above it
PLACE = 96 # where an item begins in it, whatever the past; a past is shorter

class SplitModel(PairModel):
    "The lower layers read past and item apart, the upper ones together; the mean goes over the item's tokens (PreTTR's idea)."
    def __init__(self, bert, depth=DEPTH):
        super().__init__(bert)
        self.depth = depth
    def embed(self, input_ids, attention_mask, token_type_ids):
        kind,there = token_type_ids,attention_mask.bool()[:,None]
        at = torch.arange(kind.shape[1]) + (kind>0)*(PLACE-(attention_mask*(1-kind)).sum(1, keepdim=True))
        x = self.bert.embeddings(input_ids, kind, at)
        apart = there & (kind[:,:,None]==kind[:,None]) | torch.eye(kind.shape[1], dtype=torch.bool)
        for n,layer in enumerate(self.bert.encoder.layer):
            x = layer(x, attention_mask=(apart if n<self.depth else there.expand_as(apart))[:,None])
            if isinstance(x, tuple): x = x[0]
        return self.pool(x, attention_mask*kind)

class SplitBert(ClickBert):
    "`ClickBert(reads='pair')` on a `SplitModel`."
    def assemble(self, bert):
        super().assemble(bert)
        self.model_.__class__,self.model_.depth = SplitModel,self.depth

def judge(y, p):
    half = len(y)//2
    return dict(auc=round(float(auc(y[half:], p[half:])), 4), log_loss=round(float(log_loss(y[half:], p[half:])), 4))

def int8(bert): return torch.ao.quantization.quantize_dynamic(bert, {torch.nn.Linear}, dtype=torch.qint8)

def chapter(name, words):
    "What the cells of a notebook import, and what they call by these words."
    known,words = dict(globals()),words.split()
    def wanted(o):
        return isinstance(o, (ast.Import, ast.ImportFrom)) or getattr(o, 'name', None) in words or (
            isinstance(o, ast.Assign) and ast.unparse(o.targets[0]) in words)
    for cell in json.loads((root/'nbs'/f'{name}.ipynb').read_text())['cells']:
        if cell['cell_type']=='code':
            exec(compile(ast.Module([o for o in ast.parse(''.join(cell['source'])).body if wanted(o)], []), name, 'exec'), known)
    return known

def rounded(**kw): return {k: round(float(v), 4) for k,v in kw.items()}

@record.part(batch=16)
def starts(seeds=OTHERS):
    "The program of 42_bert from weights of four sizes, with four step sizes: AUC and log loss of the second half of 1,600 events."
    here = chapter('42_bert', 'world tokenizer small_bert batch_of follow run verdict')
    for seed in seeds:
        for start in (.02, .05, .1, .2):
            for lr in (1e-4, 3e-4, 1e-3, 3e-3):
                yield dict(start=start, lr=lr, seed=seed), lambda: rounded(**here['verdict'](*here['run'](seed, start=start, lr=lr)[:2]))

@record.part(batch=16)
def programs(seeds=MANY):
    "The programs of 42_bert: AUC and log loss of the second half of 1,600 events; log loss in blocks of 160; what a turn of taste leaves of AUC."
    here = chapter('42_bert', 'world tokenizer small_bert batch_of follow run verdict by_block turned')
    def judged(y, p): return rounded(**here['verdict'](y, p)) | dict(blocks=[round(float(o), 4) for o in here['by_block']([(y, p, None)])])
    def run(seed, **kw): return judged(*here['run'](seed, **kw)[:2])
    def turn(seed, which):
        y,*p = here['turned'](seed)
        return judged(y, p[which]) | rounded(end=auc(y[-400:], p[which][-400:]))
    def truth(seed):
        rows,p = here['world'](1600, seed)
        return judged(np.array([o[2] for o in rows]), p)
    for seed in seeds:
        yield dict(who='the truth', seed=seed), lambda: truth(seed)
        yield dict(who='the program', seed=seed), lambda: run(seed)
        for n,who in enumerate(('goes on', 'stops at the turn')): yield dict(who=who, seed=seed), lambda: turn(seed, n)

@record.part(batch=16)
def steps(seeds=MANY):
    "The ways to step of 42c_step, in the same worlds: AUC and log loss of the second half of 1,600 events; log loss in blocks of 160."
    here = chapter('42c_step', 'world tokenizer small_bert batch_of warmup plain_step follow halves by_block run share_so_far ways AT undone forgotten mean_forgotten clipped strange early EARLY learn follow_with_care')
    def judged(y, p): return rounded(**here['halves'](y, p)) | dict(blocks=[round(float(o), 4) for o in here['by_block'](y, p)])
    careful = {'with care': {}, 'with care, step size 0.003': dict(lr=3e-3)}
    for seed in seeds:
        rows,truth = here['world'](1600, seed)
        y = np.array([o[2] for o in rows])
        yield dict(who='the truth', seed=seed), lambda: judged(y, truth)
        yield dict(who='share so far', seed=seed), lambda: judged(y, here['share_so_far'](y))
        for who,kw in (here['ways'] | here['strange'] | here['early']).items(): yield dict(who=who, seed=seed), lambda: judged(*here['run'](seed, **kw))
        for who,kw in careful.items(): yield dict(who=who, seed=seed), lambda: judged(*here['run'](seed, here['follow_with_care'], **kw))

@record.part(events=16_000)
def decay(seeds=OTHERS[:6]):
    "What decays, in 1,000 steps of 42c_step whose decay times step size is 0.001: log loss of the second half, mean scale of the layer norms at the end."
    here = chapter('42c_step', 'world tokenizer small_bert batch_of warmup plain_step follow halves decays')
    def run(seed, **kw):
        rows,_ = here['world'](scale(16_000, 160), seed)
        model = here['small_bert'](seed)
        p = here['follow'](model, rows, **kw)
        norms = [q.mean().item() for name,q in model.named_parameters() if 'LayerNorm.weight' in name]
        return rounded(**here['halves'](np.array([o[2] for o in rows]), p), scale=np.mean(norms))
    for seed in seeds:
        for who,kw in here['decays'].items(): yield dict(who=who, seed=seed), lambda: run(seed, **kw)

@record.part(events=1600, batch=16)
def readers(seeds=MANY):
    "The readers of 42b_pair, in the same world: AUC and log loss of the second half of 1,600 events."
    here = chapter('42b_pair', 'small_bert encode tokenizer Together Apart product distance follow')
    makes = {'cross-encoder': here['Together'], 'one past, product': lambda o: here['Apart'](o, True),
        'one past, distance': lambda o: here['Apart'](o, True, here['distance']), 'mean of likes, product': here['Apart']}
    def judged(y, p): return rounded(auc=auc(y, p), log_loss=log_loss(y, p))
    for seed in seeds:
        world = last_decides(1600, seed=seed)
        yield dict(who='the truth', seed=seed), lambda: judged(world[2][800:], world[3][800:])
        for who,make in makes.items(): yield dict(who=who, seed=seed), lambda: judged(*here['follow'](make(here['small_bert'](seed)), world)[:2])

@record.part(events=EVENTS, batch=16)
def order(seeds=(0, 1, 2)):
    "A made world in which the last like decides: AUC and log-loss of the second half; and of the last quarter in int8, learned before it."
    def run(seed, make=ClickBert, depth=None, **kw):
        pasts,items,y,_ = last_decides(EVENTS, seed=seed)
        rows,m,out = list(zip(((o, []) for o in pasts), items)),make(device='cpu', **kw),[]
        m.depth = depth
        for a in range(0, EVENTS, 16):
            if a==EVENTS//4*3: kept = copy.deepcopy(m)
            out.append(m.predict(rows[a:a+16]))
            m.partial_fit(rows[a:a+16], y[a:a+16])
        found = judge(y, np.concatenate(out))
        if depth is None and m.reads!='statements':
            last = slice(EVENTS//4*3, None)
            p = kept.predict(rows[last])
            kept.model_.bert = int8(kept.model_.bert)
            q = kept.predict(rows[last])
            found |= dict(stopped=round(float(auc(y[last], p)), 4), stopped_int8=round(float(auc(y[last], q)), 4), largest_gap=round(float(np.abs(p-q).max()), 3))
        return found
    for seed in seeds:
        yield dict(who='the truth', seed=seed), lambda: judge(*last_decides(EVENTS, seed=seed)[2:])
        for reads in ('pair', 'prefix', 'statements'): yield dict(who=reads, seed=seed), lambda: run(seed, reads=reads)
        yield dict(who='lower four layers apart', seed=seed), lambda: run(seed, SplitBert, DEPTH, reads='pair')
        yield dict(who='all layers apart', seed=seed), lambda: run(seed, SplitBert, 6, reads='pair')

@record.part(events=MOVIES, batch=32)
def movielens():
    "The first events of MovieLens-100K, judged after the first 30 %, with each prediction there; nothing was tuned for the cross-encoder."
    late = slice(int(.3*MOVIES), None)
    def run(make):
        start = time.process_time()
        frame = prequential(make(), movielens_100k().take(MOVIES), batch_size=32).frame
        took = 1e3*(time.process_time()-start)/MOVIES
        y,p = (frame[o].to_numpy()[late] for o in ('label', 'pred'))
        found = {f.__name__: round(float(f(y, p)), 4) for f in (auc, log_loss)}
        return found | dict(ms_per_event=round(took, 1), predicted=[round(float(o), 5) for o in p])
    yield 'what happened', lambda: {o: movielens_100k().take(MOVIES).events[o].to_numpy()[late].astype(int).tolist() for o in ('label', 'user')}
    yield 'biases', lambda: run(lambda: BiasBaseline(target='label'))
    yield 'statements, frozen', lambda: run(lambda: IncrementalBert(update='head', head_lr=0., device='cpu'))
    yield 'statements, all', lambda: run(lambda: IncrementalBert(update='all', lr=1e-4, device='cpu'))
    for reads in ('pair', 'prefix'): yield f'{reads}, all', lambda: run(lambda: IncrementalBert(reads=reads, update='all', lr=1e-4, history=5, device='cpu'))

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

def read(model, collate, pairs):
    at = np.argsort(collate.lengths(pairs))
    for a in range(0, len(pairs), model.together): model.embed(**collate.pad([pairs[k] for k in at[a:a+model.together]]))

class Stored:
    "What a `SplitModel` computes, without the head: items are stored below the cut, and only the layers above it read both."
    def __init__(self, bert, tokenizer): self.bert,self.tokenizer,self.lower,self.there = bert,tokenizer,lower_encoder(bert, DEPTH),{}
    def below(self, texts, kind):
        new = sorted({o for o in texts if (o, kind) not in self.there}, key=len)
        for a in range(0, len(new), 16):
            inputs = self.tokenizer(new[a:a+16], padding=True, truncation=True, max_length=PLACE, return_tensors='pt')
            ids,mask = (inputs[o][:,kind:] for o in ('input_ids', 'attention_mask'))
            h = self.lower(ids, mask, torch.full_like(ids, kind), PLACE*kind + torch.arange(ids.shape[1])[None]).last_hidden_state
            self.there.update(((t, kind), o[:n].clone()) for t,o,n in zip(new[a:a+16], h, mask.sum(1).tolist()))
    def __call__(self, pairs):
        with torch.no_grad():
            for kind,texts in enumerate(zip(*pairs)): self.below(texts, kind)
        return climb(self.bert, DEPTH, [torch.cat([self.there[t, 0], self.there[i, 1]]) for t,i in pairs])

@record.part(history=2, candidates=100)
def latency():
    "Milliseconds of processor time for 100 candidates of one user, history of two likes and two dislikes; 16 pairs at a time, in order of length."
    def tokens():
        _,tokenizer = load_bert()
        n = [len(o) for pairs in asks() for o in tokenizer(*map(list, zip(*pairs)))['input_ids']]
        return dict(tokens=round(float(np.mean(n)), 1))
    def whole(model, collate, make):
        bert,tokenizer = load_bert()
        model,collate = model(make(bert)),collate(tokenizer)
        return clocked(lambda pairs: read(model, collate, pairs))
    def stored(make):
        s = Stored(*load_bert())
        s.bert = make(s.bert)
        with torch.inference_mode():
            for pairs in asks(): s.below([i for _,i in pairs], 1) # the catalog is read before anybody asks
        return clocked(s)
    def alone(make):
        "A bi-encoder's past as one text; the items' vectors are stored before anybody asks."
        bert,tokenizer = load_bert()
        model,table = PairModel(make(bert)),{}
        def vectors(texts): return model.embed(**tokenizer(texts, padding=True, return_tensors='pt'))
        with torch.inference_mode():
            for pairs in asks(): table.update((i, vectors([i])[0]) for _,i in pairs if i not in table)
        def score(pairs):
            past, = {p for p,_ in pairs}
            return torch.stack([table[i] for _,i in pairs])@vectors([past])[0]
        return clocked(score)
    yield 'tokens of a pair', tokens
    for name,make in (('fp32', lambda bert: bert), ('int8', int8)):
        yield f'pair, {name}', lambda: whole(PairModel, PairCollator, make)
        yield f'prefix, {name}', lambda: whole(PrefixModel, PrefixCollator, make)
        yield f'lower four layers apart, {name}', lambda: stored(make)
        yield f'past alone, {name}', lambda: alone(make)


if __name__=='__main__': record.main()
