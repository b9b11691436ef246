"""Write what follows from the package's lazy table and its sources: the stubs that editors and type checkers read, and the
list of public names.

Call `python tools/public.py`; `--check` writes nothing and exits 1 when something is not what the sources give. A stub is
made of the package, which loads its names late, of each module whose classes get methods by fastcore's `@patch`, and of the
one whose classes stand on scikit-learn's, which has no types: tools that do not run the code see neither. The index gets each
chapter's number, what it needs, its minutes and its recorded CPU seconds. From Python: `stubs() -> dict`, path to text; `table() -> str`."""
import argparse, ast, json, re, sys
from collections import defaultdict

from lint_nbs import NBS, ROOT, Nb, all_notebooks, cfg, contents, page_name, patched, recorded_seconds

PACKAGE = ROOT/cfg.lib_path
INDEX,NAMES = NBS/'index.ipynb',NBS/'85_names.ipynb'
MADE = '# Made by python tools/public.py; do not edit.\n'
ITSELF = {'partial_fit', 'learn_one', 'set_params', 'from_pretrained'}   # what returns the learner, or one of its class
UNTYPED = 'BaseEstimator'
OF_UNTYPED = ['def get_params(self, deep: bool=True) -> dict[str, Any]: ...', 'def set_params(self, **params: Any) -> Self: ...']
MARK = '| name | what it is | chapter |'


def lazy_table():
    "module -> its public names, as `_where` of the package says"
    tree = ast.parse((PACKAGE/'__init__.py').read_text(encoding='utf-8'))
    found, = (o.value for o in tree.body if isinstance(o, ast.Assign) and o.targets[0].id=='_where')
    return {k.arg: ast.literal_eval(k.value) for k in found.keywords}


# ---- stubs ----
def package_stub():
    lines = [f'from .{module} import {", ".join(f"{o} as {o}" for o in names)}' for module,names in lazy_table().items()]
    return '\n'.join([MADE + '__version__: str', *lines, '', '__all__: list[str]', ''])


def plain(value): return value is None or isinstance(value, ast.Constant) or isinstance(value, ast.UnaryOp) and isinstance(value.operand, ast.Constant)

def signature(f, own=None):
    "The lines of a function without its body; `own` is what a patched method's decorator makes of it"
    a = ast.parse(ast.unparse(f.args).join(('def f(', '): ...'))).body[0].args
    if own is not None: a.args[0].annotation = None
    a.defaults = [o if plain(o) else ast.Constant(...) for o in a.defaults]
    a.kw_defaults = [o if plain(o) else ast.Constant(...) for o in a.kw_defaults]
    kept = [own] if own else [o for o in map(ast.unparse, f.decorator_list) if own is None and o.split('.')[-1] in ('property', 'classmethod', 'staticmethod', 'setter', 'contextmanager')]
    back = f' -> {ast.unparse(f.returns)}' if f.returns else ' -> Self' if f.name in ITSELF else ''
    return [*(f'@{o}' for o in kept), f'def {f.name}({ast.unparse(a)}){back}: ...']

def patch_kind(f):
    "'classmethod', 'property' or '' of a patched function"
    words = {k.arg for o in f.decorator_list if isinstance(o, ast.Call) for k in o.keywords}
    return 'classmethod' if 'cls_method' in words else 'property' if 'as_prop' in words else ''

def attributes(methods, known):
    "name -> annotation of what methods set on `self`: that of the parameter of the same name, else Any"
    out = {}
    for f in methods:
        told = {o.arg: ast.unparse(o.annotation) for o in (*f.args.args, *f.args.kwonlyargs) if o.annotation and f.name=='__init__'}
        for n in ast.walk(f):
            if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Store) and getattr(n.value, 'id', '')=='self' and n.attr not in known:
                out.setdefault(n.attr, told.get(n.attr, 'Any'))
    return out

def class_stub(c, more):
    methods = [o for o in c.body if isinstance(o, ast.FunctionDef)]
    patches = {o.name: o for o in more}   # the last one stands
    lines,known = [], {o.name for o in (*methods, *more)}
    for o in c.body:
        if isinstance(o, ast.AnnAssign):
            known.add(o.target.id)
            lines.append(f'{o.target.id}: {ast.unparse(o.annotation)}' + (' = ...' if o.value else ''))
        elif isinstance(o, ast.Assign):
            for n in (n.id for t in o.targets for n in ast.walk(t) if isinstance(n, ast.Name)):
                known.add(n)
                lines.append(f'{n}: Any')
    lines += [f'{k}: {v}' for k,v in attributes([*methods, *more], known).items()]
    for o in methods:
        if o.name not in patches: lines += signature(o)
    for o in patches.values(): lines += signature(o, patch_kind(o))
    head = [f'@{ast.unparse(o)}' for o in c.decorator_list if 'dataclass' in ast.unparse(o)]
    bases = [o for o in map(ast.unparse, (*c.bases, *c.keywords)) if o!=UNTYPED]
    if len(bases)<len(c.bases): lines += OF_UNTYPED
    bases = ', '.join(bases)
    return [*head, f'class {c.name}' + (f'({bases})' if bases else '') + ':', *(f'    {o}' for o in lines or ['...'])]


