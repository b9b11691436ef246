"""Plant bugs and see whether the checks notice: each mutant is run against its chapter's own cells and its test files.

`tests/mutants/CHAPTER.toml` holds a chapter's mutants: `tests`, the files that should notice, and per mutant what it is a
bug `of` (an exported name), its `kind` (sign, factor, index, stale, dropped), the text as it `was` (once in the exported
cells) and as it is `now`. One that nothing can notice is `explained`.

Call `python tools/mutate.py` for all chapters, or name some; `--last 3` takes the last mutants of each list alone, `--quick` asks
the tests only about what the cells did not notice. What was asked on the same bytes before is not asked again. The record of a
chapter stands beside its list; the exit code is 1 if a mutant lives unexplained. `make test` asks some chapters' cells again.

A chapter's cells run once. At the cell that holds a mutant the process forks; the child runs the changed cell and what
follows until something fails. Tests run in a fork that has imported everything but us; the changed module is then imported.
Compiled code is kept on disk for modules that a mutant cannot reach, and for no other: Numba does not see that a callee changed."""
import argparse, ast, hashlib, importlib.abc, importlib.util, json, os, re, select, signal, subprocess, sys, tempfile, time, tomllib
from concurrent.futures import ThreadPoolExecutor

from tqdm import tqdm

from lint_nbs import ROOT, Nb, cfg, find_notebooks

LISTS = ROOT/'tests'/'mutants'
KINDS = 'sign factor index stale dropped'.split()
SECONDS = 240                                            # a mutant that never ends was noticed
CRASHES = signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL
UNFAIR = 'NameError SyntaxError IndentationError TypingError ImportError UnboundLocalError'.split() # a bug that nobody could commit
ALONE = dict(IN_TEST='1', RECINC_SCALE='test', RECINC_UNATTENDED='1', MPLBACKEND='Agg', HF_HUB_OFFLINE='1', PYTHONPATH=str(ROOT), TQDM_DISABLE='1',
             **{f'{o}_NUM_THREADS': '1' for o in 'OMP MKL OPENBLAS NUMBA'.split()})  # a fork takes one thread along


def read_list(path):
    "A chapter's test files and mutants; each is checked"
    said = tomllib.loads(path.read_text(encoding='utf-8'))
    for n,m in enumerate(said['mutant'], 1):
        odd = {'of', 'kind', 'was', 'now'} - m.keys() or m.keys() - {'of', 'kind', 'was', 'now', 'explained'}
        if odd: raise ValueError(f"{path.name}: mutant {n} lacks, or should not have, {', '.join(sorted(odd))}")
        if m['kind'] not in KINDS: raise ValueError(f"{path.name}: mutant {n} is of kind {m['kind']!r}; use one of {', '.join(KINDS)}")
    if not said['tests']: raise ValueError(f"{path.name}: tests is empty; name the files that should notice")
    return said['tests'],said['mutant']


def plant(source, mutant, where):
    "`source` with the bug in it"
    if (n := source.count(mutant['was']))!=1: raise ValueError(f"{where}: {mutant['was']!r} stands there {n} times; give more of what is around it")
    new = source.replace(mutant['was'], mutant['now'])
    ast.parse(new)
    return new


def module_of(nb): return f'{cfg.lib_path}.{nb.module}'


def find_cells(nb, mutants):
    "For each mutant the index of its cell and the changed source"
    exported,out = [o for o in nb.code if o.exported],[]
    for m in mutants:
        hits = [o for o in exported if m['was'] in o.source]
        if len(hits)!=1: raise ValueError(f"{nb.name}: {m['was']!r} stands in {len(hits)} exported cells; give more of what is around it")
        out.append((hits[0].i, plant(hits[0].source, m, nb.where(hits[0]))))
    return out


