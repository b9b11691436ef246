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
