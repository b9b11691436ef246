"""The command of the race says what it cannot do, and knows every learner of ids."""
import json, shutil
import pytest
import recinc_nb, speed
from helpers import python, root
from recinc_nb.learner import IdLearner
from recinc_nb.core import results


def test_the_command_runs_from_outside_and_refuses_what_it_does_not_know(tmp_path, capsys):
    said = python(root/'tools'/'speed.py', 'growth', '--quick', '--out', tmp_path, cwd='/')
    made = json.loads((tmp_path/'mf_speed.json').read_text())
    assert made['quick'] and {'growth', 'machine', 'made'} <= made.keys() and 'cost per event' in said
    assert all(o in said for o in set(speed.PEERS) - speed.peers().keys())
    for args,why in ((['swep', '--out', str(tmp_path)], 'no part swep'), (['--against', str(tmp_path)], 'name the folder of a checkout'),
                     (['--against', str(root), '--times', '0'], 'at least 1')):
        with pytest.raises(SystemExit) as e: speed.main(args)
        assert e.value.code==2 and why in capsys.readouterr().err


def test_the_record_is_of_one_machine_with_every_peer():
    found = results('mf_speed')
    assert {'river', 'implicit', 'vowpalwabbit', 'flurs', 'torch'} <= found['machine'].keys() # no `machine` where there are two
    quality = results('mf_quality')                      # what is no time may be made on another machine
    peers = [(o['machine'], peer) for o in quality['made'] for peer in ('river', 'implicit') if any(peer in row for row in o['rows'])]
    assert len(peers)>=4 and all(peer in machine for machine,peer in peers) and quality['command']=='python tools/speed.py quality'


def test_the_chapter_shows_the_rival_in_c():
    chapter = json.loads((root/'nbs'/'35_mf_speed.ipynb').read_text())
    shown = [''.join(o['source']) for o in chapter['cells'] if '```c' in ''.join(o['source'])]
    assert len(shown)==1 and speed.C.strip() in shown[0]


@pytest.mark.skipif(not shutil.which('gcc'), reason='gcc is not here')
def test_plain_c_learns_what_the_loop_learns():
    import numpy as np
    events,numbers = speed.made_up(500, 40, 30),[np.float32(o) for o in (3.5, .01, .02)]
    found = []
    for f in (speed.c_sweep(), *speed.STEPS.values()):
        tables,pred = speed.new_tables(40, 30),np.zeros(500, 'f4')
        f(*events, pred, *tables, *numbers)
        found.append([pred, *tables])
    for other in found[1:]:
        for a,b in zip(found[0], other): np.testing.assert_allclose(a, b, rtol=0, atol=1e-5)


def test_every_learner_of_ids_meets_strangers():
    "Each is measured, learns new and known ids of both kinds, and both tables grow by a row with each event."
    names = {o for o in recinc_nb.__all__ if isinstance(getattr(recinc_nb, o), type) and issubclass(getattr(recinc_nb, o), IdLearner)}
    found = dict(speed.learners_of_ids())
    assert found.keys()==names and len(names)>15
    for name in ('IncrementalMF', 'ItemItem', 'TextRidge'):
        model = found[name]
        rates = speed.stranger_rates(lambda: speed.clone(model).learn_one, speed.observed(model), 50, 1, 5.)
        assert {*rates['events_per_second']}=={f'{a} {b}' for a in ('new', 'known') for b in ('integers', 'strings')}
        grown = speed.clone(model)
        calls = speed.single_calls(grown, 100, speed.as_strings, 5.)
        assert calls['rows of each table']==300 and 0<calls['p50']<=calls['p99']<=calls['p99.9']<=calls['longest']
        assert len(grown.users_)==len(grown.items_)==300


def test_a_bar_of_strangers_is_met_or_not():
    rates = dict(events_per_second={'new integers': [1, 250_000, 3], 'new strings': [1, 100_000, 3]}, cost_of_a_stranger={'integers': [1, 4, 9], 'strings': [1, 6, 9]})
    record = dict(learn_one={'IncrementalMF': rates, 'river BiasedMF': rates}, single_calls={f'IncrementalMF, {o}': {'p99.9': 1_001., 'p99.9, own time': 999.} for o in ('integers', 'strings')},
                  partial_fit={'new learner': [1, 9e6, 1e7]}, prequential=dict(rates))
    bars = speed.stranger_bars(record)
    assert bars['met'].tolist()==[True, False, False, True, False, True, True, True, False, True, False] and not any('river' in o for o in bars['what'])


def test_two_checkouts_in_turns(tmp_path, capsys):
    "Another checkout is measured with its own code: one whose `partial_fit` was slowed down is slower, and nothing else is."
    shutil.copytree(root/'recinc_nb', tmp_path/'recinc_nb', ignore=shutil.ignore_patterns('__pycache__'))
    with open(tmp_path/'recinc_nb'/'mf_online.py', 'a') as f: f.write("""
import time as _time
_as_before = IncrementalMF.partial_fit
def _slow(self, *args, **kwargs):
    _time.sleep(.3)
    return _as_before(self, *args, **kwargs)
IncrementalMF.partial_fit = _slow
""")
    ratio = speed.against(tmp_path, times=1)
    assert ratio['partial_fit, ids known'][1]>5 and ratio['sweep'][1]<5 and 'within 5 %' in capsys.readouterr().out
