"""Find the learners' default settings on the first 30 % of MovieLens-100K, and on nothing else.

    python tools/tune.py              everything below
    python tools/tune.py ids          BiasBaseline and IncrementalMF, about a minute
    python tools/tune.py logistic     IncrementalMF with the logistic loss
    python tools/tune.py linear       IncrementalLinear and IncrementalLogistic on hashed users and items: their step sizes
    python tools/tune.py exact        IncrementalALS, GaussianMF and OnlineStack
    python tools/tune.py topn         Popularity and ItemItem, by hit rate at 10
    python tools/tune.py rank         the six learners of likes alone, by hit rate at 10, some five minutes
    python tools/tune.py bert         IncrementalBert on MiniLM, about ten minutes

Every setting is scored prequentially (predict, then learn) on events 1 to 30,000. BERT is reported on the first 3,000 events,
so it sees the first 30 % of those. The winners go to recinc_nb/results/tuning_*.json, and tests/test_results.py holds the
classes' defaults against them.
"""
import argparse, itertools, json, sys
from pathlib import Path
import numpy as np

root = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(root))
from recinc_nb.baselines import BiasBaseline, ItemItem, Popularity
from recinc_nb.core import machine, progress
from recinc_nb.linear import IncrementalLinear, IncrementalLogistic
from recinc_nb.mf_als import GaussianMF, IncrementalALS, OnlineStack
from recinc_nb.mf_online import IncrementalMF
from recinc_nb.mf_next import ImplicitALS, RankStack, SoftmaxMF
from recinc_nb.mf_rank import BPRMF, ISGD, RAISGD
from recinc_nb.protocol import prequential, prequential_topn
from recinc_nb.streams import movielens_100k

SHARE = .3 # of the stream: what tuning may see


def record(name, stream, metric, rows):
    "Write what was tried and what won; rows are (score, class name, settings), the lowest score wins."
    best = {}
    for score,cls,settings in rows:
        if cls not in best or score<best[cls]['score']: best[cls] = dict(score=round(score, 5), settings=settings)
    for cls,o in best.items(): print(f"{cls}: {metric} {o['score']:.4f} with {o['settings']}")
    out = dict(stream=stream.name, events=len(stream), metric=metric, command=f"python tools/tune.py {name.removeprefix('tuning_')}",
               machine=machine(), tried=len(rows), best=best)
    (root/'recinc_nb'/'results'/f'{name}.json').write_text(json.dumps(out, indent=1) + '\n')


def score(cls, stream, metric, settings, seeds=(None,), batch_size=1):
    "Mean of a metric over seeds; infinite where predictions overflow."
    found = []
    for seed in seeds:
        try: found.append(prequential(cls(**settings, **({} if seed is None else dict(seed=seed))), stream, metrics=(metric,), batch_size=batch_size).summary[metric])
        except FloatingPointError: return np.inf
    return float(np.mean(found))


def grid(**values):
    "All combinations, as dicts of settings."
    return [dict(zip(values, o)) for o in itertools.product(*values.values())]


def ids():
    "BiasBaseline; then IncrementalMF: first its biases, with no factors, then its factors."
    stream = movielens_100k()
    stream = stream.take(int(SHARE*len(stream)))
    rows = [(score(BiasBaseline, stream, 'rmse', s), 'BiasBaseline', s) for s in progress(grid(
        shrink_user=(1., 2., 3., 5.), shrink_item=(2., 3., 5., 8.), decay_user=(.85, .9, .95, 1.), decay_item=(.98, .99, 1.)), 'BiasBaseline', 'setting')]
    biases = min(((score(IncrementalMF, stream, 'rmse', dict(n_factors=0, **s)), n, s) for n,s in enumerate(progress(grid(
        shrink_user=(5., 8., 12.), shrink_item=(2., 3., 5.), decay_user=(.85, .9, .95), decay_item=(.98, .99, 1.)), 'biases of IncrementalMF', 'setting'))))[2]
    for s in progress(grid(lr=(.1, .15, .2, .25, .3), l2=(0., .01, .02, .04), init_std=(.03, .05, .1)), 'IncrementalMF', 'setting'):
        rows.append((score(IncrementalMF, stream, 'rmse', s | biases, range(3)), 'IncrementalMF', s | biases))
    record('tuning_ids', stream, 'rmse', rows)


def logistic():
    "IncrementalMF with the logistic loss: its step size and penalty; all else as tuned for ratings."
    stream = movielens_100k()
    stream = stream.take(int(SHARE*len(stream)))
    rows = [(score(IncrementalMF, stream, 'log_loss', dict(loss='logistic', **s), range(3)), 'IncrementalMF', s)
            for s in progress(grid(lr=(.1, .2, .3, .4, .5, .6), l2=(0., .005, .01, .02, .04)), 'IncrementalMF, logistic', 'setting')]
    record('tuning_logistic', stream, 'log_loss', rows)


def linear():
    "One neuron without a penalty, on stars and on likes; its constant starts from 3 stars, or from even odds."
    stream = movielens_100k()
    stream = stream.take(int(SHARE*len(stream)))
    rows = [(prequential(cls(lr=lr, intercept=start), stream, metrics=(metric,)).summary[metric], cls.__name__, dict(lr=lr))
            for cls,metric,start in ((IncrementalLinear, 'rmse', 3.), (IncrementalLogistic, 'log_loss', 0.))
            for lr in progress((.01, .02, .03, .04, .05, .06, .08, .1, .15, .2, .3, .4), cls.__name__, 'setting')]
    record('tuning_linear', stream, 'rmse of stars, log_loss of likes', rows)


