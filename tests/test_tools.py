"""Each command in tools/ starts, says what it can do, and keeps what it does not measure again; the wheel holds the whole package."""
import importlib.util, json, re, zipfile
import pytest
from helpers import python, root

TOOLS = sorted(p.stem for p in (root/'tools').glob('*.py'))


@pytest.mark.parametrize('name', TOOLS)
def test_each_command_says_what_it_is(name):
    "`--help` starts the program and measures nothing."
    said = python(root/'tools'/f'{name}.py', '--help', cwd='/', timeout=120)
    assert said.startswith('usage:') and f'{name}.py' in said


def test_tuning_knows_every_part_that_it_documents(capsys):
    import tune
    named = re.findall(r'^    python tools/tune.py (\w+) ', tune.__doc__, flags=re.M)
    assert set(named) - {'everything'}==set(tune.PARTS)
    records = {p.stem for p in (root/'recinc_nb'/'results').glob('tuning_*.json')}
    assert records=={f'tuning_{o}' for o in tune.PARTS}
    for o in records: assert json.loads((root/'recinc_nb'/'results'/f'{o}.json').read_text())['command']==f"python tools/tune.py {o.removeprefix('tuning_')}"
    tune.main(['--dry'])
    assert all(f'tuning_{o}.json' in capsys.readouterr().out for o in ('rank',))
    with pytest.raises(SystemExit): tune.main(['rnk'])
    assert 'no part rnk' in capsys.readouterr().err


@pytest.mark.parametrize('part', ['rank', 'topn'])
def test_tuning_writes_a_record(part, tmp_path, monkeypatch):
    import tune
    from recinc_nb import drift_stream
    (tmp_path/'recinc_nb'/'results').mkdir(parents=True)
    monkeypatch.setattr(tune, 'root', tmp_path)
    monkeypatch.setattr(tune, 'movielens_100k', lambda: drift_stream(400, n_users=20, n_items=30, seed=0))
    tune.main([part])
    made = json.loads((tmp_path/'recinc_nb'/'results'/f'tuning_{part}.json').read_text())
    known = json.loads((root/'recinc_nb'/'results'/f'tuning_{part}.json').read_text())
    assert made['best'].keys()==known['best'].keys() and made['command']==known['command']


def test_a_part_that_is_measured_again_leaves_the_others_in_the_record():
    import bert_runs
    old = json.loads(bert_runs.TO.read_text())
    assert set(bert_runs.PARTS) <= old.keys()
    new = bert_runs.whole(old, dict(memory={'one': 1}, load={'memory': .5}, threads={'memory': 1}), dict(cpu='another'))
    assert new['memory']=={'one': 1} and all(new[o]==old[o] for o in bert_runs.PARTS if o!='memory')
    assert new['load']=={**old['load'], 'memory': .5} and new['threads']=={**old['threads'], 'memory': 1}
    assert new['machines']=={**{o: old['machine'] for o in bert_runs.PARTS}, **old.get('machines', {}), 'memory': dict(cpu='another')} # each part keeps its own
    again = bert_runs.whole(new, {o: new[o] for o in (*bert_runs.PARTS, 'load', 'threads')}, dict(cpu='a third'))
    assert again==new   # nothing was measured: nothing changes
    first = bert_runs.whole({}, dict(cost={'a': 1}, load={'cost': 1.}, threads={'cost': 2}), dict(cpu='x'))
    assert first['cost']=={'a': 1} and first['machines']=={'cost': dict(cpu='x')} and 'memory' not in first


def test_a_seed_that_is_run_again_leaves_the_others_in_the_record():
    import lora_runs
    old = json.loads(lora_runs.OUT.read_text())
    new = json.loads(json.dumps(old))
    for part in ('turn', 'short'): new[part]['rows'] = [{**o, 'seed': 7} for o in old[part]['rows'] if o['seed']==0]
    both = lora_runs.whole(old, json.loads(json.dumps(new)))
    assert both['seeds']==[*old['seeds'], 7]
    for part in ('turn', 'short'): assert both[part]['rows']==old[part]['rows'] + new[part]['rows']
    other = json.loads(json.dumps(new)) | dict(turn={**new['turn'], 'lr': {}})
    assert lora_runs.whole(old, other)['turn']['rows']==new['turn']['rows']   # other settings: nothing to put beside each other
    assert lora_runs.whole({}, json.loads(json.dumps(new)))['seeds']==[7]


@pytest.mark.skipif(not all(map(importlib.util.find_spec, ('build', 'setuptools'))), reason='build or setuptools is not here')
def test_the_wheel_holds_every_module_and_record(tmp_path):
    import shutil
    copy = tmp_path/'project'
    copy.mkdir()
    for o in ('pyproject.toml', 'README.md', 'LICENSE'): shutil.copy(root/o, copy)
    shutil.copytree(root/'recinc_nb', copy/'recinc_nb', ignore=shutil.ignore_patterns('__pycache__'))
    for o in ('tools', 'tests', 'nbs', 'out'): (copy/o).mkdir()
    (copy/'tools'/'speed.py').write_text('')
    (copy/'recinc_nb'/'sub').mkdir()      # a part of its own, should there be one
    (copy/'recinc_nb'/'sub'/'__init__.py').write_text('')
    python('-m', 'build', '--wheel', '--no-isolation', '--outdir', tmp_path, copy)
    names = set(zipfile.ZipFile(next(tmp_path.glob('*.whl'))).namelist())
    files = {p.relative_to(copy).as_posix() for p in (copy/'recinc_nb').rglob('*') if p.suffix in ('.py', '.json')}
    assert files=={o for o in names if '.dist-info/' not in o} and 'recinc_nb/results/mf_speed.json' in files
