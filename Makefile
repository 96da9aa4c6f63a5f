# `make` alone lists the commands. Each makes the environment .venv where there is none.
# ONLY="00 13" chooses notebooks, PROFILE=full the size of a run, TORCH=cpu or TORCH=cuda the build of PyTorch;
# PYTHON3=... is the Python (3.11 to 3.13) the environment is made from; PYTHON=python uses an environment of your own.
FIT = import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON3 ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do $$p -c "$(FIT)" 2>/dev/null && echo $$p && break; done)
PROFILE ?= quick
ONLY ?=
CHECK ?=
RENEW ?=
OUTPUTS ?=
ALL ?=
LAB ?=
BROWSERS ?= chromium firefox
# PyTorch without CUDA is 0.2 GB and not 3: on a Linux without NVIDIA's driver that is enough.
DRIVER := $(wildcard /proc/driver/nvidia/version)$(shell command -v nvidia-smi)
TORCH ?= $(if $(DRIVER)$(filter-out Linux,$(shell uname -s)),cuda,cpu)
TARGET ?= all
MACHINE ?= laptop
JOBS ?=
RESULTS ?= build/results
GRID ?=
SEED ?= 0
ifneq ($(origin PYTHON),command line)
PYTHON := .venv/bin/python
ENVIRONMENT := .venv/complete
endif
ifneq ($(origin SNAKEMAKE),command line)
SNAKEMAKE := .venv/grid/bin/snakemake
SCHEDULER := .venv/grid/complete
endif
LIMIT_laptop = --cores=
LIMIT_gpus = --resources gpu=
LIMIT_slurm = --jobs=

# glibc keeps the memory that an activation frees: returned to the system, it comes back page by page as zeros.
MALLOC_MMAP_THRESHOLD_ ?= 1073741824
MALLOC_TRIM_THRESHOLD_ ?= 2147483648
MALLOC_TOP_PAD_ ?= 67108864
export MALLOC_MMAP_THRESHOLD_ MALLOC_TRIM_THRESHOLD_ MALLOC_TOP_PAD_
ifdef UNBRAID_MIRROR  # notebooks run in their own folder
override export UNBRAID_MIRROR := $(abspath $(UNBRAID_MIRROR))
endif

# A run of all tests starts some 200 processes; without bytecode on the disk each would compile the library anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help lab run data site editions env test gpu grid clean

help:  ## maintain: list these commands
	@for group in learn teach maintain; do echo "$$group"; awk -F ':.*## ' -v group="$$group: " \
		'/^[a-z-]+:.*## / && index($$2, group) == 1 {printf "  make %-9s %s\n", $$1, substr($$2, length(group) + 1)}' Makefile; done

lab: $(ENVIRONMENT)  ## learn: JupyterLab on your own copies, in mine/ (OUTPUTS=1: with outputs)
	@$(PYTHON) -c "import jupyterlab, unbraid" 2>/dev/null || { echo "$(PYTHON) has no JupyterLab or no unbraid; run make env, or install them: python -m pip install -e '.[course,own]'"; exit 1; }
	@[ "$$(id -u)" != 0 ] || echo "$(LAB)" | grep -q -e --allow-root || { echo "JupyterLab does not start as root; run: make lab LAB=--allow-root"; exit 1; }
	$(PYTHON) -m tools desk $(if $(OUTPUTS),--outputs)
	@echo "JupyterLab starts; its address follows"
	JUPYTER_CONFIG_PATH="$(CURDIR)/tools/lab" PYTHONPATH="$(CURDIR)/mine/workshop$(if $(PYTHONPATH),:$(PYTHONPATH))" $(PYTHON) -m jupyterlab --LabApp.default_url=/lab/tree/mine/00_start_here.ipynb $(LAB)

run: $(ENVIRONMENT)  ## learn: run the notebooks (ONLY="00 13", CHECK=1 compares, RENEW=1 writes)
ifeq ($(CHECK)$(RENEW),)
	$(PYTHON) -m tools run --profile "$(PROFILE)" --to build/run --only "$(ONLY)"