def exact():
    "IncrementalALS; GaussianMF, one group of settings after the other; then OnlineStack on their defaults."
    stream = movielens_100k()
    stream = stream.take(int(SHARE*len(stream)))
    rmse = lambda cls, s, seeds=range(2): (score(cls, stream, 'rmse', s, seeds), cls.__name__, s)
    rows = [rmse(IncrementalALS, s) for s in progress(grid(l2_user=(12., 16., 24., 32.), l2_item=(.5, 1., 1.5, 2.), forget=(.98, .99, .995, 1.)), 'IncrementalALS', 'setting')]
    best = {}
    for part in (grid(noise=(.5, .65, .8), drift_user=(.002, .003, .004, .006), drift_item=(.0001, .0003, .001)),
                 grid(var_user=(.4, .8, 1.2), var_item=(.02, .03, .05), init_std=(.02, .03), drift=(0., .0001)),
                 grid(noise=(.4, .5, .65), var_user_bias=(.15, .2, .3), var_item_bias=(.2, .3, .4))):
        found = [rmse(GaussianMF, best | s) for s in progress(part, 'GaussianMF', 'setting')]
        rows = found + rows # of equals the first is recorded: the one with most settings named
        best = min(found, key=lambda o: o[0])[2]
    rows += [rmse(OnlineStack, s, (None,)) for s in progress(grid(l2=(1., 10.), forget=(.999, .9993, .9995, .9998, 1.), shrink=(1., 2., 3.)), 'OnlineStack', 'setting')]
    record('tuning_exact', stream, 'rmse', rows)


def topn():
    "Popularity and ItemItem: share of likes that were among the ten best of all items met; the score is what they miss."
    stream = movielens_100k()
    stream = stream.take(int(SHARE*len(stream)))
    tried = [(Popularity, s) for s in grid(decay=(.999, .9995, .9998, .9999, 1.))]
    tried += [(ItemItem, s) for s in grid(decay=(.8, .85, .9, .95, 1.), shrink=(1., 5., 10., 20.))]
    rows = [(1 - prequential_topn(cls(**s), stream).summary['hit_rate'], cls.__name__, s) for cls,s in progress(tried, 'top ten', 'setting')]
    plain = min((o for o in rows if 'shrink' in o[2] and o[2]['decay']==1.), key=lambda o: o[0])
    rows.append((plain[0], 'ItemItem, decay=1', plain[2]))
    record('tuning_topn', stream, 'miss rate at 10', rows)


def rank():
    "The learners of likes: share of likes that were not among the ten best of all items met; the score is what they miss. Sizes are chosen by hand."
    stream = movielens_100k()
    stream = stream.take(int(SHARE*len(stream)))
    around = lambda base, **values: [base, *(base | {o: v} for o in values for v in values[o])] # one setting moved at a time
    tried = [(ISGD, s) for s in around(dict(lr=.1, l2=.01), lr=(.03, .3), l2=(0., .1))]
    tried += [(RAISGD, s) for s in around(dict(lr=.3, n_negatives=10), lr=(.15, .45), n_negatives=(3, 30))]
    tried += [(BPRMF, s) for s in around(dict(lr=.1, n_candidates=4), lr=(.06, .15), n_candidates=(1, 16))]
    tried += [(ImplicitALS, s) for s in around(dict(alpha=3., l2=10., decay=.9), alpha=(1., 6.), l2=(5., 20.), decay=(.85, .95, 1.))]
    tried += [(SoftmaxMF, s) for s in around(dict(lr=.1, decay=.85), lr=(.07, .15), decay=(.8, .9, 1.))]
    tried += [(RankStack, s) for s in around(dict(lr=.01), lr=(.005, .02))]
    rows = []
    for cls,s in progress(tried, 'likes', 'setting'):
        try: rows.append((1 - prequential_topn(cls(**s), stream).summary['hit_rate'], cls.__name__, s))
        except (FloatingPointError, ValueError): rows.append((np.inf, cls.__name__, s)) # the step was too large: a score is nan
    record('tuning_rank', stream, 'miss rate at 10', rows)


def bert():
    "IncrementalBert on MiniLM: its two step sizes, on the first 30 % of the events that the demo reports."
    from recinc_nb.bert_online import IncrementalBert
    stream = movielens_100k().take(int(SHARE*3_000)).with_text()
    rows = [(score(IncrementalBert, stream, 'log_loss', s, batch_size=16), 'IncrementalBert', s)
            for s in progress(grid(lr=(2e-5, 5e-5, 1e-4), head_lr=(.01, .03, .06), similarity=(3., 5., 8.)), 'IncrementalBert', 'setting')]
    for o in sorted(rows, key=lambda o: o[0]): print(*o)
    record('tuning_bert', stream, 'log_loss', rows)


PARTS = dict(ids=ids, logistic=logistic, linear=linear, exact=exact, topn=topn, rank=rank, bert=bert)

def main(argv=None):
    p = argparse.ArgumentParser(prog='python tools/tune.py', description="Find the learners' default settings on the first 30 % of MovieLens-100K.")
    p.add_argument('parts', nargs='*', metavar='part', help=f"some of {', '.join(PARTS)}; all without any")
    p.add_argument('--dry', action='store_true', help='name what would be tuned, and the record that it would write')
    args = p.parse_args(argv)
    if wrong := [o for o in args.parts if o not in PARTS]: p.error(f"there is no part {', '.join(wrong)}; use some of {', '.join(PARTS)}")
    for name in args.parts or PARTS:
        if args.dry: print(f'{name}: tuning_{name}.json. {PARTS[name].__doc__}')
        else: PARTS[name]()


if __name__=='__main__': main()
