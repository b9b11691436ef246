"""A CUDA card that is not there: real numbers on the CPU, but every tensor carries the device where it would live.

    with fake_card.plugged('fp16') as card: …        # torch.cuda.is_available() is True, .to('cuda') works

A mix of devices raises as CUDA does, and so does numpy() of what is on the card. `card.count` counts kernels, copies and waits for
the card, `torch.cuda.memory_allocated()` the bytes of what lives there. It finds code that could not run on a card; it says nothing
about speed, peaks or rounding."""
import collections
from contextlib import ExitStack, contextmanager
from unittest.mock import patch
import torch, torch._dynamo # before anything is patched: it takes stock of torch's functions
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

CUDA,aten = torch.device('cuda', 0),torch.ops.aten
CAPABILITY = {'fp32': (6, 1), 'fp16': (7, 5), 'bf16': (8, 0)} # what `pick_device` chooses its format by
MIXED = 'Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu! (when calling {})'
INDEXING = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default}
COPIES = {aten.copy_.default, aten._to_copy.default}
GETTERS = {torch.Tensor.device.__get__: CUDA, torch.Tensor.is_cuda.__get__: True, torch.Tensor.is_cpu.__get__: False}
VIEWS = ('view', '_unsafe_view', 't', 'transpose', 'slice', 'select', 'expand', 'unsqueeze', 'squeeze', 'permute', 'detach', 'alias',
         'as_strided', 'reshape', 'split', 'unbind', 'lift_fresh')


def is_card(device): return device is not None and not isinstance(device, bool) and torch.device(device).type=='cuda'


class Card:
    "What lives on the card, by storage, and what was done there."
    def __init__(self): self.there,self.count,self.inside = {},collections.Counter(),0

    def holds(self, t): return not t.is_meta and t.untyped_storage()._cdata in self.there

    def take(self, t): # a weak reference keeps the address from being used again
        if not t.is_meta: self.there.setdefault(t.untyped_storage()._cdata, StorageWeakRef(t.untyped_storage()))
        return t

    def drop(self, t):
        self.there.pop(t.untyped_storage()._cdata, None)
        return t

    def allocated(self, *_):
        self.there = {k: w for k,w in self.there.items() if not w.expired()}
        return sum(torch.UntypedStorage._new_with_weak_ptr(w.cdata).nbytes() for w in self.there.values())


class Dispatch(TorchDispatchMode):
    "Every operation: may these tensors meet, and where does the outcome live?"
    def __init__(self, card):
        super().__init__()
        self.card = card

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        with torch._C.DisableTorchFunction(): return self.run(func, args, kwargs)

    def run(self, func, args, kwargs):
        card,asked = self.card,kwargs.get('device')
        flat = [o for o in tree_leaves((args, kwargs)) if isinstance(o, torch.Tensor)]
        if asked is not None and torch.device(asked).type=='meta' or any(o.is_meta for o in flat): return func(*args, **kwargs)
        if asked is not None: kwargs['device'] = torch.device('cpu')
        there = [card.holds(o) for o in flat]
        if func in COPIES: goes = there[0] if func is aten.copy_.default else there[0] if asked is None or card.inside else is_card(asked)
        elif is_card(asked): goes = True
        else: goes = any(there) or not flat and card.inside>0 # what a function on the card makes for itself
        if any(there) and func not in COPIES: self.meet(func, args, flat, there)
        if func is aten.copy_.default and there[0]!=there[1] or func is aten._to_copy.default and there[0]!=goes:
            card.count['copies to the card' if goes else 'waits'] += 1
        elif any(there):
            name = func.__name__.split('.')[0]
            if func is aten._local_scalar_dense.default or name in ('nonzero', 'is_nonzero'): card.count['waits'] += 1
            elif not name.startswith(VIEWS): card.count['kernels'] += 1
        out = func(*args, **kwargs)
        if goes: tree_map_only(torch.Tensor, card.take, out)
        return out

    def meet(self, func, args, flat, there):
        if func in INDEXING: # an index may stay on the host; what is indexed, and what is put there, may not
            index = {id(o) for o in tree_leaves(args[1]) if isinstance(o, torch.Tensor)}
            if not there[0]: raise RuntimeError(f"indices should be either on cpu or on the same device as the indexed tensor (cpu) (when calling {func})")
            flat,there = zip(*((o, t) for o,t in zip(flat, there) if id(o) not in index))
        if any(o.dim()>0 and not t for o,t in zip(flat, there)): raise RuntimeError(MIXED.format(func))


