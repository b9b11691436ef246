"""Devices and precisions, checkpoints that survive a kill, and recorded results."""
import ctypes, json, os, shutil, signal, subprocess, sys, tempfile, time
from pathlib import Path
import numpy as np, pytest, torch
import recinc_nb
from helpers import root
from recinc_nb import core
from recinc_nb.core import cache_dir, load_state, pick_device, results, save_state, scale, unattended

CARDS = {'Tesla P100': ((6, 0), 'fp32'), 'Tesla V100': ((7, 0), 'fp16'), 'Tesla T4': ((7, 5), 'fp16'),
         'NVIDIA A100': ((8, 0), 'bf16'), 'NVIDIA L4': ((8, 9), 'bf16'), 'NVIDIA H100': ((9, 0), 'bf16')}


@pytest.fixture
def machine(monkeypatch):
    "Pretend to be a machine with the given hardware; what it answers is PyTorch's, the decision is ours."
    monkeypatch.delenv('RECINC_DEVICE', raising=False)
    def pretend(card=None, mps=False):
        monkeypatch.setattr(torch.cuda, 'is_available', lambda: card is not None)
        monkeypatch.setattr(torch.cuda, 'device_count', lambda: int(card is not None))
        monkeypatch.setattr(torch.cuda, 'get_device_capability', lambda *a: CARDS[card][0])
        monkeypatch.setattr(torch.cuda, 'get_device_name', lambda *a: card)
        monkeypatch.setattr(torch.cuda, 'is_bf16_supported', lambda *a, **k: True) # what PyTorch says of a T4, too
        monkeypatch.setattr(torch.backends.mps, 'is_available', lambda: mps)
    return pretend


@pytest.mark.parametrize('card', CARDS)
def test_each_card_gets_the_precision_that_it_truly_has(machine, card):
    machine(card)
    d = pick_device()
    assert (d.kind, d.precision, d.name)==('cuda', CARDS[card][1], card)
    assert pick_device('cpu').precision=='fp32'


def test_mps_then_cpu_and_the_override(machine, monkeypatch):
    machine(mps=True)
    assert (pick_device().kind, pick_device().precision)==('mps', 'fp32')
    machine()
    assert pick_device().kind=='cpu'
    machine('Tesla T4')
    monkeypatch.setenv('RECINC_DEVICE', 'cpu')
    assert pick_device().kind=='cpu' and pick_device('cuda').kind=='cuda'


@pytest.mark.parametrize('name', ['gpu', 'cuda:7', 'cuda:x', '', 'CPU '])
def test_unknown_device_names(machine, name):
    machine('Tesla T4')
    with pytest.raises(ValueError, match='pick_device: device is .*; this machine has'): pick_device(name)
    machine()
    with pytest.raises(ValueError, match="'cuda'; this machine has cpu"): pick_device('cuda')


def test_cpu_autocast_runs_in_bf16_when_asked():
    from recinc_nb.core import Device
    a = torch.ones(4, 4)
    with Device('cpu', 'bf16').autocast(): assert (a@a).dtype==torch.bfloat16
    with Device('cpu').autocast(): assert (a@a).dtype==torch.float32


def test_switches(monkeypatch):
    assert unattended() and scale('full', 'test')=='test'
    for name in ('IN_TEST', 'CI', 'RECINC_UNATTENDED', 'RECINC_SCALE'): monkeypatch.delenv(name, raising=False)
    assert not unattended() and scale('full', 'test')=='full'


# checkpoints

def _save(folder, x): save_state(folder, {'class': 'Toy', 'x': x}, {'x': np.full(10_000, float(x))}, {'notes.txt': b'n'*x})

def test_a_crash_at_any_step_leaves_the_old_state(tmp_path, monkeypatch):
    "The replace of every single file is made to fail in turn; the old state must load each time."
    _save(tmp_path, 1)
    real,calls = os.replace,[]
    for fail_at in range(3):
        calls.clear()
        def replace(a, b):
            calls.append(b)
            if len(calls)==fail_at+1: raise OSError('disk full')
            real(a, b)
        monkeypatch.setattr(os, 'replace', replace)
        with pytest.raises(OSError, match='disk full'): _save(tmp_path, 2)
        monkeypatch.setattr(os, 'replace', real)
        config,arrays,files = load_state(tmp_path, 'Toy')
        assert config['x']==1 and (arrays['x']==1).all() and files['notes.txt']==b'n'
    _save(tmp_path, 2)
    assert load_state(tmp_path, 'Toy')[0]['x']==2 and len(os.listdir(tmp_path))==3 # config, state, notes: nothing is left over


