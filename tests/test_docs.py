"""The site builds, with no broken link and no picture without words; outputs are the same when made twice."""
import shutil
from helpers import python, root


def test_the_site_builds_whole(tmp_path):
    out = tmp_path/'site'
    python('tools/build_docs.py', '--out', out, cwd=root) # fails on a broken link or an image without alt text
    pages = {p.name for p in out.glob('*.html')}
    assert {'index.html', 'mf_online.html', 'bert_online.html', 'demo.html'} <= pages
    text = (out/'mf_online.html').read_text()
    assert 'site_libs/katex' in text and 'cdn.jsdelivr.net' not in text or shutil.which('npm') is None


def test_outputs_twice_are_the_same_bytes(tmp_path):
    "Two chapters with figures, tables and learners, each run twice from a fresh kernel; `make outputs` does the same for all."
    import run_nbs
    for name in ('01_plots', '13_baselines'):
        made = []
        for n in range(2):
            path = tmp_path/str(n)/f'{name}.ipynb'
            path.parent.mkdir(exist_ok=True)
            shutil.copy(root/'nbs'/f'{name}.ipynb', path)
            assert run_nbs.run(path, write=True)==''
            made.append(path.read_bytes())
        assert made[0]==made[1]
