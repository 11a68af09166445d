# make demo, make test: each does all its own set-up in .venv, once.
# PYTHON=python3.12 make test chooses the interpreter (3.11 or later); TORCH_PIP=... passes options to the
# installation of torch alone (for example an index of CPU-only builds, which are much smaller).

PYTHON ?= python3
TORCH_PIP ?=
PYTEST_ARGS ?=
# Tests run side by side, one a processor, at most eight; TEST_JOBS=0 runs them one after another.
TEST_JOBS ?= auto
RUNS ?= 100000
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO_STAMP := $(VENV)/.installed-to-encode
GPU_STAMP := $(VENV)/.installed-gpu
TORCH := $(shell grep '^torch==' constraints.txt)

.PHONY: demo native libvgm fuzz wheel docs test test-fast lint types unit gpu-check gpu-bench clean help

help: ## what there is to make
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/:\t/' | expand -t 14

NATIVE := setup.py $(wildcard libvgm/include/*.h libvgm/src/*.[ch] libvgm/encoder/*.[ch] libvgm/python/*.[ch])

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed, this is " + sys.version)'
	$(PYTHON) -m venv $(VENV)

$(STAMP): pyproject.toml constraints.txt $(NATIVE) | $(VENV)/bin/python
	$(BIN)/python -m pip install -qq --disable-pip-version-check $(TORCH_PIP) '$(TORCH)'
	$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e '.[encode,zarr,dask,remote,test]'
	@touch $(DEMO_STAMP) $@

$(DEMO_STAMP): pyproject.toml constraints.txt $(NATIVE) | $(VENV)/bin/python
	$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e '.[encode,report]' matplotlib
	@touch $@

$(GPU_STAMP): $(STAMP)
	@$(BIN)/python -c 'import sys; from volmicro_codec.cuda.device import driver_version; \
	  sys.exit(driver_version() is None and "this needs a CUDA device: no NVIDIA driver is here")'
	extra=$$($(BIN)/python -c 'from volmicro_codec.cuda.device import extra; print(extra())') && \
	  { [ "$$extra" != cuda12 ] || $(BIN)/python -m pip uninstall -qq -y faiss-cpu; } && \
	  $(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e ".[$$extra]"
	@$(BIN)/python scripts/require_gpu.py
	@touch $@

demo: $(DEMO_STAMP) ## a phantom, encoded, decoded, measured, and a picture of both in demo-out/
	@mkdir -p demo-out
	$(BIN)/vgm phantom -o demo-out/phantom.tif --shape 48,160,160 --seed 1 --force
	$(BIN)/vgm encode demo-out/phantom.tif -o demo-out/phantom.vgm --ratio 100 --force
	$(BIN)/vgm info demo-out/phantom.vgm
	$(BIN)/vgm test demo-out/phantom.vgm
	$(BIN)/vgm decode demo-out/phantom.vgm -o demo-out/decoded.tif --force
	$(BIN)/vgm roi demo-out/phantom.vgm --box 10:30,40:120,40:120 -o demo-out/region.tif --force
	$(BIN)/vgm verify demo-out/phantom.tif demo-out/phantom.vgm
	$(BIN)/python scripts/side_by_side.py demo-out/phantom.tif demo-out/decoded.tif -o demo-out/mips.png
	@echo "Look at demo-out/mips.png: projections of the original and of the decoded volume."

native: ## build the extension in place, by what is there alone: PYTHON with setuptools, and a C compiler
	@command -v $${CC:-cc} >/dev/null || { echo "a C compiler is needed, GCC or Clang: CC=... names one"; exit 1; }
	@$(PYTHON) -c 'import setuptools' || { echo "$(PYTHON) needs setuptools: pip install setuptools"; exit 1; }
	$(PYTHON) setup.py -q build_ext --inplace

libvgm: ## build libvgm and its examples by CMake alone, in build/libvgm
	cmake -S libvgm -B build/libvgm -DCMAKE_BUILD_TYPE=Release
	cmake --build build/libvgm

wheel: ## an sdist, a wheel of it in dist/, and both tried in fresh environments without torch
	rm -rf dist build/wheel
	$(PYTHON) -m venv build/wheel/build
	build/wheel/build/bin/python -m pip install -qq --disable-pip-version-check -c constraints.txt build
	PIP_CONSTRAINT=$(CURDIR)/constraints.txt build/wheel/build/bin/python -m build --outdir dist
	for made in dist/*.whl dist/*.tar.gz; do \
	  rm -rf build/wheel/try && $(PYTHON) -m venv build/wheel/try && \
	  build/wheel/try/bin/python -m pip install -qq --disable-pip-version-check -c constraints.txt $$made && \
	  build/wheel/try/bin/python scripts/check_install.py spec/vectors && \
	  build/wheel/try/bin/vgm test spec/vectors/valid/*.vgm >/dev/null || exit 1; \
	done

DOCS := build/docs-env

$(DOCS)/.installed: constraints.txt pyproject.toml
	$(PYTHON) -m venv $(DOCS)
	$(DOCS)/bin/python -m pip install -qq --disable-pip-version-check -c constraints.txt \
	  $$($(PYTHON) -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["docs"])')
	@touch $@

docs: $(DOCS)/.installed ## the documentation as pages in build/docs
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build -q

fuzz: ## fuzz libvgm under sanitizers, with Clang; RUNS=10000000 tries so many files
	$(PYTHON) scripts/fuzz_libvgm.py --runs $(RUNS)

test: lint types unit ## what continuous integration runs

test-fast: lint $(STAMP) ## lint, and the tests that are not slow: within a minute and a half on two processors
	VGM_HYPOTHESIS=quick $(BIN)/python -m pytest -q -n 2 --dist worksteal -m "not slow and not gpu" $(PYTEST_ARGS)

lint: $(STAMP) ## ruff: rules, and how code is set
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP) ## mypy --strict
	$(BIN)/mypy

unit: $(STAMP) ## pytest, side by side; PYTEST_ARGS=... adds arguments
	$(BIN)/python -m pytest -q -n $(TEST_JOBS) --maxprocesses 8 --dist worksteal $(PYTEST_ARGS)

gpu-check: $(GPU_STAMP) ## the tests that need a CUDA device, then a part of them under compute-sanitizer
	$(BIN)/python -m pytest -q -m gpu $(PYTEST_ARGS)
	@command -v compute-sanitizer >/dev/null || { echo "compute-sanitizer is not there: it comes with the CUDA toolkit"; exit 1; }
	for tool in memcheck racecheck synccheck initcheck; do \
	  VGM_SANITIZE=1 compute-sanitizer --tool $$tool --error-exitcode 9 --target-processes all \
	    $(BIN)/python -m pytest -q -m gpu tests/cuda -k "not billion and not twenty and not shared_stacks and not long" || exit 1; \
	done

gpu-bench: $(GPU_STAMP) ## the benchmarks that need a CUDA device; results in benchmarks/results/
	$(BIN)/python benchmarks/gpu_decode.py
	$(BIN)/python benchmarks/gpu_encode.py
	$(BIN)/python benchmarks/gpu_fit.py

clean: ## remove what was made
	rm -rf $(VENV) demo-out build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
