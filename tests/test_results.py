"""Defaults are those that the tuning command found; the record of the demo is of the real stream."""
import inspect
import pytest
from recinc_nb import BiasBaseline, IncrementalMF, mf_online, results

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
