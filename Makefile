# `make demo` shows everything on a real cluster; `make test` proves it. Both install what they need.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

.PHONY: help build release demo test lint unit live bench deps

help: ## Say what there is
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST)

deps: ## Debian packages that building and testing need
	@lab/packages

build: deps ## Build dr for development (target/*/debug/dr)
	cargo build

release: deps ## Build dr as users get it: one static file (target/*/release/dr)
	cargo build --release

demo: release ## Raise a real cluster, deploy, bundle, burn, restore, prove
	lab/demo

lint: deps ## Format, lints, licences
	cargo fmt --check
	cargo clippy --all-targets --features fault-points -- -D warnings

unit: deps ## Unit and command line tests: no cluster
	cargo test --features fault-points
	cd fixtures/standin && go vet ./... && go test ./...

live: deps ## Tests on the lab
	cargo build --features fault-points
	lab/lab up
	lab/test.sh quick
	lab/lab run -- cargo test --offline --features fault-points --test live -- --ignored --test-threads=1 --nocapture

test: lint unit live ## Everything

bench: release ## The manual guide's way and dr's, side by side, on the same database
	lab/lab up
	lab/lab run -- benches/guide-vs-dr
