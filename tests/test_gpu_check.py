"""The GPU's check: it runs where there is no GPU and says so, and a card that is pretended finds mixes of devices and memory that stays."""
import json, subprocess, sys
from pathlib import Path
import numpy as np, pytest, torch
from helpers import root
import fake_card, gpu_check
from recinc_nb.click import ClickBert

KNOWN = set()


@pytest.fixture
def ask(tmp_path, monkeypatch):
    "Ask a pretended card some checks, in this process: exit code, and the record."
    for o in ('RECINC_DEVICE', 'HF_HUB_OFFLINE', 'IN_TEST'): monkeypatch.setenv(o, '1' if o!='RECINC_DEVICE' else 'auto')
    def run(*only, args=('--pretend',)):
        code = gpu_check.main([*args, '--checkpoint', 'tiny', '--out', str(tmp_path/'gpu.json'), '--only', *only])
        record = json.loads((tmp_path/'gpu.json').read_text())
        return code,record,{o['name']: o for o in record['checks']}
    return run


def test_on_a_cpu_it_answers_and_says_what_it_did_not_see(tmp_path):
    done = subprocess.run([sys.executable, root/'tools'/'gpu_check.py', '--device', 'cpu', '--checkpoint', 'tiny', '--out', tmp_path/'o'/'gpu.json'],
                          capture_output=True, text=True, cwd=tmp_path)
    record = json.loads((tmp_path/'o'/'gpu.json').read_text())
    checks = {o['name']: o for o in record['checks']}
    failed = {n for n,o in checks.items() if o['outcome']=='failed'}
    assert failed <= KNOWN and done.returncode==int(bool(failed)), done.stdout+done.stderr
    assert len(checks)==len(gpu_check.CHECKS) and record['machine']['versions']['torch']==torch.__version__ and not record['pretended']
    skipped = {n for n,o in checks.items() if o['outcome']=='skipped'}
    assert skipped=={n for n,_,_,card,_ in gpu_check.CHECKS if card} and all(any(u.startswith(f'{n}: ') for u in record['unseen']) for n in skipped)
    assert {'memory', 'speed', 'chapter 42_bert'} <= skipped and any(u.startswith('CUDA') for u in record['unseen'])
    assert all(o['figures'] and o['seconds']>=0 for o in checks.values() if o['outcome']=='ok')
    assert checks['fp16']['figures']['all']['scale']>1 and checks['save and resume']['figures']['fp32']['device']==0
    text = json.dumps(record) # a record names no folder
    assert not [o for o in (root, Path.home(), tmp_path) if str(o) in text] and len(list((tmp_path/'o').iterdir()))==1


def test_a_mix_of_devices_is_found_and_stops_no_other_check(ask, monkeypatch):
    code,record,checks = ask('stores', 'texts without')
    assert code==0 and [o['outcome'] for o in record['checks']]==['ok', 'ok'] and record['pretended'] and 'real card' in ' '.join(record['unseen'])
    monkeypatch.setattr(ClickBert, '_there', lambda self, batch: batch) # planted: inputs stay on the host
    code,record,checks = ask('stores', 'vectors of', 'texts without')
    assert code==1 and checks['stores']['outcome']==checks['texts without ids']['outcome']=='failed' and checks['vectors of items']['outcome']=='ok'
    assert 'at least two devices' in checks['stores']['traceback'][-1] and not any('/' in o.partition(' in ')[0] for o in checks['stores']['traceback'])


def test_every_policy_and_an_overflow_on_a_pretended_card(ask):
    code,_,checks = ask('fp32 as', 'fp16, an')
    assert code==0 and checks['fp32 as on the CPU']['figures'].keys() >= {'all', 'norms', 'top-1', 'head', 'LoRA'}
    seen = checks['fp16, an overflow']['figures']
    assert seen['encoder_moved'] and seen['head_moved'] and seen['steps_counted']==1 and seen['scale']<2.**32 # all of the step, with a smaller scale


def test_memory_that_stays_is_found(ask, monkeypatch):
    monkeypatch.setattr(gpu_check.Run, 'policies', lambda self: dict.fromkeys(('all', 'top-1', 'head', 'LoRA, proximal'), 'head'))
    code,_,checks = ask('memory')
    assert code==0 and checks['memory']['figures']['head, fp16']['grown']==0 and checks['memory']['figures']['head, fp16']['held_mib']>0
    kept,logits = [],ClickBert._logits
    def keeps(self, examples):
        z,rows = logits(self, examples)
        kept.append(z)
        return z,rows
    monkeypatch.setattr(ClickBert, '_logits', keeps)
    code,_,checks = ask('memory')
    assert code==1 and 'bytes more after' in checks['memory']['traceback'][-1]


def test_what_does_not_fit_or_is_not_installed_is_named_as_unseen(ask, monkeypatch):
    code,record,checks = ask('fp16', args=('--pretend', '--minutes', '0'))
    assert code==0 and {o['outcome'] for o in checks.values()}=={'skipped'} and any('give --minutes more' in o for o in record['unseen'])
    def without(*gone): monkeypatch.setattr(gpu_check, 'lacking', lambda names: [o for o in names if o in gone])
    without('peft', 'safetensors')
    code,record,checks = ask('peft', 'stores', 'conflicts')
    assert code==0 and record['missing']==['safetensors'] and checks['adapters as in peft']['why']=='not installed: safetensors, peft'
    assert [checks[o]['outcome'] for o in ('stores', 'batches without conflicts')]==['skipped', 'ok'] and record['checkpoint']=='no BERT'
    without('numba')
    code,record,checks = ask('stores')
    assert code==2 and not checks and len(record['unseen'])==len(gpu_check.CHECKS) and all('not installed: numba' in o for o in record['unseen'])


def test_a_pretended_card_refuses_what_a_card_refuses():
    with fake_card.plugged('bf16') as card:
        x = torch.ones(3, 4).to('cuda')
        assert (x.device.type, x.is_cuda, (2*x).device, x.new_tensor([1.]).is_cuda, x.sum().item())==('cuda', True, torch.device('cuda', 0), True, 12.)
        assert torch.zeros(2, device='cuda').is_cuda and not torch.zeros(2).is_cuda and torch.nn.Linear(4, 2).to('cuda')(x).is_cuda
        for bad in (lambda: x @ torch.ones(4), lambda: torch.ones(3, 4)[x[:,0].long()], lambda: x.index_add(0, torch.tensor([0]), x[:1]), lambda: torch.cat([x, x.cpu()])):
            with pytest.raises(RuntimeError, match='same device'): bad()
        for bad in (x.numpy, lambda: np.asarray(x)):
            with pytest.raises(TypeError, match='numpy'): bad()
        assert x[torch.tensor([0, 2])].is_cuda and (x + torch.tensor(1.)).is_cuda and x.cpu().numpy().shape==(3, 4) # an index and a scalar may stay
        held = torch.cuda.memory_allocated()
        y = torch.ones(1000, device='cuda')
        assert torch.cuda.memory_allocated()==held+4000 and card.count['kernels']>0
        del y
        assert torch.cuda.memory_allocated()==held
        with torch.autocast('cuda', dtype=torch.bfloat16): assert (x @ x.T).dtype==torch.bfloat16
    assert not torch.cuda.is_available() and torch.ones(1).device.type=='cpu'
