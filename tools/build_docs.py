"""Build the site into `_docs`, without Quarto: nbdev turns the notebooks into pages, smalldocs renders them.

Call `python tools/build_docs.py [--out FOLDER]`, then open `_docs/index.html`. Stored outputs are shown; what is executed
is what nbdev needs for the documentation of exported names. Pages drop the number of their notebook, as nbdev's links
expect. Two things the pages show otherwise than the notebooks: imports, exported ones too, and cells that only check or only draw are folded,
and private code that a chapter exports is shown, folded. A page a module, with every signature, follows from the package,
`llms.txt` from the pages. Maths is drawn by a KaTeX of our own: npm fetches it once into the user's cache; without npm pages
load it from smalldocs's usual address. The build ends with a check of every link, anchor, alt text and formula, of the size of the pages
and of what they load, and exits 1 with a list when one is broken. No tracked file is written. From Python: `build(out) -> list[str]`, `check_site(out) -> list[str]`."""
import argparse, ast, base64, contextlib, html, json, os, re, shutil, subprocess, sys, tarfile, tempfile
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import yaml

from lint_nbs import HOOKS, NBS, ROOT, Nb, all_notebooks, cfg, contents, page_name, plumbing
from reference import linked

PROC = ROOT/'_proc'
HEAVY = 1.5e6   # bytes of a page, its pictures included


def page_path(path): return path.relative_to(NBS).with_name(page_name(path.stem).lower() + '.ipynb')


# ---- notebooks to pages ----
def process():
    "Run nbdev's processors over the notebooks into `_proc`"
    from nbdev.serve import proc_nbs
    os.environ['PYTHONPATH'] = str(ROOT)   # the processes that nbdev starts read this checkout, and not the one that is installed
    if str(ROOT) not in sys.path: sys.path.insert(0, str(ROOT))
    shutil.rmtree(PROC, ignore_errors=True)
    with contextlib.chdir(NBS): proc_nbs(path=str(NBS), n_workers=1)


def page_links(text, depth):
    "Links to notebooks without their number; links out of the book go to the repository; the badge needs no picture"
    text = re.sub(r'\[!\[Open in Colab\]\([^)]*\)\]\(([^)]*)\)', r'<a class="colab" href="\1">Open in Colab</a>', text)
    text = re.sub(r'(\]\(|href=")((?!\w+:)[^)"#\s]*?)\d+[a-zA-Z]?_(\w+\.ipynb)', lambda m: m[1]+m[2]+m[3].lower(), text)
    out = re.escape('../'*(depth+1))   # from a page that lies `depth` folders deep
    return re.sub(rf'(\]\(|href="){out}(?=\w)', rf'\1{cfg.git_url}/blob/{cfg.branch}/', text)


SHOW_DOC = re.compile(r'^show_doc\((.+)\)', re.M)
EXPORTED = '#| code-fold: show\n#| code-summary: "Exported source"\n'   # what nbdev writes over a cell whose source is shown

def without_signature(cell):
    "A show_doc cell with name and docstring alone, in plain letters: the source below it holds the signature and the comments"
    for o in cell['outputs']:
        md = ''.join(o.get('data', {}).get('text/markdown', ''))
        if not md: continue
        md = re.sub(r'^---\n|^```python\n.*?^```\n', '', md, flags=re.M|re.S)
        o['data']['text/markdown'] = re.sub(r'^\*(?!\*)(.+)\*$', r'\1', md, count=1, flags=re.M)   # italics that would end with the first line
    return cell


def long_class(lines):
    "Is exported code a class of forty lines and more? A page folds it: what it does stands in the cells before"
    code = [o for o in lines if o.strip() and not o.startswith('#|')]
    return len(code)>=40 and next(o for o in code if not o.startswith(('@', '#'))).startswith('class ')


def tidy_docs(cells, module):
    """Put the names and docstrings of a cell above its source, in its order, and say where it is exported to; fold the source
    of a long class, and under a heading "… as exported"."""
    from nbdev.showdoc import showdoc_nm
    code = [c for c in cells if c['cell_type']=='code']
    inside = {id(c) for c,o in zip(cells, plumbing((c['cell_type'], ''.join(c['source'])) for c in cells)) if o}
    docs = {m[1]: c for c in code if (m := SHOW_DOC.search(c['source']))}
    above = {}
    for c in (c for c in code if c['source'].startswith(EXPORTED)):
        defs = [t for t in ast.parse(c['source']).body if isinstance(t, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))]
        above[c['id']] = [without_signature(docs[name]) for t in defs if (name := showdoc_nm(t)) in docs]
        c['source'] = c['source'].replace('Exported source', f'{cfg.lib_name}.{module}', 1)
        if id(c) in inside or long_class(c['source'].splitlines()): c['source'] = c['source'].replace('code-fold: show', 'code-fold: true', 1)
    moved = [d for ds in above.values() for d in ds]
    return [o for c in cells if not any(c is d for d in moved) for o in (*above.get(c.get('id'), ()), c)]


