"""A real browser: the site, and notebooks in JupyterLab, as a reader uses them.

Needs the package playwright and a Chromium (Debian: `apt-get install chromium`; RECINC_BROWSER names another); no browser is
downloaded. Without them the tests are skipped and say so; with RECINC_BROWSER=1 they fail. axe-core comes from npm, as KaTeX does."""
import functools, http.server, json, os, re, shutil, subprocess, sys, threading, time
import pytest
from helpers import root

WANTED = os.environ.get('RECINC_BROWSER', '')
CHROMIUM = WANTED if '/' in WANTED else next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), None)


@pytest.fixture(scope='module')
def browser():
    lacks = "a browser: apt-get install chromium, or let RECINC_BROWSER name one" if CHROMIUM is None else None
    try: from playwright.sync_api import sync_playwright
    except ImportError: lacks = 'the package playwright: pip install playwright (no browser is downloaded)'
    if lacks: (pytest.fail if WANTED else pytest.skip)(f'no test in a browser without {lacks}')
    with sync_playwright() as p:
        made = p.chromium.launch(executable_path=CHROMIUM, args=['--no-sandbox', '--disable-dev-shm-usage'])
        yield made
        made.close()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args): pass

@pytest.fixture(scope='module')
def address(site):
    "The site on a server of its own, since a page of a file may not search"
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(Quiet, directory=site))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f'http://127.0.0.1:{server.server_port}'
    server.shutdown()


@pytest.fixture
def visit(browser, address):
    "Open a page of the site; at the end: no error in the console, nothing asked of another host"
    pages,wrong = [], []
    def open_page(name, width=1280, dark=False):
        page = browser.new_page(viewport=dict(width=width, height=900), color_scheme='dark' if dark else 'light')
        pages.append(page)
        page.on('console', lambda o: wrong.append(o.text) if o.type=='error' else None)
        page.on('pageerror', lambda o: wrong.append(str(o)))
        page.on('request', lambda o: wrong.append(o.url) if not o.url.startswith((address, 'data:')) else None)
        page.goto(f'{address}/{name}', wait_until='load')
        return page
    yield open_page
    for o in pages: o.close()
    assert not wrong, wrong


# ---- the site ----
def test_search_finds_a_chapter_and_the_keyboard_opens_it(visit):
    page = visit('index.html')
    page.keyboard.press('/')
    page.keyboard.type('rank one updates ridge')
    page.locator('a.search-result').first.wait_for()
    assert page.locator('a.search-result', has_text=re.compile('ridge', re.I)).count()
    page.keyboard.press('ArrowDown')
    page.keyboard.press('Enter')
    page.wait_for_url(re.compile(r'(?<!index)\.html'))


def luminance(page, selector):
    return page.locator(selector).first.evaluate("o => getComputedStyle(o).backgroundColor.match(/[\\d.]+/g).slice(0, 3).reduce((a, b) => a + +b, 0)/765")

def test_dark_mode_is_chosen_by_the_system_and_by_hand(visit):
    page = visit('mf_online.html', dark=True)
    assert luminance(page, 'body')<.3
    page.locator('.quarto-color-scheme-toggle').first.click()
    assert luminance(page, 'body')>.9
    page.reload()
    assert luminance(page, 'body')>.9, 'the choice is forgotten on the next page'


@pytest.mark.parametrize('name', ['index', 'mf_online', 'bert', 'baselines', 'api/mf_online'])
def test_a_phone_shows_a_page_without_sideways_scrolling(visit, name):
    page = visit(f'{name}.html', width=390)
    assert page.evaluate('document.documentElement.scrollWidth')<=390
    cut = page.evaluate("""[...document.querySelectorAll('main :is(p, li, h1, h2, td, summary)')].filter(o => {
        for (let p = o; p; p = p.parentElement) if (getComputedStyle(p).overflowX !== 'visible') return false;
        return o.getBoundingClientRect().right > 391 }).map(o => o.textContent.slice(0, 60))""")
    assert not cut, cut
    far = page.evaluate("""[...document.querySelectorAll('.katex-display .tag')].map(o => o.getBoundingClientRect()).filter(o => o.right > 391 || o.width == 0).length""")
    assert not far, f'{far} numbers of equations are out of sight'
    unreachable = page.evaluate("""[...document.querySelectorAll('main pre')].filter(o => o.clientWidth && o.scrollWidth > o.clientWidth + 1 && o.tabIndex < 0).length""")
    assert not unreachable, 'code that scrolls, but not with the keyboard'


