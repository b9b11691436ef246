"""Check what a machine can check of how the notebooks are written, and say where each mistake is and what to do.

Call `python tools/lint_nbs.py` for all notebooks, or name some (`31_mf_online`, `mf_online` and
`nbs/31_mf_online.ipynb` are the same one). `--fix` first writes what follows from settings.ini into every chapter: the
Colab badge, the hidden Colab install cell, and the metadata. Exit code 1 when anything is found. From Python:
`lint(paths) -> list[str]`, `fix(path) -> bool`.

`tools/columns.json` says how many lines of code of a notebook may be longer than 95 columns; `--fix` lowers the numbers.

To add a rule, write a generator that takes a `Nb` and yields `(cell, message)`, with None for the notebook as a whole,
and put `@rule` above it; `@book_rule` takes the list of all notebooks and yields `(nb, cell, message)`. A message says what
is there; then what to do. `# lint: long` in a code cell lifts its line budget."""
import argparse, ast, base64, hashlib, io, json, re, subprocess, sys, tokenize
from collections import Counter, defaultdict
from configparser import ConfigParser
from functools import cache, cached_property
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import yaml

ROOT = Path(__file__).resolve().parent.parent


def settings(root=ROOT):
    "settings.ini as attributes: the one place where the owner and the repository are named"
    ini = ConfigParser()
    ini.read(root/'settings.ini', encoding='utf-8')
    return SimpleNamespace(**ini['DEFAULT'])


cfg = settings()
NBS = ROOT/cfg.nbs_path
SYMBOLS = '02_notation'   # what every chapter links to
PARTS = ['Tools', 'Streams and yardsticks', 'Losses and optimizers', 'Matrix factorization', 'BERT',   # by the first digit of a chapter
         'Remember and adapt', 'Goals and feedback', 'In the world', 'Together']
COLUMNS = 95              # of a line of code: what a page of 1280 pixels shows between its two sidebars
CEILINGS = ROOT/'tools'/'columns.json'   # notebook -> lines that are longer; the number may only fall
BUDGET = 25               # CPU seconds of a notebook at test scale, its exercises and their solutions included
LONGER = {'48_blocks': 55} # five worlds and five arms of a BERT, two of which learn each block up to four times: fewer decide nothing


def all_notebooks(): return sorted(p for p in NBS.rglob('*.ipynb') if not any(o[0] in '_.' for o in p.relative_to(NBS).parts))


def page_name(stem): return re.sub(r'^\d+[a-zA-Z]?_', '', stem)


def find_notebooks(names=()):
    "The notebooks that `names` mean, in the order of the book; all of them without names"
    every = all_notebooks()
    if not names: return every
    found = set()
    for name in names:
        stem = Path(name).stem
        hits = [p for p in every if stem in (p.stem, page_name(p.stem)) or p.stem.startswith(f'{stem}_')]
        if not hits: sys.exit(f"{Path(sys.argv[0]).stem}: no notebook is called {name!r}; there are {', '.join(p.stem for p in every)}")
        found.update(hits)
    return sorted(found)


def contents():
    "(part, [(path, name)]) as the index lists the chapters"
    text = '\n'.join(''.join(c['source']) for c in json.loads((NBS/'index.ipynb').read_text(encoding='utf-8'))['cells'])
    out = []
    for line in text.splitlines():
        if m := re.match(r'\| *\| \*\*(.+?)\*\* \|', line): out.append((m[1], []))
        elif out and (m := re.match(r'\| \w+ \| \[([^\]]+)\]\((\w+)\.ipynb\) \|', line)): out[-1][1].append((NBS/f'{m[2]}.ipynb', m[1]))
    return out


