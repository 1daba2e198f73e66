# Two commands for newcomers: `make demo` and `make test`. Both make what they need, in .venv.
PYTHON ?= python3
TORCH ?= torch==2.13.0
VENV := .venv
BIN := $(VENV)/bin
SHIM := $(HOME)/.cache/forebay/shim
MAKEFLAGS += --jobs=2

.PHONY: demo test test-slow check shim clean

demo: $(VENV)/.installed-demo  ## the whole journey on this machine
	$(BIN)/forebay demo $(DEMO)

test: check shim  ## the suite, under 15 minutes
	FOREBAY_TEST_SHIM_CACHE=$(SHIM) $(BIN)/python -m pytest -m "not slow" -n 2 --dist loadfile --no-loadscope-reorder

test-slow: $(VENV)/.installed-slow  ## kills, long simulations, real servers and libraries; under 45 minutes
	$(BIN)/python -m forebay.porting.shim build --cache $(SHIM)
	FOREBAY_TEST_SHIM_CACHE=$(SHIM) FOREBAY_TEST_TORCH_NPU=$(VENV)/torch-npu FOREBAY_TEST_JUPYTER=$(VENV)/jupyter $(BIN)/python -m pytest -m slow --timeout 1800 -n 2 --dist loadfile
	$(BIN)/python -m tests.simulation --seed 1000 --together 1000000 --processes 2 --quiet

check: $(VENV)/.installed-test  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Compiled beside `check`: each keeps one processor busy for a minute, where nothing is cached.
shim: $(VENV)/.installed-test
	$(BIN)/python -m forebay.porting.shim build --cache $(SHIM)

clean:
	rm -rf $(VENV) build dist src/*.egg-info

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Forebay needs Python 3.11 or newer; found `$(PYTHON) --version`. Try: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)

# A torch that is there already is kept: on a vendor's machine it is the vendor's own.
$(VENV)/.installed-demo: pyproject.toml | $(BIN)/python
	$(BIN)/python -c 'import torch' 2>/dev/null || $(BIN)/pip install --disable-pip-version-check "$(TORCH)"
	$(BIN)/pip install --disable-pip-version-check numpy -e '.[cloud]'
	touch $@

$(VENV)/.installed-test: pyproject.toml $(VENV)/.installed-demo
	$(BIN)/pip install --disable-pip-version-check -e '.[cloud,test]'
	touch $@

# The constraint keeps torch as it is, whatever a library asks for. torch-npu lies apart: torch imports every plug-in that it finds.
$(VENV)/.installed-slow: pyproject.toml $(VENV)/.installed-test
	$(BIN)/pip freeze | grep '^torch==' > $(VENV)/torch.txt
	$(BIN)/pip install --disable-pip-version-check -c $(VENV)/torch.txt -e '.[cloud,test,kernels,libraries,pages,ray,store,servers]'
	$(BIN)/pip install --disable-pip-version-check --no-deps --upgrade --target $(VENV)/torch-npu torch-npu==2.13.0
	$(BIN)/pip install --disable-pip-version-check --upgrade --target $(VENV)/jupyter jupyter_server ipykernel
	touch $@
