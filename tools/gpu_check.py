"""Ask a GPU: every path of the library that a card takes, and chapters 35, 42 to 44 and 48 on it, in one command of under six minutes.

    python tools/gpu_check.py                          # on a machine with CUDA; writes out/gpu.json
    python tools/gpu_check.py --checkpoint FOLDER      # with the weights in FOLDER; without, MiniLM where it is, or the tiny BERT
    python tools/gpu_check.py --pretend                # a card that is not there (fake_card.py): mixes of devices are found on any machine

It needs torch, transformers, numpy, pandas, numba, scikit-learn and the wheel, or the checkout on PYTHONPATH; no network. The record says
of each check: ok, failed (and where) or skipped (and why), seconds and figures; `unseen` lists what this run cannot speak for. A check
that fails stops no other; the exit code is then 1, and 2 where nothing could be asked. On a CPU it runs, too, and says how much less it saw."""
import argparse, copy, gc, importlib.util, json, os, platform, subprocess, sys, tempfile, time, traceback, warnings
from contextlib import nullcontext, redirect_stdout
from pathlib import Path

here = Path(__file__).resolve().parent
RUN_TIME = 'torch transformers tokenizers safetensors huggingface_hub numpy pandas scipy sklearn numba tqdm fastcore'.split()
BERT = RUN_TIME
IDS = 'torch numpy pandas scipy sklearn numba tqdm fastcore'.split()
CHAPTERS = '35_mf_speed', '42_bert', '42a_click', '42c_step', '43_bert_online', '44_lora', '47_live', '48_blocks'
NEEDED = 'matplotlib', 'IPython', 'PIL' # by chapters, beside what the library needs

CHECKS = [] # name, seconds on a card, packages, whether only a card can answer, function


class Unseen(Exception):
    "What a check cannot see here, in words."


def check(name, seconds, needs=BERT, card=False):
    "Add a check: a function from a `Run` to figures; it raises what is wrong."
    def add(f):
        CHECKS.append((name, seconds, needs, card, f))
        return f
    return add


class Run:
    "Where the checks run, and what they share."
    def __init__(self, device='auto', checkpoint='auto', minutes=6., pretend=False):
        from recinc_nb.core import Device, pick_device
        from recinc_nb.text import find_checkpoint
        from recinc_nb.worlds import drift_stream
        self.start,self.budget,self.pretend,self.unseen = time.perf_counter(),60*minutes,pretend,[]
        self.best = pick_device(device)
        self.device,self.card = str(self.best),self.best.kind.startswith('cuda')
        self.fast = self.best.precision if self.best.precision!='fp32' else 'bf16' # a second format, also where fp32 is the best
        self.checkpoint = None if lacking(BERT) else find_checkpoint(checkpoint)
        self.Device,self.world = Device,drift_stream(600, n_users=12, n_items=40, seed=1)
        self.batches = list(self.world.batches(16))

    def left(self): return self.budget - (time.perf_counter()-self.start)
    def at(self, precision='fp32'): return self.Device(self.device, precision, self.best.name)

    def learner(self, precision='fp32', device=None, **kw):
        "A learner whose head reads the items' vectors from the start: a new one does not, and 0 is the same in every format."
        import torch
        from recinc_nb.bert_online import IncrementalBert
        m = IncrementalBert(self.checkpoint, device=device or self.at(precision), items=self.world, **kw)
        w = m.model.classifier.weight
        loud = .3 if self.checkpoint.real else 3. # steep heads overflow in fp16 at the first step
        with torch.no_grad(): w += loud*torch.arange(w.numel(), device=w.device).sin().view(w.shape)
        return m

    def policies(self):
        from recinc_nb.lora import LoRA, TwinLoRA
        return {'all': 'all', 'layers': 'layers', 'norms': 'norms', 'top-1': 'top-1', 'head': 'head',
                'LoRA': LoRA(r=4), 'LoRA, proximal': LoRA(r=4, prox=.1, every=2), 'two LoRAs': TwinLoRA(r=2)}

    def wait(self):
        import torch
        if self.card: torch.cuda.synchronize()

    def timed(self, f, times=1):
        "Seconds per call, waiting for the card."
        self.wait()
        start = time.perf_counter()
        for _ in range(times): f()
        self.wait()
        return (time.perf_counter()-start)/times


def follow(model, batches):
    "Predict, then learn; what was predicted."
    import numpy as np
    out = []
    for b in batches:
        out.append(model.predict(b))
        model.partial_fit(b)
    return np.concatenate(out)