def is_check(statement):
    "Does a statement compare and show nothing?"
    if isinstance(statement, ast.Assert): return True
    if isinstance(statement, (ast.For, ast.With, ast.If)):
        inside = statement.body + getattr(statement, 'orelse', [])
        return any(map(is_check, inside)) and all(is_check(o) or isinstance(o, ast.Assign) for o in inside)
    if not isinstance(statement, ast.Expr): return False
    calls = statement.value.elts if isinstance(statement.value, ast.Tuple) else [statement.value]
    return all(isinstance(o, ast.Call) and re.match(r'(np\.testing|torch\.testing|test_|check_|assert_)', ast.unparse(o.func)) for o in calls)

def names(cell, context):
    "Names that a cell reads or sets; what a comprehension runs over is its own"
    own = {id(n) for c in cell.nodes(ast.comprehension) for n in ast.walk(c.target)}
    return {n.id for n in cell.nodes(ast.Name) if isinstance(n.ctx, context) and id(n) not in own}

def side_cells(nb):
    """Cells that a reader can pass over, by id: imports; and what only checks or only draws, which is not exported and sets
    no name that a cell which stays open reads"""
    out,read = {}, set()
    for c in reversed(nb.code):
        if c.exported or c.hidden or not c.tree or {'eval', 'code-fold'} & {*c.directives}: kind = None
        elif only_imports(c): kind = 'imports'
        elif names(c, ast.Store) & read: kind = None
        elif 'fig-cap' in c.directives: kind = 'figure'
        else:
            rest = [t for t in c.tree if not isinstance(t, (ast.Assign, ast.AugAssign))]
            kind = 'checks' if rest and not c.outputs and all(map(is_check, rest)) else None
        if kind: out[c.id] = kind
        else: read |= names(c, ast.Load)
    return out

def folded(source, summary): return f'#| code-fold: true\n#| code-summary: "{summary}"\n{source}'

def only_imports(c):
    "Does a cell only import, `with extra(…):` or not?"
    inside = [o for t in c.tree or [] for o in (t.body if isinstance(t, ast.With) else [t])]
    return bool(inside) and all(isinstance(o, (ast.Import, ast.ImportFrom)) for o in inside)

def with_private(cells, nb):
    """The private code that a chapter exports, put back where nbdev took it out: it may be what an equation says. And what an
    exported cell imports, so that a reader finds where each name comes from; it joins the chapter's own imports below it"""
    order = [c.id for c in nb.cells]
    for c in (c for c in nb.code if 'exporti' in c.directives or 'export' in c.directives and only_imports(c)):
        before = set(order[:order.index(c.id)])
        at = max((n for n,o in enumerate(cells) if o.get('id') in before), default=-1) + 1
        code,summary = '\n'.join(c.body).strip('\n'),f'{cfg.lib_name}.{nb.module}, private'
        if 'export' in c.directives:
            summary,head = 'imports',folded('', 'imports')
            if at<len(cells) and cells[at]['source'].startswith(head):
                cells[at]['source'] = folded(f"{code}\n{cells[at]['source'].removeprefix(head)}", summary)
                continue
        cells.insert(at, dict(cell_type='code', id=c.id, metadata={}, outputs=[], source=folded(code, summary)))
    return cells


def rename_pages():
    "Drop the numbers of the files in `_proc` and of the links between them"
    for path in all_notebooks():
        old,new = PROC/path.relative_to(NBS), PROC/page_path(path)
        nb,seen,written = json.loads(old.read_text(encoding='utf-8')), set(), Nb(path)
        aside = side_cells(written) if written.chapter else {}
        for c in nb['cells']:
            src = ''.join(c['source'])
            if c['cell_type']=='markdown': src = re.sub(r'\[(`_\w+`)\]\([^)\n]*\)', r'\1', src)   # nbdev links private names, which have no anchor
            if c['cell_type']=='raw': src = re.sub(r'^output-file:.*\n', '', src, flags=re.M)
            if c['cell_type']=='code':
                src = re.sub(r'^# lint: own\b.*\n', '', src, flags=re.M)
                src = re.sub(r'[ \t]*# lint: long\b(?:; (.*))?$', lambda m: f'  # {m[1]}' if m[1] else '', src, flags=re.M)
            c['source'] = linked(page_links(src, len(path.relative_to(NBS).parts)-1), path, seen) if c['cell_type']=='markdown' else src
            if c.get('id') in aside: c['source'] = folded(c['source'], aside[c['id']])
        nb['cells'] = with_private(tidy_docs(nb['cells'], page_name(path.stem)), written)
        old.unlink()
        new.write_text(json.dumps(nb), encoding='utf-8')