def test_a_killed_process_leaves_a_whole_state(tmp_path):
    "A child saves again and again and is killed without warning."
    code = f"import sys; sys.path.insert(0, {os.path.dirname(__file__)!r})\nfrom test_core import _save\nx = 0\nwhile True:\n    x += 1\n    _save({str(tmp_path)!r}, x)\n    print(x, flush=True)"
    for n in range(4):
        p = subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE, text=True)
        for _ in range(3 + n): p.stdout.readline()
        time.sleep(.003*n)
        p.send_signal(signal.SIGKILL)
        p.wait()
        config,arrays,files = load_state(tmp_path, 'Toy')
        assert (arrays['x']==config['x']).all() and len(files['notes.txt'])==config['x'] >= 3


def test_damaged_checkpoints(tmp_path):
    with pytest.raises(FileNotFoundError, match='no config.json'): load_state(tmp_path, 'Toy')
    _save(tmp_path, 1)
    with pytest.raises(FileExistsError, match='holds Toy'): save_state(tmp_path, {'class': 'Other'}, {})
    state = next(tmp_path.glob('state-*'))
    good = state.read_bytes()
    state.write_bytes(good[:100])
    with pytest.raises(ValueError, match='is damaged'): load_state(tmp_path, 'Toy')
    state.unlink()
    with pytest.raises(FileNotFoundError, match='is missing'): load_state(tmp_path, 'Toy')
    for text in ('{"class": "Toy", "fi', '[]'):
        (tmp_path/'config.json').write_text(text)
        with pytest.raises(ValueError, match='from_pretrained'): load_state(tmp_path, 'Toy')
    (tmp_path/'config.json').write_text(json.dumps({'class': 'Toy', 'files': {'state.safetensors': {'file': '../../etc/passwd', 'sha256': ''}}}))
    with pytest.raises(FileNotFoundError, match='is missing'): load_state(tmp_path, 'Toy') # names never lead out of the folder


def test_a_checkpoint_says_who_wrote_it(tmp_path):
    _save(tmp_path, 1)
    path,config = tmp_path/'config.json',json.loads((tmp_path/'config.json').read_text())
    assert (config['version'], config['format'])==(recinc_nb.__version__, 1)
    for name in ('version', 'format'):
        path.write_text(json.dumps({k: v for k,v in config.items() if k!=name}))
        assert load_state(tmp_path, 'Toy')[0]['x']==1
    path.write_text(json.dumps({**config, 'version': '9.9', 'format': 2}))
    why = r"Toy.from_pretrained: .* was written by recinc_nb 9.9 \(format 2\); this is .* \(format 1\): upgrade recinc_nb"
    with pytest.raises(ValueError, match=why): load_state(tmp_path, 'Toy')
    with pytest.raises(FileExistsError, match='unreadable'): _save(tmp_path, 2) # a later version's checkpoint is not written over
    path.write_text(json.dumps({**config, 'format': '1'}))
    with pytest.raises(ValueError, match="has the format '1'"): load_state(tmp_path, 'Toy')


@pytest.mark.parametrize('make', [str, Path])
@pytest.mark.parametrize('name', ['plain', 'with spaces', 'Ünïcödé 模型 🎬', 'n'*200, 'a/b/c'])
def test_names_of_folders(tmp_path, name, make):
    folder = make(tmp_path/name)
    for x in (1, 2): _save(folder, x)
    assert load_state(folder, 'Toy')[0]['x']==2


@pytest.mark.parametrize('make', [str, Path])
def test_a_file_is_no_folder(tmp_path, make):
    (tmp_path/'file').write_text('mine')
    for name in ('file', 'file/in it', 'file/in it/deeper'):
        with pytest.raises(NotADirectoryError, match='Toy.save_pretrained: .*file is a file; choose a folder'): _save(make(tmp_path/name), 1)
    with pytest.raises(NotADirectoryError, match='Toy.from_pretrained: .*file is a file; name the folder'): load_state(make(tmp_path/'file'), 'Toy')
    with pytest.raises(FileNotFoundError, match='Toy.from_pretrained: .* has no config.json'): load_state(make(tmp_path/'file'/'in it'), 'Toy')
    assert (tmp_path/'file').read_text()=='mine'


# an installation and a home that cannot be written

LOCKED = """
import os, sys, importlib, pathlib
here = pathlib.Path(sys.argv[1])
if sys.argv[2]=='numba first': import numba
import recinc_nb
assert pathlib.Path(recinc_nb.__file__).is_relative_to(here), recinc_nb.__file__
for o in sorted((here/'recinc_nb').glob('*.py')):
    if o.stem not in ('__init__', '_modidx'): importlib.import_module(f'recinc_nb.{o.stem}')
from recinc_nb import BPRMF, BiasBaseline, GaussianMF, IncrementalMF, ItemItem, MFStrategy, prequential, drift_stream
s = drift_stream(300, seed=0)
for cls in (BiasBaseline, ItemItem, IncrementalMF, MFStrategy, GaussianMF, BPRMF): cls().partial_fit(s)
from recinc_nb.core import cache_dir
print(os.environ.get('NUMBA_CACHE_DIR', ''), cache_dir(), sep='|')
"""


