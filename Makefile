# The door. `make` alone lists the targets. Each first runs scripts/setup, which installs what is missing
# and says nothing when nothing is.

SHELL := /bin/bash

# Clones share one target directory, so that a second clone builds in seconds.
QUELL_TARGET ?= $(or $(CARGO_TARGET_DIR),$(HOME)/.cache/quell/target)
export CARGO_TARGET_DIR := $(QUELL_TARGET)
export PATH := $(PATH):$(HOME)/.cargo/bin

# What loads BPF runs as root: through sudo where it asks for no password, otherwise as the caller, and then
# quell says what it cannot do.
AS_ROOT := $(shell [ "$$(id -u)" = 0 ] || { sudo -n true 2>/dev/null && echo sudo -n -E; })
ifneq ($(AS_ROOT),)
test test-long bench: export CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER := $(AS_ROOT)
test test-long bench: export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER := $(AS_ROOT)
endif

# The Kubernetes of the tests, built before they would wait for it. Where it cannot be, they say what they did not test.
CLUSTER := scripts/cluster build || echo "make: no Kubernetes to test on" >&2

.PHONY: help demo test test-long lint bench docs

help:
	@echo "make demo       one attack on this machine, contained and explained (under 10 s once built)"
	@echo "make test       every test"
	@echo "make test-long  every test, and the long searches too"
	@echo "make lint       format, clippy, the rules of the house, what dependencies may be"
	@echo "make bench      the figures of docs/benchmarks.md"
	@echo "make docs       the documentation of the code"

demo:
	@scripts/setup demo
	@cargo build --locked --package quell --no-default-features --features ebpf
	@$(AS_ROOT) "$(CARGO_TARGET_DIR)/debug/quell" demo

test:
	@scripts/setup test
	@$(CLUSTER)
	cargo test --locked --workspace --no-fail-fast

# What the simulation searches it searches optimised: a hundred thousand seeds are a quarter of an hour then, and an hour otherwise.
test-long: export QUELL_LONG := 1
test-long:
	@scripts/setup test
	@$(CLUSTER)
	QUELL_SEEDS=2000 cargo test --locked --workspace --no-fail-fast
	cargo test --locked --profile search --package quell-engine --lib -- run::sim::seeds run::sim::people

lint:
	@scripts/setup lint
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cargo clippy --locked --package quell --no-default-features --all-targets -- -D warnings
	scripts/check-house
	scripts/check-bans

bench:
	@scripts/setup bench
	cargo bench --locked --package quell-engine --bench parts --bench durable --bench people
	cargo bench --locked --package quell --bench rules --bench throughput --bench recorder --bench lists --bench clicks --bench end_to_end --bench cost --bench pods_cut_off
	cargo bench --locked --package quell-kubernetes --features client --bench pods

docs:
	@scripts/setup docs
	cargo doc --locked --workspace --no-deps
	@echo "open $(CARGO_TARGET_DIR)/doc/quell_engine/index.html"
