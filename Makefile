# Every command of the README. `make` alone lists them. ONLY="00 13" chooses notebooks, PROFILE=full the size of a run;
# PYTHON3=... is the Python (3.11 to 3.13) the environment is made from; PYTHON=python uses an environment of your own.
FIT = import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON3 ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do $$p -c "$(FIT)" 2>/dev/null && echo $$p && break; done)
PROFILE ?= quick
PARTS = independent unordered single_element
ONLY ?=
ifneq ($(origin PYTHON),command line)
PYTHON := .venv/bin/python
ENVIRONMENT := .venv/complete
endif

.PHONY: help run test lab notebooks data bench full clean

help:  ## list these commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' Makefile

run: $(ENVIRONMENT)  ## run the notebooks into build/run (ONLY="00 13", PROFILE=smoke)
	$(PYTHON) -m unbraid.course run --profile "$(PROFILE)" --to build/run --only "$(ONLY)"

test: $(ENVIRONMENT)  ## everything that must hold: library, notebooks, gates
	$(PYTHON) -m pytest -n 2

lab: $(ENVIRONMENT)  ## JupyterLab on the notebooks
	$(PYTHON) -m jupyterlab notebooks

notebooks: $(ENVIRONMENT)  ## run the notebooks and renew their committed outputs (ONLY="00 13")
	$(PYTHON) -m unbraid.course notebooks --only "$(ONLY)"

data: $(ENVIRONMENT)  ## fetch the real data, checked
	$(PYTHON) -m unbraid data fetch

bench: $(ENVIRONMENT)  ## measure the speed of this machine
	$(PYTHON) tests/bench.py

full: $(ENVIRONMENT)  ## train and evaluate every part at its paper's scale (a GPU is of use)
	for part in $(PARTS); do $(PYTHON) -m unbraid train $$part --profile full --results results || exit 1; done
	for part in $(PARTS); do $(PYTHON) -m unbraid evaluate $$part --profile full --results results --write || exit 1; done

clean:  ## remove what was built; .venv, data and results stay
	rm -rf build .pytest_cache .ruff_cache lib/*.egg-info
	find lib tests notebooks \( -name __pycache__ -o -name .ipynb_checkpoints \) -prune -exec rm -rf {} +

.venv/complete: requirements.lock
	@"$(PYTHON3)" -c "$(FIT)" || { echo "Unbraid needs Python 3.11, 3.12 or 3.13, found: $(or $(PYTHON3),none); run make PYTHON3=/path/to/python3"; exit 1; }
	"$(PYTHON3)" -m venv --clear .venv
	$(PYTHON) -m pip install --quiet -r requirements.lock
	$(PYTHON) -m pip install --quiet --no-deps --no-build-isolation -e . && touch $@
