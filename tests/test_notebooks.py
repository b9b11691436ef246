"""Every chapter and every solution runs once from top to bottom: by nbdev's own runner, with only the installed wheel, in an
empty folder. At the end of a chapter's run its exercises are tried in its own namespace: what has nothing filled in fails,
and the solution passes. `nbdev_test` in the checkout is tried on one chapter of each part."""
import json, os, shutil, subprocess, sysconfig, venv
import pytest
from filelock import FileLock
from helpers import notebooks, python, root
from test_exercises import exercises, imports_of, solution_of

SECONDS = root/'out'/'seconds' # of CPU, a file a notebook: `python tools/run_nbs.py --seconds` gathers them


@pytest.fixture(scope='session')
def wheel_python(tmp_path_factory):
    "An interpreter that sees the third-party packages of this environment and our wheel, but not the checkout. One for all workers."
    base = tmp_path_factory.getbasetemp().parent if 'PYTEST_XDIST_WORKER' in os.environ else tmp_path_factory.getbasetemp()
    home,exe = base/'wheel', base/'wheel'/'venv'/'bin'/'python'
    with FileLock(str(base/'wheel.lock')):
        if (home/'ready').exists(): return exe
        names = [o for o in subprocess.check_output(['git', 'ls-files', '-co', '--exclude-standard'], cwd=root, text=True).splitlines() if (root/o).is_file()]
        for o in names:
            (home/'source'/o).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(root/o, home/'source'/o)
        python('-m', 'pip', 'wheel', '-q', '--no-deps', '-w', home, home/'source')
        venv.create(home/'venv', with_pip=False)
        site = next((home/'venv'/'lib').glob('python*'))/'site-packages'
        (site/'third_party.pth').write_text(sysconfig.get_paths()['purelib'] + '\n') # added to the path; .pth files in there are not read
        wheel, = home.glob('*.whl')
        python('-m', 'pip', 'install', '-q', '--no-deps', '--target', site, wheel)
        (home/'ready').touch()
    return exe


RUNNER = '''
import json, os, sys
from pathlib import Path
import recinc_nb
path,checkout,seconds = map(Path, sys.argv[1:])
assert not recinc_nb.__file__.startswith(str(checkout)) and recinc_nb.__file__.startswith(sys.prefix), f"the checkout was seen: {recinc_nb.__file__}"
try: from nbdev.test import test_nb
except ImportError: # `make floors` has fastcore 2, with which nbdev 2 cannot be
    from IPython.core.interactiveshell import InteractiveShell
    shell = InteractiveShell.instance()
    for cell in json.loads(path.read_text())["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"]=="code" and "#| eval: false" not in source: shell.run_cell(source, store_history=True).raise_error()
else:
    if not test_nb(path)[0]: sys.exit(1)
used = os.times()
seconds.parent.mkdir(parents=True, exist_ok=True)
seconds.write_text(json.dumps(round(sum(used[:4]), 1)))
'''

# What is put at the end of a chapter's copy. Each exercise gets a copy of the namespace, so that none helps another; a solution may import
# what the chapter lacks.
TRIES = '''
import json
_imported = {{}}
exec({imports!r}, _imported)
for _n,_asked,_solved in json.loads({tries!r}):
    try: exec(_asked, dict(globals()))
    except (NameError, ImportError, SyntaxError) as e: raise AssertionError(f"exercise {{_n}} cannot be tried where the reader stands: {{e!r}}")
    except Exception: pass
    else: raise AssertionError(f"exercise {{_n}} passes with nothing filled in")
    try: exec(_solved, {{**_imported, **globals()}})
    except Exception as e: raise AssertionError(f"the solution of exercise {{_n}} does not pass where the reader stands: {{e!r}}") from e
'''


def with_exercises(path):
    "The chapter as JSON, with a last cell that tries its exercises and their solutions"
    book = json.loads(path.read_text())
    if path.parent==root/'nbs' and (asked := exercises(path)):
        solved = exercises(solution_of(path))
        source = TRIES.format(imports=imports_of(solution_of(path)), tries=json.dumps([(n, asked[n], solved[n]) for n in asked]))
        book['cells'].append(dict(book['cells'][-1], cell_type='code', id='tries', source=source, outputs=[], execution_count=None, metadata={}))
    return json.dumps(book)


@pytest.mark.parametrize('path', notebooks, ids=lambda p: p.stem)
def test_runs_alone(path, wheel_python, tmp_path):
    copy = tmp_path/path.name
    copy.write_text(with_exercises(path))
    (tmp_path/'empty').mkdir()
    python('-c', RUNNER, copy, root, SECONDS/f'{path.stem}.json', exe=wheel_python, cwd=tmp_path/'empty')


@pytest.mark.parametrize('name', ['00_core', '11_metrics', '20_losses', '30_mf', '40_text'])
def test_runs_in_the_checkout(name):
    python('-c', 'import sys; from pathlib import Path; from nbdev.test import test_nb; sys.exit(not test_nb(Path(sys.argv[1]))[0])',
           root/'nbs'/f'{name}.ipynb', cwd=root)


def test_a_planted_error_fails(wheel_python, tmp_path):
    "The runner itself can fail: at a false assertion, and at an exercise that needs nothing filled in."
    cell = lambda source: dict(cell_type='code', id='x', source=source, outputs=[], execution_count=None, metadata={})
    book = json.loads((root/'nbs'/'00_core.ipynb').read_text())
    for source in ('assert 1==2', TRIES.format(imports='', tries=json.dumps([(1, 'x = ...', 'x = 1')])),
                   TRIES.format(imports='', tries=json.dumps([(1, 'assert False', 'y = nowhere')]))):
        (tmp_path/'x.ipynb').write_text(json.dumps({**book, 'cells': [cell(source)]}))
        with pytest.raises(AssertionError, match='AssertionError'): python('-c', RUNNER, tmp_path/'x.ipynb', root, tmp_path/'s.json', exe=wheel_python, cwd=tmp_path)