class Cell:
    "One cell: its source, what its `#|` lines say, and its syntax tree"
    def __init__(self, i, d):
        self.i,self.d,self.kind,self.id = i, d, d['cell_type'], d.get('id')
        self.source = ''.join(d['source'])
        self.outputs = d.get('outputs', [])
        self.lines = self.source.splitlines()
        n = next((n for n,o in enumerate(self.lines) if o.strip() and not o.lstrip().startswith('#|')), len(self.lines))
        self.head,self.body = self.lines[:n], self.lines[n:]
        words = [o.lstrip()[2:].strip() for o in self.head if o.strip()]
        self.directives = {re.split(r'[\s:]', o)[0]: re.split(r'[\s:]', o, maxsplit=1)[-1].strip() for o in words if o}
        self.exported = self.kind=='code' and bool({'export', 'exports', 'exporti'} & self.directives.keys())
        self.hidden = bool({'hide', 'default_exp'} & self.directives.keys())

    def __repr__(self): return f'cell {self.i} [{self.id}]'

    @cached_property
    def tree(self):
        if self.kind!='code': return []
        try: return ast.parse(self.source).body
        except SyntaxError: return []

    @cached_property
    def prose(self):
        "Markdown without code, link targets and HTML tags"
        text = re.sub(r'^(```|~~~).*?^\1[^\n]*$', '', self.source, flags=re.M|re.S)
        text = re.sub(r'`[^`]*`', ' code ', text)
        text = re.sub(r'(?<=\])\([^)]*\)', '', text)
        return re.sub(r'<[^>]*>', ' ', text)

    def nodes(self, *types): return [n for t in self.tree for n in ast.walk(t) if isinstance(n, types)]

    def comments(self):
        "Line number -> comment"
        toks = tokenize.generate_tokens(io.StringIO(self.source).readline)
        return {t.start[0]: t.string.lstrip('# ') for t in toks if t.type==tokenize.COMMENT and t.string.lstrip('# ')}


class Nb:
    def __init__(self, path):
        self.path,self.name = Path(path), Path(path).stem
        self.text = self.path.read_text(encoding='utf-8')
        self.d = json.loads(self.text)
        self.cells = [Cell(i, d) for i,d in enumerate(self.d['cells'])]
        self.markdown = [c for c in self.cells if c.kind=='markdown']
        self.code = [c for c in self.cells if c.kind=='code']
        self.chapter = self.path.parent==NBS    # not a solution
        num = re.match(r'\d+', self.name)
        self.number = int(num[0]) if num and self.chapter else None
        self.module = next((c.directives['default_exp'] for c in self.code if 'default_exp' in c.directives), None)

    def where(self, cell): return f'{self.name} {cell}' if cell else self.name


RULES,BOOK_RULES = [],[]
def rule(f): RULES.append(f); return f
def book_rule(f): BOOK_RULES.append(f); return f


# ---- what settings.ini decides ----
def badge(nb):
    "The line on top of a chapter: Colab, and the table of symbols"
    owner = cfg.git_url.split('/', 3)[-1]
    colab = ('[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]'
             f'(https://colab.research.google.com/github/{owner}/blob/{cfg.branch}/{nb.path.relative_to(ROOT).as_posix()})')
    return colab + (f' · [Symbols]({SYMBOLS}.ipynb)' if nb.number is not None and nb.name!=SYMBOLS else '')

def colab_source():
    return ("#| hide\nif 'google.colab' in str(get_ipython()): get_ipython().run_line_magic('pip', "
            f"'install -q \"{cfg.lib_name}[course] @ git+{cfg.git_url}@{cfg.branch}\"')")

def metadata():
    return {'accelerator': 'GPU', 'colab': {'gpuType': 'T4', 'provenance': []},
            'kernelspec': {'display_name': 'python3', 'language': 'python', 'name': 'python3'}}

def is_badge(line): return 'colab.research.google.com' in line
def is_colab_cell(c): return c.kind=='code' and 'google.colab' in c.source and 'pip' in c.source


def fix(path):
    "Write badge, Colab cell and metadata into the chapter at `path`; True when that changed it"
    nb = Nb(path)
    cells = nb.d['cells']
    if len(nb.cells)>1 and nb.cells[1].kind=='markdown':
        rest = '\n'.join(o for o in nb.cells[1].lines if not is_badge(o)).strip('\n')
        cells[1]['source'] = f'{badge(nb)}\n\n{rest}'.rstrip('\n').splitlines(keepends=True)
        old = next((c for c in nb.cells if is_colab_cell(c)), None)
        cell = cells.pop(old.i) if old else dict(cell_type='code', execution_count=None, metadata={}, outputs=[],
            id=hashlib.sha1(f'{nb.name}-colab'.encode()).hexdigest()[:8])
        cell['source'] = colab_source().splitlines(keepends=True)
        cells.insert(2, cell)
    nb.d['metadata'] = {**nb.d['metadata'], **metadata()}
    new = json.dumps(nb.d, sort_keys=True, indent=1, ensure_ascii=False) + '\n'
    if new==nb.text: return False
    nb.path.write_text(new, encoding='utf-8')
    return True


@rule
def derived(nb):
    fix_it = 'run python tools/lint_nbs.py --fix'
    if len(nb.cells)<3 or nb.cells[1].kind!='markdown': return (yield None, 'the second cell is not the opening in markdown; write the scene and what a reader will do')
    if nb.cells[1].lines[:1]!=[badge(nb)]: yield nb.cells[1], f'the Colab badge is not the one of settings.ini; {fix_it}'
    if nb.cells[2].source!=colab_source(): yield nb.cells[2], f'the third cell is not the hidden Colab install cell; {fix_it}'
    if any(nb.d['metadata'].get(k)!=v for k,v in metadata().items()): yield None, f'the metadata are not those of a chapter; {fix_it}'


