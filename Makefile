# Everything starts with `make setup`, which the other targets call as needed.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO_CANISTER := demo/canister/target/demo.wasm
# A process for each core. Each takes the next tests from whoever has most left, so neighbours in a file stay together.
PARALLEL := -n auto --maxprocesses 8 --dist worksteal
RUST_SOURCES := $(shell find native -name '*.rs' -not -path '*/target/*') native/Cargo.lock native/Cargo.toml native/core/Cargo.toml

.PHONY: setup demo demo-canister test coverage lint docs interop bench soak mutants clean
.DEFAULT_GOAL := help

.PHONY: help
help: ## Show the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 15

setup: $(VENV)/built ## Make .venv and build the native core into it

$(VENV)/installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; try make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip 'maturin>=1.9,<2'
	touch $@

$(VENV)/built: $(VENV)/installed $(RUST_SOURCES)
	@command -v cargo >/dev/null || { echo "cargo is needed to build the native core; install Rust 1.88 or newer"; exit 1; }
	@echo "building the native core and fetching what it needs: a minute or two the first time"
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

demo: setup ## See a conversation pass through a gateway; serves until Ctrl-C
	@$(BIN)/icws demo

demo-canister: $(DEMO_CANISTER) ## Build the demo canister in Rust, which some tests need

$(DEMO_CANISTER): demo/build.sh $(wildcard demo/canister/*.toml demo/canister/Cargo.lock demo/canister/*.did demo/canister/src/*.rs)
	@demo/build.sh

test: setup ## Run all tests; skips those whose Node.js, Chromium or demo canister is missing
	cargo test --quiet --manifest-path native/Cargo.toml --package icws-core
	$(BIN)/python -m pytest $(PARALLEL)

coverage: setup ## Run the Python tests and show how much of each module they reach
	$(BIN)/python -m pytest -q $(PARALLEL) --cov --cov-report=term

lint: setup ## Check style, types, stubs and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest appliance._native
	$(BIN)/python -m pytest -q tests/test_layers.py tests/test_layers_rust.py
	cargo fmt --all --check --manifest-path native/Cargo.toml
	cargo fmt --check --manifest-path demo/canister/Cargo.toml
	cargo clippy --quiet --workspace --all-targets --manifest-path native/Cargo.toml -- -D warnings

docs: setup ## Make gateway.yaml and what is generated in docs/ from the code
	$(BIN)/python -m docs.generate

interop: setup ## Run every client through the gateway and write the table in README.md
	$(BIN)/python -m tests.interop

$(VENV)/contenders: $(VENV)/built
	$(BIN)/python -m pip install --quiet --editable '.[bench]'
	touch $@

bench: setup $(VENV)/contenders ## Measure native functions beside other packages, each step of a message, a gateway under load
	$(BIN)/python -m pytest benchmarks --benchmark-only
	$(BIN)/icws bench

FAULTS ?=
JOBS ?= 2

soak: setup ## Run every schedule of faults between gateway and IC; FAULTS='latency/*' chooses, JOBS run at a time
	$(BIN)/python -m tests.faults --jobs $(JOBS) $(foreach name,$(FAULTS),'$(name)')

SEED ?= 1
MUTATIONS ?= 60
RUST_SHARDS ?= 20

mutants: setup ## Break the core modules and list what their tests do not notice; SEED, MUTATIONS and RUST_SHARDS set the sample
	$(BIN)/python -m tests.mutants --seed $(SEED) --count $(MUTATIONS)
	@if cargo mutants --version >/dev/null 2>&1; then \
		cargo mutants --dir native --package icws-core --shard $$(( $(SEED) % $(RUST_SHARDS) ))/$(RUST_SHARDS) --output native/target; \
	else echo "the Rust half is skipped: cargo-mutants is missing; cargo install cargo-mutants installs it"; fi

clean: ## Remove what was built
	rm -rf $(VENV) native/target demo/canister/target appliance/*.so