def importers(module):
    "Modules of the package whose compiled code may hold code of `module`, itself too"
    uses = {}
    for p in (ROOT/cfg.lib_path).glob('*.py'): uses[p.stem] = set(re.findall(r'^\s*from \.(\w+) import', p.read_text(), flags=re.M))
    out,todo = set(),[module]
    while todo:
        if (m := todo.pop()) not in out: todo += [o for o,used in uses.items() if m in used]
        out.add(m)
    return {f'{cfg.lib_path}.{o}' for o in out}


def keep_no_code_of(modules):
    "Numba's cache on disk is not used for functions of `modules`"
    from numba.core.dispatcher import Dispatcher
    before = Dispatcher.enable_caching
    Dispatcher.enable_caching = lambda self: None if self.py_func.__module__ in modules else before(self)


def in_fork(job, seconds=SECONDS):
    """What `job()` answers in a fork of this process: who noticed, or None. A fork that crashes or never ends was noticed, too.

    Raises `RuntimeError` if it was our own code that failed, or somebody else ended the fork: that says nothing of a mutant."""
    r,w = os.pipe()
    sys.stdout.flush()
    if not (child := os.fork()):
        os.setpgid(0, 0)
        os.close(r)
        quiet = os.open(os.devnull, os.O_WRONLY)
        for o in (1, 2): os.dup2(quiet, o)
        try: said = dict(noticed=job())
        except BaseException as e: said = dict(failed=f'{type(e).__name__}: {e}'[:300])
        os.write(w, json.dumps(said).encode())
        os._exit(0)
    os.close(w)
    said,end = b'',time.monotonic() + seconds
    while (left := end-time.monotonic())>0 and select.select([r], [], [], left)[0]:
        if not (more := os.read(r, 65_536)): break
        said += more
    os.close(r)
    try: os.killpg(child, signal.SIGKILL)
    except ProcessLookupError: pass
    status = os.waitpid(child, 0)[1]
    if said:
        if 'failed' in (said := json.loads(said)): raise RuntimeError(said['failed'])
        return said['noticed']
    if time.monotonic()>=end: return 'no end'
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) in CRASHES: return f'crashed, {signal.Signals(os.WTERMSIG(status)).name}'
    raise RuntimeError(f'a fork ended with status {status} before it answered')


def ask_cells(nb, mutants, say):
    "Run the chapter; at each mutant's cell fork. `say(index, who noticed)`"
    from IPython.core.interactiveshell import InteractiveShell
    keep_no_code_of({'__main__'})
    shell,todo = InteractiveShell.instance(),{}
    for n,(i,source) in enumerate(find_cells(nb, mutants)): todo.setdefault(i, []).append((n, source))
    cells = [o for o in nb.code if o.directives.get('eval')!='false']

    def run(cell, source):
        out = shell.run_cell(source, store_history=False)
        return out.error_before_exec or out.error_in_exec

    def seen(k, source):
        for cell in cells[k:]:
            if err := run(cell, source if cell is cells[k] else cell.source): return f'{cell}: {type(err).__name__}'

    with tempfile.TemporaryDirectory() as empty:
        os.chdir(empty)
        for k,cell in enumerate(cells):
            for n,source in todo.pop(cell.i, ()): say(n, in_fork(lambda: seen(k, source)))
            if not todo: return
            if err := in_silence(lambda: run(cell, cell.source)): raise RuntimeError(f'{nb.where(cell)} fails without a mutant: {err!r}')


def in_silence(job):
    "`job()`, with nothing written to the terminal"
    kept,quiet = [os.dup(o) for o in (1, 2)],os.open(os.devnull, os.O_WRONLY)
    sys.stdout.flush()
    for o in (1, 2): os.dup2(quiet, o)
    try: return job()
    finally:
        sys.stdout.flush()
        for o,k in zip((1, 2), kept): os.dup2(k, o); os.close(k)
        os.close(quiet)