class Function(TorchFunctionMode):
    "Every call from Python: devices that are asked for, and what may not leave the card unasked."
    def __init__(self, card):
        super().__init__()
        self.card = card

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs,card = dict(kwargs or {}),self.card
        own = bool(args) and isinstance(args[0], torch.Tensor) and card.holds(args[0])
        if func in GETTERS: return GETTERS[func] if own else func(*args)
        name = getattr(func, '__name__', '')
        if name in ('numpy', '__array__') and own: raise TypeError(
            "can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host memory first.")
        if name in ('cpu', 'cuda', 'to') and isinstance(args[0], torch.Tensor): return self.to(name, func, args, kwargs, own)
        if name in ('tolist', '__deepcopy__') and own:
            card.count['waits'] += name=='tolist'
            return func(*args, **kwargs) if name=='tolist' else card.take(func(*args, **kwargs))
        if is_card(kwargs.get('device')): # a tensor that is made on the card
            out = func(*args, **{**kwargs, 'device': 'cpu'})
            card.count['copies to the card'] += name in ('tensor', 'as_tensor')
            return card.take(out.clone() if name=='as_tensor' and isinstance(args[0], torch.Tensor) and out is args[0] and not own else out)
        any_there = own or any(isinstance(o, torch.Tensor) and card.holds(o) for o in tree_leaves((args, kwargs)))
        card.inside += any_there
        try: out = func(*args, **kwargs)
        finally: card.inside -= any_there
        return card.take(out) if name in ('new_tensor',) and own else out

    def to(self, name, func, args, kwargs, own):
        x,*rest = args
        if name!='to': return self.moved(x, name=='cuda', own)
        device,left = kwargs.pop('device', None),[]
        for o in rest:
            if isinstance(o, torch.Tensor): device,o = (CUDA if self.card.holds(o) else torch.device('cpu')),o.dtype
            if isinstance(o, (str, torch.device)) or isinstance(o, int) and not isinstance(o, bool): device = o
            elif o is not None: left.append(o)
        if x.is_meta or device is not None and torch.device(device).type=='meta': return func(*args, **{**kwargs, **({} if device in args else dict(device=device))})
        self.card.inside += own
        try: y = func(x, *left, **kwargs) if any(isinstance(o, torch.dtype) for o in left) or kwargs else x
        finally: self.card.inside -= own
        if device is None or is_card(device)==own: return y
        return self.moved(y, is_card(device), own, new=y is not x)

    def moved(self, x, goes, own, new=False):
        if goes==own: return x
        self.card.count['copies to the card' if goes else 'waits'] += 1
        with torch.no_grad() if not x.requires_grad else torch.enable_grad(): y = x if new else x.clone()
        return self.card.take(y) if goes else self.card.drop(y)


class Autocast(torch.autocast):
    def __init__(self, device_type, *args, **kwargs): super().__init__('cpu' if is_card(device_type) else device_type, *args, **kwargs)


@contextmanager
def plugged(
    precision='fp32', # 'fp32', 'fp16' or 'bf16': what the card is good at
):                    # The card
    "A card is there while the block runs."
    card,nothing = Card(),lambda *args, **kwargs: None
    cuda = dict(is_available=lambda: True, device_count=lambda: 1, get_device_capability=lambda *_: CAPABILITY[precision],
        get_device_name=lambda *_: f'a card that is not there ({precision})', synchronize=nothing, empty_cache=nothing,
        reset_peak_memory_stats=nothing, memory_allocated=card.allocated, max_memory_allocated=card.allocated, manual_seed_all=nothing)
    with ExitStack() as stack:
        for name,f in cuda.items(): stack.enter_context(patch.object(torch.cuda, name, f))
        stack.enter_context(patch.object(torch, 'autocast', Autocast))
        stack.enter_context(Dispatch(card))
        stack.enter_context(Function(card))
        yield card