@rule
def notebook_metadata(nb):
    extra = nb.d['metadata'].keys() - metadata().keys()
    if extra: yield None, f"the metadata hold {', '.join(sorted(extra))}; run nbdev_clean and save no widget state"


# ---- title and opening ----
@rule
def title(nb):
    first = nb.cells[0]
    if first.kind!='markdown' or not re.fullmatch(r'# [^\n]+\n\n> [^\n]+', first.source.strip()):
        yield first, 'the first cell is not "# Title", a blank line and one "> subtitle" line alone; nbdev drops all else from the site'
    elif re.search(r'[\\$"]', first.lines[-1]):
        yield first, 'the subtitle has a backslash, a dollar or a quote; it becomes a docstring: write plain words'
    for c in nb.markdown[1:]:
        if re.search(r'^# ', c.prose, re.M): yield c, 'a second "# " heading; use "## "'


@rule
def opening(nb):
    if nb.number is None or len(nb.cells)<2: return
    lacks = [o for o in ('**You will**', '**You need**', '**Time:**') if o not in nb.cells[1].source]
    if lacks: yield nb.cells[1], f"the opening lacks {', '.join(lacks)}; tell a reader what it takes"


@rule
def headings(nb):
    for c in nb.markdown:
        for o in re.findall(r'^#{2,} .*$', c.prose, re.M):
            if o.startswith('### '): yield c, f'"{o}" is an H3, which nbdev uses for exported names; use "## " or "#### "'
            if o.rstrip().endswith(' -'): yield c, f'"{o}" ends in " -", which nbdev removes; drop the dash'


@rule
def module_name(nb):
    if nb.module and nb.module!=page_name(nb.name):
        yield None, f'default_exp is {nb.module}; name it {page_name(nb.name)}, like the notebook'


# ---- budgets ----
def count_words(c):
    "Words of prose: tables, details, code, formulas on their own lines and the badge are not counted"
    text = re.sub(r'<details>.*?</details>', '', c.source, flags=re.S)
    text = re.sub(r'^(```|~~~).*?^\1[^\n]*$', '', text, flags=re.M|re.S)
    text = re.sub(r'\$\$.*?\$\$', '', text, flags=re.S)
    text = re.sub(r'(?<=\])\([^)]*\)', '', text)
    text = re.sub(r'(?<!\\)\$[^$\n]+\$|`[^`]*`', 'x', text)
    return sum(len(re.findall(r'\w[\w\'’.-]*', o)) for o in text.splitlines() if not o.lstrip().startswith('|') and '[![' not in o)

def is_long(c): return re.search(r'# lint: long\b', c.source)
def plumbing(cells):
    "Of each cell, told as (kind, source): does it stand under a heading “… as exported”?"
    inside = False
    for kind,source in cells:
        if kind=='markdown' and re.search(r'^## ', source, re.M): inside = 'as exported' in source
        yield inside

def count_lines(lines): return sum(1 for o in lines if o.strip())


@rule
def budgets(nb):
    for c in nb.markdown:
        if (n := count_words(c)) > 120: yield c, f'{n} words; split the cell (at most 120)'
    for c in nb.code:
        if is_long(c): continue
        if not c.exported:
            most = 18 if 'fig-cap' in c.directives or 'plt.' in c.source else 16
            if (n := count_lines(c.body)) > most: yield c, f'{n} lines; split the cell (at most {most}), or say # lint: long'
            continue
        lines = c.source.splitlines()
        for node in c.nodes(ast.ClassDef, ast.FunctionDef):
            if isinstance(node, ast.ClassDef): what,most,start = 'class', 36, node.lineno
            else:
                body = node.body[1:] if ast.get_docstring(node) and len(node.body)>1 else node.body
                what,most,start = 'body of', 24, body[0].lineno
            if (n := count_lines(lines[start-1:node.end_lineno])) > most:
                yield c, f'the {what} {node.name} has {n} lines; split it (at most {most}), or say # lint: long'


@rule
def rhythm(nb):
    kind,n = None,0
    for c in nb.cells:
        if c.hidden or c.kind=='raw': continue
        kind,n = c.kind, n+1 if c.kind==kind else 1
        if n==5: yield c, f"the fifth {kind} cell in a row; put {'prose' if kind=='code' else 'code'} between (at most 4)"


