"""Every chapter runs from top to bottom: through nbdev's own runner, and with only the installed wheel, in an empty folder."""
import os, shutil, subprocess, sysconfig, venv
import pytest
from filelock import FileLock
from helpers import notebooks, python, root


@pytest.mark.parametrize('path', notebooks, ids=lambda p: p.stem)
def test_runs_in_nbdev(path):
    python('-c', 'import sys; from pathlib import Path; from nbdev.test import test_nb; sys.exit(not test_nb(Path(sys.argv[1]))[0])', path, cwd=root)


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
import json, sys
import recinc_nb
assert not recinc_nb.__file__.startswith(sys.argv[2]), f"the checkout was seen: {recinc_nb.__file__}"
assert recinc_nb.__file__.startswith(sys.prefix), recinc_nb.__file__
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
for n,cell in enumerate(json.load(open(sys.argv[1]))["cells"]):
    source = "".join(cell["source"])
    if cell["cell_type"]=="code" and "#| eval: false" not in source: shell.run_cell(source, store_history=True).raise_error()
'''


@pytest.mark.parametrize('path', notebooks, ids=lambda p: p.stem)
def test_runs_standalone(path, wheel_python, tmp_path):
    python('-c', RUNNER, path, root, exe=wheel_python, cwd=tmp_path)
