"""Write the columns of the reference pages that follow from the chapters: where an erratum is shown, which chapter brings a
term in, and who cites a paper.

Call `python tools/reference.py`; `--check` writes nothing and exits 1 when a page is not what the chapters give. In 82_errata
and 83_glossary and 84_references the first column (its anchor) and the last one are written here, all between them by hand. The
site links what chapters name (`linked`, called by tools/build_docs.py): E0.4 to its row, the first *regret* of a page to the
glossary. From Python: `stale() -> dict`, path to text; `wrong() -> list[str]`, what the pages lack or have too much."""
import argparse, ast, json, re, sys, unicodedata
from functools import cache
from urllib.parse import unquote

from lint_nbs import NBS, PARTS, ROOT, Nb, all_notebooks, page_name

ERRATA,GLOSSARY,REFERENCES = (NBS/f'{o}.ipynb' for o in ('82_errata', '83_glossary', '84_references'))
PAGES = ERRATA, GLOSSARY, REFERENCES

# The errors that no page shows yet: the number of the chapter that will, or none where nothing can be run
COMING = {'22': 'E1.17', '40': 'E3.1 E3.20', '45': 'E2.11', '60': 'E3.2 E3.3 E3.4 E3.15', '61': 'E3.21', '72': 'E0.22', '73': 'E1.18',
    '': 'E0.3 E0.18 E0.23 E1.10 E1.14 E2.3 E2.15 E2.16'}
COMING = {id: number for number,ids in COMING.items() for id in ids.split()}

# Words that a chapter sets in italics where others define a term, and that are none
ASIDES = set('''stale like specialist generalist the logistic float sparse stretch normalized score hash hard alien weight relation
    file error intrinsic'''.split()) | {'old taste', 'straight line'}

# Terms that a chapter before or after their own sets in italics, for another reason
HOME = {'BERT': 'text', 'cosine': 'baselines', 'drift': 'worlds', 'embedding': 'attention', 'item': 'streams', 'mood': 'clock',
    'optimizer': 'optim', 'penalty': 'mf', 'rating': 'streams', 'ridge': 'mf_als', 'user': 'streams'}


# ---- the tables ----
def cells_of(row): return [o.strip() for o in re.split(r'(?<!\\)\|', row.strip().strip('|'))]

def is_row(line): return line.startswith('| ') and not line.startswith(('| id |', '| term |', '| paper |'))

def rows(path):
    "The rows of a page's tables, each a list of cells, the anchor taken off the first one"
    lines = [o for c in Nb(path).markdown for o in c.lines if is_row(o)]
    return [[re.sub(r'^<a id="[^"]*"></a>', '', a), *rest] for a,*rest in map(cells_of, lines)]

def anchor(text):
    "What a link to a row is called: letters, digits and dots"
    text = unicodedata.normalize('NFKD', text).encode('ascii', 'ignore').decode()
    return re.sub(r'[^a-z0-9.]+', '-', text.lower()).strip('-')

@cache
def book():
    "The chapters, in the order in which they are read: the tools come last"
    pages = [p.name for p in PAGES]
    nbs = [Nb(p) for p in all_notebooks() if p.parent==NBS and p.name[0].isdigit() and p.name not in pages]
    return sorted(nbs, key=lambda nb: (nb.name[0]=='0', nb.name))

@cache
def at(path): return Nb(path)

def link(nb, at=''): return f'[{page_name(nb.name)}]({nb.path.name}{at})'


# ---- errata ----
ID = r'E[0-4]\.\d+b?'
RANGE = re.compile(rf'\b({ID})(?:( to )({ID}))?(?![\w.]*\d)')

@cache
def register(): return [r[0] for r in rows(ERRATA)]

def between(first, last):
    "The ids of the register from one to the other, both included"
    ids = register()
    return ids[ids.index(first):ids.index(last)+1]

@cache
def named(nb):
    "The errata that a page's prose names, ranges filled in; a name that is a link already points elsewhere"
    texts = [re.sub(r'\[[^\]\n]*\]\([^)\n]*\)', '', c.source) for c in nb.markdown if nb.path!=ERRATA or '| id |' not in c.source]
    return [o for text in texts for m in RANGE.finditer(text)
            for o in (between(m[1], m[3]) if m[3] else [m[1]])]

def place(id):
    "Where an error is shown"
    shown = [link(nb, f'#{id.lower()}') for nb in (*book(), at(REFERENCES)) if id in named(nb)]
    if id in named(at(ERRATA)): shown.append(f'[below](#{id.lower()}-shown)')
    if shown: return ' · '.join(shown)
    if id not in COMING: return '?'
    if not COMING[id]: return 'in words: nothing to run'
    nb = next((nb for nb in book() if nb.name.startswith(COMING[id]+'_')), None)
    return f'to come ({link(nb)})' if nb else f'to come (part “{PARTS[int(COMING[id][0])]}”)'


