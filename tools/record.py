"""One resumable recorded run for all long commands; by itself it lists every row of every record, and what made it.

    record = Record(__file__, 'lora')                    # rows go to recinc_nb/results/lora.json

    @record.part(batch=16)                               # settings lie beside the rows; with others the part is made anew
    def turn(seeds=(0, 1, 2)):
        "What is measured, in a line."
        for seed in seeds:
            for arm in ARMS: yield dict(arm=arm, seed=seed), lambda: measure(arm, seed)

A part yields each row's key (a name, or a dict of fields) and the function that makes it, called if the row is not there; the rest of a
part runs each time, so it must be cheap. A part that returns its content is a single row. Each row is written as soon as it is made: a
command that was stopped goes on where it was. The list `made` says which command made which rows, at which commit, when, and where.
"""
import argparse, importlib, inspect, json, os, subprocess, sys, time
from datetime import date
from pathlib import Path
from types import SimpleNamespace

if '--quick' in sys.argv[1:]: os.environ['RECINC_SCALE'] = 'test' # before a tool's constants ask for the scale
root = Path(__file__).resolve().parent.parent
if 'recinc_nb' not in sys.modules: sys.path.insert(0, str(root))
from recinc_nb.core import machine, progress, scale, write_atomic

def commit():
    "The commit that runs, with -dirty if package or tools differ from it; empty where there is no git."
    git = lambda *args: subprocess.run(['git', *args], cwd=root, capture_output=True, text=True).stdout.strip()
    try: return git('rev-parse', '--short', 'HEAD') + '-dirty'*bool(git('status', '--porcelain', '-uno', 'recinc_nb', 'tools', ':!recinc_nb/results'))
    except OSError: return ''

def label(part, key):
    if isinstance(key, dict): key = ', '.join(f'{k} {v}' for k,v in key.items())
    return part if key is None else f'{part}: {key}'

