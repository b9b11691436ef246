"""Find the learners' default settings on the first 30 % of MovieLens-100K, and on nothing else: python tools/tune.py

Every setting is scored prequentially (predict, then learn) on events 1 to 30,000. BERT is reported on the first 3,000 events,
so it sees the first 30 % of those. The winners go to recinc_nb/results/tuning_*.json, and tests/test_results.py holds the
classes' defaults against them. BERT takes some ten minutes, everything else four.
"""
import itertools
from functools import cache
from record import Record
import numpy as np
from recinc_nb.baselines import BiasBaseline, ItemItem, Popularity
from recinc_nb.core import progress, scale
from recinc_nb.linear import IncrementalLinear, IncrementalLogistic
from recinc_nb.mf_als import GaussianMF, IncrementalALS, OnlineStack
from recinc_nb.mf_online import IncrementalMF
from recinc_nb.mf_next import ImplicitALS, RankStack, SoftmaxMF
from recinc_nb.mf_rank import BPRMF, ISGD, RAISGD
from recinc_nb.protocol import prequential, prequential_topn
from recinc_nb.streams import movielens_100k

EVENTS,BERT_EVENTS = scale(30_000, 200),scale(900, 48) # what tuning may see: 30 % of what is reported
record = Record(__file__)

def tuning(metric, events=EVENTS):
    "A part that yields a class name and a function that tries its settings; what won goes to a record of its own."
    return lambda f: record.part(('best',), f'tuning_{f.__name__}', stream='MovieLens-100K', events=events, metric=metric)(f)

@cache
def stream(): return movielens_100k().take(EVENTS)

def best(name, score, settings):
    "Of the settings, the first with the lowest score."
    return won([(score(s), s) for s in progress(settings, name, 'setting')])

def won(tried):
    score,settings = min(tried, key=lambda o: o[0])
    return dict(score=round(score, 5), settings=settings, tried=len(tried))

def error(cls, metric='rmse', seeds=(None,), batch_size=1, on=stream, **more):
    "A function of settings: the mean of a metric over seeds; infinite where predictions overflow."
    def score(settings):
        found = []
        for seed in seeds:
            model = cls(**settings, **more, **({} if seed is None else dict(seed=seed)))
            try: found.append(prequential(model, on(), metrics=(metric,), batch_size=batch_size).summary[metric])
            except FloatingPointError: return np.inf
        return float(np.mean(found))
    return score

def missed(cls):
    "A function of settings: share of likes that were not among the ten best of all items met."
    def score(settings):
        try: return 1 - prequential_topn(cls(**settings), stream()).summary['hit_rate']
        except (FloatingPointError, ValueError): return np.inf # the step was too large: a score is nan
    return score

def grid(**values):
    "All combinations, as dicts of settings; in a run at test scale the first and the last."
    every = [dict(zip(values, o)) for o in itertools.product(*values.values())]
    return scale(every, every[::max(1, len(every)-1)])

def around(base, **values):
    "One setting moved at a time."
    return scale([base, *(base | {o: v} for o in values for v in values[o])], [base])


@tuning('rmse')
def ids():
    "BiasBaseline; then IncrementalMF: first its biases, with no factors, then its factors."
    yield 'BiasBaseline', lambda: best('BiasBaseline', error(BiasBaseline), grid(
        shrink_user=(1., 2., 3., 5.), shrink_item=(2., 3., 5., 8.), decay_user=(.85, .9, .95, 1.), decay_item=(.98, .99, 1.)))
    def factors():
        biases = best('biases of IncrementalMF', error(IncrementalMF, n_factors=0), grid(
            shrink_user=(5., 8., 12.), shrink_item=(2., 3., 5.), decay_user=(.85, .9, .95), decay_item=(.98, .99, 1.)))['settings']
        return best('IncrementalMF', error(IncrementalMF, seeds=range(3)), [s | biases for s in grid(
            lr=(.1, .15, .2, .25, .3), l2=(0., .01, .02, .04), init_std=(.03, .05, .1))])
    yield 'IncrementalMF', factors

@tuning('log_loss')
def logistic():
    "IncrementalMF with the logistic loss: its step size and penalty; all else as tuned for ratings."
    yield 'IncrementalMF', lambda: best('IncrementalMF, logistic', error(IncrementalMF, 'log_loss', range(3), loss='logistic'),
                                        grid(lr=(.1, .2, .3, .4, .5, .6), l2=(0., .005, .01, .02, .04)))