def api_pages():
    "A page a module: signatures, parameters and docstrings, without what only its base calls; returns the modules"
    from smalldocs.api import Settings, build
    where = {nb.module: nb for nb in map(Nb, all_notebooks()) if nb.module}
    made = [p.stem for p in build(Settings(PROC, [cfg.lib_name], 'api', ROOT))]
    (PROC/'_symbols.json').unlink()   # names lead to the chapters, as nbdev links them
    for path in (PROC/'api').glob('*.qmd'):
        head,*entries = re.split(r'^(?=##+ )', path.read_text(encoding='utf-8'), flags=re.M)
        nb = where[path.stem]
        head += f"From the chapter [{nb.cells[0].lines[0].lstrip('# ')}](../{page_path(nb.path).as_posix()}).\n\n"
        kept = [o for o in entries if not is_inner(re.match(r'##+ (?:class )?(\S+)', o)[1])]
        path.write_text(head + ''.join(re.sub(r'^```python\n(.+)\n```', in_lines, o, flags=re.M) for o in kept), encoding='utf-8')
    return sorted(made)

def is_inner(name): return '.' in name and name.split('.')[-1] in HOOKS

def in_lines(m):
    "A signature over as many lines as it needs"
    if len(m[1])<=90: return m[0]
    name,rest = m[1].split('(', 1)
    parts = [o.strip() for o in re.split(r', (?=\*{0,2}\w+(?:: |,| =|\)|$))', rest)]
    lines,now = [], '    '
    for o in parts:
        if len(now)+len(o)>88: lines.append(now.rstrip()); now = '    '
        now += o + ('' if o is parts[-1] else ', ')
    return '```python\n' + '\n'.join([f'{name}(', *lines, now]) + '\n```'


def sidebar(modules):
    "The index, then the chapters as it lists them, then the modules; each chapter links its solutions"
    def entry(p, name): return {'text': f"{p.stem.split('_')[0]} {name}", 'href': page_path(p).as_posix()}
    parts = [{'section': part, 'contents': [entry(*o) for o in chapters]} for part,chapters in contents()]
    parts[-1]['contents'].append({'section': 'Modules', 'contents': [{'text': o, 'href': f'api/{o}.qmd'} for o in modules]})
    return [{'text': 'Start here', 'href': 'index.ipynb'}, *parts]


def write_config(out, modules):
    "What settings.ini and the list of notebooks say, in the two files that `_quarto.yml` includes"
    site = {'project': {'output-dir': os.path.relpath(out, PROC)},
            'website': {'title': cfg.title, 'description': cfg.description, 'site-url': cfg.doc_host+cfg.doc_baseurl,
                        'repo-url': cfg.git_url, 'repo-branch': cfg.branch,
                        'navbar': {'tools': [{'icon': 'github', 'href': cfg.git_url, 'text': 'Source on GitHub'}]}}}
    for name,d in (('nbdev.yml', site), ('sidebar.yml', {'website': {'sidebar': {'contents': sidebar(modules)}}})):
        (PROC/name).write_text(yaml.safe_dump(d, sort_keys=False, allow_unicode=True), encoding='utf-8')


# ---- KaTeX ----
def fetch_npm(name, version, files):
    "The folder with some files of an npm package, fetched once into the user's cache; None where it cannot be had"
    home = Path(os.environ.get('XDG_CACHE_HOME') or Path.home()/'.cache')/cfg.lib_name/name/version
    if home.is_dir(): return home
    home.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home.parent) as tmp:
        try: subprocess.run(['npm', 'pack', '--silent', f'{name}@{version}'], cwd=tmp, check=True, capture_output=True, timeout=120)
        except (OSError, subprocess.SubprocessError) as e: print(f'build_docs: no {name} ({e})'); return
        with tarfile.open(next(Path(tmp).glob('*.tgz'))) as tar: tar.extractall(tmp, filter='data')
        package,new = Path(tmp)/'package', Path(tmp)/'new'
        for path in (p for o in files for p in package.glob(o)):
            to = new/path.relative_to(package/'dist' if package/'dist' in path.parents else package)
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, to)
        new.rename(home)
    return home

