"""The main job, as a user starts it, on 2,000 events of each stream."""
import json, os, subprocess, sys, tomllib
from importlib import import_module
from pathlib import Path
import pytest
from helpers import root
from recinc_nb import demo as demo_module # the module: importing it loads no torch

NAMES = {'movielens': 'MovieLens-100K', 'drift': 'drift stream (sudden)'}
BERT = {'movielens': (.6, .7), 'drift': (.53, .8)} # AUC above, log-loss below; a coin has .5 with a standard error of .013, and .69


def recinc(*args, cwd, **env):
    command = [sys.executable, '-c', 'from recinc_nb.race import main; raise SystemExit(main())'] # what the script `recinc` does
    return subprocess.run([*command, *map(str, args)], cwd=cwd, capture_output=True, text=True, timeout=900,
                          env={**os.environ, 'PYTHONPATH': str(Path(demo_module.__file__).parent.parent), **env})


def test_the_script_is_there():
    module,_,name = tomllib.loads((root/'pyproject.toml').read_text())['project']['scripts']['recinc'].partition(':')
    assert (module, name)==('recinc_nb.race', 'main') and callable(getattr(import_module(module), name))


@pytest.mark.parametrize('data', NAMES)
def test_demo_on_2000_events(data, tmp_path):
    out = recinc('demo', '--data', data, '--events', 2000, '--seed', 1, '--out', 'here', cwd=tmp_path)
    assert out.returncode==0, out.stderr[-3000:]
    said,record = out.stdout, json.loads((tmp_path/'here'/'demo.json').read_text())
    for words in ('all 2,000 events', 'the first 2,000 events', 'before', 'after', str(tmp_path/'here')): assert words in said
    titles = [line for line in said.splitlines() if 'events: ' in line or 'ten items' in line]
    assert len(titles)>=3 and all(NAMES[data] in o for o in titles)
    assert (record['stream'], record['events'], record['bert_events'], record['seed'])==(NAMES[data], 2000, 2000, 1)
    ids,clicks = record['ids'],record['clicks']
    assert len(ids)==4 and all({'RMSE', 'MAE', 'AUC', 'AUC per user', 'events/s'}==set(o) for o in ids.values())
    likes = {name: o['log-loss'] for name,o in clicks.items()}
    bert = [o for o in clicks if 'Bert' in o][-1]
    low,high = BERT[data]
    assert 'MiniLM' in bert and likes['running mean']=='–' and 0 < float(likes[bert]) < high
    assert float(clicks[bert]['AUC']) > low
    assert data=='drift' or float(ids['running mean']['RMSE']) > float(ids['biases']['RMSE']) # 20 events a user are too few there
    assert (tmp_path/'here'/'demo.png').read_bytes()[:8]==b'\x89PNG\r\n\x1a\n'
    assert ' *' in said # something new is recommended after five more events


def test_the_drift_stream_steps_in_when_movielens_cannot_be_had(tmp_path, monkeypatch, capsys):
    def gone(*a): raise FileNotFoundError('movielens_100k: MovieLens-100K cannot be had here')
    monkeypatch.setattr(demo_module, 'movielens_100k', gone)
    demo_module.demo(events=300, out=tmp_path, checkpoint='tiny')
    said = capsys.readouterr().out
    assert 'The embedded drift stream steps in' in said and 'MovieLens-100K, ' not in said
    assert said.count('drift stream (sudden), ')>=3 and 'tiny BERT, untrained' in said


@pytest.mark.parametrize('args, words', [(['--events', '3'], 'use at least 10'), (['--device', 'abacus'], "device is 'abacus'"),
                                         (['--data', 'netflix'], 'invalid choice'), (['--events', 'many'], 'invalid int'), (['--seed', '-1'], 'seed is -1')])
def test_bad_arguments_end_in_a_line_not_a_traceback(args, words, tmp_path):
    out = recinc('demo', *args, cwd=tmp_path)
    assert out.returncode==2 and words in out.stderr and 'Traceback' not in out.stderr and not list(tmp_path.iterdir())


@pytest.mark.parametrize('where, words', [('taken', 'is a file'), ('taken/below', 'is a file'), ('/proc/nowhere', 'cannot be written')])
def test_a_bad_place_is_told_before_the_run(where, words, tmp_path, monkeypatch, capsys):
    from recinc_nb.race import main
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo_module, '_stream', lambda *a: pytest.fail('the run has begun'))
    (tmp_path/'taken').write_text('mine')
    assert main(['demo', '--out', where])==2 and words in (said := capsys.readouterr().err) and said.count('\n')==1
    assert (tmp_path/'taken').read_text()=='mine'
