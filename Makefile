# `make demo` shows everything on a real cluster; `make test` proves it. Both install what they need.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# One set of features for all that `make test` builds, so that no crate is built twice.
TESTED := --features fault-points

# Tests on the lab mostly wait; more of them at once than this make each other slow on two cores.
LIVE_AT_ONCE ?= 3

FUZZ_SECONDS ?= 3600

# Of each of two kinds: what people write, and what is left of it after a few edits. ORACLE_SEED makes others.
ORACLE_DOCUMENTS ?= 50000
ORACLE_SEED ?= 20260820
# How often the live tests of chance (tests/live/chaos.rs) try in the soak; in `make test` a few times.
CHAOS_ROUNDS ?= 200
CHAOS_LANES ?= 3

.PHONY: metrics browser oracle fuzz corpus help deps build release demo test checks lint unit stores live soak lab-up bench profile speed deny man

help: ## Say what there is
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST)

deps: # Debian packages that building and testing need; Rust and Go are looked for
	@lab/packages

build: deps ## Build dr for development (target/*/debug/dr)
	cargo build

release: deps ## Build dr as users get it: one static file (target/*/release/dr)
	cargo build --release

# The lab's programs are built beside dr: their downloads and their linking, on one core, leave room for each other.
demo: deps ## Raise a real cluster, deploy, bundle, burn, restore, prove
	+$(MAKE) --no-print-directory -j2 lab-up release
	lab/demo

test: deps ## Everything: format, lints, unit, command line and live tests
	+$(MAKE) --no-print-directory -j2 lab-up checks
	+$(MAKE) --no-print-directory live

checks: lint # After each other: both are cargo's
	+$(MAKE) --no-print-directory unit

lint: deps ## Format and lints; without the features of tests, what only they call is seen as dead
	cargo fmt --check
	cargo clippy --all-targets $(TESTED) -- -D warnings
	cargo clippy -- -D warnings
	@if cargo deny --version >/dev/null 2>&1; then $(MAKE) --no-print-directory deny; \
	else echo 'not looked at: licences and sources of the crates (cargo install cargo-deny --locked)'; fi

unit: deps ## Unit and command line tests: no cluster
	cargo test $(TESTED)
	cargo test $(TESTED) --test bundle -- --ignored --skip write_ --skip speed --skip gateway_
	cd fixtures/standin && go vet ./... && go test ./...

lab-up: deps # The real cluster that the live tests and the demo run on
	lab/lab up

stores: deps ## Buckets, on a real S3 server that the tests start themselves
	DR_TEST_VERSITYGW=$$(lab/lab build versitygw)/versitygw cargo test $(TESTED) --test bundle -- --ignored gateway_

metrics: deps ## Alert rules, dashboard and metrics, by Prometheus' own tool
	DR_TEST_PROMTOOL=$$(lab/lab build promtool)/promtool cargo test $(TESTED) --test cli -- --ignored promtool_

browser: deps ## The pages of dr report, in a real browser where there is one (apt-get install chromium)
	cargo test $(TESTED) --test cli -- --ignored browser_ --nocapture

# sed reads to the end: with head, sort may die of a closed pipe, and make would take that for a failed test.
live: lab-up stores ## Tests on the lab
	cargo test $(TESTED) --no-run
	lab/test.sh quick
	lab/lab build helm3
	lab/lab run -- sh -c 'DR_TEST_HELM=$$(command -v helm) DR_TEST_HELM3=$$(command -v helm3) cargo test --offline $(TESTED) --test helm_oracle -- --ignored'
	rm -f target/*/tmp/live-times.tsv
	lab/lab run -- cargo test --offline $(TESTED) --test live -- --ignored --test-threads=$(LIVE_AT_ONCE) && ended=0 || ended=$$?; \
	  echo 'seconds and test, the slowest first:'; sort -rn target/*/tmp/live-times.tsv | sed -n 1,12p; exit $$ended