def gap(a, b):
    import numpy as np
    a,b = np.asarray(a, dtype=np.float64),np.asarray(b, dtype=np.float64)
    assert a.shape==b.shape and np.isfinite(a).all() and np.isfinite(b).all(), f'{a.shape} and {b.shape}, or a number that is none'
    return float(abs(a-b).max(initial=0.))


def within(most, **gaps):
    for name,x in gaps.items(): assert x<=most, f'{name}: {x:.3g} is more than {most:g}'
    return gaps


def is_there(run, tensors):
    "All of these live where the run does."
    import torch
    wrong = {n: str(t.device) for n,t in tensors.items() if t.device.type!=torch.device(run.device).type}
    assert not wrong, f'not on {run.device}: {wrong}'


def params(model): return {n: p.detach().clone() for n,p in model.model.named_parameters()}


@check('device', 5)
def device(run):
    "Names that are understood, and products in each format."
    import torch
    from recinc_nb.core import pick_device
    out = {}
    for name in ('auto', run.device, *([f'{run.device}:0'] if run.device=='cuda' else [])):
        d = pick_device(name)
        m = run.learner(device=d, update='top-1')
        p = follow(m, run.batches[:1])
        is_there(run, dict(m.model.named_parameters()))
        out[name] = dict(kind=d.kind, precision=d.precision, finite=bool((p==p).all()))
    for o in ('fp32', 'fp16', 'bf16'):
        x = torch.linspace(-1, 1, 64, device=run.device).view(8, 8)
        with run.at(o).autocast(): y = x @ x
        out[o] = dict(dtype=str(y.dtype), gap=within(.05, product=gap(y.float().cpu(), x.cpu() @ x.cpu()))['product'])
    return out


@check('fp32 as on the CPU', 40)
def same_numbers(run):
    "Every policy: the same predictions on the device as on the CPU, before each of four steps."
    out = {}
    for name,update in run.policies().items():
        a,b = (follow(run.learner(device=d, update=update), run.batches[:4]) for d in (run.at(), run.Device('cpu')))
        out[name] = dict(first=gap(a[:16], b[:16]), all=gap(a, b))
        within(1e-4, **{f'{name}, nothing learned': out[name]['first']})
        within(5e-3, **{f'{name}, after three steps': out[name]['all']})
    return out


@check('texts without ids', 5)
def own_texts(run):
    "`ClickBert` on pairs of texts, with weights and offsets."
    import numpy as np, pandas as pd
    from recinc_nb.click import ClickBert
    table = pd.DataFrame(dict(text=['Alien', '', 'Big']*4, text_pair=['Brazil', 'Big', 'Alien']*4, label=[1, 0, 1]*4, offset=np.linspace(-1, 1, 12)))
    def learn(device):
        m = ClickBert(run.checkpoint, offset='offset', device=device)
        m.partial_fit(table, sample_weight=np.linspace(0, 2, 12))
        assert set(m.gradients(dict(text=['a'], text_pair=['b'], offset=[0.]), np.ones(1)))==set(m.params())
        return np.r_[m.predict(table), m.predict(['Alien', 'Ran'] if m.offset is None else table.head(2))]
    return within(5e-3, far=gap(learn(run.at()), learn(run.Device('cpu'))))


def in_half(run, precision, most):
    import torch
    out = {}
    for name,update in {o: run.policies()[o] for o in ('all', 'top-1', 'head', 'LoRA, proximal')}.items():
        m,full = (run.learner(o, update=update) for o in (precision, 'fp32'))
        a,b = follow(m, run.batches[:6]),follow(full, run.batches[:6])
        assert {t.dtype for t in m.model.state_dict().values() if t.is_floating_point()}=={torch.float32}, 'weights are no longer fp32'
        out[name] = dict(first=gap(a[:16], b[:16]), all=gap(a, b), scale=m.scaler_.get_scale() if m.scaler_.is_enabled() else None)
        within(most, **{f'{name}, nothing learned': out[name]['first']})
        assert out[name]['first']>0, f'{name}: the same to the last bit as in fp32; nothing ran in {precision}'
        within(10*most, **{f'{name}, after five steps': out[name]['all']})
        assert m.scaler_.is_enabled()==(precision=='fp16'), 'the scaler belongs to fp16, and to it alone'
    return out


@check('fp16', 20)
def fp16(run):
    "fp16 with its scaler, beside fp32."
    return in_half(run, 'fp16', .005)


