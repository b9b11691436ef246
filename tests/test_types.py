"""What programs that do not run the code can see of the package: stubs are fresh, mypy reads a user's program, jedi completes names."""
import sys
import pytest
from helpers import python, root

WRONG = '''from recinc_nb import IncrementalMF, Stream, prequential
model = IncrementalMF(n_factor=3)
model.lern_one('ann', 'Alien', 5.)
model.learn_one('ann', 'Alien', 'five')
model.partial_fit([]).recommend('ann', n=3)
prequential(model, Stream.read('log.csv'), metric='rmse')
Stream.reed('log.csv')
'''


def test_stubs_and_the_list_of_names_are_fresh():
    python(root/'tools'/'public.py', '--check', cwd='/')


def test_the_stub_names_what_the_package_has():
    import ast, recinc_nb
    tree = ast.parse((root/'recinc_nb'/'__init__.pyi').read_text())
    assert {o.name for n in tree.body if isinstance(n, ast.ImportFrom) for o in n.names}==set(recinc_nb.__all__)


def test_mypy_reads_a_program_and_finds_what_is_wrong(tmp_path):
    "As a user would run it, with no setting but --strict. One run for both programs: most of it goes into PyTorch's types."
    api = pytest.importorskip('mypy.api')
    (tmp_path/'wrong.py').write_text(WRONG)
    said,_,_ = api.run([str(root/'tests'/'client.py'), str(tmp_path/'wrong.py'), '--strict', '--config-file', '', '--cache-dir', str(tmp_path),
                        '--python-executable', sys.executable])
    errors = [o for o in said.splitlines() if ': error: ' in o]
    assert not any('client.py' in o for o in errors), said
    for line,what in ((2, 'keyword argument "n_factor"'), (3, 'no attribute "lern_one"'), (4, 'expected "float"'), (5, 'keyword argument "n"'),
                      (6, 'keyword argument "metric"'), (7, 'has no attribute "reed"')):
        assert any(f'wrong.py:{line}: error' in o and what in o for o in errors), f'line {line}, {what}: {said}'
    assert len(errors)==6, said


def test_an_editor_completes_names_and_shows_arguments():
    jedi = pytest.importorskip('jedi')
    project = jedi.Project(root)
    ask = lambda code: jedi.Script('import recinc_nb\nfrom recinc_nb import IncrementalMF, Stream\n' + code, project=project)
    names = lambda code: {o.name for o in ask(code).complete()}
    assert 'IncrementalMF' in names('recinc_nb.Incr') and {'learn_one', 'recommend', 'partial_fit', 'predict'} <= names('IncrementalMF().')
    assert {'read', 'scan', 'take'} <= names('Stream.')
    for code,expected in (('IncrementalMF(', 'n_factors'), ('IncrementalMF().learn_one(', 'user'), ('Stream.read(', 'rating_range')):
        found, = ask(code).get_signatures()
        assert expected in {o.name for o in found.params}, f'{code} {found.to_string()}'
