"""Tests run unattended and at test scale, in this process and in every one that it starts. One profile for all that hypothesis
draws: no deadline on a shared machine; in CI the same examples each time, so that a red run is about the change; elsewhere new ones."""
import os, sys
from pathlib import Path
import pytest
from hypothesis import settings

root = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(root/'tools'))
os.environ.update(IN_TEST='1', RECINC_SCALE='test', MPLBACKEND='Agg', HF_HUB_OFFLINE='1', PYTHONPATH='')
if 'PYTEST_XDIST_WORKER' in os.environ: os.environ.setdefault('OMP_NUM_THREADS', '1') # workers share the cores

settings.register_profile('book', deadline=None, derandomize='CI' in os.environ)
settings.load_profile('book')


@pytest.fixture(scope='session')
def site(tmp_path_factory):
    "The site, built once for all tests and workers; a folder"
    from filelock import FileLock
    from helpers import python
    base = tmp_path_factory.getbasetemp()
    base = base.parent if 'PYTEST_XDIST_WORKER' in os.environ else base
    out = base/'site'
    with FileLock(f'{out}.lock'):
        if not (out/'llms.txt').exists(): python('tools/build_docs.py', '--out', out, cwd=root)   # fails on a broken link or an image without alt text
    return out


@pytest.fixture
def one_thread():
    "Sums over threads depend on their number; promises to the last bit are made for the same number."
    import torch
    n = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n)