@rule
def size(nb):
    if (kb := len(nb.text.encode())/1024) > 300: yield None, f'{kb:.0f} KB; keep a notebook under 300 KB: fewer or smaller pictures'
    for c in nb.code:
        for o in c.outputs:
            png = ''.join(o.get('data', {}).get('image/png', ''))
            if png and (kb := len(base64.b64decode(png))/1024) > 60: yield c, f'a picture of {kb:.0f} KB; keep it under 60 KB: fewer points or figsize=(5, 3)'


@rule
def seconds(nb):
    took = recorded_seconds().get(nb.path.stem, 0)
    if took>(most := LONGER.get(nb.path.stem, BUDGET)): yield None, (f'took {took:.0f} CPU seconds in the last recorded make test, more than {most}: do less at test scale, '
                                 'with the same assertions; then make test and run_nbs.py --seconds')


@cache
def recorded_seconds():
    path = ROOT/cfg.lib_path/'results'/'seconds.json'
    return json.loads(path.read_text(encoding='utf-8'))['seconds'] if path.exists() else {}


# ---- prose ----
@rule
def banned_words(nb):
    for c in nb.markdown:
        for w in re.findall(r'\b(simply|obviously|just|clearly)\b', c.prose, re.I): yield c, f'"{w}"; leave the word out'


FOREIGN = [(r'^:::', ':::', 'use a "> **Note.** …" block quote'), (r'@(?:fig|eq|sec|tbl)-', 'a Quarto cross reference', 'name it in words or link it'),
    (r'\{#', '{#…}', 'use \\tag{n} or <a id="…"></a>'), (r'\[@', 'a citation key', 'link author and year'),
    (r'^\s*(?:```|~~~)\s*\{?mermaid', 'mermaid', 'draw it with matplotlib or save an SVG under images'), (r'\[!\w+\]', 'a GitHub callout', 'use a "> **Note.** …" block quote'),
    (r'panel-tabset', 'tabs', 'use two headings')]

@rule
def portable_markdown(nb):
    for c in nb.markdown:
        math = re.sub(r'\$\$.*?\$\$', '', c.source, flags=re.S)
        for pat,what,instead in FOREIGN:
            if re.search(pat, math if what!='mermaid' else c.source, re.M): yield c, f'{what} works in Quarto or GitHub alone; {instead}'
        if re.search(r'\\begin\{(?:align|equation)', math): yield c, 'an environment outside $$; put it in $$ with aligned'
        if re.search(r'\$\$[^$]*\\begin\{(?:align|equation)\*?\}', c.source): yield c, 'align inside $$; use aligned'
        for row in (o for o in c.lines if o.lstrip().startswith('|')):
            if any(len(re.findall(r'(?<!\\)\$', o))%2 for o in re.split(r'(?<!\\)\|', row)):
                yield c, f'a | or a lone $ inside the maths of a table row ({row.strip()[:40]}…); write \\lvert, \\mid or \\$'


@rule
def links(nb):
    for c in nb.markdown:
        text = re.sub(r'^(```|~~~).*?^\1[^\n]*$|`[^`]*`', '', c.source, flags=re.M|re.S)
        for url in re.findall(r'\]\(([^)\s]+)', text) + re.findall(r'(?:src|href)="([^"]+)"', text):
            file = url.split('#')[0]
            if not file or re.match(r'\w+:', file): continue
            if not (nb.path.parent/file).exists(): yield c, f'the link to {file} leads nowhere; link a file that exists'


@rule
def alt_text(nb):
    for c in nb.markdown:
        if re.search(r'!\[\s*\]\(|<img(?![^>]*\balt="[^"]+")', c.source): yield c, 'a picture without alt text; say what it shows'


# ---- code ----
DIRECTIVES = {'default_exp': 'name', 'export': None, 'exports': None, 'exporti': None, 'hide': None, 'eval': 'false', 'fig-cap': 'text', 'fig-alt': 'text',
    'code-fold': ('true', 'show'), 'code-summary': 'text', 'echo': 'false', 'notest': None}

@rule
def directives(nb):
    for c in nb.code:
        if any(o.lstrip().startswith('#|') for o in c.body): yield c, 'a #| line below other lines is ignored; move it to the top'
        for line in (o.strip() for o in c.head if o.strip()):
            m = re.fullmatch(r'#\|\s*([\w-]+)(:?)\s*(.*)', line)
            if not m or m[1] not in DIRECTIVES: yield c, f'{line!r} is no directive that we use; we use {", ".join(DIRECTIVES)}'; continue
            name,colon,value = m.groups()
            want = DIRECTIVES[name]
            if want is None and (colon or value): yield c, f'{line!r} does nothing; write #| {name}'
            elif want=='text' and not (colon and is_quoted(value)): yield c, f'{line!r} is not one string in double quotes; write #| {name}: "…"'
            elif want=='text' and '$' in value: yield c, f'{name} has maths, which shows as text; say it in words'
            elif want in ('false', ('true', 'show')) and not (colon and value in want): yield c, f'{line!r}; write #| {name}: {want if want=="false" else want[0]}'