def test_formulas_are_drawn(visit):
    page = visit('mf_online.html')
    page.locator('.katex-display').first.wait_for()
    assert page.locator('.katex').count()>50 and not page.locator('.katex-error').count()
    assert not page.evaluate("[...document.querySelectorAll('.math')].filter(o => !o.querySelector('.katex')).length")


def axe():
    "axe-core, fetched once into the user's cache by npm; None where it cannot be had"
    import build_docs
    return build_docs.fetch_npm('axe-core', '4.14.1', ['axe.min.js', 'LICENSE'])

@pytest.mark.parametrize('name,width,dark', [('index', 390, False), ('mf_online', 1280, False), ('bert', 1280, True), ('errata', 390, True), ('api/mf_online', 1280, False)])
def test_axe_finds_nothing_serious(visit, name, width, dark):
    if (home := axe()) is None: pytest.skip('axe-core is not to be had here: npm pack axe-core failed')
    page = visit(f'{name}.html', width, dark)
    page.wait_for_function("!document.querySelector('.math') || document.querySelector('.katex')")
    page.evaluate((home/'axe.min.js').read_text(encoding='utf-8'))
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']}).then(r => r.violations)")
    serious = [f"{o['id']}: {o['help']}: {[n['html'][:90] for n in o['nodes'][:3]]}" for o in found if o['impact'] in ('serious', 'critical')]
    assert not serious, '\n'.join(serious)


# ---- JupyterLab ----
KERNEL = dict(name='python3', display_name='python3', language='python')
SETTINGS = {'apputils-extension/notification': dict(fetchNews='false', checkForUpdates=False), 'notebook-extension/tracker': dict(windowingMode='none')}
CELLS = {'live': ['from recinc_nb.baselines import ItemItem, Popularity\nfrom recinc_nb.live import LiveSession, live_page\n'
                  'from recinc_nb.mf_online import IncrementalMF\nfrom recinc_nb.worlds import drift_stream',
                  'world = drift_stream(400, n_users=20, n_items=12, seed=1)\n'
                  'learners = dict(MF=IncrementalMF(lr=1.).partial_fit(world), popular=Popularity().partial_fit(world))\n'
                  'live_page(LiveSession(world, learners, k=4))']}

@pytest.fixture(scope='module')
def lab(tmp_path_factory):
    "JupyterLab on a copy of a chapter and a small live page, with settings of its own; its address"
    pytest.importorskip('jupyterlab')
    import nbformat
    home = tmp_path_factory.mktemp('lab')
    (home/'nbs').mkdir()
    chapter = nbformat.read(root/'nbs'/'01_plots.ipynb', as_version=4)
    chapter.cells = [c for c in chapter.cells if not c.source.startswith('#| eval: false')]   # an exercise fails until it is solved
    nbformat.write(chapter, home/'nbs'/'01_plots.ipynb')
    for name,cells in CELLS.items(): nbformat.write(nbformat.v4.new_notebook(metadata={'kernelspec': KERNEL}, cells=[nbformat.v4.new_code_cell(o) for o in cells]), home/'nbs'/f'{name}.ipynb')
    for name,said in SETTINGS.items():
        path = home/'settings'/'@jupyterlab'/f'{name}.jupyterlab-settings'
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(said))
    env = {k: v for k,v in os.environ.items() if k not in ('IN_TEST', 'CI', 'RECINC_UNATTENDED', 'MPLBACKEND') and not k.startswith(('JUPYTER', 'IPYTHON'))}
    env |= {'PYTHONPATH': str(root), 'JUPYTER_CONFIG_DIR': str(home/'config'), 'JUPYTER_DATA_DIR': str(home/'data'), 'JUPYTER_RUNTIME_DIR': str(home/'run'),
            'IPYTHONDIR': str(home/'ipython'), 'JUPYTERLAB_SETTINGS_DIR': str(home/'settings'), 'JUPYTERLAB_WORKSPACES_DIR': str(home/'workspaces')}
    with open(home/'log', 'w') as log:
        lab = subprocess.Popen([sys.executable, '-m', 'jupyterlab', '--no-browser', '--allow-root', '--port=0', f'--ServerApp.root_dir={home/"nbs"}',
            '--IdentityProvider.token=t', '--LabApp.news_url=None', '--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate'], env=env, stdout=log, stderr=log)
    try:
        for _ in range(300):
            if found := list((home/'run').glob('jpserver-*.json')): break
            assert lab.poll() is None, (home/'log').read_text()[-3000:]
            time.sleep(.1)
        yield json.loads(found[0].read_text())['url'].replace('localhost', '127.0.0.1')
    finally:
        lab.terminate()
        try: lab.wait(20)
        except subprocess.TimeoutExpired: lab.kill()