oracle: lab-up ## 100,000 made-up documents, read by dr and by both majors of helm
	lab/lab build helm3
	lab/lab run -- sh -c 'DR_ORACLE_DOCUMENTS=$(ORACLE_DOCUMENTS) DR_ORACLE_SEED=$(ORACLE_SEED) DR_TEST_HELM=$$(command -v helm) DR_TEST_HELM3=$$(command -v helm3) cargo test --offline $(TESTED) --test helm_oracle -- --ignored'

# The names of the readers that are fuzzed, in the folder fuzz.
READERS = $$(sed -n 's/^name = "\([a-z_]*\)"$$/\1/p' Cargo.toml)

# It goes on from what was reached before. What a reader fails at lies in fuzz/artifacts; as
# fuzz/corpus/TARGET/found-NAME it becomes a test.
fuzz: deps ## Each reader of bytes from outside, FUZZ_SECONDS each, with libFuzzer (first: cargo install cargo-fuzz)
	cd fuzz && tar -C corpus --skip-old-files --zstd -xf corpus.tar.zst && for target in $(READERS); do \
	  cargo fuzz run -s none $$target corpus/$$target seeds/$$target -- \
	    -max_total_time=$(FUZZ_SECONDS) -timeout=20 -rss_limit_mb=4096; \
	done

# Of all inputs those that reach something of their own.
corpus: deps ## Keep what make fuzz has reached, for the next one on any machine (fuzz/corpus.tar.zst)
	cd fuzz && rm -rf target/kept && for target in $(READERS); do \
	  mkdir -p target/kept/$$target; \
	  cargo fuzz run -s none $$target target/kept/$$target corpus/$$target seeds/$$target -- -merge=1; \
	done && tar -C target/kept --sort=name --mtime=@0 --owner=0 --group=0 -cf - . | zstd -qf -19 -o corpus.tar.zst

# The live tests run on a site of their own, with the other operator; it is taken down however they end.
soak: fuzz ## What takes long: fuzzing, many random inputs, a stream that breaks 200 times each way, random moments, a site's life, metrics and pages, every live test beside the newer operator
	PROPTEST_CASES=20000 cargo test $(TESTED) --test bundle damage
	cargo test $(TESTED) --test agent -- --ignored a_gigabyte
	+$(MAKE) --no-print-directory metrics browser
	lab/test.sh life
	+$(MAKE) --no-print-directory oracle
	+export DR_LAB_SITE=d DR_LAB_CNPG=1.28.0 DR_CHAOS_ROUNDS=$(CHAOS_ROUNDS) DR_CHAOS_LANES=$(CHAOS_LANES); trap 'lab/lab wipe' EXIT; $(MAKE) --no-print-directory live

bench: ## The manual guide's way and dr's, side by side, on the same database
	+$(MAKE) --no-print-directory -j2 lab-up release
	DR_BIN_DIR=$$(dirname "$$(ls -t target/*/release/dr | head -n1)") lab/lab run -- sh -c "benches/base-speed && benches/guide-vs-dr"

profile: ## Where each second and each core goes in a create and a restore
	+$(MAKE) --no-print-directory -j2 lab-up release
	DR_BIN_DIR=$$(dirname "$$(ls -t target/*/release/dr | head -n1)") lab/lab run -- benches/profile

speed: release ## The config vault's verbs on a thousand deployments, beside sops and dyff
	DR_BIN=$$(ls -t target/*/release/dr | head -n1) benches/vault-speed

man: deps ## The manual, a page for each verb (target/man)
	cargo run -q $(TESTED) -- man target/man

deny: ## Licences, sources and, where their data can be had, advisories of the crates (first: cargo install cargo-deny --locked)
	cargo deny $(TESTED) check bans licenses sources
	@if cargo deny fetch db >/dev/null 2>&1; then cargo deny $(TESTED) check advisories; \
	else echo 'not looked at: advisories (their database cannot be had here)'; fi
