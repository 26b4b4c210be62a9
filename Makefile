# On a fresh machine: `make demo` and `make test`. Each brings what it needs (scripts/need), then does its job.

CARGO ?= cargo
# Where rustup puts cargo, for a shell that has not read its profile since.
export PATH := $(PATH):$(HOME)/.cargo/bin
# What Cargo.lock says is what is built.
LOCKED := --locked
# Where it goes.
TARGET := $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test build release fmt lint fmt-check clippy doc deny pure alerts unit soak fuzz mutants bench-smoke
.PHONY: bench lab clean

help: ## Say what there is.
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

# The development profile: its dependencies are optimised a little, it builds far sooner than a release with its
# link-time optimisation, and `make test` uses the same artefacts. Nobody measures a demonstration; `make release` is
# for that.
demo: ## A whole site on this machine, to play with.
	@scripts/need build
	$(CARGO) build $(LOCKED) --workspace --bin bascule --bin bascule-demo
	@exec $(TARGET)/debug/bascule-demo

# Nothing that brings a tool of its own stands before the tests: their result comes after one build.
test: ## Everything CI checks, cheapest first.
	@scripts/need test
	@$(MAKE) --no-print-directory lint doc pure alerts unit bench-smoke deny lab
	@echo "make test: all passed"

build: ## Both programs, for development.
	@scripts/need build
	$(CARGO) build $(LOCKED) --workspace

release: ## Both programs, to be installed: bascule and bascule-watchdog in target/release.
	@scripts/need build
	$(CARGO) build $(LOCKED) --release --workspace --bin bascule --bin bascule-watchdog

fmt: ## Lay out the code.
	$(CARGO) fmt --all

lint: fmt-check clippy ## Layout and lints, both strict.

fmt-check:
	$(CARGO) fmt --all --check
	scripts/imports

# The lab is no target that `--all-targets` has, as `cargo test` does not run it; beside it `--test lab` is ignored.
clippy:
	$(CARGO) clippy $(LOCKED) --workspace --all-targets -- -D warnings
	$(CARGO) clippy $(LOCKED) --workspace --test lab -- -D warnings

doc: ## The documentation; a link or a name that leads nowhere fails.
	scripts/docs
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc $(LOCKED) --no-deps --workspace

deny: ## Licences, sources and bans of what is built in.
	@scripts/need deny
	scripts/deny

pure: ## The deciding machines compile where there is no std.
	scripts/no-std

alerts: ## The alert rules, on made-up days.
	@if command -v promtool >/dev/null; then \
		set -x; promtool test rules conf/prometheus/*.test.yml; \
	else echo "skipped: alert rules (no promtool)"; fi

# What the walks over the machines' states tell; cargo hides what passing tests print.
WALKED := $(TARGET)/walked.tsv

# Plain `cargo test`, as it runs the examples in the documentation too. One that fails keeps no other from running: a run
# takes long, and tells of all. How many tests run beside each other is the runner's to say, by what they wait for.
RUNNER := --config "target.'cfg(all())'.runner = '$(CURDIR)/scripts/test-runner'"
unit: ## All tests; at the end, how far the models were walked.
	@mkdir -p $(dir $(WALKED)) && rm -f $(WALKED)
	BASCULE_WALK_REPORT=$(WALKED) $(CARGO) test $(LOCKED) --workspace --no-fail-fast $(RUNNER)
	@scripts/walked $(WALKED)

# A hundred times the seeds of `make test`. `make soak SEEDS=50000` plays fewer; `make soak SEED=days:4711` plays the
# one, and shows everything that happens in it; `engine:4711` is one of the Edge's engine. The whole workspace is named so
# that what `make unit` has built is used again.
SEEDS ?= 1000000
soak: ## A million days of simulated faults, for a night.
	@scripts/need build
	$(if $(SEED),BASCULE_SEED=$(SEED)) BASCULE_SEEDS=$(SEEDS) $(CARGO) test $(LOCKED) --workspace --lib -- --nocapture roles::simulation:: engine::simulation::

# `make test` runs a fixed number of inputs through each target, the same each time; here they are others, for SECONDS.
# What is found stays in fuzz/corpus, and fails `make test` from then on.
SECONDS ?= 60
fuzz: ## Try the parsers with new inputs, SECONDS for each.
	@scripts/need build
	BASCULE_FUZZ_SECONDS=$(SECONDS) $(CARGO) test $(LOCKED) --workspace --lib fuzz:: -- --nocapture --test-threads 2

# An hour and more for a large module. QUICK=1 leaves the walks out.
MODULE ?= lease
mutants: ## Break the deciding crate on purpose; what no test notices is listed.
	@scripts/need mutants
	QUICK=$(QUICK) scripts/mutants $(MODULE)

# Once through every benchmark, without measuring: in the profile of the tests, so that nothing is built twice.
bench-smoke: ## Run each benchmark once, measuring nothing.
	@if [ -n "$$(find benches crates -path '*benches/*.rs' 2>/dev/null)" ]; then \
		set -x; $(CARGO) test $(LOCKED) --workspace --bench '*'; \
	else echo "skipped: benchmarks (there are none)"; fi

# Twenty minutes and more; without root, or parts it needs, it says so and is skipped. `tests/lab/run --list` says what
# it plays, and it takes names, and `--random SEED`.
lab: ## As root: whole sites in network namespaces, broken in every way.
	tests/lab/run

bench: ## Measure.
	@scripts/need build
	$(CARGO) bench $(LOCKED) --workspace --bench '*'

clean: ## Take away what was built, the tools too.
	$(CARGO) clean
	rm -rf .cache