def is_quoted(s):
    try: return s[:1]=='"' and isinstance(yaml.safe_load(s), str)
    except yaml.YAMLError: return False


@rule
def imports_apart(nb):
    for c in nb.code:
        if c.exported or c.directives.get('eval')=='false': continue
        imports = c.nodes(ast.Import, ast.ImportFrom)
        if imports and any(not isinstance(t, (ast.Import, ast.ImportFrom)) for t in c.tree):
            yield c, 'an import beside other code, all of which runs when the site is built; give the import a cell of its own'


@rule
def code_text(nb):
    for c in nb.code:
        if not c.tree and count_lines(c.body) and not all(o.lstrip().startswith('#') or not o.strip() for o in c.body):
            yield c, 'is not Python; write what parses (magics as get_ipython().run_line_magic)'
        for line in c.body:
            if line.lstrip().startswith('%'): yield c, f'{line.strip()!r} starts with %, which nbdev removes from the site; move the % or drop the magic'
            width = len(re.sub(r'\s+# .*', '', line))   # a comment at the end may hang over
            if width>150 and not is_colab_cell(c) and not is_long(c): yield c, f'a line of {width} characters; break it (110 is the aim)'


def wide_lines(nb): return [(c, o) for c in nb.code if not is_colab_cell(c) for o in c.body if len(o)>COLUMNS]

@cache
def ceilings(): return json.loads(CEILINGS.read_text(encoding='utf-8')) if CEILINGS.exists() else {}

@rule
def columns(nb):
    wide,most = wide_lines(nb),ceilings().get(nb.name, 0)
    if len(wide)>most: yield wide[-1][0], f'{len(wide)} lines of code are longer than {COLUMNS} columns, and there may be {most} here; break some, comments too'

def lower_ceilings():
    "Write down where fewer lines are long than there may be; without the file, what there is. True when that changed it"
    now = {nb.name: len(wide_lines(nb)) for nb in map(Nb, all_notebooks())}
    new = {name: m for name,n in now.items() if (m := min(n, ceilings().get(name, 0)) if CEILINGS.exists() else n)}
    text = json.dumps(new, indent=1) + '\n'
    if CEILINGS.exists() and CEILINGS.read_text(encoding='utf-8')==text: return False
    CEILINGS.write_text(text, encoding='utf-8')
    ceilings.cache_clear()
    return True


@rule
def test_calls(nb):
    for c in nb.code:
        for call in c.nodes(ast.Call):
            name = getattr(call.func, 'id', getattr(call.func, 'attr', ''))
            if name=='test_close': yield c, 'test_close broadcasts and accepts empty arrays; use np.testing.assert_allclose(…, strict=True)'
            lacks = {'exc', 'contains'} - {k.arg for k in call.keywords}
            if name=='test_fail' and lacks: yield c, f"test_fail without {' and '.join(sorted(lacks))} passes on any error; add {'them' if len(lacks)>1 else 'it'}"


@rule
def no_tools_in_chapters(nb):
    for c in nb.code:
        for n in c.nodes(ast.Import, ast.ImportFrom):
            for m in ([n.module or ''] if isinstance(n, ast.ImportFrom) else [a.name for a in n.names]):
                if m.split('.')[0]=='nbdev': yield c, 'imports nbdev, which Colab lacks; leave it to the tools'
                if m in ('tqdm.auto', 'tqdm.notebook'): yield c, f'{m} leaves widgets in the file; use progress of {cfg.lib_name}.core'
        for call in c.nodes(ast.Call):
            if getattr(call.func, 'id', '') in ('show_doc', 'nbdev_export'): yield c, f'{call.func.id}() needs nbdev, which Colab lacks; leave it to the tools'


def patched(f): return any(getattr(getattr(d, 'func', d), 'id', '')=='patch' for d in f.decorator_list)

def params(f):
    a = f.args
    out = [*a.posonlyargs, *a.args, a.vararg, *a.kwonlyargs, a.kwarg]
    return [p for p in out if p and p.arg not in ('self', 'cls')]