@check('bf16', 20)
def bf16(run):
    "bf16, beside fp32."
    return in_half(run, 'bf16', .02)


@check('fp16, an overflow', 5)
def overflow(run):
    "A gradient that overflows: the encoder and the head take the step, or neither does and none is counted."
    m = run.learner('fp16', update='all')
    follow(m, run.batches[:2])
    m.scaler_.load_state_dict({**m.scaler_.state_dict(), 'scale': 2.**32})
    before,steps = params(m),m.n_steps_
    m.partial_fit(run.batches[2])
    moved = {n for n,p in params(m).items() if not (p==before[n]).all()}
    head,body = (any(n.startswith(o) for n in moved) for o in ('classifier', 'bert'))
    out = dict(encoder_moved=body, head_moved=head, steps_counted=m.n_steps_-steps, scale=m.scaler_.get_scale())
    assert out['scale']<2.**32, f'the scale did not fall: {out}'
    gap(m.predict(run.batches[3]), 0*m.predict(run.batches[3]))
    follow(m, run.batches[3:5])
    assert head==body==bool(out['steps_counted']), f'half a step: {out}'
    return out


@check('stores', 10)
def stores(run):
    "Activations and vectors live on the device, are used, emptied when weights move, and hold no more than they may."
    out = {}
    for update,kept in (('top-1', ('_activations',)), ('head', ('_vectors',))):
        for precision in ('fp32', run.fast):
            m,none = (run.learner(precision, update=update, cache_mb=o) for o in (128, 0))
            a,b = follow(m, run.batches[:4]),follow(none, run.batches[:4])
            within(5e-3 if precision=='fp32' else .05, **{f'{update}, {precision}: with stores and without': gap(a, b)})
            m.predict(run.batches[0])
            for o in ('_activations', '_vectors'):
                there = {t: x for group in getattr(m, o).there.values() for t,x in group.items()}
                is_there(run, there)
                assert sum(x.nbytes for x in there.values())==getattr(m, o).size, f'{o}: its size is wrong'
                assert not getattr(none, o).there, f'{o}: kept, although it may keep nothing'
                assert o not in kept or there, f'{o}: empty'
            m.partial_fit(run.batches[0])
            assert bool(m._vectors.there)==(update=='head'), 'vectors outlive the weights that made them'
            out[f'{update}, {precision}'] = dict(kib=[round(getattr(m, o).size/1024) for o in ('_activations', '_vectors')])
    return out


@check('similar, recommend, forget', 5)
def lists(run):
    "Lists and vectors of items; a user who is forgotten."
    m = run.learner(run.fast)
    follow(m, run.batches[:3])
    user = run.world.events['user'].iloc[0]
    ids = [o for o,_ in m.recommend(user, 5)]
    assert len(ids)==5 and len(m.similar(ids[0], 3))==3 and m.forget_user(user)
    return dict(vectors=list(m.item_vectors().shape))


@check('save and resume', 30)
def resume(run):
    "Saved on the device, it goes on there and on the CPU; saved on the CPU, it goes on on the device."
    import torch
    from recinc_nb.bert_online import IncrementalBert
    from recinc_nb.learner import L2SP, Reservoir
    out = {}
    for precision in dict.fromkeys(('fp32', 'fp16', run.fast)):
        m = run.learner(precision, update='top-1', remedies=(Reservoir(40), L2SP(.05, after=16)))
        follow(m, run.batches[:3])
        with tempfile.TemporaryDirectory() as d:
            m.save_pretrained(d)
            back,cpu = (IncrementalBert.from_pretrained(d, device=o) for o in (run.at(precision), run.Device('cpu')))
            with tempfile.TemporaryDirectory() as e:
                cpu.save_pretrained(e)
                again = IncrementalBert.from_pretrained(e, device=run.at(precision))
            fresh,forgetful = IncrementalBert.from_pretrained(d),IncrementalBert.from_pretrained(d, device=run.at(precision))
        forgetful.optimizer_.state.clear()
        is_there(run, {f'{n}.{o}': t for n,p in back.params().items() for o,t in back.optimizer_.state.get(p, {}).items() if o!='step'})
        assert back.scaler_.state_dict()==m.scaler_.state_dict() and fresh.device_.kind==run.device
        whole,*parts,null = (follow(o, run.batches[3:6]) for o in (m, back, cpu, again, forgetful))
        out[precision] = dict(zip(('device', 'cpu', 'cpu, then device'), (gap(whole, o) for o in parts)))
        within(5e-3 if precision=='fp32' else .1, **{f'{precision}, {o}': x for o,x in out[precision].items()})
        assert precision!='fp32' or gap(whole, null)>2*max(out[precision].values()), f'without its moments it goes on as well: {out}'
        out[precision]['without moments'] = gap(whole, null)
        assert run.card or precision!='fp32' or out[precision]['device']==0., 'on a CPU it goes on bit for bit'
        if run.card and precision=='fp32': out['repeats bit for bit'] = out[precision]['device']==0.
    out['deterministic algorithms asked for'] = torch.are_deterministic_algorithms_enabled()
    return out


