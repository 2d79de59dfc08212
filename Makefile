# Everything starts with `make setup`, which the other targets call as needed.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO_CANISTER := demo/canister/target/demo.wasm
# Two processes for each core, as most tests wait: for a browser, a block, another process. Each takes the next tests from
# whoever has most left, so neighbours in a file stay together.
PROCESSES ?= $(shell $(PYTHON) -c 'import os; print(min(8, 2 * (os.cpu_count() or 1)))')
PARALLEL := -n $(PROCESSES) --dist worksteal
# One of ten thousand tests that meets a pause of the machine does not condemn a change: those that failed are tried once
# more, alone, at the end. What passes only then is a fault to mend all the same: of the test, or of the code that the pause
# revealed. AGAIN= tries nothing again. It is no plugin, since that asks a server about each test: 45 ms for every one.
AGAIN ?= --last-failed --last-failed-no-failures none --maxfail 5
# Tests start programs by the hundred, and without bytecode each compiles all its modules again.
unexport PYTHONDONTWRITEBYTECODE
RUST_SOURCES := $(shell find native -name '*.rs' -not -path '*/target/*') native/Cargo.lock $(wildcard native/Cargo.toml native/*/Cargo.toml)

.PHONY: setup demo cluster-demo chat demo-canister interop-builds test coverage lint docs pictures interop autobahn dist dist-test wheel-test reproduce lock audit release bench flood soak cluster-soak cluster-scale fuzz mutants clean
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

cluster-demo: setup ## See three gateways serve as one while one of them is killed, and their Redis too; serves until Ctrl-C
	@$(BIN)/icws demo --nodes 3

WEB := demo/web
WEB_SOURCES := $(WEB)/build.mjs $(WEB)/tsconfig.json $(wildcard $(WEB)/src/* $(WEB)/reconnect/src/*) $(WEB)/reconnect/tsconfig.json

$(WEB)/node_modules/.package-lock.json: $(WEB)/package-lock.json
	@command -v npm >/dev/null || { echo "the chat page needs Node.js 20 or newer and npm"; exit 1; }
	cd $(WEB) && npm ci --no-progress

$(WEB)/dist/chat.js: $(WEB)/node_modules/.package-lock.json $(WEB_SOURCES)
	cd $(WEB) && npm run --silent build

chat: setup $(WEB)/dist/chat.js ## Chat in browser tabs through a gateway and a canister; serves until Ctrl-C
	@$(BIN)/icws localnet --example chat

demo-canister: $(DEMO_CANISTER) ## Build the demo canister in Rust, which some tests need

$(DEMO_CANISTER): demo/build.sh $(wildcard demo/canister/*.toml demo/canister/Cargo.lock demo/canister/*.did demo/canister/src/*.rs)
	@demo/build.sh

CDKS := tests/interop/cdks
OLD_CANISTERS := $(CDKS)/target/cdk_0_1_2.wasm
RUST_AGENT := tests/interop/rust-agent
# Where its dependencies are built; a folder that outlives the clone saves minutes.
RUST_AGENT_TARGET ?= $(RUST_AGENT)/target

PLAIN := tests/interop/plain-canister

interop-builds: $(OLD_CANISTERS) $(PLAIN)/target/plain.wasm $(RUST_AGENT)/target/rust-agent ## Build the canisters and the agent in Rust that some tests need

$(OLD_CANISTERS): demo/build.sh $(wildcard $(CDKS)/*.toml $(CDKS)/Cargo.lock $(CDKS)/*.rs $(CDKS)/*/*.toml $(CDKS)/*/src/*.rs)
	@demo/build.sh $(CDKS) cdk_0_1_2 cdk_0_2_1

$(PLAIN)/target/plain.wasm: demo/build.sh $(wildcard $(PLAIN)/*.toml $(PLAIN)/Cargo.lock $(PLAIN)/src/*.rs)
	@demo/build.sh $(PLAIN) plain

$(RUST_AGENT)/target/rust-agent: $(wildcard $(RUST_AGENT)/*.toml $(RUST_AGENT)/Cargo.lock $(RUST_AGENT)/src/*.rs)
	cargo build --quiet --locked --manifest-path $(RUST_AGENT)/Cargo.toml --target-dir $(RUST_AGENT_TARGET)
	mkdir -p $(@D) && cp $(RUST_AGENT_TARGET)/debug/rust-agent $@

test: setup ## Run all tests; skips those whose Node.js, Chromium or demo canister is missing
	cargo test --quiet --locked --manifest-path native/Cargo.toml --package icws-core --package icws-client --package icws-fuzz
	$(BIN)/python -m pytest --cache-clear $(PARALLEL) || { \
		test $$? -eq 1 -a -n "$(AGAIN)" && echo "RERUN: what failed above, alone" && $(BIN)/python -m pytest -rA $(AGAIN); }

coverage: setup ## Run the Python tests and show how much of each module they reach
	$(BIN)/python -m pytest -q $(PARALLEL) --cov --cov-report=term

# All at the same time, each one's output in one piece: clippy compiles while mypy thinks.
lint: setup ## Check style, types, stubs and layers
	@$(MAKE) --no-print-directory --jobs --output-sync=target lint-style lint-types lint-layers lint-rust

.PHONY: lint-style lint-types lint-layers lint-rust
lint-style:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	cargo fmt --all --check --manifest-path native/Cargo.toml
	cargo fmt --check --manifest-path demo/canister/Cargo.toml
	cargo fmt --all --check --manifest-path tests/interop/cdks/Cargo.toml
	cargo fmt --check --manifest-path tests/interop/plain-canister/Cargo.toml
	cargo fmt --check --manifest-path tests/interop/rust-agent/Cargo.toml

lint-types:
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest appliance._native

lint-layers:
	$(BIN)/python -m pytest -q tests/test_layers.py tests/test_layers_rust.py

lint-rust:
	cargo clippy --quiet --locked --workspace --all-targets --manifest-path native/Cargo.toml -- -D warnings

docs: setup ## Make gateway.yaml and what is generated in docs/ from the code
	$(BIN)/python -m docs.generate

pictures: setup ## Make the pictures of README.md and docs/, with Chromium and Node.js
	$(BIN)/python -m tests.pictures

interop: setup ## Run every client through the gateway and write the table in README.md
	$(BIN)/python -m tests.interop

AUTOBAHN_PYTHON ?= python2.7
CASES ?=

# pip of Python 2.7 makes no virtual environments: a folder of its own for packages of the user is as good.
$(VENV)/autobahn/installed:
	PYTHONUSERBASE=$(abspath $(VENV))/autobahn $(AUTOBAHN_PYTHON) -m pip install --quiet --user autobahntestsuite==25.10.1
	touch $@

autobahn: setup ## Run the Autobahn test suite against the listener; AUTOBAHN_PYTHON is the Python 2.7 that it needs, CASES='7.*' chooses
	@if $(AUTOBAHN_PYTHON) --version >/dev/null 2>&1; then $(MAKE) --no-print-directory autobahn-run; \
	else echo "skipped: the Autobahn test suite needs Python 2.7, and $(AUTOBAHN_PYTHON) does not run; try make autobahn AUTOBAHN_PYTHON=/path"; fi

.PHONY: autobahn-run
autobahn-run: $(VENV)/autobahn/installed
	PYTHONUSERBASE=$(abspath $(VENV))/autobahn $(BIN)/python -m tests.autobahn --python $(AUTOBAHN_PYTHON) $(if $(CASES),,--write) $(foreach name,$(CASES),'$(name)')

PACKING := $(VENV)-dist/installed
PACK := $(VENV)-dist/bin/python
LOCKS := distribution/locks
COMPILE_LOCK := $(PACK) -m uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-annotate --no-header

# An environment of its own, with locked versions only: maturin and Zig, and what the manual pages are made with.
$(PACKING): $(LOCKS)/build.txt $(LOCKS)/gateway.txt
	test -x $(PACK) || $(PYTHON) -m venv $(VENV)-dist
	$(PACK) -m pip install --quiet --disable-pip-version-check --require-hashes -r $(LOCKS)/build.txt
	$(PACK) -m pip install --quiet --disable-pip-version-check --require-hashes -r $(LOCKS)/gateway.txt
	touch $@

dist: $(PACKING) ## Make wheel, source archive, Debian package and npm package of the last commit in dist/, with sums and SBOM
	$(PACK) -m distribution

dist-test: setup $(PACKING) ## Install what is in dist/ into empty environments and a Debian, and use it; as root it tests all
	ICWS_DIST=$(CURDIR)/dist $(BIN)/python -m pytest -q tests/distribution/installed

# Without Zig, for this machine alone: what the editable build compiled is used again.
wheel-test: setup ## Install a wheel of this checkout into an empty environment, and take the first steps of the docs in it
	rm -rf build/wheel
	$(BIN)/python -m maturin build --quiet --release --locked --out build/wheel
	ICWS_DIST=$(CURDIR)/build/wheel $(BIN)/python -m pytest -q tests/distribution/installed/test_wheel.py -k newcomer

reproduce: $(PACKING) ## Make what is in dist/ again, in a clone elsewhere and without what is compiled, and compare the sums
	$(PACK) -m distribution.reproduce

lock: $(PACKING) ## Lock the newest versions that pyproject.toml allows, with their hashes
	$(COMPILE_LOCK) --extra otel --extra cluster pyproject.toml --output-file $(LOCKS)/gateway.txt
	$(COMPILE_LOCK) $(LOCKS)/build.in --output-file $(LOCKS)/build.txt

audit: $(PACKING) ## Check what is locked for vulnerabilities, licences and sources; says what it could not check
	$(PACK) -m distribution.audit

release: ## Set VERSION, make and test the artefacts, and tag the commit
	@test -n "$(VERSION)" || { echo "say which: make release VERSION=1.2.3"; exit 1; }
	$(PYTHON) -m distribution.release $(VERSION)

$(VENV)/contenders: $(VENV)/built
	$(BIN)/python -m pip install --quiet --editable '.[bench]'
	touch $@

bench: setup $(VENV)/contenders ## Measure native functions beside other packages, each step of a message, a gateway under load
	$(BIN)/python -m pytest benchmarks --benchmark-only
	$(BIN)/icws bench

FLOODS ?=

flood: setup ## Measure what others notice while one address floods the gateway; FLOODS='pings large' chooses
	$(BIN)/python -m benchmarks.flood $(if $(FLOODS),,--write) $(FLOODS)

FAULTS ?=
JOBS ?= 2
MINUTES ?= 20

soak: setup ## Run every schedule of faults between gateway and IC, measure the relay, attack a gateway for MINUTES, simulate nodes that die, lose the engine and share polls, kill one with 500 clients, then cluster-soak; FAULTS='latency/*' chooses, JOBS run at a time
	$(BIN)/python -m tests.faults --jobs $(JOBS) $(if $(FAULTS),,--write) $(foreach name,$(FAULTS),'$(name)')
	$(if $(FAULTS),,$(BIN)/python -m tests.faults --jobs $(JOBS) --like-mainnet --write)
	$(if $(FAULTS),,$(BIN)/python -m tests.gateway.figures --write)
	$(if $(FAULTS),,$(BIN)/python -m tests.hostile --minutes $(MINUTES) --write)
	$(if $(FAULTS),,ICWS_HOSTILE_ROUNDS=3 $(BIN)/python -m pytest -q tests/hostile/test_memory.py)
	$(if $(FAULTS),,$(BIN)/python -m tests.cluster.registry.test_simulation 0 10000)
	$(if $(FAULTS),,ICWS_SHARED_SEEDS=10000 $(BIN)/python -m pytest -q tests/cluster/shared/test_simulation.py)
	$(if $(FAULTS),,ICWS_CRASH_CLIENTS=500 $(BIN)/python -m pytest -q tests/gateway/journal/test_crash.py)
	$(if $(FAULTS),,$(MAKE) --no-print-directory cluster-soak)

CLUSTER ?=

cluster-soak: setup ## Run every schedule of faults among three nodes and their engine, which takes an hour; CLUSTER='killed/*' chooses
	$(BIN)/python -m tests.cluster.schedules --jobs $(JOBS) $(if $(CLUSTER),,--write) $(foreach name,$(CLUSTER),'$(name)')

cluster-scale: setup ## Simulate a cluster of 100 nodes and 2 million sessions in one process: what a session takes, what a heartbeat costs; needs 6 GB
	$(BIN)/python -m tests.cluster.scale

TARGETS ?=
SECONDS ?= 600

fuzz: setup ## Fuzz the decoders of the native core, each for SECONDS of CPU; needs cargo-fuzz and a nightly compiler; TARGETS='cbor' chooses
	$(BIN)/python -m tests.fuzz --seconds $(SECONDS) $(TARGETS)

SEED ?= 1
MUTATIONS ?= 60

mutants: setup ## Break the core modules, Python and Rust, and list what their tests do not notice; SEED and MUTATIONS set the sample
	$(BIN)/python -m tests.mutants --seed $(SEED) --count $(MUTATIONS)
	$(BIN)/python -m tests.mutants_rust --seed $(SEED) --count $(MUTATIONS)

clean: ## Remove what was built
	rm -rf $(VENV) $(VENV)-dist build native/target native/fuzz/target demo/canister/target tests/interop/*/target $(WEB)/node_modules $(WEB)/dist $(WEB)/reconnect/dist appliance/*.so