def public_defs(cell):
    "(function or class, its class or None) of the public names in a cell"
    for t in cell.tree:
        if isinstance(t, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) and t.name[0]!='_': yield t, None
        if isinstance(t, ast.ClassDef) and t.name[0]!='_':
            for m in t.body:
                if isinstance(m, ast.FunctionDef) and (m.name[0]!='_' or m.name=='__init__'): yield m, t


# What a subclass brings, or what its base calls: told once, in the tables of 12a_learner, and not again in every learner
HOOKS = set("""begin start check refresh ready grow sweep sweep_var sweep_pulled arrays state restore saved_params files own_state load upgrade
    wipe_user item_vectors popular score_ids score_rows params like_param pull_rate apply close place begin_seen to_stars from_stars tables
    clash stops mix pull project learned forget set tuned specs
    score_items build assemble freeze groups told_params policy_remedies old_arrays renew rate first check_member
    sort_key team take columns starts common learn_likes table_names most run all_scores members opinions shares learn_like""".split())

def is_hook(d, owner):
    of = getattr(d.args.args[0].annotation, 'id', '') if not owner and isinstance(d, ast.FunctionDef) and patched(d) and d.args.args else ''
    return bool(owner or of) and d.name in HOOKS

@rule
def documented(nb):
    for c in (c for c in nb.code if c.exported):
        comments = c.comments()
        for d,owner in public_defs(c):
            if is_hook(d, owner): continue
            name = f'{owner.name}.{d.name}' if owner else d.name
            doc = ast.get_docstring(d) or ''
            if not doc and d.name!='__init__': yield c, f'{name} has no docstring; the site would show Python\'s own'
            if re.search(r'[$\\]', doc): yield c, f'the docstring of {name} has a $ or a backslash, which shows raw; use words'
            told = doc + (ast.get_docstring(owner) or '' if owner else '') if owner or not isinstance(d, ast.ClassDef) and patched(d) else ''
            if isinstance(d, ast.ClassDef):
                is_data = any('dataclass' in ast.unparse(o) for o in d.decorator_list)
                fields = [(o.target.id, o.end_lineno) for o in d.body if isinstance(o, ast.AnnAssign) and o.target.id[0]!='_'] if is_data else []
            else: fields = [(p.arg, p.end_lineno) for p in params(d)]
            lines = Counter(n for _,n in fields)
            for p,n in fields:
                above = n-1 in comments and n-1 not in lines   # where it is too long to stand beside
                if f'`{p}`' in told or (n in comments or above) and lines[n]==1: continue
                yield c, f'{name}: parameter {p} has no comment of its own; say what it is, its shape, unit and range'


# ---- outputs ----
PRIVATE = re.compile(r'(?<![\w/.:~-])/(?:home|root|Users|work|tmp)/\w')

def texts(o):
    yield from ((k, ''.join(v)) for k,v in o.get('data', {}).items() if k.startswith('text/'))
    if 'text' in o: yield 'text', ''.join(o['text'])


@rule
def ids(nb):
    seen = Counter(c.id for c in nb.cells)
    for c in nb.cells:
        if not c.id or seen[c.id]>1: yield c, 'the id is missing or used twice; give the cell one of its own'


@rule
def clean_outputs(nb):
    again = 'run python tools/run_nbs.py'
    for c in nb.code:
        if c.d.get('execution_count') is not None or any(o.get('execution_count') is not None for o in c.outputs):
            yield c, 'an execution count is stored; run nbdev_clean'
        if c.outputs and c.directives.get('eval')=='false': yield c, f'outputs of a cell that is not run; {again}'
        for o in c.outputs:
            if o['output_type']=='error': yield c, f"a stored error ({o.get('ename')}); mend it and {again}"
            if o.get('name')=='stderr': yield c, f'stored text of stderr; mend the warning and {again}'
            kinds = o.get('data', {}).keys()
            if any('widget-view' in k for k in kinds): yield c, f'a stored widget; guard it with unattended() and {again}'
            if any(k.startswith('image/') for k in kinds) and not {'fig-cap', 'fig-alt'} <= c.directives.keys():
                yield c, 'a picture without #| fig-cap and #| fig-alt; say what it shows'
            for _,text in texts(o):
                if re.search(r'\b0x[0-9a-f]{6,}', text): yield c, 'a memory address in the output; show something that stays the same'
                if PRIVATE.search(text): yield c, 'a path of this machine in the output; show what does not depend on it'
                if re.search(r'\bnp\.(float|int|bool)', text): yield c, 'np.float64(…) in the output; wrap the number in float() or show an array'


