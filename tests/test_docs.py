"""The site builds, with no broken link and no picture without words; outputs are the same when made twice."""
import json, re, shutil
import pytest
from helpers import root
from recinc_nb import results


def test_the_site_builds_whole(site):
    pages = {p.name for p in site.glob('*.html')}
    assert {'index.html', 'mf_online.html', 'bert_online.html', 'demo.html'} <= pages
    text = (site/'mf_online.html').read_text()
    assert 'site_libs/katex' in text and 'cdn.jsdelivr.net' not in text or shutil.which('npm') is None
    api = (site/'api'/'mf_online.html').read_text()
    assert 'id="IncrementalMF"' in api and 'Standard deviation of a new row' in api and 'id="IncrementalMF.sweep"' not in api   # its base calls it, no reader
    pages = re.findall(r'/(\w+)\.llms\.md\)', (site/'llms.txt').read_text())
    assert pages[0]=='index' and pages.index('streams')<pages.index('bert')<pages.index('core')


def test_the_sidebar_is_the_index_and_next_leads_to_the_streams(site):
    text = (site/'index.html').read_text()
    side = re.findall(r'<span class="menu-text">([^<]+)</span>', text)
    assert side[:4]==['Start here', 'Streams and yardsticks', '10 streams', '10a a made-up world'] and not any('olution' in o for o in side)
    assert side.index('48 blocks')<side.index('Appendix: tools')<side.index('00 core')<side.index('Reference')<side.index('82 errata')<side.index('Modules')
    assert 'href="streams.html" class="pagination-link"' in text


def test_checks_that_show_nothing_and_private_code_are_folded():
    import build_docs
    from lint_nbs import Nb
    nb = Nb(root/'nbs'/'33_mf_als.ipynb')
    said = {c.id: c.source for c in nb.cells}
    kinds = build_docs.side_cells(nb)
    assert {*kinds.values()}=={'imports', 'checks', 'figure'} and not any(re.match(r'#\| export|def ', said[o]) for o in kinds)
    for kind,has in (('imports', 'import '), ('checks', r'assert|test_'), ('figure', r'fig-cap')):
        assert all(re.search(has, said[o]) for o,k in kinds.items() if k==kind)
    nb = Nb(root/'nbs'/'31_mf_online.ipynb')
    shown = build_docs.with_private([dict(id=nb.cells[0].id, cell_type='markdown', source='')], nb)
    private = [o['source'] for o in shown if 'mf_online, private' in o['source']]
    assert len(private)==len([c for c in nb.code if 'exporti' in c.directives]) and all('#| exporti' not in o for o in private)
    imports = [o['source'] for o in shown if 'code-summary: "imports"' in o['source']]
    assert imports and all('import numpy' in o and '#| export' not in o for o in imports[:1])


def test_the_source_is_open_in_the_lesson_and_folded_in_the_plumbing():
    import build_docs
    code = lambda n: dict(id=str(n), cell_type='code', source=build_docs.EXPORTED + f'x{n} = {n}', outputs=[])
    head = lambda n, words: dict(id=str(n), cell_type='markdown', source=f'## {words}')
    cells = [code(1), head(2, 'The learner, as exported'), code(3), head(4, 'Check'), code(5)]
    made = build_docs.tidy_docs(cells, 'base')
    assert [re.search('code-fold: (\\w+)', o['source'])[1] for o in made if o['cell_type']=='code']==['show', 'true', 'show']


@pytest.mark.parametrize('wrong,says', [(r'<p>so $\alpha is</p>', 'left as text'), ('<img src="a.png">', 'alt text'), ('<script src="https://cdn.org/a.js"></script>', 'another host'),
    ('<a href="gone.html">x</a>', 'leads nowhere'), ('<p>' + 'x'*1_600_000 + '</p>', '1.6 MB')])
def test_a_broken_page_fails_the_build(tmp_path, wrong, says):
    import build_docs
    (tmp_path/'a.html').write_text(f'<html><body>{wrong}</body></html>')
    assert any(says in o for o in build_docs.check_site(tmp_path)), build_docs.check_site(tmp_path)
    (tmp_path/'a.html').write_text(r'<html><body><code>$\alpha$</code> 5 $ <a href="https://else.org">x</a></body></html>')
    assert not build_docs.check_site(tmp_path)


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


def test_each_remedy_is_explained_before_it_is_measured():
    "Chapter 57 uses them by name: a line for each, with a link to its chapter, stands before the record is read."
    cells = [''.join(o['source']) for o in json.loads((root/'nbs'/'57_remedies.ipynb').read_text())['cells']]
    before = '\n'.join(cells[:next(n for n,o in enumerate(cells) if "results('remedies')" in o)]).splitlines()
    names = {o['remedy'] for o in results('remedies')['table']['rows']} - {'naive', 'stops after A', 'put back (oracle)'}
    assert len(names)==10
    for o in names: assert any(f'**{o}** ([5' in line and '.ipynb)' in line for line in before), f'{o} is not explained at the start'