class Planted(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    "Imports one module with a bug in it"
    def __init__(self, name, source):
        self.name,self.source,self.path = name,source,str(ROOT/(name.replace('.', '/')+'.py'))
        self.used = False

    def find_spec(self, name, path=None, target=None):
        if name==self.name: return importlib.util.spec_from_file_location(name, self.path, loader=self)

    def create_module(self, spec): return None
    def exec_module(self, module):
        self.used = True
        exec(compile(self.source, self.path, 'exec'), module.__dict__)


class Witness:
    "A pytest plugin: the first test that fails"
    name = None
    def pytest_runtest_logreport(self, report):
        if report.failed and not self.name: self.name = report.nodeid
    def pytest_collectreport(self, report):
        if report.failed and not self.name: self.name = f'{report.nodeid}: import fails'


def ask_tests(name, mutants, tests, say):
    "Run pytest on the files, or on single tests, for each mutant; each in a fork that has imported everything but us"
    import numba, numpy, pandas, pytest, scipy.sparse, sklearn.base, torch, hypothesis # noqa: F401
    if any('bert' in o or 'lora' in o or 'block' in o or 'click' in o for o in tests): import transformers # noqa: F401
    path = ROOT/(name.replace('.', '/')+'.py')
    reached,text = importers(name.rpartition('.')[2]),path.read_text(encoding='utf-8')

    def seen(mutant):
        os.chdir(ROOT)
        keep_no_code_of(reached)
        planted,witness = Planted(name, plant(text, mutant, path.name)),Witness()
        sys.meta_path.insert(0, planted)
        assert not any(o.partition('.')[0]==cfg.lib_path for o in sys.modules), 'the package was imported too early'
        pytest.main(['-x', '-q', '-p', 'no:cacheprovider', '-p', 'no:xdist', '--rootdir', str(ROOT), *tests], plugins=[witness])
        if not planted.used: raise ValueError(f"{', '.join(tests)}: {name} was never imported; name tests that do")
        return witness.name

    for n,m in enumerate(mutants): say(n, in_fork(lambda m=m: seen(m)))


def digest(*texts): return hashlib.sha256('\0'.join(texts).encode()).hexdigest()[:16]


def form(source):
    "Code without its layout: a line that is only broken in another place leaves the answers as they are"
    try: return ast.dump(ast.parse(source))
    except SyntaxError: return source   # a cell with a command of the shell


def asked_of(nb, tests):
    "What an answer depends on, as far as we look: the chapter's own code and the test files"
    exported = [form(o.source) for o in nb.code if o.exported]
    return dict(cells=digest(*(form(o.source) for o in nb.code)), tests=digest(*exported, *((ROOT/o).read_text(encoding='utf-8') for o in tests)))


def key(m): return digest(m['was'], m['now'])


def load_record(path):
    "Of a list: what each mutant's checks answered, by `key`"
    path = path.with_suffix('.json')
    return json.loads(path.read_text(encoding='utf-8'))['mutants'] if path.exists() else {}


def write_record(path, rows):
    sys.path.insert(0, str(ROOT))
    from recinc_nb.core import machine, write_atomic
    said = dict(command=f'python tools/mutate.py {path.stem}', machine=machine(), **count(rows.values()), mutants=rows)
    write_atomic(path.with_suffix('.json'), json.dumps(said, indent=1, ensure_ascii=False).encode()+b'\n')


def count(rows):
    "How many were asked about, who noticed, how many live"
    rows = [o for o in rows if o.get('cells') or {'cells', 'tests'} <= o.keys()]
    return dict(asked=len(rows), cells_noticed=sum(bool(o['cells']) for o in rows), tests_noticed=sum(bool(o.get('tests')) for o in rows),
                alive=sum(map(lives, rows)), explained=sum(o['explained'] for o in rows if lives(o)))


def lives(row): return 'cells' in row and 'tests' in row and not (row['cells'] or row['tests'])
def unfair(row): return any(str(row.get('cells')).endswith(o) for o in UNFAIR)


def ask(chapter, which, numbers, answer):
    "A process that asks the chapter's `cells` or its `tests` about mutants; `answer(number, who noticed)` as they come"
    if not numbers: return
    errors = tempfile.TemporaryFile('w+')
    p = subprocess.Popen([sys.executable, __file__, chapter, '--ask', which, ','.join(map(str, numbers))], env={**os.environ, **ALONE},
                         stdout=subprocess.PIPE, stderr=errors, text=True)
    for line in p.stdout:
        if line.startswith('['): answer(*json.loads(line))
    if p.wait():
        errors.seek(0)
        raise RuntimeError(f'{chapter}, {which}: {errors.read()[-2_000:]}')


def answer_here(chapter, which, numbers):
    "The other end of `ask`"
    nb = Nb(find_notebooks([chapter])[0])
    tests,mutants = read_list(LISTS/f'{nb.name}.toml')
    say = lambda n, who: print(json.dumps([numbers[n], who]), flush=True)
    chosen = [mutants[o] for o in numbers]
    if which=='cells': ask_cells(nb, chosen, say)
    else: ask_tests(module_of(nb), chosen, tests, say)


def run_chapter(path, args, bar):
    "Ask about the mutants of one list, and keep each answer"
    nb = Nb(find_notebooks([path.stem])[0])
    tests,mutants = read_list(path)
    find_cells(nb, mutants)
    now,old,rows = asked_of(nb, tests),load_record(path),{}
    for m in mutants:
        said = old.get(key(m), {})
        same = [k for k in ('cells', 'tests') if k in said and said['asked'].get(k)==now[k]]
        rows[key(m)] = dict(of=m['of'], kind=m['kind'], explained='explained' in m, **{k: said[k] for k in same}, asked={k: now[k] for k in same})

    def answer(which):
        def kept(n, who):
            m,row = mutants[n],rows[key(mutants[n])]
            row[which],row['asked'][which] = who,now[which]
            write_record(path, rows)
            bar.update()
            if lives(row): bar.write(f"ALIVE {nb.name}, {m['of']}, {m['kind']}: {m['was']!r} -> {m['now']!r}")
        return kept
    todo = range(len(mutants))[-args.last:]
    missing = lambda which: [n for n in todo if args.again or which not in rows[key(mutants[n])]]
    ask(nb.name, 'cells', missing('cells'), answer('cells'))
    ask(nb.name, 'tests', [n for n in missing('tests') if not (args.quick and rows[key(mutants[n])]['cells'])], answer('tests'))
    write_record(path, rows)
    return nb.name,mutants,rows


def main():
    ap = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    ap.add_argument('names', nargs='*', help='chapters; all that have a list when none is named')
    ap.add_argument('--last', type=int, default=0, metavar='N', help='only the last N mutants of each list')
    ap.add_argument('--again', action='store_true', help='also what was asked before on the same bytes')
    ap.add_argument('--quick', action='store_true', help='ask the tests only about mutants that the cells did not notice')
    ap.add_argument('--ask', nargs=2, metavar=('WHICH', 'NUMBERS'), help=argparse.SUPPRESS)
    args = ap.parse_args()
    if args.ask: return answer_here(args.names[0], args.ask[0], [*map(int, args.ask[1].split(','))])
    lists = sorted(LISTS.glob('*.toml'))
    if args.names: lists = [o for o in lists if o.stem in {p.stem for p in find_notebooks(args.names)}]
    with tqdm(unit='answer') as bar, ThreadPoolExecutor(2) as pool: done = [*pool.map(lambda path: run_chapter(path, args, bar), lists)]
    total = count(o for _,_,rows in done for o in rows.values())
    print(', '.join(f'{k} {v}' for k,v in total.items()))
    for name,mutants,rows in done:
        for m in mutants:
            row = rows[key(m)]
            if unfair(row): print(f"no fair bug, {name}, {m['of']}: {row['cells']}: {m['now']!r}")
            if lives(row): print(f"alive, {name}, {m['of']}, {m['kind']}: {m['was']!r} -> {m['now']!r}: {m.get('explained', '')}")
    if total['alive'] > total['explained']: sys.exit(1)


if __name__=='__main__': main()