@rule
def private_paths(nb):
    for c in nb.cells:
        if PRIVATE.search(c.source): yield c, 'a path of one machine in the source; use a relative path or tempfile'


# ---- the book as a whole ----
def top_names(cell):
    "Public names that an exported cell adds to its module"
    for t in cell.tree:
        if isinstance(t, ast.ClassDef) or isinstance(t, (ast.FunctionDef, ast.AsyncFunctionDef)) and not patched(t): yield t.name
        for target in getattr(t, 'targets', [getattr(t, 'target', None)] if isinstance(t, ast.AnnAssign) else []):
            yield from (n.id for n in ast.walk(target) if isinstance(n, ast.Name))


@book_rule
def unique_names(nbs):
    seen = {}
    for nb in nbs:
        for c in (c for c in nb.code if {'export', 'exports'} & c.directives.keys()):
            for name in set(top_names(c)):
                if name[0]=='_': continue
                first = seen.setdefault(name, nb)
                if first is not nb: yield nb, c, f'{name} is exported by {first.name} too; rename one, or links cross'


@book_rule
def names_apart(nbs):
    "`recinc_nb.scale` would be the function until a module of that name is imported, and the module from then on"
    for nb in nbs:
        if nb.module in lazy_names(): yield nb, None, f'its module {nb.module} has the name of a public {nb.module} of {lazy_names()[nb.module]}; rename one'


@book_rule
def listed_once(nbs):
    rows = Counter(p.stem for _,chapters in contents() for p,_ in chapters)
    for nb in (nb for nb in nbs if nb.number is not None):
        if rows[nb.name]!=1: yield nb, None, f'has {rows[nb.name]} rows in the table of chapters of the index; give it one: part, number, [name](file), question'


@book_rule
def unique_pages(nbs):
    for key,what in ((lambda nb: page_name(nb.name).lower(), 'name after the number'), (lambda nb: nb.module, 'default_exp')):
        groups = defaultdict(list)
        for nb in nbs: groups[key(nb)].append(nb)
        for k,group in groups.items():
            if k and len(group)>1: yield group[-1], None, f"{group[0].name} has the same {what}, {k}; rename one"


def imported_modules(node, names):
    "Modules of ours that an import statement loads; `names` tells where a name of the package lives"
    lib = cfg.lib_name
    if isinstance(node, ast.Import): mods = [a.name for a in node.names]
    elif node.module==lib or (node.level and not node.module): mods = [f'{lib}.{names.get(a.name, a.name)}' for a in node.names]
    else: mods = [f'{lib}.{node.module}' if node.level else node.module]
    return [m.split('.')[1] for m in mods if m.startswith(f'{lib}.')]

def lazy_names():
    "name -> module, as the package's `__init__.py` says"
    if str(ROOT) not in sys.path: sys.path.insert(0, str(ROOT))
    return import_module(cfg.lib_name)._module


def book_place(nb): return re.match(r'(\d+)([a-zA-Z]?)', nb.name).groups()   # 46, then 46a, then 47


@book_rule
def import_order(nbs):
    home,names = {nb.module: nb for nb in nbs if nb.module}, lazy_names()
    for nb in (nb for nb in nbs if nb.number is not None):
        for c in nb.code:
            for m in (m for n in c.nodes(ast.Import, ast.ImportFrom) for m in imported_modules(n, names)):
                other = home.get(m)
                if other is nb:
                    if c.exported or not re.search(r'# lint: own\b', c.source): yield nb, c, (f'imports its own module {m}; '
                        'use the names of the cells above, or say # lint: own where a lesson comes before its module')
                elif other and other.number is not None and book_place(other)>=book_place(nb):
                    yield nb, c, f'imports {m} of {other.name}; a lower number never imports a higher one'


DERIVED = ('settings.ini', 'README.md', 'pyproject.toml', 'CITATION.cff', f'{cfg.lib_path}/_modidx.py')    # the source, and what is written from it

def derived_files():
    "path -> text of the files outside the notebooks that settings.ini decides, or a part of them"
    site,toml = cfg.doc_host + cfg.doc_baseurl, (ROOT/'pyproject.toml').read_text(encoding='utf-8')
    urls = {'Homepage': site, 'Documentation': site, 'Repository': cfg.git_url, 'Issues': f'{cfg.git_url}/issues',
            'Changelog': f'{cfg.git_url}/blob/{cfg.branch}/CHANGELOG.md'}
    block = '[project.urls]\n' + ''.join(f'{k} = "{v}"\n' for k,v in urls.items())
    cite = {'cff-version': '1.2.0', 'message': 'If you use this course or its package, please cite it.', 'type': 'software',
            'title': f'"{cfg.title}: {cfg.description}"', 'authors': f'[{{name: {cfg.author}}}]', 'version': cfg.version, 'license': 'Apache-2.0',
            'repository-code': cfg.git_url, 'url': site}
    return {ROOT/'pyproject.toml': re.sub(r'\[project\.urls\]\n[^\[]*?(?=\n\[|\Z)', lambda _: block, toml),
            ROOT/'CITATION.cff': ''.join(f'{k}: {v}\n' for k,v in cite.items())}

