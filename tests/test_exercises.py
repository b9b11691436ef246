"""Exercises check themselves: the empty stub fails the chapter's own check, and the tested solution passes the very same lines."""
import ast, json, re
import pytest
from helpers import python, root

chapters = [p for p in sorted((root/'nbs').glob('*.ipynb')) if '# exercise 1' in p.read_text()]
solutions = {p: p.parent/'solutions'/f'{p.stem}_solutions.ipynb' for p in chapters}


def exercises(path):
    "Number -> source of each cell that begins with `# exercise N`, directives aside."
    found = {}
    for cell in json.loads(path.read_text())['cells']:
        source = re.sub(r'^(#\|[^\n]*\n)*', '', ''.join(cell['source']))
        if cell['cell_type']=='code' and (m := re.match(r'# exercise (\d+)\n', source)): found[int(m[1])] = source
    return found


def to_fill_in(statement):
    "Does a reader write this one? It holds a `...` that is no index."
    index = {id(o) for s in ast.walk(statement) if isinstance(s, ast.Subscript) for o in ast.walk(s.slice)}
    return any(isinstance(o, ast.Constant) and o.value is ... and id(o) not in index for o in ast.walk(statement))


def checks(source): return [ast.unparse(o) for o in ast.parse(source).body if not to_fill_in(o)]


def test_parts_1_and_2_have_four_exercises_each():
    for path in sorted((root/'nbs').glob('[12]*.ipynb')): assert len(exercises(path))>=4, f'{path.stem} has {len(exercises(path))} exercises'


@pytest.mark.parametrize('path', chapters, ids=lambda p: p.stem)
def test_the_solution_passes_the_chapters_own_checks(path):
    asked,solved = exercises(path),exercises(solutions[path])
    assert asked.keys()==solved.keys()=={*range(1, len(asked)+1)}
    assert f'(solutions/{path.stem}_solutions.ipynb)' in path.read_text() and f'(../{path.name})' in solutions[path].read_text()
    for n,source in asked.items():
        assert checks(source) and len(checks(source))<len(ast.parse(source).body), f'exercise {n} has no check or nothing to fill in'
        left = checks(solved[n])
        missing = [o for o in checks(source) if o not in left]
        assert not missing, f'exercise {n}: the solution leaves out the check {missing[0]}'
        assert not any(to_fill_in(o) for o in ast.parse(solved[n]).body), f'exercise {n}: the solution still has a ...'


RUNNER = '''
import json, re, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from test_exercises import exercises
from IPython.core.interactiveshell import InteractiveShell
shell,asked = InteractiveShell.instance(),exercises(Path(sys.argv[1]))
for cell in json.load(open(sys.argv[2]))["cells"]:
    source = "".join(cell["source"])
    if cell["cell_type"]!="code" or "#| eval: false" in source: continue
    if m := re.match(r"# exercise (\\d+)\\n", source):
        try: exec(asked[int(m[1])], dict(shell.user_ns))
        except (NameError, ImportError, SyntaxError) as e: raise SystemExit(f"exercise {m[1]} cannot be tried in the solutions' notebook: {e!r}")
        except Exception: pass
        else: raise SystemExit(f"exercise {m[1]} passes with nothing filled in")
    shell.run_cell(source, store_history=True).raise_error()
'''


@pytest.mark.parametrize('path', chapters, ids=lambda p: p.stem)
def test_a_stub_with_nothing_filled_in_fails(path):
    python('-c', RUNNER, path, solutions[path], root/'tests', cwd=root/'nbs'/'solutions')