else
	$(PYTHON) -m tools compare --only "$(ONLY)" $(if $(RENEW),--renew)
endif

data: $(ENVIRONMENT)  ## learn: fetch the real data, checked
	$(PYTHON) -m unbraid data fetch

site: $(ENVIRONMENT) .venv/site/complete build/npm/complete  ## teach: the site with its slides (ONLY=11: slides of 11)
ifeq ($(ONLY),)
	.venv/site/bin/python -m tools site
endif
	$(PYTHON) -m tools slides --only "$(ONLY)"

editions: $(ENVIRONMENT)  ## teach: student, teacher and graded editions, in build (ONLY=11)
	$(PYTHON) -m tools student --only "$(ONLY)"
	$(PYTHON) -m tools teacher --only "$(ONLY)"
	$(PYTHON) -m tools assignment --only "$(ONLY)" --profile "$(PROFILE)"

env: $(ENVIRONMENT)  ## maintain: the environment .venv; the others make it when needed
	@$(PYTHON) -c "import sys, torch, unbraid; print(f'{sys.executable}: Python {sys.version.split()[0]}, PyTorch {torch.__version__}')"

# What the marked tests need beside the environment of the others.
NEEDS_grading = .venv/grading/complete
NEEDS_grid = $(SCHEDULER)
NEEDS_browser = build/site/live.html
test: $(ENVIRONMENT) $(if $(ONLY),$(NEEDS_$(ONLY)),.venv/citation/bin/cffconvert)  ## maintain: all that must hold (ONLY=browser, grading or grid)
ifeq ($(ONLY),)
	$(PYTHON) -m ruff format --check
	$(PYTHON) -m ruff check
	$(PYTHON) -m mypy
	$(PYTHON) -m reuse lint --lines
	.venv/citation/bin/cffconvert --validate
	$(PYTHON) -m pytest -n auto --dist worksteal --durations=20
else
	PATH="$(CURDIR)/.venv/grading/bin:$$PATH" SNAKEMAKE="$(SNAKEMAKE)" UNBRAID_BROWSERS="$(BROWSERS)" \
		$(if $(filter browser,$(ONLY)),.venv/site/bin/python,$(PYTHON)) -m pytest -m "$(ONLY)"
endif

grid: $(ENVIRONMENT) $(SCHEDULER)  ## maintain: many runs side by side (TARGET=readme, MACHINE=gpus or slurm)
	$(SNAKEMAKE) $(GRID) --snakefile papers/grid/Snakefile --profile "papers/grid/profiles/$(MACHINE)" $(if $(JOBS),$(LIMIT_$(MACHINE))$(JOBS)) \
		--config profile="$(PROFILE)" targets="$(TARGET)" results="$(RESULTS)" python="$(PYTHON)"

# Each run continues from its checkpoint, and what RESULTS has is left as it is.
AT_FULL = --profile "$(PROFILE)" --seed "$(SEED)" --results "$(RESULTS)" --keep
define train_and_measure
	$(PYTHON) -m papers train $(1) $(AT_FULL) $(ON)
	$(PYTHON) -m papers evaluate $(1) $(AT_FULL) --write

endef
gpu: PROFILE = full
gpu: RESULTS = results
gpu: ON = --accelerator cuda --precision bf16-mixed
gpu: $(ENVIRONMENT)  ## maintain: A, B and C at the papers' own size, with their verdicts (SEED=1)
	$(PYTHON) -m unbraid data fetch mnist  # all of it: the clone has a sample
	$(call train_and_measure,independent --dataset bounce --run published)
	$(call train_and_measure,independent --dataset bounce --run published_entangled)
	$(call train_and_measure,unordered --dataset sprites_poses --run published)
	$(call train_and_measure,single_element --dataset sprites --run published)

