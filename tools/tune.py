"""Find the learners' default settings on the first 30 % of MovieLens-100K, and on nothing else: python tools/tune.py

Every setting is scored prequentially (predict, then learn) on events 1 to 30,000. BERT is reported on the first 3,000 events,
so it sees the first 30 % of those. The winners go to recinc_nb/results/tuning_*.json, and tests/test_results.py holds the
classes' defaults against them. BERT takes some ten minutes, everything else four.
"""
import itertools
from functools import cache, partial
from record import Record
import numpy as np
from recinc_nb.baselines import BiasBaseline, ItemItem, Popularity
from recinc_nb.clock import ClockFilter
from recinc_nb.core import progress, scale
from recinc_nb.linear import IncrementalLinear, IncrementalLogistic
from recinc_nb.mf_als import GaussianMF, IncrementalALS
from recinc_nb.stack import OnlineStack
from recinc_nb.mf_online import IncrementalMF
from recinc_nb.mf_next import ImplicitALS, RankStack, SoftmaxMF
from recinc_nb.mf_rank import BPRMF, ISGD, RAISGD
from recinc_nb.metrics import rmse
from recinc_nb.protocol import from_river, prequential
from recinc_nb.topn import prequential_topn
from recinc_nb.streams import movielens_100k
from recinc_nb.visit import ClockItems, VisitStack

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
    @cache
    def biases(): return best('biases of IncrementalMF', error(IncrementalMF, n_factors=0), grid(
        shrink_user=(5., 8., 12.), shrink_item=(2., 3., 5.), decay_user=(.85, .9, .95), decay_item=(.98, .99, 1.)))
    def factors():
        found = best('IncrementalMF', error(IncrementalMF, seeds=range(3)), [s | biases()['settings'] for s in grid(
            lr=(.1, .15, .2, .25, .3), l2=(0., .01, .02, .04), init_std=(.03, .05, .1))])
        return found | dict(tried=biases()['tried'] + found['tried'])
    yield 'IncrementalMF, no factors', biases
    yield 'IncrementalMF', factors

@tuning('rmse')
def peers():
    "river's factorization with as many settings as IncrementalMF had; then its error on all events, and after those of the tuning."
    def river(lr, lr_bias, l2_latent, l2_bias, seed=0):
        from river import optim, reco
        return from_river(reco.BiasedMF(n_factors=32, bias_optimizer=optim.SGD(lr_bias), latent_optimizer=optim.SGD(lr), l2_latent=l2_latent,
                                        l2_bias=l2_bias, seed=seed))
    def judged():
        found,whole = best('river BiasedMF', error(river), grid(
            lr=(.02, .04, .06, .08), lr_bias=(.02, .04, .08), l2_latent=(0., .05, .1), l2_bias=(.01, .05, .1, .2))),movielens_100k().take(scale(100_000, 400))
        frames = [prequential(river(**found['settings'], seed=s), whole).frame for s in range(3)]
        late = lambda first: [round(float(f([rmse(o['rating'][first:], o['pred'][first:].clip(1, 5)) for o in frames])), 5) for f in (np.mean, partial(np.std, ddof=1))]
        return found | dict(seeds=3, all=late(0), after=late(EVENTS))
    yield 'river BiasedMF', judged

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

@tuning('rmse')
def clock():
    "ClockFilter, one group of settings after the other; its factors and items are those of GaussianMF."
    def groups():
        rows,base,score = [],{},error(ClockFilter, seeds=range(3))
        for part in (grid(memory=((20., 1_000.), (40., 2_000.), (60., 3_600.), (120., 7_200.)), mood=((.05, .05), (.1, .05), (.1, .1), (.15, .1))),
                     grid(care=(0., .05, .1, .15, .2), var_user_bias=(.05, .1, .15), drift_user=(0., .0004, .0008, .0015)),
                     grid(noise=(.5, .65, .8), var_item_bias=(.2, .3, .4), drift_item=(0., .0001, .0003))):
            found = [(score(base | s), base | s) for s in progress(part, 'ClockFilter', 'setting')]
            rows = found + rows # of equals the first is recorded: the one with most settings named
            base = won(found)['settings']
        return won(rows)
    yield 'ClockFilter', groups

@tuning('rmse')
def hybrid():
    "TextRidge, TextFilter, then HybridStack on their defaults: settings moved one at a time around those that were chosen by hand."
    from recinc_nb.hybrid import HybridStack, TextFilter, TextRidge, text_features # brings torch
    told = cache(lambda: text_features(movielens_100k()))
    for cls,settings in ((TextRidge, around(dict(scale=1., const=.4, noise=.9), scale=(.7, 1.4), const=(.3, .5), noise=(.7, 1.2))),
                         (TextFilter, around(dict(memory=(20., 1_000., 100_000.), mood=(.1, .07, .03), const=.15, quality=.35, popularity=.2, factors=.8, noise=.7,
                                                  l2=60., shrink_item=8., shrink_user=3.), memory=((40., 2_000., 100_000.),), mood=((.07, .05, .02), (.15, .1, .05)),
                                             const=(.1,), quality=(.25, .5), popularity=(.15, .3), factors=(.6, 1.1), noise=(.5, .9), l2=(30.,), shrink_item=(5., 12.))),
                         (HybridStack, grid(l2=(10., 30., 100.), forget=(.9998, .9999, 1.), shrink=(3.,)))):
        yield cls.__name__, lambda: best(cls.__name__, error(cls, features=told()), settings)

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

@tuning('miss rate at 10')
def visit():
    "ClockItems with the shrinkage of ItemItem; then VisitStack on its defaults: its step, and how the trail fades."
    for cls,settings in ((ClockItems, grid(decay=(.85, .9, .95), memory=(150., 300., 600., 1_800.), rest=(.05, .1, .2))),
                         (VisitStack, around(dict(lr=.01, trail=None), lr=(.005, .02), trail=(dict(decay=.85), dict(decay=.95))))):
        yield cls.__name__, lambda: best(cls.__name__, missed(cls), settings)

@tuning('log_loss', BERT_EVENTS)
def bert():
    "IncrementalBert's head on MiniLM, on the first 30 % of the events that the demo reports."
    from recinc_nb.bert_online import IncrementalBert # brings torch
    told = cache(lambda: movielens_100k().take(BERT_EVENTS).with_text())
    # with a larger head_lr a first call of 16 rows costs more than .02 (bert_runs.py harm)
    yield 'IncrementalBert', lambda: best('IncrementalBert', error(IncrementalBert, 'log_loss', batch_size=16, on=told, update='head'),
                                          grid(head_lr=(.1, .2), similarity=(3., 5.)))


if __name__=='__main__': record.main()
