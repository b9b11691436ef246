"""Devices and precisions, checkpoints that survive a kill, and recorded results."""
import json, os, signal, subprocess, sys, time
import numpy as np, pytest, torch
from recinc_nb.core import load_state, pick_device, results, save_state, scale, unattended

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


def test_results_name_what_is_there():
    assert 'best' in results('tuning_ids')
    with pytest.raises(FileNotFoundError, match='tuning_ids'): results('none_such')
