"""Write README.md from nbs/index.ipynb, without Quarto.

Call `python tools/readme.py`; `--check` writes nothing and exits 1 when README.md is not what the index gives. Markdown
cells stay as they are, code is fenced, outputs follow as tables, text, or pictures (nbs/images/readme-N.png); hidden cells are
left out. Links to notebooks become links to their pages, links to other files are made relative to the repository. From Python:
`readme() -> dict`, the content of each file."""
import argparse, base64, html, os, re, sys
from pathlib import PurePosixPath

from lint_nbs import NBS, ROOT, Nb, cfg, page_name

README = ROOT/'README.md'


def link(url):
    "A link of the index, as README.md must write it"
    file,hash_,anchor = url.partition('#')
    if not file or re.match(r'\w+:', file): return url
    if file.endswith('.ipynb'):
        path = PurePosixPath(file)
        return f'{cfg.doc_host}{cfg.doc_baseurl}{path.with_name(page_name(path.stem) + ".html")}{hash_}{anchor}'
    return os.path.normpath(f'{cfg.nbs_path}/{file}').replace(os.sep, '/') + hash_ + anchor


def prose(text):
    "Markdown with its links mended; fenced code stays as it is"
    parts = re.split(r'(^```.*?^```[^\n]*$)', text, flags=re.M|re.S)
    for i in range(0, len(parts), 2):
        parts[i] = re.sub(r'(\]\()([^)\s]+)', lambda m: m[1]+link(m[2]), parts[i])
        parts[i] = re.sub(r'((?:src|href)=")([^"]+)', lambda m: m[1]+link(m[2]), parts[i])
    return ''.join(parts).strip()


def table(text):
    "A pandas table in HTML as a table in Markdown"
    rows = [re.findall(r'<t[hd][^>]*>(.*?)</t[hd]>', o, flags=re.S) for o in re.findall(r'<tr[^>]*>(.*?)</tr>', text, flags=re.S)]
    rows = [[html.unescape(o).replace('|', '\\|') or ' ' for o in row] for row in rows]
    lines = [rows[0], ['---'] + ['---:']*(len(rows[0])-1), *rows[1:]]
    return '\n'.join('| ' + ' | '.join(o) + ' |' for o in lines)


def shown(cell, output, pictures):
    "An output as Markdown; a picture is added to `pictures`, by file name"
    data = output.get('data', {})
    if 'image/png' in data:
        name = f'{cfg.nbs_path}/images/readme-{len(pictures)+1}.png'
        pictures[name] = base64.b64decode(''.join(data['image/png']))
        return f"![{cell.directives['fig-alt'].strip(chr(34))}]({name})"
    if 'text/markdown' in data: return prose(''.join(data['text/markdown']))
    if '<table' in ''.join(data.get('text/html', '')): return table(''.join(data['text/html']))
    text = ''.join(output.get('text', data.get('text/plain', ''))).rstrip()
    return f'```text\n{text}\n```' if text else ''


def readme(path=NBS/cfg.readme_nb):
    "The content of README.md and of its pictures, by path from the root"
    nb,parts,pictures = Nb(path),[],{}
    for c in nb.cells:
        if c.kind=='markdown': parts.append(prose(c.source))
        elif c.kind=='code' and not c.hidden:
            code = '' if c.directives.get('echo')=='false' else '\n'.join(c.body).strip()
            if code: parts.append(f'```python\n{code}\n```')
            parts += [shown(c, o, pictures) for o in c.outputs]
    head = f'<!-- Made from {cfg.nbs_path}/{nb.path.name} by tools/readme.py: edit the notebook. -->'
    return {README.name: ('\n\n'.join([head, *filter(None, parts)]) + '\n').encode(), **pictures}


def main():
    ap = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    ap.add_argument('--check', action='store_true', help='write nothing; exit 1 when README.md is out of date')
    args = ap.parse_args()
    for name,new in readme().items():
        path = ROOT/name
        if path.exists() and path.read_bytes()==new: continue
        if args.check: sys.exit(f'readme: {name} is not what {cfg.nbs_path}/{cfg.readme_nb} gives; run python tools/readme.py')
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(new)
        print(f'wrote {name}')


if __name__=='__main__': main()
