"""Run each notebook top to bottom in a fresh process, unattended, and store what it shows.

Call `python tools/run_nbs.py` for all notebooks, or name some (`31_mf_online`). `--changed` takes those that differ from
git HEAD; `--check` runs without writing; `--seconds` runs nothing and keeps the CPU seconds that each notebook took in the last
`make test` as results/seconds.json. Outputs are stored as nbdev_clean leaves them and without what changes from run
to run, so that running twice gives the same bytes. Cells marked `#| eval: false` are not run. A notebook that fails keeps
its file as it was; the exit code is then 1. From Python: `run(path, write=False) -> str`, the report of the failing cell
or an empty string."""
import argparse, base64, json, os, re, subprocess, sys, tempfile, time

import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellControlSignal, CellExecutionError, DeadKernelError
from nbdev.clean import clean_nb

from lint_nbs import BUDGET, LONGER, ROOT, NBS, Nb, all_notebooks, cfg, find_notebooks

SECONDS_PER_CELL = 600
SECONDS = ROOT/'out'/'seconds'  # of CPU, a file a notebook, written by tests/test_notebooks.py


def changed():
    "Notebooks that differ from git HEAD, new ones too"
    out = subprocess.run(['git', 'status', '--porcelain', '-z', '--untracked-files=all', '--', str(NBS)],
                         cwd=ROOT, capture_output=True, text=True, check=True).stdout
    names = {ROOT/o[3:] for o in out.split('\0')}
    return [p for p in all_notebooks() if p in names]


def kernel_env(scratch, write):
    "The environment of a kernel: nothing of the user's settings that could change an output"
    env = {**os.environ, 'RECINC_UNATTENDED': '1', 'PYTHONHASHSEED': '0', 'OMP_NUM_THREADS': '2', 'PYTHONPATH': str(ROOT),
           'IPYTHONDIR': scratch, 'PYDEVD_DISABLE_FILE_VALIDATION': '1'}
    env.pop('MPLBACKEND', None)
    if write: env.pop('RECINC_SCALE', None)   # what is stored is the full size
    return env


def bare_png(png):
    "`png` without its text and time chunks, which name versions and dates"
    out,i = png[:8], 8
    while i < len(png):
        n = 12 + int.from_bytes(png[i:i+4], 'big')
        if png[i+4:i+8] not in (b'tEXt', b'zTXt', b'iTXt', b'tIME'): out += png[i:i+n]
        i += n
    return out


def stored(output):
    "An output as nbdev_clean writes it"
    o = json.loads(json.dumps(output))
    data = o.get('data', {})
    if 'image/png' in data: data['image/png'] = base64.b64encode(bare_png(base64.b64decode(data['image/png']))).decode()
    for d,k in [(data, k) for k in data if k.startswith('text/') or k=='image/svg+xml'] + [(o, 'text')]*('text' in o):
        if isinstance(d[k], str): d[k] = d[k].splitlines(keepends=True)
    return o


def failure(nb, cell, outputs, err):
    trace = next(('\n'.join(o.traceback) for o in outputs if o.output_type=='error'), f'{type(err).__name__}: {err}')
    return re.sub(r'\x1b\[[0-9;]*m', '', f'{nb.where(cell)} failed:\n{cell.source}\n\n{trace}\n')


def run(path, write=False):
    "Run the notebook at `path`; return what failed, or an empty string"
    nb = Nb(path)
    node = nbformat.from_dict(nbformat.reads(nb.text, as_version=4))
    client = NotebookClient(node, timeout=SECONDS_PER_CELL, coalesce_streams=True, store_widget_state=False, record_timing=False,
        resources={'metadata': {'path': str(nb.path.parent)}}, extra_arguments=['--log-level=ERROR'],
        km=AsyncKernelManager(kernel_spec_manager=KernelSpecManager(kernel_dirs=[])))   # this Python's own kernel, none of the user's
    with tempfile.TemporaryDirectory() as scratch, client.setup_kernel(env=kernel_env(scratch, write)):
        for cell in nb.code:
            todo = node.cells[cell.i]
            todo.outputs = []
            if cell.directives.get('eval')=='false': continue
            try: client.execute_cell(todo, cell.i)
            except (CellExecutionError, CellControlSignal, DeadKernelError) as err: return failure(nb, cell, todo.outputs, err)
            for o in (o for o in todo.outputs if o.get('name')=='stderr'): print(f'{nb.where(cell)} wrote to stderr, which is not stored:\n{o.text}')
    if write:
        for cell in nb.code: cell.d['outputs'] = [stored(o) for o in node.cells[cell.i].outputs if o.get('name')!='stderr']
        clean_nb(nb.d, allowed_metadata_keys=cfg.allowed_metadata_keys.split(),
                 allowed_cell_metadata_keys=cfg.allowed_cell_metadata_keys.split(), clean_ids=cfg.clean_ids=='True')
        new = json.dumps(nb.d, sort_keys=True, indent=1, ensure_ascii=False) + '\n'
        if new!=nb.text: nb.path.write_text(new, encoding='utf-8')
    return ''


def keep_seconds():
    "Gather what each notebook took into a record of the package"
    from recinc_nb.core import machine, write_atomic
    took = {p.stem: json.loads(o.read_text()) for p in all_notebooks() if (o := SECONDS/f'{p.stem}.json').exists()}
    if missing := [p.stem for p in all_notebooks() if p.stem not in took]: sys.exit(f"run_nbs: {', '.join(missing)} not measured; call make test first")
    said = dict(command='make test; python tools/run_nbs.py --seconds', machine=machine(), unit='CPU seconds at test scale', seconds=took)
    write_atomic(ROOT/cfg.lib_path/'results'/'seconds.json', json.dumps(said, indent=1).encode()+b'\n')
    for name,s in sorted(took.items(), key=lambda o: -o[1]): print(f"{s:6.1f}  {name}{'  over the budget' if s>LONGER.get(name, BUDGET) else ''}")


def main():
    ap = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    ap.add_argument('names', nargs='*', help='notebooks; all of them when none is named')
    ap.add_argument('--changed', action='store_true', help='only those that differ from git HEAD')
    ap.add_argument('--check', action='store_true', help='run and report, write nothing')
    ap.add_argument('--seconds', action='store_true', help='keep the CPU seconds of the last make test; run nothing')
    args = ap.parse_args()
    if args.seconds: return keep_seconds()
    paths = find_notebooks(args.names)
    if args.changed: paths = [p for p in changed() if p in paths]
    failed = []
    for n,path in enumerate(paths, 1):
        print(f'{n}/{len(paths)} {path.relative_to(NBS)} …', flush=True)
        start = time.monotonic()
        report = run(path, write=not args.check)
        print(report + f"    {'FAILED after' if report else 'ok in'} {time.monotonic()-start:.1f} s", flush=True)
        if report: failed.append(path.stem)
    if failed: sys.exit(f"run_nbs: {len(failed)} of {len(paths)} failed: {', '.join(failed)}")
    print(f'run_nbs: {len(paths)} ran')


if __name__=='__main__': main()
