"""Measure what a reader meets in each chapter, and keep the table in CONTRIBUTING.md.

Call `make readers` or `python tools/readers.py`; `--check` writes nothing and prints the chapters that miss an aim. What is
counted is what the site shows open: words of prose; lines of code, without cells that are hidden, exported under `#| export`,
folded because they import, only check or only draw, exported under the heading "as exported", or long classes that are exported; how far into the chapter its first picture
stands; the median sentence in words; lines beyond 95 columns; italics of at most three words that the glossary lacks; recall
questions (a question that folds out its answer); exercises. From Python: `measure(nb) -> dict`, `table() -> str`."""
import argparse, re, statistics, sys

from build_docs import long_class, side_cells
from lint_nbs import ROOT, Nb, contents, count_lines, count_words, plumbing, wide_lines
from reference import ASIDES, plain, prose, terms

PAGE = ROOT/'CONTRIBUTING.md'
START,END = '<!-- made by tools/readers.py -->', '<!-- end of what tools/readers.py made -->'
COLUMNS = dict(words='words', lines='code lines', picture='first picture', sentence='words a sentence', wide='wide lines', italics='italics without a row',
               recall='recall', exercises='exercises')
# What a chapter should have: (column, is it met?, in words). The tools, the demo and the pages of reference are no lessons
AIMS = [('lines', lambda n: n<=300, 'at most 300 code lines'), ('picture', lambda n: n is not None and n<=.1, 'a picture in the first tenth'),
        ('sentence', lambda n: 12<=n<=16, 'a median sentence of 12 to 16 words'), ('wide', lambda n: n==0, 'no line beyond 95 columns'),
        ('recall', lambda n: 8<=n<=10, '8 to 10 recall questions'), ('exercises', lambda n: n>0, 'an exercise')]


def sentences(nb):
    "Words of each sentence: paragraphs alone, without tables, headings and lists of links"
    text = re.sub(r'\$\$.*?\$\$', ' ', '\n\n'.join(c.prose for c in nb.markdown[1:]), flags=re.S)
    text = re.sub(r'(?<!\\)\$[^$\n]+\$', 'x', re.sub(r'<details>.*?</details>', '', text, flags=re.S))
    lines = ['' if re.match(r'\s*(\||#|- |\d+\. |>)', o) else o for o in text.splitlines()]
    found = [len(re.findall(r"\w[\w'’.-]*", o)) for o in re.split(r'(?<=[.!?])\s|\n\s*\n', '\n'.join(lines))]
    return [n for n in found if n>1]


def read_lines(nb):
    "cell id -> lines of code that a page shows open"
    aside,out = side_cells(nb), {}
    for c,inside in zip(nb.cells, plumbing((c.kind, c.source) for c in nb.cells)):
        shut = c.hidden or {'export', 'exporti'} & c.directives.keys() or c.id in aside or c.directives.get('eval')=='false' or c.directives.get('code-fold')=='true'
        if c.kind=='code' and not shut and not (c.exported and (inside or long_class(c.body))): out[c.id] = count_lines(c.body)
    return out


def has_picture(c):
    return re.search(r'!\[|<img|<svg', re.sub(r'\[!\[.*?\)\]', '', c.source)) if c.kind=='markdown' else any('image' in k for o in c.outputs for k in o.get('data', {}))


def measure(nb):
    "What a reader meets in a chapter, by column"
    lines = read_lines(nb)
    sizes = [len(c.source) if c.kind=='markdown' or c.id in lines else 0 for c in nb.cells]
    first = next((c.i for c in nb.cells if has_picture(c)), None)
    found = {o for o in re.findall(r'(?<![*\w])\*([A-Za-z][\w-]+(?: [\w-]+){0,2})\*(?![*\w])', prose(nb))}
    asides = {plain(o) for o in ASIDES}
    return dict(words=sum(map(count_words, nb.markdown)), lines=sum(lines.values()), picture=None if first is None else sum(sizes[:first])/sum(sizes),
        sentence=statistics.median(sentences(nb) or [0]), wide=len(wide_lines(nb)), italics=len({plain(o) for o in found} - terms().keys() - asides),
        recall=len(re.findall(r'<details>\s*<summary>[^<]*\?\s*</summary>', '\n'.join(c.source for c in nb.markdown))),
        exercises=sum(bool(re.search(r'^# exercise', c.source, re.M)) for c in nb.code))


def chapters(): return [(part, Nb(p)) for part,rows in contents() for p,_ in rows if part!='Reference']

def is_lesson(part, nb): return not part.startswith('Appendix') and part!='Together'


def shown(column, n):
    if column=='picture': return '–' if n is None else f'{100*n:.0f} %'
    return f'{n:g}'

def table():
    "The table in Markdown, with how many lessons meet each aim below it"
    rows = [(part, nb, measure(nb)) for part,nb in chapters()]
    lines = ['| chapter | ' + ' | '.join(COLUMNS.values()) + ' |', '|---|' + '---:|'*len(COLUMNS)]
    lines += [f'| {nb.name} | ' + ' | '.join(shown(k, m[k]) for k in COLUMNS) + ' |' for _,nb,m in rows]
    lessons = [m for part,nb,m in rows if is_lesson(part, nb)]
    met = ' · '.join(f'{words}: {sum(ok(m[k]) for m in lessons)}' for k,ok,words in AIMS)
    return '\n'.join([*lines, '', f'Of {len(lessons)} lessons (parts 1 to 4) these meet an aim: {met}.'])


def page():
    "CONTRIBUTING.md with its table made again"
    text = PAGE.read_text(encoding='utf-8')
    if START not in text or END not in text: sys.exit(f'readers: {PAGE.name} has no lines {START!r} and {END!r}; put them where the table belongs')
    return re.sub(rf'{re.escape(START)}.*{re.escape(END)}', lambda _: f'{START}\n{table()}\n\n{END}', text, flags=re.S)


def main():
    ap = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    ap.add_argument('--check', action='store_true', help='write nothing; name the lessons that miss an aim, exit 1 when one does')
    if not ap.parse_args().check:
        PAGE.write_text(page(), encoding='utf-8')
        return print(f'wrote {PAGE.name}')
    missed = [f'{nb.name}: {words}, has {shown(k, m[k])}' for part,nb in chapters() if is_lesson(part, nb)
              for m in [measure(nb)] for k,ok,words in AIMS if not ok(m[k])]
    for o in missed: print(o)
    if missed: sys.exit(f'readers: {len(missed)} aims missed')


if __name__=='__main__': main()