def _obey_permissions():
    "Permissions bind root too, once it has given up the capabilities to override them (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH; PR_CAPBSET_DROP)."
    for capability in (1, 2): ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)


def _locked_out(tmp, *args, code=LOCKED, **env):
    "Run Python on a copy of the package, as a user who may not write to it and whose home cannot be made; what it printed."
    env = {'PATH': os.environ['PATH'], 'IN_TEST': '1', 'HOME': '/dev/null/home', 'TMPDIR': str(tmp/'temp'), 'PYTHONPATH': str(tmp), 'HF_HUB_OFFLINE': '1', **env}
    run = lambda code: subprocess.run([sys.executable, '-c', code, str(tmp), *args], env=env, cwd='/', capture_output=True, text=True,
                                      preexec_fn=_obey_permissions if os.getuid()==0 else None)
    if run("import sys; open(sys.argv[1] + '/recinc_nb/new', 'w')").returncode==0: pytest.skip('permissions are not obeyed here')
    out = run(code)
    assert out.returncode==0, out.stderr[-3000:]
    return out.stdout.strip().splitlines()[-1].split('|')


@pytest.fixture
def locked(tmp_path):
    if sys.platform!='linux': pytest.skip('permissions of Linux')
    tmp = tmp_path/'locked'
    shutil.copytree(root/'recinc_nb', tmp/'recinc_nb', ignore=shutil.ignore_patterns('__pycache__'))
    (tmp/'temp').mkdir()
    for o in (tmp/'recinc_nb'/'results', tmp/'recinc_nb', tmp): o.chmod(0o555)
    yield tmp
    for o in (tmp/'recinc_nb'/'results', tmp/'recinc_nb', tmp): o.chmod(0o755)


@pytest.mark.parametrize('first', ['package first', 'numba first'])
def test_learners_work_where_package_and_home_cannot_be_written(locked, first):
    folder,_ = _locked_out(locked, first)
    assert Path(folder).parent.parent==locked/'temp' and [*Path(folder).rglob('*.nbc')] # compiled code is kept, so the next start is fast
    assert _locked_out(locked, first)[0]==folder
    mode = Path(folder).parent.stat().st_mode
    assert not mode & 0o022 # nobody else can put code there


def test_the_cache_is_preferred_and_a_choice_of_ones_own_stays(locked):
    few = "import sys, os; import recinc_nb.mf_online; from recinc_nb.core import cache_dir; print(os.environ['NUMBA_CACHE_DIR'], cache_dir(), sep='|')"
    assert _locked_out(locked, code=few, RECINC_CACHE=str(locked/'temp'/'cache'))==[str(locked/'temp'/'cache'/'numba'), str(locked/'temp'/'cache')]
    assert _locked_out(locked, code=few, NUMBA_CACHE_DIR=str(locked/'temp'/'mine'))[0]==str(locked/'temp'/'mine')


def test_an_account_without_a_home_has_a_cache(monkeypatch, tmp_path):
    def none(): raise RuntimeError('Could not determine home directory.')
    monkeypatch.setattr(Path, 'home', none)
    monkeypatch.delenv('RECINC_CACHE', raising=False)
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path))
    assert cache_dir().parent==tmp_path and cache_dir()==cache_dir()


def test_a_folder_that_others_can_write_is_not_used_for_code(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path))
    mine = core._own_temp()
    mine.chmod(0o777)
    assert core._own_temp()!=mine and not core._own_temp().stat().st_mode & 0o077
    mine.rmdir()
    mine.symlink_to(tmp_path)
    assert core._own_temp()!=mine


def test_beside_the_package_is_left_alone():
    "Where the package can be written, nothing is changed, and numba is not loaded."
    code = "import os, sys, recinc_nb.core; assert 'NUMBA_CACHE_DIR' not in os.environ and 'numba' not in sys.modules"
    env = {k: v for k,v in os.environ.items() if k!='NUMBA_CACHE_DIR'} | {'PYTHONPATH': str(root)}
    subprocess.run([sys.executable, '-c', code], env=env, check=True)


def test_results_name_what_is_there():
    assert 'best' in results('tuning_ids')
    with pytest.raises(FileNotFoundError, match='tuning_ids'): results('none_such')
