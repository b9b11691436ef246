"""Defaults are those that the tuning command found; the record of the demo is of the real stream."""
import inspect
from recinc_nb import (BPRMF, ISGD, RAISGD, BiasBaseline, GaussianMF, ImplicitALS, IncrementalALS, IncrementalBert, IncrementalLinear, IncrementalLogistic,
                       IncrementalMF, ItemItem, OnlineStack, Popularity, RankStack, SoftmaxMF, bert, mf_online, results)

def defaults(cls): return {o.name: o.default for o in inspect.signature(cls).parameters.values()}


def test_defaults_are_what_tuning_found_on_the_first_30_percent():
    found = results('tuning_ids')
    assert (found['stream'], found['events'])==('MovieLens-100K', 30_000)
    best = {cls: o['settings'] for cls,o in found['best'].items()}
    assert best['BiasBaseline'].items() <= defaults(BiasBaseline).items()
    tuned = mf_online._TUNED
    assert best['IncrementalMF']=={**{o: defaults(IncrementalMF)[o] for o in best['IncrementalMF'] if o not in ('lr', 'l2')}, **tuned['squared']}
    assert results('tuning_logistic')['best']['IncrementalMF']['settings']==tuned['logistic']
    assert results('tuning_logistic')['events']==30_000


def test_neurons_were_tuned_on_the_first_30_percent():
    found = results('tuning_linear')
    assert (found['stream'], found['events'])==('MovieLens-100K', 30_000)
    for cls in (IncrementalLinear, IncrementalLogistic): assert found['best'][cls.__name__]['settings']=={'lr': cls._tuned} and defaults(cls)['lr'] is None


def test_counters_were_tuned_on_the_first_30_percent():
    found = results('tuning_topn')
    assert (found['stream'], found['events'])==('MovieLens-100K', 30_000)
    for cls in (Popularity, ItemItem): assert found['best'][cls.__name__]['settings'].items() <= defaults(cls).items()


def test_learners_of_likes_were_tuned_on_the_first_30_percent():
    found = results('tuning_rank')
    assert (found['stream'], found['events'])==('MovieLens-100K', 30_000)
    for cls in (ISGD, RAISGD, BPRMF, ImplicitALS, SoftmaxMF, RankStack): assert found['best'][cls.__name__]['settings'].items() <= defaults(cls).items()


def test_exact_learners_were_tuned_on_the_first_30_percent():
    found = results('tuning_exact')
    assert (found['stream'], found['events'])==('MovieLens-100K', 30_000)
    for cls in (GaussianMF, IncrementalALS, OnlineStack): assert found['best'][cls.__name__]['settings'].items() <= defaults(cls).items()


def test_bert_was_tuned_on_the_first_30_percent_of_what_is_reported():
    found,settings = results('tuning_bert'),defaults(IncrementalBert)
    assert found['events']==.3*results('demo')['bert_events'] and settings['lr'] is None
    assert found['best']['IncrementalBert']['settings']==dict(lr=bert._LR[True], head_lr=settings['head_lr'], similarity=settings['similarity'])


def test_the_record_of_the_demo_is_of_the_real_stream_and_keeps_its_promises():
    race = results('demo')
    rmse = {name: float(o['RMSE'].split()[0]) for name,o in race['ids'].items()}
    assert (race['stream'], race['events'])==('MovieLens-100K', 100_000) and race['bert_events']>=3_000
    assert rmse['biases']<=.955 and rmse['IncrementalMF, no factors']<=.955 and rmse['IncrementalMF, 5 seeds']<=.953
    assert any('MiniLM' in o for o in race['clicks'])
