# SPDX-License-Identifier: BSD-2-Clause
# Needs Python 3.11 or newer with venv, gcc and make. Everything lands in .venv and build; nothing needs root.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
CSIM := $(wildcard bindings/csim/*.[ch] bindings/csim/cc/*.[ch])
CORE := $(CSIM) $(wildcard kmod/include/*.h kmod/linux/ccdrl_linux.h bindings/*/*.[ch] bindings/*/*/*.[ch])
PACKAGES := agent bindings envs models
SCRIPTS := train.py serve.py compare.py

DEMO_OUT ?= runs/demo
DEMO_SCENARIOS ?= idle-pair lte-wifi-generated random-loss-1
SHIPPED := $(sort $(wildcard models/pretrained/*/))
TEST_ARGS ?=
BENCH_ARGS ?=
SANITIZE := -DCCDRL_DEBUG -g -O1 -std=c11 -Wall -Wextra -Werror -ffp-contract=off -fno-omit-frame-pointer \
	-fsanitize=address,undefined -fno-sanitize-recover=all

SANITIZE_TESTS := tests/bindings/test_simulator.py tests/bindings/test_datapath_conformance.py tests/bindings/decision \
	tests/envs/test_observation.py tests/envs/test_observation_reference.py tests/envs/test_action.py

.DEFAULT_GOAL := help
.PHONY: help setup demo test programs live soak kmod-check lint sanitize bench wheel clean

help:  ## List the targets.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(VENV)/core.stamp  ## Create .venv, install the pinned dependencies, build the C core.

$(VENV)/venv.stamp: constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "make: $(PYTHON) is too old: Python 3.11 or newer is needed (make PYTHON=python3.12 ...)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --constraint constraints.txt setuptools wheel cffi
	touch $@

$(VENV)/core.stamp: $(VENV)/venv.stamp pyproject.toml setup.py bindings/_build.py $(CORE)
	$(PIP) install --constraint constraints.txt --no-build-isolation --editable '.[train,report,dev]'
	touch $@

demo: setup  ## Train a small agent (about two minutes), compare it with the classic controllers, write a report.
	$(BIN)/python train.py --config agent/configs/demo.toml --out $(DEMO_OUT)
	$(BIN)/python compare.py $(DEMO_SCENARIOS) --cc drl,lia,olia,balia,cubic --seeds 3 \
		--model demo=$(DEMO_OUT)/policy $(SHIPPED:%/=--model %) \
		--json $(DEMO_OUT)/compare.json --report $(DEMO_OUT)/report.html

# What needs root, a kernel and a quiet machine: `make live`.
LIVE_TESTS := tests/live tests/bindings/testbed

test: setup  ## Run the tests.
	$(BIN)/python -m pytest $(LIVE_TESTS:%=--ignore=%) --ignore=tests/kmod/freebsd $(TEST_ARGS)

programs:  ## Build the BPF controllers (clang, llvm, libbpf-dev, bpftool).
	$(MAKE) -C kmod/linux

soak: setup programs  ## Ten minutes of faults and churn on the real kernel; as root. CCDRL_SOAK_S=600 seconds.
	CCDRL_SOAK_S=$${CCDRL_SOAK_S:-600} $(BIN)/python -m pytest -s tests/live/test_daemon_soak.py $(TEST_ARGS)

live: setup programs  ## Run the live tests: real kernel, network namespaces; as root.
	$(BIN)/python -m pytest $(LIVE_TESTS) $(TEST_ARGS)

kmod-check: setup  ## Check the FreeBSD module: build it, run it in a model of the kernel, plant faults.
	$(BIN)/python -m ccdrl.tests.kmod.freebsd.check

lint: setup  ## Check style and types.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	mkdir -p build/types && ln -sfn ../.. build/types/ccdrl
	MYPYPATH=build/types $(BIN)/mypy $(PACKAGES:%=-p ccdrl.%) $(SCRIPTS:%.py=-m ccdrl.%)

# Every controller with losses in the C program; then the tests of the bindings on an extension built the same way.
sanitize: setup  ## Run the C core under the address and undefined-behaviour sanitizers.
	mkdir -p build/sanitize
	$(CC) $(SANITIZE) -pthread -Ikmod/include -Ibindings/csim $(filter %.c,$(CSIM)) -lm -o build/sanitize/csim
	for cc in 0 1 2 3 4 5 6 7 8 9; do build/sanitize/csim $$cc 20 0.005 || exit 1; done
	CCDRL_SANITIZE=1 $(BIN)/python setup.py --quiet build --build-base build/sanitize --build-lib build/sanitize/lib
	LD_PRELOAD=$$($(CC) -print-file-name=libasan.so) ASAN_OPTIONS=detect_leaks=0 PYTHONPATH=build/sanitize/lib \
		$(BIN)/python -m pytest -p no:cacheprovider $(SANITIZE_TESTS)

bench: setup  ## Measure speed and memory; JSON on stdout.
	@$(BIN)/python tests/bench/run.py $(BENCH_ARGS)

wheel: setup  ## Build the source archive and, from it, the wheel, into dist.
	$(BIN)/python -m build --no-isolation --outdir dist .

clean:  ## Remove what was built; .venv and runs stay.
	rm -rf build dist *.egg-info bindings/*.so bindings/*/*.so bindings/linux/objects