def fetch_katex(version):
    "KaTeX without its older fonts; without npm pages load it from the network"
    return fetch_npm('katex', version, ['LICENSE', 'dist/katex.min.css', 'dist/katex.min.js', 'dist/contrib/auto-render.min.js', 'dist/fonts/*.woff2'])


def sized(m):
    "A stored picture with its size, so that the page does not jump; several panels side by side may scroll on a phone"
    head = base64.b64decode(m[1][:32])
    w,h = (int.from_bytes(head[i:i+4], 'big') for i in (16, 20))
    return f'{m[0]} width="{w}" height="{h}"' + ' data-wide'*(w > 2*h)


def stacked(m):
    "A table of four columns and more that holds whole phrases: its cells know their column's name, and stand below each other on a phone"
    heads = re.findall(r'<th[^>]*>(.*?)</th>', m[0], re.S)
    cells = re.findall(r'<td[^>]*>(.*?)</td>', m[0], re.S)
    if 'dataframe' in m[1] or len(heads)<4 or not any(len(re.sub(r'<[^>]*>', '', o))>24 for o in cells) or len(cells)%len(heads): return m[0]
    bare = [re.sub(r'<[^>]*>', '', o) for o in cells]
    long = {n%len(heads) for n,o in enumerate(bare) if len(o)>24}
    places = iter(range(len(cells)))
    def cell(c):
        n = next(places)%len(heads)
        name = '' if not n or c[2].startswith('<strong>') else html.escape(re.sub(r'<[^>]*>', '', heads[n]), quote=True)
        return f'<td data-label="{name}"' + ' data-long'*(n in long) + f'{c[1]}>{c[2]}</td>'
    body = re.sub(r'<td([^>]*)>(.*?)</td>', cell, m[0], flags=re.S)
    return body.replace('class="', 'class="stack ', 1)


SCROLL = """// What is wider than its place can be scrolled with the keyboard, and shows that it goes on
function wide() {
  for (const o of document.querySelectorAll('main :is(pre, .katex-display, .sd-table, .cell-output, .figure > p)'))
    if (o.scrollWidth > o.clientWidth + 1 && getComputedStyle(o).overflowX !== 'visible') { o.tabIndex = 0; o.dataset.scrolls = ''; }
    else if ('scrolls' in o.dataset) { o.removeAttribute('tabindex'); delete o.dataset.scrolls; }
}
addEventListener('load', wide); addEventListener('resize', wide); addEventListener('toggle', wide, true);
"""

def localize(out):
    "Make links to KaTeX and to the site itself relative: the site reads the same from a disk, from a fork, and without a network"
    (out/'site_libs'/'scroll.js').write_text(SCROLL, encoding='utf-8')
    from smalldocs.layout import KATEX
    katex = fetch_katex(re.search(r'katex@([\d.]+)', KATEX)[1])
    if katex: shutil.copytree(katex, out/'site_libs'/'katex', dirs_exist_ok=True)
    for theme in (out/'site_libs'/'themes').glob('*.css'):   # the reader's own fonts, and no request to another host
        theme.write_text(re.sub(r'@import url\(http[^)]*\);', '', theme.read_text(encoding='utf-8')), encoding='utf-8')
    for page in out.rglob('*.html'):
        text,up = page.read_text(encoding='utf-8'), '../'*(len(page.relative_to(out).parts)-1)
        new = re.sub(rf'href="{re.escape(cfg.doc_host+cfg.doc_baseurl)}(?=[^"])', f'href="{up}', text)
        new = re.sub(r'src="data:image/png;base64,([^"]+)"', sized, new)
        new = re.sub(r'<table class="([^"]*)">.*?</table>', stacked, new, flags=re.S)
        new = new.replace('<i class="bi bi-github" role="img">', '<i class="bi bi-github" aria-hidden="true">')
        new = new.replace('</head>', f'<script src="{up}site_libs/scroll.js" defer></script></head>', 1)
        if katex: new = new.replace(KATEX, f'{up}site_libs/katex')
        if new!=text: page.write_text(new, encoding='utf-8')