# ---- glossary ----
@cache
def prose(nb):
    "The words of a notebook, without code, formulas and links' targets"
    text = re.sub(r'\$\$.*?\$\$', ' ', '\n\n'.join(c.prose for c in nb.markdown), flags=re.S)
    return re.sub(r'(?<!\\)\$[^$\n]+\$', ' ', text)

def pattern(term):
    "A term as it may stand in a sentence: in the plural, with a space for its hyphen, a part of it in italics"
    name = r'\**[\s-]\**'.join(map(re.escape, re.split('[ -]', term)))
    return name[:-1] + '(?:y|ies)' if name.endswith('y') else name + '(?:s|es)?'

@cache
def introduced(term):
    "The chapter that sets a term in italics or bold, or else the first with the term in a heading, or at all"
    name = pattern(term)
    for form in (rf'\*{name}' + (r'(?![\w-])' if ' ' in term else r'\*'), rf'^#+ .*\b{name}\b', rf'(?<![\w-]){name}(?![\w-])'):
        for nb in book():
            if HOME.get(term, page_name(nb.name))==page_name(nb.name) and nb.name!='02_notation' and re.search(form, prose(nb), re.I|re.M): return nb

@cache
def emphasized(nb):
    "What a chapter sets in italics where a definition stands: *is called x*, *An x …*, *X is …*"
    word = r'\*([A-Za-z][\w -]{2,30})\*'
    form = rf'\bcalled (?:an? |the )?{word}|\b[Aa]n? {word}(?= [a-z]|,)|(?:^|[.:!?] ){word}(?= is | are )'
    return [m[1] or m[2] or m[3] for m in re.finditer(form, prose(nb), re.M)]


# ---- references ----
def key(url):
    "What two links to one paper have in common"
    url = unquote(url).rstrip('/').lower()
    if m := re.search(r'arxiv(?:\.org/abs/|\.)(\d{4}\.\d{4,5})', url): return f'arxiv:{m[1]}'
    if m := re.search(r'doi\.org/(10\..+)', url): return m[1]
    return url

LINK = r'(https?://(?:[^\s()>\]"\'`]|\([^\s()]*\))+)'
YEAR = r'(?<!\d)((?:18|19|20)\d\d)(?!\d)'

@cache
def citations(nb):
    "(key, authors or title, year or '') of what a notebook cites: papers by their links, in prose and in docstrings"
    out = []
    for c in nb.cells:
        text = c.source if c.kind=='markdown' else '\n'.join(filter(None, map(docstring, c.nodes(ast.FunctionDef, ast.ClassDef))))
        for m in re.finditer(rf'(?:\[([^\]]*)\]\()?{LINK}\)?(?:, {YEAR})?', text):
            words,url = m[1] or '', m[2].rstrip('.,;')
            before = re.search(rf'([\w., -]*), {YEAR}, $', text[:m.start()])
            year = m[3] or next(iter(re.findall(YEAR, words)), '') or (before[2] if before else '')
            if re.search(r'doi\.org|arxiv\.org', url) or year: out.append((key(url), words or (before[1] if before else ''), year))
    return out

def docstring(node): return ast.get_docstring(node)

@cache
def keys(nb): return {k for k,_,_ in citations(nb)}

def cited(row):
    "The chapters, their solutions counted in, that cite a paper by its link, or without one by author and year"
    url = re.search(r'\]\((\S+)\)$', row[3])
    author,year = re.split(r'[ ,]', row[0])[0], re.search(YEAR, row[0])[0]
    def does(nb):
        if url: return key(url[1]) in keys(nb)
        return any(re.search(rf'{author}\b[^()\n]{{0,90}}{year}', c.source) for c in nb.cells)
    def solutions(nb): return (at(p) for p in [NBS/'solutions'/f'{nb.name}_solutions.ipynb'] if p.exists())
    return ' · '.join(link(nb) for nb in book() if does(nb) or any(map(does, solutions(nb))))


# ---- the pages made again ----
LAST = {ERRATA: lambda r: place(r[0]), GLOSSARY: lambda r: link(nb) if (nb := introduced(r[0])) else '?', REFERENCES: lambda r: cited(r) or '?'}

def page(path):
    "The text of a page, its first and last columns made again"
    nb = Nb(path)
    def again(line):
        if not is_row(line): return line
        a,*rest = cells_of(line)
        a = re.sub(r'^<a id="[^"]*"></a>', '', a)
        rest[-1] = LAST[path]([a, *rest])
        return '| ' + ' | '.join([f'<a id="{anchor(a)}"></a>{a}', *rest]) + ' |'
    for c in nb.markdown:
        if any(map(is_row, c.lines)): c.d['source'] = '\n'.join(map(again, c.lines)).splitlines(keepends=True)
    return json.dumps(nb.d, sort_keys=True, indent=1, ensure_ascii=False) + '\n'