@check('adapters', 15)
def adapters(run):
    "LoRA: merged it is the same function; an adapter that was saved on the device is loaded on the CPU, and back."
    import torch
    from recinc_nb.lora import load_adapter, merge_lora, save_adapter
    probe,out = run.world[200:216].with_text(),{} # texts of its own: an adapter brings nobody's past
    for name in ('LoRA', 'LoRA, proximal', 'two LoRAs'):
        m,cpu = (run.learner(device=o, update=run.policies()[name]) for o in (run.at(), run.Device('cpu')))
        follow(m, run.batches[:4])
        cpu.predict(run.batches[0])
        with tempfile.TemporaryDirectory() as d:
            save_adapter(m, Path(d)/'a.safetensors')
            load_adapter(cpu, Path(d)/'a.safetensors')
            save_adapter(cpu, Path(d)/'b.safetensors')
            p = m.predict(probe)
            m.partial_fit(run.batches[5])
            load_adapter(m, Path(d)/'b.safetensors')
        out[name] = within(5e-3, on_the_cpu=gap(p, cpu.predict(probe)), and_back=gap(p, m.predict(probe)))
        follow(m, run.batches[5:7])
        plain,ids = copy.deepcopy(m.model.bert),torch.tensor([[2, 9, 4, 3]], device=run.device)
        merge_lora(plain)
        with torch.no_grad(): a,b = (o(input_ids=ids).last_hidden_state.cpu() for o in (plain, m.model.bert))
        out[name] |= within(1e-3, merged=gap(a, b))
    return out


@check('adapters as in peft', 10, needs=(*BERT, 'peft'))
def as_peft(run):
    "The same adapter by us and by peft, on the device: outputs and gradients."
    import peft, torch
    from recinc_nb.lora import inject_lora
    from recinc_nb.text import load_bert
    bert = load_bert(run.checkpoint, ['tiger'])[0].to(run.device)
    theirs = peft.get_peft_model(copy.deepcopy(bert), peft.LoraConfig(r=4, lora_alpha=8., target_modules=['query', 'value'], lora_dropout=0.))
    pairs = [(bert.get_submodule(n), theirs.base_model.model.get_submodule(n)) for n in inject_lora(bert, 4, 8.)]
    for m,p in pairs:
        m.A.data.copy_(p.lora_A['default'].weight.data)
        for o in (m.B, p.lora_B['default'].weight): torch.nn.init.constant_(o, .01)
    ids = torch.tensor([[2, 9, 4, 3]], device=run.device)
    h = [o(input_ids=ids).last_hidden_state for o in (bert, theirs)]
    for o in h: o.square().sum().backward()
    grads = max(gap(m.A.grad.cpu(), p.lora_A['default'].weight.grad.cpu())/max(float(m.A.grad.abs().max()), 1e-9) for m,p in pairs)
    return within(1e-3, outputs=gap(*(o.detach().cpu() for o in h)), gradients=grads)


@check('remedies', 20)
def remedies(run):
    "Replay, a pull, a projection, and all at once; saved and loaded; as on the CPU."
    from recinc_nb.bert_online import IncrementalBert
    from recinc_nb.learner import L2SP, Reservoir
    kinds = {'replay': (Reservoir(40, k=2),), 'pull': (L2SP(.1, after=16, every=32),), 'projection': (Shorter(),),
             'all three': (Reservoir(40), L2SP(.1, after=16), Shorter())}
    out = {}
    for name,kind in kinds.items():
        for precision in dict.fromkeys(('fp32', run.fast)):
            m = run.learner(precision, remedies=kind)
            a = follow(m, run.batches[:4])
            out[f'{name}, {precision}'] = gap(a, follow(run.learner(device=run.Device('cpu'), remedies=kind), run.batches[:4]))
            within(5e-3 if precision=='fp32' else .2, **{f'{name}, {precision}': out[f'{name}, {precision}']})
            with tempfile.TemporaryDirectory() as d:
                m.save_pretrained(d)
                follow(IncrementalBert.from_pretrained(d, device=run.at(precision)), run.batches[4:6])
    return out