def order_llms(out):
    "The pages of `llms.txt` in the order of the book: index, chapters, modules, solutions"
    file = out/'llms.txt'
    lines = file.read_text(encoding='utf-8').splitlines()
    order = ['index', *(page_path(p).stem for _,chapters in contents() for p,_ in chapters)]
    def place(line):
        path = re.search(r'\(\S+?/(?:(api|solutions)/)?([\w.]+?)\.llms\.md\)', line.replace(cfg.doc_host+cfg.doc_baseurl, 'x/'))
        return (order.index(path[2]) if not path[1] else len(order) + (path[1]=='solutions'), line)
    pages = [o for o in lines if o.startswith('- ')]
    file.write_text('\n'.join([o for o in lines if not o.startswith('- ')] + sorted(pages, key=place)) + '\n', encoding='utf-8')


# ---- check ----
class Page(HTMLParser):
    "Ids, links, pictures without alt text, and formulas that stayed text"
    void = {'area', 'base', 'br', 'col', 'embed', 'hr', 'img', 'input', 'link', 'meta', 'source', 'track', 'wbr'}

    def __init__(self, text):
        super().__init__()
        self.ids,self.links,self.wrong,self.open = set(), [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        a = dict(attrs)
        self.ids |= {a[k] for k in ('id', 'name') if a.get(k)}
        loads = a.get('href' if tag=='link' and a.get('rel') in ('stylesheet', 'icon', 'preload') else 'src', '') or ''
        if re.match(r'(\w+:)?//', loads): self.wrong.append(f'loads {loads} from another host')
        if tag!='link' or a.get('rel')!='canonical': self.links += [a[k] for k in ('href', 'src') if a.get(k)]
        if tag=='img' and not a.get('alt'): self.wrong.append(f"a picture without alt text ({(a.get('src') or '')[:40]})")
        if tag not in self.void: self.open.append((tag, a.get('class') or ''))

    def handle_endtag(self, tag):
        if tag in (t for t,_ in self.open):
            while self.open.pop()[0]!=tag: pass

    def handle_data(self, text):
        if any(t in ('code', 'pre', 'script', 'style', 'title') or 'math' in c for t,c in self.open): return
        for o in re.findall(r'\$\$|\$[^$]*\\[a-z]+|\\[(\[]|\\(?:frac|hat|lambda|nabla|sum)\b|^\s*:::+', text, re.M): self.wrong.append(f'{o.strip()!r} left as text ({text.strip()[:60]!r})')


def check_site(out):
    "What is broken in the site at `out`: links, anchors, alt texts, formulas"
    out = Path(out).resolve()
    pages = {p: Page(p.read_text(encoding='utf-8')) for p in sorted(out.rglob('*.html'))}
    found = []
    for path,page in pages.items():
        found += [f'{path.relative_to(out)}: {o}' for o in page.wrong]
        if (size := path.stat().st_size)>HEAVY: found.append(f'{path.relative_to(out)}: {size/1e6:.1f} MB; make the pictures fewer or smaller')
        for link in dict.fromkeys(page.links):
            if re.match(r'[a-zA-Z][\w+.-]*:|//', link): continue
            file,_,anchor = link.partition('#')
            target = (path.parent/unquote(file.split('?')[0])).resolve() if file else path
            if target.is_dir(): target = target/'index.html'
            if not target.exists(): found.append(f'{path.relative_to(out)}: the link {link} leads nowhere')
            elif anchor and target in pages and unquote(anchor) not in pages[target].ids: found.append(f'{path.relative_to(out)}: the link {link} names no anchor of that page')
    return found


def build(out=ROOT/'_docs'):
    "Build the site into `out`; what is broken in it"
    from smalldocs.config import BuildError
    from smalldocs.site import build as render
    out = Path(out).resolve()
    process()
    rename_pages()
    write_config(out, api_pages())
    try: site = render(PROC, quiet=True)
    except BuildError as e: sys.exit(f'build_docs: {e}')
    localize(out)
    order_llms(out)
    return [*(o for o in site.warnings if ': broken link ' not in o), *check_site(out)]   # ours names links and anchors


def main():
    ap = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    ap.add_argument('--out', default=ROOT/'_docs', type=Path, help='folder of the site (default: _docs)')
    out = ap.parse_args().out.resolve()
    found = build(out)
    for o in found: print(o)
    if found: sys.exit(f'build_docs: {len(found)} to mend in {out}')
    print(f'build_docs: {len(list(out.rglob("*.html")))} pages in {out}')


if __name__=='__main__': main()   # nbdev starts processes, which import this file
