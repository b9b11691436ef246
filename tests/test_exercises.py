"""Exercises check themselves: a solution passes the very lines that the chapter asks. That it does so where the reader stands, and that
an empty stub does not, is tried at the end of each chapter's run, in test_notebooks."""
import ast, json, re
import pytest
from helpers import root

chapters = [p for p in sorted((root/'nbs').glob('*.ipynb')) if '# exercise 1' in p.read_text()]


def solution_of(path): return path.parent/'solutions'/f'{path.stem}_solutions.ipynb'


def exercises(path):
    "Number -> source of each cell that begins with `# exercise N`, directives aside."
    found = {}
    for cell in json.loads(path.read_text())['cells']:
        source = re.sub(r'^(#\|[^\n]*\n)*', '', ''.join(cell['source']))
        if cell['cell_type']=='code' and (m := re.match(r'# exercise (\d+)\n', source)): found[int(m[1])] = source
    return found


def imports_of(path):
    "The imports of a notebook, as one text."
    cells = (ast.parse(re.sub(r'^[%!].*$', '', ''.join(o['source']), flags=re.M)) for o in json.loads(path.read_text())['cells'] if o['cell_type']=='code')
    return ''.join(ast.unparse(o)+'\n' for cell in cells for o in cell.body if isinstance(o, (ast.Import, ast.ImportFrom)))


def to_fill_in(statement):
    "Does a reader write this one? It holds a `...` that is no index."
    index = {id(o) for s in ast.walk(statement) if isinstance(s, ast.Subscript) for o in ast.walk(s.slice)}
    return any(isinstance(o, ast.Constant) and o.value is ... and id(o) not in index for o in ast.walk(statement))


def checks(source): return [ast.unparse(o) for o in ast.parse(source).body if not to_fill_in(o)]


def test_parts_1_and_2_have_four_exercises_each():
    for path in sorted((root/'nbs').glob('[12]*.ipynb')): assert len(exercises(path))>=4, f'{path.stem} has {len(exercises(path))} exercises'


@pytest.mark.parametrize('path', chapters, ids=lambda p: p.stem)
def test_the_solution_passes_the_chapters_own_checks(path):
    asked,solved = exercises(path),exercises(solution_of(path))
    assert asked.keys()==solved.keys()=={*range(1, len(asked)+1)}
    assert f'(solutions/{path.stem}_solutions.ipynb)' in path.read_text() and f'(../{path.name})' in solution_of(path).read_text()
    for n,source in asked.items():
        assert checks(source) and len(checks(source))<len(ast.parse(source).body), f'exercise {n} has no check or nothing to fill in'
        left = checks(solved[n])
        missing = [o for o in checks(source) if o not in left]
        assert not missing, f'exercise {n}: the solution leaves out the check {missing[0]}'
        assert not any(to_fill_in(o) for o in ast.parse(solved[n]).body), f'exercise {n}: the solution still has a ...'

