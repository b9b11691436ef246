"""Notebooks, package and README say the same: export, clean and README leave no difference, and lint is silent."""
import os, re, shutil
import pytest
from helpers import python, root

SOURCES = ('nbs', 'recinc_nb', 'README.md')


@pytest.fixture(scope='module')
def redone(tmp_path_factory):
    "A copy of the project in which export, clean and README were made again."
    copy = tmp_path_factory.mktemp('copy')/'project'
    shutil.copytree(root, copy, ignore=shutil.ignore_patterns('.venv', '.git', '_proc', '_docs', 'out', '__pycache__', '.pytest_cache', '.hypothesis'))
    for command in ('from nbdev.doclinks import nbdev_export; nbdev_export()', 'from nbdev.clean import nbdev_clean; nbdev_clean()'):
        python('-c', command, cwd=copy, env={k: v for k,v in os.environ.items() if k!='IN_TEST'}) # with it nbdev exports nothing
    python('tools/readme.py', cwd=copy)
    return copy


@pytest.mark.parametrize('what', SOURCES)
def test_nothing_changes(redone, what):
    files = lambda base: {p.relative_to(base): p.read_bytes() for p in ([base/what] if (base/what).is_file() else (base/what).rglob('*'))
                          if p.is_file() and '__pycache__' not in p.parts and '.ipynb_checkpoints' not in p.parts}
    ours,again = files(root),files(redone)
    assert ours.keys()==again.keys(), f'files differ: {ours.keys() ^ again.keys()}; run make check'
    changed = [str(o) for o in ours if ours[o]!=again[o]]
    assert not changed, f'{changed} are not what the notebooks give; run make check'


def test_no_orphan_module():
    "Every module names the notebook that it is made from; that notebook exists and exports to it."
    names = {p.stem: p.read_text() for p in (root/'nbs').rglob('*.ipynb')}
    for path in (root/'recinc_nb').glob('*.py'):
        if path.name in ('__init__.py', '_modidx.py'): continue
        source = re.search(r'File to edit: \.\./nbs/(.+)\.ipynb', path.read_text())
        assert source and source[1] in names, f'{path.name} has no notebook; delete it'
        assert f'#| default_exp {path.stem}"' in names[source[1]], f'{path.name} is not what {source[1]} exports to; delete it'


def test_lint():
    import lint_nbs
    found = lint_nbs.lint()
    assert not found, '\n'.join(found)


def test_the_index_says_what_the_chapters_say():
    "The short path is as long as it says, no chapter of a path comes before one that it needs, and every chapter that is needed is there."
    import re
    from lint_nbs import Nb
    text = '\n'.join(c.source for c in Nb(root/'nbs'/'index.ipynb').markdown)
    rows = {m[1]: (m[2].split(', ') if m[2] else [], m[3]) for m in re.finditer(r'^\| (\w+) \| \[[^|]*\| [^|]* \| ([^|]*) \| (\d*) \|', text, re.M)}
    assert len(rows)>35 and all(o in rows for needs,_ in rows.values() for o in needs)
    paths = {m[1]: re.findall(r'\[(\w+)\]', m[2]) for m in re.finditer(r'^- \*\*([^*]+):\*\*(.*?)$', text, re.M)}
    assert paths.keys()=={'Six hours', 'Theory', 'Engineer'}
    for name,path in paths.items():
        assert all(o in rows for o in path) and path==sorted(path), name
    assert 5*60 <= sum(int(rows[o][1]) for o in paths['Six hours']) <= 7*60
    missing = [(o, need) for n,o in enumerate(paths['Six hours']) for need in rows[o][0] if need not in paths['Six hours'][:n]]
    assert not missing, f'the short path leaves out what it needs: {missing}'


@pytest.mark.parametrize('branch,tags,wrong', [('main', [], 0), ('v0.1.0', ['v0.1.0'], 0), ('v0.1.0', [], 0), ('dev', [], 1), ('main', ['v0.1.0'], 1), ('v0.2.0', ['v0.1.0'], 2)])
def test_a_release_installs_itself(branch, tags, wrong):
    from lint_nbs import release
    assert len(list(release(branch, '0.1.0', tags)))==wrong


def test_ruff():
    "Names that nobody uses, loops that do not do what they say: package, tests, tools and notebooks."
    python('-m', 'ruff', 'check', '--no-cache', '--output-format', 'concise', cwd=root)


def test_imports_go_downwards_only():
    "`import recinc_nb` loads nothing heavy, and each learner of ids loads no torch."
    python('-c', "import sys, recinc_nb; heavy = {'torch','transformers','datasets','matplotlib','numba','numpy'} & set(sys.modules); assert not heavy, heavy", cwd='/')
    python('-c', "import sys; from recinc_nb import IncrementalMF, movielens_100k, prequential; assert callable(prequential); assert 'torch' not in sys.modules", cwd='/')


def test_every_public_name_is_there_and_no_module_has_it():
    "A module of that name would take its place in the package once it is imported; so would any other order of imports."
    import recinc_nb
    for name in recinc_nb.__all__:
        assert not (root/'recinc_nb'/f'{name}.py').exists() and not (root/'recinc_nb'/name/'__init__.py').exists(), f'{name} is a module too; rename one'
    python('-c', "import recinc_nb; [getattr(recinc_nb, o) for o in recinc_nb.__all__]; assert set(recinc_nb.__all__) <= set(dir(recinc_nb))", cwd='/')
    for first,then in (('import recinc_nb.protocol as p', 'from recinc_nb import prequential'), ('from recinc_nb import prequential', 'import recinc_nb.protocol as p')):
        python('-c', f"{first}; {then}; assert p.compare and p.prequential is prequential and callable(prequential)", cwd='/')
    with pytest.raises(AttributeError, match="no attribute 'IncrementalNF'; it has"): recinc_nb.IncrementalNF
    with pytest.raises(ImportError): from recinc_nb import nothing   # noqa: F401


def test_the_package_itself_loads_in_no_time():
    took = [float(python('-c', "import time; start = time.process_time(); import recinc_nb; print(time.process_time()-start)", cwd='/')) for _ in range(3)]
    assert min(took)<.15, f'import recinc_nb takes {took} s of one core; load less'


def test_the_notation_page_names_what_is_there():
    "Every public name in the table of symbols is a parameter, an attribute or a column somewhere in the package."
    import json
    cells = json.loads((root/'nbs'/'02_notation.ipynb').read_text())['cells']
    rows = [line.split(' | ') for c in cells for line in ''.join(c['source']).splitlines() if c['cell_type']=='markdown' and re.match(r'\| (\$|–)', line)]
    code = '\n'.join(p.read_text() for p in (root/'recinc_nb').glob('*.py'))
    names = {o.strip('`…_ ') for row in rows for o in row[2].split(',') if '`' in o}
    assert len(rows)>25 and len(names)>25
    missing = [o for o in names if not re.search(rf'(?<![a-z]){re.escape(o)}(?![a-z])', code)]
    assert not missing, f'{missing} is in the table of symbols, but nowhere in the package'