@check('blocks', 25)
def blocks(run):
    "`BlockLoop`: passes are chosen, a pass is taken back to the last bit, and the loop goes on where it was saved."
    import torch
    from recinc_nb.blocks import BlockLoop, go_back, take_snapshot
    from recinc_nb.learner import Reservoir
    told,out = run.world.take(160).with_text(),{}
    for precision in dict.fromkeys(('fp32', run.fast)):
        def loop():
            m = run.learner(precision, update='top-1', remedies=(Reservoir(50),))
            return BlockLoop(m, block=40, batch_size=20, passes=2)
        one,half = loop(),loop()
        whole = one.run(told).frame['pred']
        before = take_snapshot(one.model)
        is_there(run, dict(enumerate(before['values'])))
        one.model.partial_fit(run.batches[-1])
        go_back(one.model, before)
        after = take_snapshot(one.model)
        assert all(torch.equal(a, b) for a,b in zip(before['values'], after['values'])), 'a pass was not taken back whole'
        assert before['counts']==after['counts'], 'counts were not taken back'
        half.run(told.take(80))
        with tempfile.TemporaryDirectory() as d:
            half.save_pretrained(d)
            back = [BlockLoop.from_pretrained(d, device=o).run(told).frame['pred'] for o in (run.at(precision), run.Device('cpu'))]
        gaps = dict(zip(('device', 'cpu'), (gap(whole, o) for o in back)))
        out[precision] = dict(passes=one.n_passes_, **within(.02 if precision=='fp32' else .3, **gaps))
    return out


@check('vectors of items', 15)
def vectors(run):
    "`item_vectors`, `load_bert` and `encode_texts` on the device, and how long that takes beside the CPU."
    from recinc_nb.text import encode_items, item_vectors, load_bert
    items,made = run.world.items,{}
    seconds = {o: run.timed(lambda o=o: made.update({o: item_vectors(items, run.checkpoint, cache=False, device=o)})) for o in (run.device, 'cpu')}
    model,tokenizer = load_bert(run.checkpoint, items['title'])
    few = encode_items(items, model, tokenizer)
    many = encode_items(items, model.to(run.device), tokenizer, batch_size=256)
    return dict(seconds={o: round(x, 3) for o,x in seconds.items()}, **within(1e-3, far=gap(made[run.device], made['cpu']), together=gap(few, many)))


@check('the live page', 15, needs=(*BERT, 'matplotlib'))
def live(run):
    "Chapter 47's learners: vectors from outside, copies, ratings one by one, undo."
    from recinc_nb.live import LiveSession, live_learners
    from recinc_nb.text import item_vectors
    past = run.world.take(160)
    models = live_learners(past, run.checkpoint, vectors=item_vectors(past.items, run.checkpoint, cache=False))
    s = LiveSession(past, models, k=3)
    for item in list(s.titles)[:3]: s.rate(item, 5)
    s.undo()
    return dict(ms={o: round(x, 1) for o,x in s.ms[-1].items()}, device=str(models['BERT'].device_))