def module_stub(tree, patches):
    "What a module defines, its patched methods in their classes"
    out,seen,imports = [], set(), [ast.parse('from typing import Any, Self').body[0]]
    for o in tree.body:
        if isinstance(o, (ast.Import, ast.ImportFrom)): imports.append(o)
        elif isinstance(o, ast.With): imports += (n for n in o.body if isinstance(n, (ast.Import, ast.ImportFrom)))
        elif isinstance(o, ast.ClassDef): out += ['', *class_stub(o, patches.get(o.name, []))]
        elif isinstance(o, ast.FunctionDef) and not patched(o): out += ['', *signature(o)]
        elif isinstance(o, (ast.Assign, ast.AnnAssign)):
            for n in dict.fromkeys(n.id for t in getattr(o, 'targets', [getattr(o, 'target', None)]) for n in ast.walk(t) if isinstance(n, ast.Name)):
                if n not in seen: out.append(f'{n}: list[str]' if n=='__all__' else f'{n}: Any')
                seen.add(n)
    body = '\n'.join(out) + '\n'
    words = set(re.findall(r'\w+', body))
    for o in imports: o.names = [n for n in o.names if (n.asname or n.name).split('.')[0] in words]
    return '\n'.join([MADE.rstrip(), *(ast.unparse(o) for o in imports if o.names), body])

def stubs():
    "path -> text of each stub"
    trees = {p.stem: ast.parse(p.read_text(encoding='utf-8')) for p in sorted(PACKAGE.glob('[!_]*.py'))}
    patches = defaultdict(list)
    for tree in trees.values():
        for o in tree.body:
            if isinstance(o, ast.FunctionDef) and patched(o): patches[o.args.args[0].annotation.id].append(o)
    out = {PACKAGE/'__init__.pyi': package_stub()}
    for name,tree in trees.items():
        if any(isinstance(o, ast.ClassDef) and (o.name in patches or UNTYPED in map(ast.unparse, o.bases)) for o in tree.body): out[PACKAGE/f'{name}.pyi'] = module_stub(tree, patches)
    return out


# ---- the list of names ----
def first_line(module, name):
    "The first sentence of a docstring"
    tree = ast.parse((PACKAGE/f'{module}.py').read_text(encoding='utf-8'))
    found = next(o for o in tree.body if getattr(o, 'name', '')==name)
    return ' '.join(ast.get_docstring(found).split('\n\n')[0].split()).replace('|', '\\|')

def table():
    "The public names as a table in markdown: what each is, and the chapter where it stands"
    home = {nb.module: nb for nb in map(Nb, all_notebooks()) if nb.module}
    rows = [f'| `{o}` | {first_line(module, o)} | [{page_name(home[module].name)}]({home[module].path.relative_to(NBS).as_posix()}) |'
            for module,names in lazy_table().items() for o in sorted(names, key=str.lower)]
    return '\n'.join([MARK, '|---|---|---|', *rows])

def names():
    "The text of the page of public names, its table made again"
    d = json.loads(NAMES.read_text(encoding='utf-8'))
    cell, = (c for c in d['cells'] if MARK in ''.join(c['source']))
    kept = ''.join(cell['source']).split(MARK)[0]
    cell['source'] = (kept + table()).splitlines(keepends=True)
    return json.dumps(d, sort_keys=True, indent=1, ensure_ascii=False) + '\n'


# ---- the table of chapters ----
def needs(path, parts):
    "The numbers of the chapters that an opening links under *You need*, the tools left out"
    said = re.search(r'\*\*You need\*\*(.*?)(?:\*\*Time|$)', Nb(path).cells[1].source, re.S)
    found = dict.fromkeys(o for o in re.findall(r'\((\w+\.ipynb)', said[1] if said else '') if o in parts and o[0]!='0')
    return ', '.join(o.split('_')[0] for o in found)

def index():
    "The text of the index: number, minutes and seconds of each chapter written again"
    d,parts = json.loads(INDEX.read_text(encoding='utf-8')),{p.name: p for _,chapters in contents() for p,_ in chapters}
    def again(line):
        m = re.match(r'\| \w+ \| (\[[^\]]+\]\((\w+\.ipynb)\) \| [^|]*) \|', line)
        if not m or m[2] not in parts: return line
        path = parts[m[2]]
        time = re.search(r'\*\*Time:\*\* (\d+) minutes', Nb(path).cells[1].source)
        took = recorded_seconds().get(path.stem)
        return f"| {path.stem.split('_')[0]} | {m[1]} | {needs(path, parts)} | {time[1] if time else ''} | {f'{took:.0f}' if took else ''} |"
    for c in d['cells']:
        if c['cell_type']=='markdown': c['source'] = '\n'.join(map(again, ''.join(c['source']).split('\n'))).splitlines(keepends=True)
    return json.dumps(d, sort_keys=True, indent=1, ensure_ascii=False) + '\n'


def stale():
    "path -> text of what is not as the sources give it; None for a stub that nothing needs"
    made = {**stubs(), INDEX: index(), NAMES: names()}
    out = {p: text for p,text in made.items() if not p.exists() or p.read_text(encoding='utf-8')!=text}
    return out | {p: None for p in PACKAGE.glob('*.pyi') if p not in made}


def main():
    ap = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    ap.add_argument('--check', action='store_true', help='write nothing; exit 1 when something is not what the sources give')
    check,wrong = ap.parse_args().check,stale()
    for p,text in wrong.items():
        print(f'{"not fresh:" if check else "wrote"} {p.relative_to(ROOT)}')
        if check: continue
        if text is None: p.unlink()
        else: p.write_text(text, encoding='utf-8')
    if check and wrong: sys.exit('public: run python tools/public.py')


if __name__=='__main__': main()
