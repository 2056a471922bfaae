# make demo and make test need Python 3.10 to 3.12, git, make and a C++ compiler.
PYTHON ?= python3
PYTHON_OPENMMLAB ?= $(PYTHON)
PYTEST_ARGS ?=
# A file of tests stays in one process: its runs are shared.
PYTEST := pytest -n auto --maxprocesses 4 --dist loadfile
# For tests that take no longer than imports, one process is the quickest.
PYTEST_FAST := pytest -m 'not slow'
DEMO_ARGS ?=
SOAK_ARGS ?=
GPU_REPORT_ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
STAMP_SOAK := $(VENV)/.installed-soak
VENV_DOCS := .venv-docs
STAMP_DOCS := $(VENV_DOCS)/.installed
VENV_OPENMMLAB := .venv-openmmlab
BIN_OPENMMLAB := $(VENV_OPENMMLAB)/bin
STAMP_OPENMMLAB := $(VENV_OPENMMLAB)/.installed
PACKAGING := setup.py pyproject.toml requirements/runtime.txt requirements/test.txt

export PIP_DISABLE_PIP_VERSION_CHECK := 1
# The scripts that tests start find the environment's python first.
with_venv = PATH="$(CURDIR)/$(1):$$PATH"
# $(call require_python,command,lowest,first unsupported,variable)
require_python = @$(1) -c 'import sys; v = sys.version_info[:2]; \
	sys.exit(not (3, $(2)) <= v < (3, $(3)))' \
	|| { echo "$(1) is not Python 3.$(2) or newer, below 3.$(3): name one, for" \
	"example make $(MAKECMDGOALS) $(4)=python3.11" >&2; exit 1; }
# pip's whole output is kept beside the environment it fills.
pip = $(1)/bin/python -m pip install --quiet --progress-bar off \
	--log $(1)/install.log

.PHONY: help demo test test-fast test-openmmlab gpu-report \
	soak soak-fuzz soak-kills soak-memory lint format docs install clean
.DEFAULT_GOAL := help

help:
	@echo "make demo            train on generated scenes and write pictures"
	@echo "make test            run the tests"
	@echo "make test-fast       run those that train nothing: a minute or two"
	@echo "make test-openmmlab  run them on the original OpenMMLab packages"
	@echo "make gpu-report      check and measure a GPU, write docs/gpu.md: 9 minutes"
	@echo "make soak            mutated files, killed runs, a long run: for hours"
	@echo "make soak-fuzz, soak-kills, soak-memory   one of them"
	@echo "make lint            check style; make format fixes it"
	@echo "make docs            build the docs as a site in site/"
	@echo "make clean           remove the environments and what was built"

demo: $(STAMP)
	@$(call with_venv,$(BIN)) $(BIN)/python tools/demo.py $(DEMO_ARGS)

test: $(STAMP)
	@$(call with_venv,$(BIN)) $(BIN)/python -m $(PYTEST) $(PYTEST_ARGS)

test-fast: $(STAMP)
	@$(call with_venv,$(BIN)) $(BIN)/python -m $(PYTEST_FAST) $(PYTEST_ARGS)

test-openmmlab: $(STAMP_OPENMMLAB)
	@$(call with_venv,$(BIN_OPENMMLAB)) $(BIN_OPENMMLAB)/python -m $(PYTEST) $(PYTEST_ARGS)

gpu-report: $(STAMP)
	@$(call with_venv,$(BIN)) $(BIN)/python tools/gpu_report.py $(GPU_REPORT_ARGS)

# Their arguments differ.
soak: override SOAK_ARGS :=
soak: soak-fuzz soak-kills soak-memory

# One needs atheris, too.
soak-fuzz: $(STAMP_SOAK)

soak-fuzz soak-kills soak-memory: $(STAMP)
	@$(call with_venv,$(BIN)) $(BIN)/python tests/$(subst -,/,$@).py $(SOAK_ARGS)

lint: $(STAMP)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports --no-logo

format: $(STAMP)
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

# It reads the package without importing it: no torch here.
docs: $(STAMP_DOCS)
	@NO_MKDOCS_2_WARNING=1 $(call with_venv,$(VENV_DOCS)/bin) mkdocs build --strict
	@echo "Built site/: open site/index.html"

install: $(STAMP)

# opencv-python needs libGL and GLib of the system; a bare machine has neither. Its
# headless build is the same module without windows.
$(STAMP): $(PACKAGING) requirements/onedl.txt
	$(call require_python,$(PYTHON),10,13,PYTHON)
	@echo "Installing into $(VENV): a few minutes, mostly torch ..."
	@$(PYTHON) -m venv $(VENV)
	@$(call pip,$(VENV)) -e '.[onedl,test]'
	@$(BIN)/python -c 'import cv2' 2>/dev/null || { \
		echo "No libGL here: using opencv-python-headless instead of opencv-python."; \
		version=$$($(BIN)/python -c 'from importlib.metadata import version as v; \
			print(v("opencv-python"))') && \
		$(BIN)/python -m pip uninstall --quiet --yes opencv-python && \
		$(call pip,$(VENV)) --no-deps --force-reinstall \
			"opencv-python-headless==$$version"; }
	@touch $@

$(STAMP_SOAK): $(STAMP) requirements/soak.txt
	@$(call pip,$(VENV)) -r requirements/soak.txt
	@touch $@

$(STAMP_DOCS): requirements/docs.txt
	$(call require_python,$(PYTHON),10,15,PYTHON)
	@$(PYTHON) -m venv $(VENV_DOCS)
	@$(call pip,$(VENV_DOCS)) -r requirements/docs.txt
	@touch $@

# mmcv is compiled against the torch that is already there, for the CPU alone, so that
# no CUDA toolkit is needed; --no-cache-dir, or pip takes one built for another torch.
# Without optimisation it takes half the time, and the tests run none of its operators.
$(STAMP_OPENMMLAB): $(PACKAGING) requirements/openmmlab.txt requirements/openmmlab-build.txt
	$(call require_python,$(PYTHON_OPENMMLAB),10,12,PYTHON_OPENMMLAB)
	@echo "Installing into $(VENV_OPENMMLAB): about 10 minutes, mostly compiling mmcv ..."
	@$(PYTHON_OPENMMLAB) -m venv $(VENV_OPENMMLAB)
	@$(call pip,$(VENV_OPENMMLAB)) -r requirements/openmmlab-build.txt
	@MMCV_WITH_OPS=1 CUDA_VISIBLE_DEVICES= CFLAGS='-O0 -g0' $(call pip,$(VENV_OPENMMLAB)) \
		--no-cache-dir --no-build-isolation --no-binary mmcv mmcv==2.1.0 \
		-r requirements/openmmlab-build.txt
	@$(call pip,$(VENV_OPENMMLAB)) -r requirements/openmmlab-build.txt \
		-e '.[openmmlab,test]'
	@touch $@

clean:
	rm -rf $(VENV) $(VENV_OPENMMLAB) $(VENV_DOCS) build dist site *.egg-info \
		.pytest_cache .ruff_cache .hypothesis
