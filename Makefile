# Two commands do everything: `make demo` and `make test`. The others are for working on the project.

CARGO ?= cargo
# The gate as it ships (`dist`), or nearly (`release`).
AS_SHIPPED = --locked --bin console-gate --features jemalloc
SECONDS ?= 60
DIFFERENTIAL = .venv/bin/python tests/prove/differential.py \
	--app tests/data/werkzeug/app.py --corpus tests/data/werkzeug/corpus.jsonl

.PHONY: demo pictures test test-all test-times release dist deb docs clients lint prove prove-guards models race faults scale bench bench-check \
	bench-growth bench-peers bench-quick fuzz deny suites upgrade clean

## A gate that you can click through, on http://127.0.0.1:8080
demo:
	@tests/setup.sh build
	$(CARGO) build --locked
	@target/debug/console-gate demo

## An optimised gate in target/release, for measuring and trying out
release:
	@tests/setup.sh build
	$(CARGO) build $(AS_SHIPPED) --release

## What ships, in dist: a stripped binary with its commit, completions and man pages, optimised by a profile of itself under
## load. Half an hour
dist: export CONSOLE_GATE_COMMIT ?= $(shell git rev-parse --short=12 HEAD 2>/dev/null)
dist: export CONSOLE_GATE_COMMIT_DATE ?= $(shell git log -1 --format=%cs 2>/dev/null)
dist:
	@tests/setup.sh bench
	@gate=$$(tests/bench/pgo.sh) && $(call dist,$$gate)

define dist
rm -rf dist && mkdir -p dist/completions && cp $(1) dist/ \
	&& for shell in bash zsh fish; do dist/console-gate completions $$shell > dist/completions/console-gate.$$shell; done \
	&& dist/console-gate man dist/man && ls -l dist/console-gate && dist/console-gate --version
endef

## A Debian package of `make dist`, in dist
deb: dist
	@command -v cargo-deb >/dev/null || $(CARGO) install --locked cargo-deb
	@tests/deploy/deb.sh

## The pictures of the pages, in docs/images/pages, taken by the walk through them in Chromium
pictures:
	@tests/setup.sh suites
	$(CARGO) build --locked
	SHOTS=target/pictures .venv/bin/python tests/browser/pages.py
	mkdir -p docs/images/pages
	for name in home person request matrix cutover timeline; do \
		cp target/pictures/$$name-1280-light.png docs/images/pages/$$name.png; done

## The book, in target/book: the pages of the repository, and reference pages that are made from the program
docs:
	@tests/setup.sh test
	$(CARGO) build --locked
	@PATH=target/tools/bin:$$PATH; command -v mdbook >/dev/null \
		|| $(CARGO) install --locked mdbook --no-default-features --features search --root target/tools
	@.venv/bin/python docs/build.py target/book-source
	@PATH=target/tools/bin:$$PATH mdbook build target/book-source --dest-dir $(CURDIR)/target/book
	@.venv/bin/python docs/build.py --check target/book

## The tests that every change is paid in: pure, both databases, the real binary before a real Flask Console, Console's side
test:
	@tests/setup.sh test
	@.venv/bin/python tests/run.py

## Every test in its full size, before a release: docs/development.md says what `make test` leaves out
test-all:
	@tests/setup.sh suites
	@.venv/bin/python tests/run.py --all
	@$(MAKE) models race faults

## The same as `make test`, and how long each test took: target/tests/times.md
test-times:
	@tests/setup.sh test
	@.venv/bin/python tests/run.py --times

## Every client that is installed here or that Debian has, directly and through the gate: tables in target/tmp/clients
clients:
	@tests/setup.sh suites
	$(CARGO) build --locked
	GATE_TIER=all .venv/bin/python tests/clients/test_clients.py

## The firewall and the matcher against the real gunicorn and Werkzeug: 10 million generated method/path pairs, and two
## million targets in the spellings of the wire
prove:
	@tests/setup.sh test
	$(CARGO) build --locked --release --example route_table
	$(DIFFERENTIAL) --matcher target/release/examples/route_table --pairs 10000000

## Each guard about who may change access, taken out one at a time: lists those whose absence the model does not notice; 24 builds
prove-guards:
	@tests/setup.sh test
	python3 tests/prove/guards.py

## Formatting, lints, and the idioms that the project's English does without
lint:
	$(CARGO) fmt --check
	python3 tests/lint/words.py
	$(CARGO) clippy --locked --all-targets --features jemalloc -- -D warnings