def stale():
    "path -> text of the pages that are not as the chapters give them"
    return {p: text for p in PAGES if (text := page(p))!=p.read_text(encoding='utf-8')}


# ---- what the site links ----
SKIP = r'^(?:```|~~~).*?^(?:```|~~~)|`[^`\n]*`|\$\$.*?\$\$|(?<!\\)\$[^$\n]+\$|\[[^\]\n]*\]\([^)\n]*\)|<[^>\n]*>|^#+ [^\n]*$|^\|[^\n]*$'

def linked(text, path, seen):
    "Markdown with links to the register and to the glossary; `seen` holds what this page has linked already"
    up = '' if path.parent==NBS else '../'
    def to(page, at, words, id=''): return f'<a{id} href="{up}{page_name(page.stem)}.html#{at}">{words}</a>'
    def spot(id):
        if id in seen: return ''
        seen.add(id)
        return f' id="{id.lower()}{"-shown" if path==ERRATA else ""}"'
    def erratum(m):
        out = to(ERRATA, m[1].lower(), m[1], spot(m[1]))
        if not m[3]: return out
        inner = ''.join(f'<a{o}></a>' for id in between(m[1], m[3])[1:-1] if (o := spot(id)))
        return out + m[2] + inner + to(ERRATA, m[3].lower(), m[3], spot(m[3]))
    def term(m):
        at = terms().get(plain(m['term']))
        if not at or at in seen or path in PAGES: return m[0]
        seen.add(at)
        return m[0].replace(m['term'], to(GLOSSARY, at, m['term']))
    def one(m): return m[0] if m['skip'] else term(m) if m['term'] else erratum(RANGE.match(m[0]))
    return re.sub(rf'(?P<skip>{SKIP})|(?<![\w*])\*{{1,2}}(?P<term>[A-Za-z][\w -]{{2,30}})\*{{1,2}}(?![\w*])|{RANGE.pattern}', one, text, flags=re.M|re.S)

def plain(words): return re.sub(r'(?:(?<=[^s])s)?$', '', words.lower().replace('-', ' '), count=1)

@cache
def terms(): return {plain(r[0]): anchor(r[0]) for r in rows(GLOSSARY)}


# ---- what is missing ----
def wrong():
    "What the pages lack, name twice, or name and nobody uses"
    out = []
    for path in PAGES:
        heads = [anchor(r[0]) for r in rows(path)]
        if path!=ERRATA: out += [f'{path.stem}: {b} stands after {a}; keep the order of the alphabet' for a,b in zip(heads, heads[1:]) if b<a]
        out += [f'{path.stem}: {o} stands there twice' for o in {o for o in heads if heads.count(o)>1}]
        out += [f'{path.stem}: {r[0]}: {why}' for r in rows(path) if LAST[path](r)=='?' for why in ['no chapter has it; put it there, or take it out']]
        if len(rows(path)[0])<4: out.append(f'{path.stem}: a row of {len(rows(path)[0])} columns')
    every = [*map(at, all_notebooks())]
    for nb in every:
        out += [f'{nb.where(c)}: {id} is not in the register; add it to {ERRATA.stem}' for c in nb.cells for id in re.findall(rf'\b{ID}\b', c.source) if id not in register()]
    listed = {key(m[1]): r for r in rows(REFERENCES) if (m := re.search(r'\]\((\S+)\)$', r[3]))}
    for nb in (nb for nb in every if nb.path not in PAGES):
        for k,words,year in citations(nb):
            r = listed.get(k)
            if not r: out.append(f'{nb.name}: cites {k}, which is not in {REFERENCES.stem}; add it there')
            elif year and year not in r[0]: out.append(f'{nb.name}: cites {k} of {year}, but {REFERENCES.stem} says {r[0]}')
            elif re.search(YEAR, words) and re.match(r'\w+', words)[0] not in r[0]: out.append(f'{nb.name}: cites {k} as {words}, but {REFERENCES.stem} says {r[0]}')
    for nb in book():
        out += [f'{nb.name}: *{o}* looks like the definition of a term; add it to {GLOSSARY.stem}, or to ASIDES of tools/reference.py'
                for o in emphasized(nb) if plain(o) not in terms() and o.lower() not in ASIDES]
    return list(dict.fromkeys(out))


def main():
    ap = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    ap.add_argument('--check', action='store_true', help='write nothing; exit 1 when a page is not what the chapters give')
    check,found = ap.parse_args().check, wrong()
    for p,text in (made := stale()).items():
        print(f'{"not fresh:" if check else "wrote"} {p.relative_to(ROOT)}')
        if not check: p.write_text(text, encoding='utf-8')
    for o in found: print(o)
    if found or check and made: sys.exit('reference: ' + (f'{len(found)} to mend' if found else 'run python tools/reference.py'))


if __name__=='__main__': main()
