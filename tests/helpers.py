"""What several test files need."""
import os, subprocess, sys
from pathlib import Path

root = Path(__file__).resolve().parent.parent
notebooks = sorted(p for p in (root/'nbs').rglob('*.ipynb') if not any(o.startswith(('.', '_')) for o in p.relative_to(root).parts))


def python(*args, exe=sys.executable, timeout=600, **kwargs):
    "Run Python in a new process; its standard output. A failure shows what it printed."
    out = subprocess.run([str(exe), *map(str, args)], capture_output=True, text=True, timeout=timeout, **kwargs)
    assert out.returncode==0, f'{args} ended with {out.returncode}\n{out.stdout[-3000:]}\n{out.stderr[-6000:]}'
    return out.stdout


def table(rows, target='rating'):
    "Events as a dict of columns, and what was observed; ids stay the objects that they are."
    user,item,y = zip(*rows) if rows else ((), (), ())
    return dict(user=list(user), item=list(item)), [float(r>=4) if target=='label' else float(r) for r in y]


def state(m):
    "All that a learner of ids knows, to the last bit."
    return {**{k: v.tobytes() for k,v in m._arrays().items()}, 'users': repr(m.users_.ids), 'items': repr(m.items_.ids),
            'seen': [o.tobytes() for o in m.seen_], 'more': repr(m._state())}