def run_all(browser, lab, name, until):
    "Open a notebook in a workspace of its own, run all its cells, wait for what the last one shows; what the page says if it never comes"
    page = browser.new_page(viewport=dict(width=1280, height=1000))
    page.goto(f'{lab}lab/workspaces/{name}/tree/{name}.ipynb?token=t')
    page.locator('.jp-Notebook .jp-CodeCell').first.wait_for(timeout=180_000)
    page.locator('#jp-main-statusbar', has_text=re.compile(r'Python 3 .*\| Idle')).wait_for(timeout=180_000)
    page.get_by_role('menuitem', name='Run', exact=True).click()
    page.get_by_role('menuitem', name='Run All Cells', exact=True).click()
    shown = page.locator(until).first
    try: shown.wait_for(timeout=180_000)   # beside other tests a chapter takes its time
    except Exception as e: raise AssertionError(f'{until} never came; the page says:\n{page.locator("body").inner_text()}\n{errors(page)}') from e
    return page, shown


def errors(page): return page.locator('.jp-OutputArea-output[data-mime-type="application/vnd.jupyter.error"], .jp-OutputArea-output[data-mime-type="application/vnd.jupyter.stderr"]').all_inner_texts()


def test_a_chapter_runs_in_jupyterlab_and_its_slider_draws_anew(browser, lab):
    page,slider = run_all(browser, lab, '01_plots', '.widget-slider .noUi-handle')
    picture = page.locator('.widget-output img').first
    picture.wait_for(timeout=30_000)
    before = picture.get_attribute('src')
    slider.focus()
    for _ in range(3): page.keyboard.press('ArrowRight')
    page.wait_for_function("was => { const o = document.querySelector('.widget-output img'); return o && o.src !== was }", arg=before, timeout=30_000)
    assert not errors(page)
    page.close()


def test_the_live_page_rates_undoes_answers_enter_and_speaks_plainly(browser, lab):
    page,said = run_all(browser, lab, 'live', 'p[role="status"]')
    title = page.get_by_placeholder('type some words of a title')
    page.locator('datalist option').first.wait_for(state='attached')
    films = page.locator('datalist option').evaluate_all('os => os.map(o => o.value)')
    assert len(films)==12 and 'Nothing is rated yet' in said.inner_text()
    def press(name): page.get_by_role('button', name=name, exact=True).click()
    title.fill(films[0])
    press('Rate')
    page.locator('p[role="status"]', has_text='1 rated').wait_for()
    title.fill(films[1])
    title.press('Enter')
    page.locator('p[role="status"]', has_text='2 rated').wait_for()
    assert films[1] in said.inner_text()
    press('Undo')
    page.locator('p[role="status"]', has_text='1 rated').wait_for()
    title.fill('no such film')
    title.press('Enter')
    alert = page.locator('[role="alert"]')
    alert.wait_for()
    assert "no film matches 'no such film'; type some words of its title" in alert.inner_text() and 'Traceback' not in alert.inner_text()
    press('Start over')
    page.locator('p[role="status"]', has_text='Nothing is rated yet').wait_for()
    assert not errors(page)
    page.close()