@check('batches without conflicts', 25, needs=IDS)
def factorization(run):
    "Chapter 35's `batch_sweep` on the device: what the loop learns; its speed beside the loop's and beside the CPU's."
    import numpy as np
    from recinc_nb.mf_online import IncrementalMF
    from recinc_nb.mf_speed import batch_sweep, conflict_free
    def tables(n_users, n_items):
        m = IncrementalMF(seed=0)
        m.ready()
        m.grow(n_users, n_items)
        return m,[o for side in ('user', 'item') for o in m.rows_[side].tables.values()]
    e = run.world.events
    users,items,y = (e[o].factorize()[0].astype(np.int64) for o in ('user', 'item')),None,e['rating'].to_numpy(float)
    users,items = users
    batch,(loop,_),(m,t) = conflict_free(users, items),tables(users.max()+1, items.max()+1),tables(users.max()+1, items.max()+1)
    pred = np.empty(len(y))
    loop.sweep(users, items, y, pred, True)
    out = within(1e-4, far=gap(batch_sweep(users, items, y, batch, *t, m.mean_, device=run.device), pred))
    n = 400_000 if run.card and not run.pretend else 2_000
    rng = np.random.default_rng(0)
    users,items,y = rng.integers(0, n//4, n),rng.integers(0, n//8, n),rng.integers(1, 6, n).astype(float)
    batch = conflict_free(users, items)
    out.update(events=n, batches=int(batch.max()+1), events_per_second={})
    for where in dict.fromkeys((run.device, 'cpu')):
        for _ in range(2): # the first pays for the start
            m,t = tables(n//4, n//8)
            s = run.timed(lambda t=t, m=m, where=where: batch_sweep(users, items, y, batch, *t, m.mean_, device=where))
        out['events_per_second'][where] = round(n/s)
    m,_ = tables(n//4, n//8)
    out['events_per_second']['loop'] = round(n/run.timed(lambda: m.sweep(users, items, y, np.empty(n), True)))
    return out


@check('memory', 60, card=True)
def memory(run):
    "The most that each policy allocates, and whether 200 steps on the same events keep what they took."
    import torch
    def held():
        gc.collect()
        return torch.cuda.memory_allocated()
    for o in ('fp32', run.fast): follow(run.learner(o, update='all'), run.batches[:2]) # what CUDA keeps for itself
    out,slack = {},0 if run.pretend else 2**21
    for name in ('all', 'top-1', 'head', 'LoRA, proximal'):
        for precision,steps in {'fp32': 8, run.fast: 24 if run.pretend else 200}.items():
            torch.cuda.empty_cache()
            empty = held()
            torch.cuda.reset_peak_memory_stats()
            m,at = run.learner(precision, update=run.policies()[name]),[]
            for n in range(steps):
                m.partial_fit(run.batches[n%4])
                if n+1 in (steps//2, steps): at.append(held()-empty)
            peak = torch.cuda.max_memory_allocated()-empty
            del m
            row = out[f'{name}, {precision}'] = dict(steps=steps, peak_mib=round(peak/2**20, 1), held_mib=round(at[1]/2**20, 1),
                                                     grown=at[1]-at[0], left=held()-empty)
            assert row['grown']<=slack, f'{name}, {precision}: {row["grown"]:,} bytes more after {steps} steps than after {steps//2}'
            assert row['left']<=slack, f'{name}, {precision}: {row["left"]:,} bytes are left when the learner is gone'
    return out


@check('speed', 60, card=True)
def speed(run):
    "Seconds of a step and of a prediction of 16 events, on the card and on the CPU of the same machine."
    if run.pretend: raise Unseen('a card that is not there has no speed')
    out = {}
    for name in ('all', 'top-1', 'head', 'LoRA'):
        row = {}
        for what,device in {**{o: run.at(o) for o in dict.fromkeys(('fp32', run.fast))}, 'cpu': run.Device('cpu')}.items():
            m = run.learner(device=device, update=run.policies()[name])
            follow(m, run.batches[:3])
            times = 3 if what=='cpu' else 10
            row[what] = dict(step_ms=1000*run.timed(lambda m=m: m.partial_fit(run.batches[3]), times),
                             predict_ms=1000*run.timed(lambda m=m: m.predict(run.batches[4]), times))
        out[name] = {o: {k: round(x, 2) for k,x in r.items()} for o,r in row.items()}
        out[name]['times the CPU'] = {k: round(row['cpu'][k]/row[run.fast][k], 2) for k in ('step_ms', 'predict_ms')}
    return out


@check('launches', 15, card=True)
def launches(run):
    "Kernels per step: a small model on a large card waits for little else."
    if run.pretend: raise Unseen('a card that is not there launches nothing')
    from torch.profiler import ProfilerActivity, profile
    out = {}
    for name in ('all', 'top-1', 'head'):
        m = run.learner(update=run.policies()[name])
        follow(m, run.batches[:3])
        with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as p:
            m.partial_fit(run.batches[3])
            run.wait()
        out[name] = sum(o.count for o in p.key_averages() if 'LaunchKernel' in o.key)
    return out


def chapter(name):
    def f(run):
        if not run.card: raise Unseen('on a CPU, make test runs the chapters')
        if not (here.parent/'nbs'/f'{name}.ipynb').is_file(): raise Unseen('the notebooks are not here; run it in a checkout')
        args = [sys.executable, str(here/'gpu_check.py'), '--chapter', name] + (['--pretend'] if run.pretend else [])
        limit = max(run.left(), 1)
        try: done = subprocess.run(args, capture_output=True, text=True, timeout=limit)
        except subprocess.TimeoutExpired: raise Unseen(f'not done when the time was up, after {limit:.0f} s; give --minutes more') from None
        assert done.returncode==0, done.stdout[-3000:] or done.stderr[-3000:]
        return json.loads(done.stdout.splitlines()[-1])
    f.__doc__ = f'The cells of {name}, at test scale, in a process of their own.'
    return f

for _name in CHAPTERS: check(f'chapter {_name}', 45, needs=(*BERT, *NEEDED), card=True)(chapter(_name))


def run_chapter(name, pretend):
    "The cells of a chapter in this process; those that fail are printed, each with its number."
    import matplotlib
    matplotlib.use('Agg')
    os.environ.update(IN_TEST='1', RECINC_SCALE='test', HF_HUB_OFFLINE='1')
    cells = json.loads((here.parent/'nbs'/f'{name}.ipynb').read_text())['cells']
    names,failed,ran = {'__name__': '__main__', 'get_ipython': lambda: None},[],0
    with tempfile.TemporaryDirectory() as d, card_that_is_not_there(pretend):
        os.chdir(d)
        for n,c in enumerate(cells):
            source = ''.join(c['source'])
            if c['cell_type']!='code' or '#| eval: false' in source: continue
            path = Path(d)/f'cell_{n}.py' # numba keeps compiled code beside a file
            path.write_text(source)
            ran += 1
            try:
                with redirect_stdout(sys.stderr): exec(compile(source, str(path), 'exec'), names)
            except Exception as e: failed.append(f'[{n}] {type(e).__name__}: {str(e).strip()[:300]} ({where(e)})')
    print(*failed, json.dumps(dict(cells=ran, failed=len(failed))), sep='\n')
    return int(bool(failed))


def bare(text): # a record names no folder of the machine that made it
    for o in sorted({str(here.parent), sys.prefix, str(Path.home()), tempfile.gettempdir()}, key=len, reverse=True): text = text.replace(o, '…')
    return text


def where(e): return ' < '.join(f'{Path(o.filename).name}:{o.lineno}' for o in reversed(traceback.extract_tb(e.__traceback__)[-6:]))


def told(e):
    "A traceback without folders."
    lines = [f'{Path(o.filename).name}:{o.lineno} in {o.name}: {o.line}' for o in traceback.extract_tb(e.__traceback__)]
    return [*lines, bare(f'{type(e).__name__}: {e}')[:2000]]


def card_that_is_not_there(pretend, precision='fp16'):
    if not pretend: return nullcontext()
    sys.path.insert(0, str(here))
    import fake_card
    return fake_card.plugged(precision)


def lacking(names): return [o for o in names if importlib.util.find_spec(o) is None]


def about(run):
    "The machine and what runs on it."
    from importlib.metadata import version
    import torch
    import recinc_nb
    packages = ('numpy', 'pandas', 'scipy', 'scikit-learn', 'numba', 'torch', 'transformers', 'peft', 'safetensors', 'tokenizers', 'fastcore')
    installed = {o: version(o) for o in packages if importlib.util.find_spec({'scikit-learn': 'sklearn'}.get(o, o))}
    out = dict(recinc_nb=recinc_nb.__version__, python=platform.python_version(), system=platform.system(), cores=os.cpu_count(),
               threads=torch.get_num_threads(), versions=installed, device=run.device, precision=run.best.precision, name=run.best.name)
    if run.card and not run.pretend:
        card = torch.cuda.get_device_properties(0)
        out |= dict(cuda=torch.version.cuda, cudnn=torch.backends.cudnn.version(), capability=[card.major, card.minor],
                    card_mib=card.total_memory//2**20, tf32=torch.backends.cuda.matmul.allow_tf32)
    return out


def write(path, record):
    "All of it or nothing of it; `recinc_nb.core.write_atomic` may not be importable here."
    path.parent.mkdir(parents=True, exist_ok=True)
    tmp = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
    try:
        tmp.write_text(json.dumps(record, indent=1) + '\n')
        os.replace(tmp, path)
    finally: tmp.unlink(missing_ok=True)


def ask(run, record, only, path, say):
    "Every check in turn; the record is written after each."
    for name,seconds,needs,card,f in CHECKS:
        if only and not any(o in name for o in only): continue
        row,start = dict(name=name, what=f.__doc__, outcome='skipped'),time.perf_counter()
        need = seconds if run.card else seconds/4
        if missing := lacking(needs): row['why'] = f"not installed: {', '.join(missing)}"
        elif card and not run.card: row['why'] = f'this device is {run.device}; only a card can answer'
        elif run.left()<need: row['why'] = f'{max(run.left(), 0):.0f} s are left, and it takes some {need:.0f}; give --minutes more'
        else:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter('ignore')
                    row |= dict(figures=f(run), outcome='ok')
            except Unseen as e: row['why'] = str(e)
            except Exception as e: row |= dict(outcome='failed', traceback=told(e))
        row['seconds'] = round(time.perf_counter()-start, 2)
        record['checks'].append(row)
        if row['outcome']=='skipped': record['unseen'].append(f"{name}: {row['why']}")
        record['seconds'] = round(time.perf_counter()-run.start, 1)
        write(path, record)
        say(f"{row['outcome']:8}{row['seconds']:7.1f} s  {name}" + (f": {row.get('why') or row['traceback'][-1]}" if row['outcome']!='ok' else ''))


def cannot_see(run):
    "What this run says nothing about, however it ends."
    out = []
    if not run.card: out.append(f'CUDA: this ran on {run.device}')
    if run.pretend: out.append('a real card: numbers, speed, peaks of memory and what CUDA itself refuses; this card was pretended')
    if run.checkpoint and not run.checkpoint.real: out.append('a BERT that was trained on language: the tiny one stood in for it; name a folder with --checkpoint')
    import torch
    if run.card and not run.pretend and torch.cuda.device_count()>1: out.append('the other cards of this machine: only one was used')
    if run.card and not run.pretend and torch.cuda.get_device_capability()<(8, 0): out.append('the speed of bf16: this card has no units for it')
    return [*out, "Apple's GPU (mps)"] if run.device!='mps' else out


def main(argv=None):
    ap = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    ap.add_argument('--minutes', type=float, default=6., help='checks that would not fit are named as unseen')
    ap.add_argument('--checkpoint', default='auto', help="a folder with a BERT; 'auto' for MiniLM where it is, else the tiny one; 'tiny'")
    ap.add_argument('--device', default='auto', help="'auto', 'cuda', 'mps' or 'cpu'")
    ap.add_argument('--out', type=Path, default=here.parent/'out'/'gpu.json', help='the record')
    ap.add_argument('--only', nargs='+', help='checks whose name has one of these words')
    ap.add_argument('--pretend', action='store_true', help='a card that is not there: finds mixes of devices')
    ap.add_argument('--chapter', help=argparse.SUPPRESS)
    args = ap.parse_args(argv)
    if here.parent.joinpath('recinc_nb', '__init__.py').is_file(): sys.path.insert(0, str(here.parent))
    for name in ('IN_TEST', 'HF_HUB_OFFLINE'): os.environ.setdefault(name, '1') # no bars, no network
    if args.device!='auto': os.environ['RECINC_DEVICE'] = args.device
    if missing := lacking(RUN_TIME):
        print(f"gpu_check: not installed: {', '.join(missing)}; what needs them is unseen. Add them, or their folders to PYTHONPATH", file=sys.stderr)
    if args.chapter: return run_chapter(args.chapter, args.pretend)
    def say(*o): print(*o, sep='\n  ', flush=True)
    if lacking(IDS):
        unseen = [f"{name}: not installed: {', '.join(missing)}" for name,*_ in CHECKS]
        write(args.out, dict(pretended=args.pretend, missing=missing, checks=[], unseen=unseen))
        say('nothing could be asked; unseen:', *unseen)
        return 2
    define_remedy()
    with card_that_is_not_there(args.pretend):
        run = Run(args.device, args.checkpoint, args.minutes, args.pretend)
        name = run.checkpoint.name if run.checkpoint else 'no BERT'
        record = dict(machine=about(run), checkpoint=name, pretended=args.pretend, minutes=args.minutes,
                      missing=missing, checks=[], unseen=cannot_see(run))
        say(f"{name} on {run.device} ({run.best.name}, {run.best.precision})")
        ask(run, record, args.only, args.out, say)
    failed = [o['name'] for o in record['checks'] if o['outcome']=='failed']
    say(f"{len(record['checks'])} checks, {len(failed)} failed, {record['seconds']:.0f} s; unseen:", *record['unseen'])
    return int(bool(failed))


def define_remedy(): # once the package can be imported
    global Shorter
    from recinc_nb.learner import Remedy
    class Shorter(Remedy):
        "Half of each gradient: the smallest projection that shows."
        def project(self, grads): return {o: (rows, g/2) for o,(rows,g) in grads.items()}


if __name__=='__main__': sys.exit(main())
