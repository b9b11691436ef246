"""A letter means in a chapter what the table of symbols says of it, or the last table there names the chapter with what it means in it."""
import re
from lint_nbs import NBS, SYMBOLS, Nb, all_notebooks

DULL = set('the and what how that from with for its one per out are not has was this when which where who all every than then into back same their'.split())
INTRO = r'(?:[Ll]et|[Ww]rite|[Ww]ith) \$([^$=]+)\$ (?:for|hold|count|be) ([a-z][^.:;,]*)'

def letters(cell):
    "The letters that a cell or a sentence introduces, without hats, indices and arguments"
    bare = re.sub(r'\\(hat|bar|lvert|partial|nabla_\\\w+|text\{\w+\})|_\{[^}]*\}', '', ','.join(re.findall(r'\$([^$]+)\$', cell)))
    return {m[1] for o in bare.split(',') if (m := re.match(r'\s*(\\[A-Za-z]+|[A-Za-z])', o))}

def stems(text): return {w.rstrip('s')[:5] for w in re.findall('[a-z]{3,}', text.lower())} - DULL

def tables(nb):
    "Each row of a table of symbols: (symbol, the other columns by name)"
    for found in re.findall(r'^\| symbol .*\n(?:\|.*\n?)+', '\n\n'.join(c.source for c in nb.markdown), re.M):
        head,_,*rows = ([o.strip() for o in line.strip('|').split('|')] for line in found.replace(r'\|', ' ').strip().splitlines())
        yield from (dict(zip(head, o)) for o in rows)

def told(nb): return [(o['symbol'], o['code'], o['meaning']) for o in tables(nb)] + [(f'${a}$', '', b) for c in nb.markdown for a,b in re.findall(INTRO, c.source)]

def meanings():
    "letter -> [(chapters that have it so, none for the book, its words)]"
    out = {}
    for o in tables(Nb(NBS/f'{SYMBOLS}.ipynb')):
        said = re.findall(r'\((\w+)\.ipynb\)', o.get('chapter', '')), stems(o.get('meaning', '') + o.get('meaning there', '') + ' ' + o.get('public name', ''))
        for a in letters(o['symbol']): out.setdefault(a, []).append(said)
    return out

def others(name, rows, known):
    return [f'{name}: {symbol} as “{meaning}”' for symbol,code,meaning in rows for a in letters(symbol)
            if not any(stems(f"{meaning} {code.replace('_', ' ')}") & words for where,words in known.get(a, []) if not where or name in where)]


def test_a_letter_means_what_the_table_says():
    known,chapters = meanings(),[Nb(p) for p in all_notebooks() if p.parent==NBS and p.stem!=SYMBOLS and p.stem<'8']
    assert len(others('33a_clock', [(r'$\gamma, \xi$', '', 'how loud it is'), ('$V$', '', 'variance of a score'), ('$G$', '', 'slope of a loss in a matrix')], known))==3
    found = [o for nb in chapters for o in others(nb.name, told(nb), known)]
    assert not found, f'{found}: use the letter as {SYMBOLS} does, or list it there'
    lists = {(a, where) for a,rows in known.items() for places,_ in rows for where in places}
    text = {nb.name: '\n'.join(c.source for c in nb.markdown) for nb in chapters}
    assert not (gone := [(a, where) for a,where in lists if not re.search(rf'(?<![A-Za-z]){re.escape(a)}(?![A-Za-z])', text[where])]), f'{gone}: no longer in the chapter'