@tuning('rmse of stars, log_loss of likes')
def linear():
    "One neuron without a penalty, on stars and on likes; its constant starts from 3 stars, or from even odds."
    for cls,metric,start in ((IncrementalLinear, 'rmse', 3.), (IncrementalLogistic, 'log_loss', 0.)):
        yield cls.__name__, lambda: best(cls.__name__, error(cls, metric, intercept=start),
                                         grid(lr=(.01, .02, .03, .04, .05, .06, .08, .1, .15, .2, .3, .4)))

@tuning('rmse')
def exact():
    "IncrementalALS; GaussianMF, one group of settings after the other; then OnlineStack on their defaults."
    yield 'IncrementalALS', lambda: best('IncrementalALS', error(IncrementalALS, seeds=range(2)), grid(
        l2_user=(12., 16., 24., 32.), l2_item=(.5, 1., 1.5, 2.), forget=(.98, .99, .995, 1.)))
    def gaussian():
        rows,base,score = [],{},error(GaussianMF, seeds=range(2))
        for part in (grid(noise=(.5, .65, .8), drift_user=(.002, .003, .004, .006), drift_item=(.0001, .0003, .001)),
                     grid(var_user=(.4, .8, 1.2), var_item=(.02, .03, .05), init_std=(.02, .03), drift=(0., .0001)),
                     grid(noise=(.4, .5, .65), var_user_bias=(.15, .2, .3), var_item_bias=(.2, .3, .4))):
            found = [(score(base | s), base | s) for s in progress(part, 'GaussianMF', 'setting')]
            rows = found + rows # of equals the first is recorded: the one with most settings named
            base = won(found)['settings']
        return won(rows)
    yield 'GaussianMF', gaussian
    yield 'OnlineStack', lambda: best('OnlineStack', error(OnlineStack), grid(
        l2=(1., 10.), forget=(.999, .9993, .9995, .9998, 1.), shrink=(1., 2., 3.)))

@tuning('miss rate at 10')
def topn():
    "Popularity and ItemItem: share of likes that were not among the ten best of all items met."
    for name,cls,settings in (('Popularity', Popularity, grid(decay=(.999, .9995, .9998, .9999, 1.))),
                              ('ItemItem', ItemItem, grid(decay=(.8, .85, .9, .95, 1.), shrink=(1., 5., 10., 20.))),
                              ('ItemItem, decay=1', ItemItem, grid(decay=(1.,), shrink=(1., 5., 10., 20.)))):
        yield name, lambda: best(name, missed(cls), settings)

@tuning('miss rate at 10')
def rank():
    "The learners of likes: share of likes that were not among the ten best of all items met. Sizes are chosen by hand."
    for cls,settings in ((ISGD, around(dict(lr=.1, l2=.01), lr=(.03, .3), l2=(0., .1))),
                         (RAISGD, around(dict(lr=.3, n_negatives=10), lr=(.15, .45), n_negatives=(3, 30))),
                         (BPRMF, around(dict(lr=.1, n_candidates=4), lr=(.06, .15), n_candidates=(1, 16))),
                         (ImplicitALS, around(dict(alpha=3., l2=10., decay=.9), alpha=(1., 6.), l2=(5., 20.), decay=(.85, .95, 1.))),
                         (SoftmaxMF, around(dict(lr=.1, decay=.85), lr=(.07, .15), decay=(.8, .9, 1.))),
                         (RankStack, around(dict(lr=.01), lr=(.005, .02)))):
        yield cls.__name__, lambda: best(cls.__name__, missed(cls), settings)

@tuning('log_loss', BERT_EVENTS)
def bert():
    "IncrementalBert on MiniLM, on the first 30 % of the events that the demo reports: its head alone, then the step of what its policy moves."
    from recinc_nb.bert_online import IncrementalBert # brings torch
    told = cache(lambda: movielens_100k().take(BERT_EVENTS).with_text())
    def score(**kw): return error(IncrementalBert, 'log_loss', batch_size=16, on=told, **kw)
    def both(): # a wider head_lr lets a first call of 16 rows do more harm than .02 (bert_runs.py harm)
        head = best('head', score(update='head'), grid(head_lr=(.05, .1, .2), similarity=(3., 5., 8.)))
        top = best('top-2', score(), [head['settings'] | s for s in grid(lr=(3e-5, 1e-4))])
        return top | dict(tried=head['tried'] + top['tried'])
    yield 'IncrementalBert', both


if __name__=='__main__': record.main()