## Models written from the documents, and each report, against running gates, optimised: 100,000 pairs of request and caller; `make
## test` has a short run
models:
	@tests/setup.sh test
	GATE_MODELS=100000 $(CARGO) test --locked --profile bench --test models -- --nocapture --test-threads=1

## 100,000 rounds of revoke-then-request through two gates on one Postgres, strict and behind the barrier; 1,000 grants and
## revocations of one membership at once; 1,000 races of two approvers and one who asked; a million of loads against
## invalidations; the protocol's model in its largest world
race:
	@tests/setup.sh test
	GATE_ROUNDS=100000 $(CARGO) test --locked --test gate -- --nocapture freshness:: push::
	GATE_ROUNDS=1000 $(CARGO) test --locked --test gate --test store -- --nocapture many_at_once races_have_one_winner
	GATE_ROUNDS=1000000 $(CARGO) test --locked --profile bench --test freshness loader -- --nocapture
	$(CARGO) test --locked --profile bench --test model -- --nocapture --include-ignored

## Each fault injected for real, in the large edition, into an optimised build: half an hour; one test after the other, for their times
faults:
	@tests/setup.sh test
	GATE_FAULTS=full $(CARGO) test --locked --features jemalloc --profile bench --test evidence -- --nocapture
	GATE_FAULTS=full $(CARGO) test --locked --features jemalloc --profile bench --test faults -- --include-ignored --nocapture --test-threads=1

## `diff` for 10,000 admins on 10,000 routes: less than 10 s, less than 1 GiB; what mappings of 1,000 to 100,000 rows, changes
## among 100,000 people and pages for 10,000 cost a gate
scale:
	@tests/setup.sh test
	$(CARGO) test --locked --profile bench --test workbench -- --ignored --nocapture scale
	python3 tests/bench/mapping.py target/release/console-gate
	python3 tests/bench/people.py target/release/console-gate
	python3 tests/bench/pages.py target/release/console-gate

## Criterion: match, decide, warm access (strict and push, both databases), cookie, decision log, firewall
bench:
	@tests/setup.sh test
	$(CARGO) bench --locked

## Instructions of each step of a request, by valgrind: fails if one became dearer by more than 2 %
bench-check:
	@tests/setup.sh bench
	$(CARGO) build --locked --profile bench --example steps
	python3 tests/bench/check.py target/release/examples/steps

## The gate beside nginx, nginx with auth_request, and haproxy, and in front of Flask, in turns, in a quarter of an hour on an
## idle machine: bench/results.json, results.md and chart.svg. `--list` shows the parts; `make bench-quick` measures some in four
## minutes, into target/bench
bench-peers bench-quick:
	@tests/setup.sh bench
	$(CARGO) build $(AS_SHIPPED) --release
	.venv/bin/python tests/bench/compare $(if $(filter bench-quick,$@),--quick)

## How the cost grows with connections, rows, principals, logins, gates and cores, and a simulation of larger systems:
## target/bench/growth.md and growth.json. Needs an idle machine
bench-growth:
	@tests/setup.sh bench
	$(CARGO) build $(AS_SHIPPED) --release
	.venv/bin/python tests/bench/growth

## Eleven fuzz targets under libFuzzer, each for SECONDS (60); `make test` has a short run without it
fuzz:
	@tests/setup.sh build
	@tests/fuzz/run.sh $(SECONDS)

## Licences, sources, banned crates and twice-built versions; advisories where their database can be fetched
deny:
	@command -v cargo-deny >/dev/null || $(CARGO) install --locked cargo-deny
	@$(CARGO) deny --locked check bans licenses sources
	@if $(CARGO) deny --locked fetch db >/dev/null 2>&1; then \
		$(CARGO) deny --locked check --disable-fetch advisories; \
	else \
		echo "deny: SKIPPED advisories: their database (github.com/rustsec/advisory-db) could not be fetched"; \
	fi

## slowhttptest, h2spec, testssl.sh and every client that Debian has, those that can be installed, against the real binary
suites:
	@tests/setup.sh suites
	$(CARGO) build --locked
	@tests/suites/run.sh

## An upgrade and its way back with the binaries of this and the previous release, under traffic; builds the previous one once
upgrade:
	@tests/setup.sh test
	$(CARGO) build --locked
	.venv/bin/python tests/upgrade/upgrade.py

clean:
	$(CARGO) clean
	rm -rf .venv