class Record:
    "The parts of one tool, and the files that keep their rows: `file`, with `head` at its top, or a part's own."
    def __init__(self, tool, file=None, machine=machine, **head):
        self.tool,self.file,self.machine,self.head,self.parts = Path(tool).stem,file,machine,head,{}

    def part(self, at=None, file=None, **settings):
        "Make a function a part; `at`: the path to its rows in the file, else (name,), or (name, 'rows') if there are settings."
        def add(f):
            place = (f.__name__, 'rows')[:1 + bool(settings)] if at is None else at
            self.parts[f.__name__] = SimpleNamespace(make=f, at=place, file=file or self.file, settings=json.loads(json.dumps(settings)))
            return f
        return add

    def rows(self, name, seeds=None):
        f = self.parts[name].make
        if not inspect.isgeneratorfunction(f): return iter([(None, f)])
        return f(seeds) if seeds and 'seeds' in inspect.signature(f).parameters else f()

    def read(self, name, folder=None):
        "A part's file, what is in it at this scale, the dict beside the rows, what made each, and which settings are others now."
        part = self.parts[name]
        path = Path(folder or scale(root/'recinc_nb'/'results', root/'out'))/f'{part.file}.json'
        book = json.loads(path.read_text()) if path.is_file() else {}
        if book.get('quick', False)!=scale(False, True): book = {}
        beside,made = book,{o: run for run in book.get('made', []) for o in run['rows'] if o.split(': ')[0]==name}
        for o in part.at[:-1]: beside = beside.setdefault(o, {})
        return path, book, beside, made, [k for k,v in part.settings.items() if made and beside.get(k)!=v]

    def write(self, path, book):
        made = [o for o in book.pop('made', []) if o['rows']]
        own = '' if path.stem==self.file else ' ' + next(o for o in self.parts if self.parts[o].file==path.stem)
        head = dict(command=f'python tools/{self.tool}.py{own}', quick=scale(False, True))
        if made and all(o['machine']==made[0]['machine'] for o in made): head['machine'] = made[0]['machine'] # else see `made`
        body = {k: v for k,v in book.items() if k not in ('command', 'quick', 'machine')}
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, (json.dumps({**head, **self.head, **body, 'made': made}, indent=1, ensure_ascii=False) + '\n').encode())

    def keep(self, name, key, value, run, took, folder=None):
        "Put a row in its place, and what made it into `made`."
        part,(path,book,beside,*_) = self.parts[name],self.read(name, folder)
        beside.update(part.settings)
        if isinstance(key, dict):
            rows = beside.setdefault(part.at[-1], [])
            at = next((n for n,o in enumerate(rows) if key.items()<=o.items()), len(rows))
            rows[at:at+1] = [{**key, **value}]
        elif key is not None: beside.setdefault(part.at[-1], {})[key] = value
        else: beside.update({part.at[-1]: value} if part.at else value)
        made = book.setdefault('made', [])
        for o in made: o['rows'].pop(label(name, key), None)
        if not (same := [o for o in made if {**o, 'rows': 0}=={**run, 'rows': 0}]): made += (same := [{**run, 'rows': {}}])
        same[0]['rows'][label(name, key)] = took
        self.write(path, book)

    def make(self, name, only='', again=False, seeds=None, folder=None):
        "Make the rows of a part that are not there."
        part,(path,book,beside,made,changed) = self.parts[name],self.read(name, folder)
        if changed:
            print(f"{name}: {', '.join(changed)} changed, so it is made anew")
            beside.pop(part.at[-1], None)
        if gone := {o for o in made if changed or again and only in o}:
            for run in book['made']: run['rows'] = {o: x for o,x in run['rows'].items() if o not in gone}
            self.write(path, book)
        names = [label(name, key) for key,_ in self.rows(name, seeds)]
        todo = [o for o in names if only in o and (o in gone or o not in made)]
        print(f'{name}: {len(names)} rows, {len(todo)} to be made', flush=True)
        words = [name, *(['--seeds', *map(str, seeds)] if seeds and 'seeds' in inspect.signature(part.make).parameters else [])]
        run = dict(command=f"python tools/{self.tool}.py {' '.join(words)}", commit=commit(), date=str(date.today()), machine=self.machine(),
                   threads=sys.modules['torch'].get_num_threads() if 'torch' in sys.modules else None)
        for key,f in progress(self.rows(name, seeds) if todo else (), name, 'row', len(names)):
            if label(name, key) not in todo: continue
            load,start = os.getloadavg()[0],time.perf_counter()
            value = f()
            self.keep(name, key, value, run, dict(seconds=round(time.perf_counter()-start, 1), load=round(load, 2)), folder)
            print(label(name, key), json.dumps(value, ensure_ascii=False)[:300], flush=True)

    def show(self, name, seeds=None, folder=None):
        "Print each row and what made it."
        *_,made,changed = self.read(name, folder)
        print(f'\n{self.tool} {name}, in {self.parts[name].file}.json: {inspect.getdoc(self.parts[name].make)}')
        for o in (names := [label(name, key) for key,_ in self.rows(name, seeds)]):
            run = {} if changed else made.get(o, {})
            print(f'  {o} |', ' · '.join(str(x) for x in (run['date'], run['commit'], run['machine']['cpu'], run['rows'][o])) if run else 'missing')
        for o in made.keys()-names: print(f'  {o} | made no longer')

    def parser(self):
        told = '\n'.join(f'  {o:10} {inspect.getdoc(x.make)}' for o,x in self.parts.items())
        doc = inspect.getmodule(next(iter(self.parts.values())).make).__doc__
        p = argparse.ArgumentParser(prog=f'python tools/{self.tool}.py', description=f'{doc}\nparts:\n{told}', formatter_class=argparse.RawDescriptionHelpFormatter)
        p.add_argument('parts', nargs='*', metavar='part', help='some of those above; all without any')
        p.add_argument('--only', default='', metavar='WORDS', help='only rows whose name holds these words')
        p.add_argument('--seeds', nargs='+', type=int, metavar='N', help='other seeds, for parts that have them')
        p.add_argument('--again', action='store_true', help='make what is there anew; if it was stopped, go on without --again')
        p.add_argument('--list', action='store_true', help='name the rows and what made them; make none')
        p.add_argument('--quick', action='store_true', help='few events and rounds, into out/, to try it out')
        p.add_argument('--out', metavar='FOLDER', help='where the records lie, if not in recinc_nb/results')
        return p

    def main(self, argv=None, parser=None):
        p = parser or self.parser()
        args = p.parse_args(argv)
        if wrong := [o for o in args.parts if o not in self.parts]: p.error(f"there is no part {', '.join(wrong)}; use some of {', '.join(self.parts)}")
        if args.out and Path(args.out).is_file(): p.error(f'--out: {args.out} is a file; name a folder')
        for name in args.parts or self.parts:
            if args.list: self.show(name, args.seeds, args.out)
            else: self.make(name, args.only, args.again, args.seeds, args.out)

def records():
    "The record of each tool that has one."
    tools = sorted(o.stem for o in Path(__file__).parent.glob('*.py') if '\nrecord = Record(' in o.read_text())
    return {o: importlib.import_module(o).record for o in tools}

if __name__=='__main__':
    argparse.ArgumentParser(prog='python tools/record.py', description='List every row of every record, and what made it.').parse_args()
    for record in records().values():
        for name in record.parts: record.show(name)