def tracked_texts():
    "Files that git tracks or would track, notebooks and derived ones left out"
    out = subprocess.run(['git', 'ls-files', '-z', '--cached', '--others', '--exclude-standard'], cwd=ROOT, capture_output=True, text=True).stdout
    for name in filter(None, out.split('\0')):
        path = ROOT/name
        if name in DERIVED or path.suffix=='.ipynb' or not path.is_file(): continue
        try: yield name, path.read_text(encoding='utf-8')
        except UnicodeDecodeError: continue

def owner_pattern():
    host,owner = re.match(r'https?://([^/]+)/([^/]+)', cfg.git_url).groups()
    return re.compile(rf'{re.escape(host)}[/:]{re.escape(owner)}\b|(?<![\w.-]){re.escape(owner)}/{re.escape(cfg.repo)}\b|{re.escape(cfg.doc_host)}')


def tags():
    "The tags of the commit that is checked out"
    return subprocess.run(['git', 'tag', '--points-at', 'HEAD'], cwd=ROOT, capture_output=True, text=True).stdout.split()

def release(branch, version, tags):
    "What is wrong with the branch of settings.ini, which badges and install cells name: a reader of a release must get that release"
    if branch not in ('main', f'v{version}'): yield f'settings.ini: branch is {branch}; write main, or v{version} in the commit of that release'
    if tags and branch not in tags: yield f"settings.ini: this commit is tagged {', '.join(tags)}, but its install cells name {branch}; set branch to the tag, then lint_nbs.py --fix, and tag that commit"


def repository():
    "Messages about text files: the owner is named in settings.ini alone, and no file names a path of one machine"
    yield from release(cfg.branch, cfg.version, tags())
    for p,text in derived_files().items():
        if not p.exists() or p.read_text(encoding='utf-8')!=text: yield f'{p.name}: is not what settings.ini gives; run python tools/lint_nbs.py --fix'
    owner = owner_pattern()
    for name,text in tracked_texts():
        for n,line in enumerate(text.splitlines(), 1):
            if owner.search(line): yield f'{name}:{n}: names the repository; derive it from settings.ini'
            if PRIVATE.search(line): yield f'{name}:{n}: a path of one machine; make it relative'


@book_rule
def owner_named_once(nbs):
    owner = owner_pattern()
    for nb in nbs:
        for c in nb.cells:
            text = '\n'.join(o for o in c.lines if not is_badge(o))
            if owner.search(text) and not is_colab_cell(c): yield nb, c, 'names the repository; link the file by its relative path'


def lint(paths=None):
    "All messages about the notebooks at `paths`, or about all notebooks and the repository's text files"
    book = {p.resolve(): Nb(p) for p in all_notebooks()}
    chosen = [book.get(Path(p).resolve()) or Nb(p) for p in paths] if paths else list(book.values())
    out = [f'{nb.where(c)}: {msg}' for nb in chosen for r in RULES for c,msg in r(nb)]
    every = [*book.values(), *(nb for nb in chosen if nb not in book.values())]
    out += [f'{nb.where(c)}: {msg}' for r in BOOK_RULES for nb,c,msg in r(every) if nb in chosen]
    return out if paths else out + list(repository())


def main():
    ap = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    ap.add_argument('names', nargs='*', help='notebooks; all of them when none is named')
    ap.add_argument('--fix', action='store_true', help='write badge, Colab cell and metadata from settings.ini first')
    args = ap.parse_args()
    paths = find_notebooks(args.names)
    if args.fix:
        for p in paths:
            if fix(p): print(f'fixed {p.relative_to(ROOT)}')
        if lower_ceilings(): print(f'lowered {CEILINGS.relative_to(ROOT)}')
        for p,text in derived_files().items():
            if not p.exists() or p.read_text(encoding='utf-8')!=text:
                p.write_text(text, encoding='utf-8')
                print(f'fixed {p.relative_to(ROOT)}')
    found = lint(paths if args.names else None)
    for o in found: print(o)
    if found: sys.exit(f'lint_nbs: {len(found)} to mend')


if __name__=='__main__': main()