clean:  ## maintain: remove what was built (ALL=1: also .venv, data, your models)
	[ ! -d build ] || find build -mindepth 1 -maxdepth 1 ! -name results -exec rm -rf {} +
	rm -rf .pytest_cache .ruff_cache .mypy_cache lib/*.egg-info $(if $(ALL),.venv build data/cache)
	find lib papers tests tools notebooks \( -name __pycache__ -o -name .ipynb_checkpoints \) -prune -exec rm -rf {} +

build/site/live.html:
	$(MAKE) site
	$(if $(filter-out /%,$(BROWSERS)),.venv/site/bin/python -m playwright install $(filter-out /%,$(BROWSERS)))

# A PyTorch that .venv holds already meets the lock and is kept. PyTorch's own index alone has the build without CUDA.
.venv/complete: requirements.lock
	@"$(PYTHON3)" -c "$(FIT)" || { echo "Unbraid needs Python 3.11, 3.12 or 3.13, found: $(or $(PYTHON3),none); run make PYTHON3=/path/to/python3"; exit 1; }
	test -x .venv/bin/pip || "$(PYTHON3)" -m venv .venv || { echo "No environment could be made; on Debian and Ubuntu: sudo apt install python3-venv"; exit 1; }
	.venv/bin/python -m pip install --quiet "$$(grep ^uv== requirements.lock)"
ifeq ($(TORCH),cpu)
	@echo "Fetching PyTorch without CUDA, about 0.2 GB (TORCH=cuda: with it)"
	@.venv/bin/python -m uv pip install --python .venv/bin/python --torch-backend cpu "$$(grep ^torch== requirements.lock)" || \
		echo "It cannot be had from PyTorch's own index; PyPI's build is taken, on Linux with 2.7 GB of CUDA libraries"
else
	@[ "$$(uname -s)" != Linux ] || echo "Fetching PyTorch with CUDA, about 2.7 GB (TORCH=cpu: without it)"
endif
	@echo "Fetching the other packages of requirements.lock, about 0.2 GB"
	.venv/bin/python -m uv pip install --python .venv/bin/python -r requirements.lock || \
		.venv/bin/python -m pip install -r requirements.lock  # which knows the mirrors that pip is set to
	.venv/bin/python -m pip install --no-deps --no-build-isolation -e .
	touch $@

# The only validator of CITATION.cff needs an older jsonschema than JupyterLab does: an environment of its own, fetched once.
.venv/citation/bin/cffconvert: | $(ENVIRONMENT)
	$(PYTHON) -m venv .venv/citation
	.venv/citation/bin/python -m pip install cffconvert==2.0.0 jsonschema==3.2.0

# The grader needs packages that the course does not: an environment of its own, on top of the course's.
.venv/grading/complete: | $(ENVIRONMENT)
	$(PYTHON) -m venv .venv/grading
	$(PYTHON) -c "import sysconfig; print('import site; site.addsitedir(%r)' % sysconfig.get_path('purelib'))" > \
		"$$(.venv/grading/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/course.pth"
	.venv/grading/bin/python -m pip install otter-grader==7.0.0
	touch $@

# Sphinx and its theme: an environment of its own, on top of the course's. What pages load comes from npm, and lies in them.
.venv/site/complete: tools/site/requirements.txt | $(ENVIRONMENT)
	$(PYTHON) -m venv .venv/site
	$(PYTHON) -c "import sysconfig; print('import site; site.addsitedir(%r)' % sysconfig.get_path('purelib'))" > \
		"$$(.venv/site/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/course.pth"
	.venv/site/bin/python -m pip install -r tools/site/requirements.txt
	touch $@

build/npm/complete: tools/site/package.json tools/site/package-lock.json
	mkdir -p build/npm
	cp tools/site/package.json tools/site/package-lock.json build/npm
	npm ci --prefix build/npm --ignore-scripts --no-audit --no-fund
	touch $@

# Snakemake needs packages that the course does not: an environment of its own.
.venv/grid/complete: papers/grid/requirements.txt | $(ENVIRONMENT)
	$(PYTHON) -m venv .venv/grid
	.venv/grid/bin/python -m pip install -r papers/grid/requirements.txt
	touch $@
