"""Write README.md from nbs/index.ipynb, without Quarto.

Call `python tools/readme.py`; `--check` writes nothing and exits 1 when README.md is not what the index gives. Markdown
cells stay as they are, code is fenced, outputs follow as text or Markdown; hidden cells are left out. Links to notebooks
become links to their pages, links to other files are made relative to the repository. From Python: `readme() -> str`."""
import argparse, os, re, sys
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


def shown(nb, cell, output):
    "An output as Markdown"
    data = output.get('data', {})
    if any(o.startswith('image/') for o in data):
        sys.exit(f'readme: {nb.where(cell)} stores a picture; save it under {cfg.nbs_path}/images and show it in a markdown cell')
    if 'text/markdown' in data: return prose(''.join(data['text/markdown']))
    text = ''.join(output.get('text', data.get('text/plain', ''))).rstrip()
    return f'```text\n{text}\n```' if text else ''


def readme(path=NBS/cfg.readme_nb):
    "The text of README.md"
    nb,parts = Nb(path), []
    for c in nb.cells:
        if c.kind=='markdown': parts.append(prose(c.source))
        elif c.kind=='code' and not c.hidden:
            code = '\n'.join(c.body).strip()
            if code: parts.append(f'```python\n{code}\n```')
            parts += [shown(nb, c, o) for o in c.outputs]
    return f'<!-- Made from {cfg.nbs_path}/{nb.path.name} by tools/readme.py: edit the notebook. -->\n\n' + '\n\n'.join(filter(None, parts)) + '\n'


def main():
    ap = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    ap.add_argument('--check', action='store_true', help='write nothing; exit 1 when README.md is out of date')
    args = ap.parse_args()
    new = readme()
    if README.exists() and README.read_text(encoding='utf-8')==new: return
    if args.check: sys.exit(f'readme: README.md is not what {cfg.nbs_path}/{cfg.readme_nb} gives; run python tools/readme.py')
    README.write_text(new, encoding='utf-8')
    print('wrote README.md')


if __name__=='__main__': main()
