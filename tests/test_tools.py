"""Each command in tools/ starts, says what it can do, and keeps what it does not measure again; the wheel holds the whole package."""
import importlib.util, zipfile
import pytest
from helpers import python, root

TOOLS = sorted(p.stem for p in (root/'tools').glob('*.py') if '__main__' in p.read_text())   # the others are imported


@pytest.mark.parametrize('name', TOOLS)
def test_each_command_says_what_it_is(name):
    "`--help` starts the program and measures nothing."
    said = python(root/'tools'/f'{name}.py', '--help', cwd='/', timeout=120)
    assert said.startswith('usage:') and f'{name}.py' in said


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
    files = {p.relative_to(copy).as_posix() for p in (copy/'recinc_nb').rglob('*') if p.suffix in ('.py', '.pyi', '.json', '.typed')}
    assert files=={o for o in names if '.dist-info/' not in o} and {'recinc_nb/results/mf_speed.json', 'recinc_nb/py.typed', 'recinc_nb/__init__.pyi'} <= files
