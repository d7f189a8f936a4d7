# Gantry: `make demo` shows it, `make test` proves it, `make help` lists the rest.
#
# Needed beforehand: Go and Node.js. What else a target needs is installed from Debian's packages when make runs as root;
# as another user, make says in one line what to install.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules --no-print-directory
.SUFFIXES:
# Tools here use all processors themselves, and output stays readable.
.NOTPARALLEL:

# What a machine has set for itself must not change what is built or tested: a workspace above this folder, settings of
# an installed Gantry, another target system, other build flags.
export GOWORK := off
export GOFLAGS := -mod=readonly -buildvcs=false
# Static binaries; and one build cache for all targets but the race detector's, which needs C.
export CGO_ENABLED := 0
unexport GOOS GOARCH GOEXPERIMENT GODEBUG $(filter GANTRY_%,$(.VARIABLES))

VERSION := $(shell git describe --tags --exact-match --match 'v*' 2>/dev/null)
COMMIT  := $(shell git rev-parse HEAD 2>/dev/null)
DATE    := $(shell git log -1 --format=%cI 2>/dev/null)
stamp   := gantry/internal/version
LDFLAGS := -s -w -X $(stamp).version=$(VERSION) -X $(stamp).commit=$(COMMIT) -X $(stamp).date=$(DATE)

IMAGE     := var/image/gantry-guest.qcow2
WEB_FILES := $(shell find web -type f -not -path 'web/node_modules/*' -not -path 'web/dist/*' -not -name '*.go' 2>/dev/null)
NPM       := npm --prefix web --no-audit --no-fund --no-update-notifier
INSTALL   := scripts/install-packages.sh

DEMO_LISTEN   ?= 127.0.0.1:8080
# pve is the lab; libvirt is this machine's own libvirtd, or where none runs, and for root, one that ends with the demo.
HYPERVISOR    ?= pve
DEMO_DATA_DIR ?= var/demo$(if $(filter-out pve,$(HYPERVISOR)),-$(HYPERVISOR))
DEMO_FLAGS    ?=
# A number of runs, not a time: at its time limit go test sometimes calls a run that it cut off a failure.
FUZZ_TIME     ?= 3000x
BENCH         ?= .

.PHONY: help
help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' Makefile | expand -t 10

.PHONY: demo
demo: build $(IMAGE) ## run everything here, order one virtual machine, show URLs and logins; Ctrl-C ends it; HYPERVISOR=libvirt for libvirt
	@$(INSTALL) qemu network $(filter libvirt,$(HYPERVISOR))
	@bin/gantry demo --hypervisor $(HYPERVISOR) --data-dir $(DEMO_DATA_DIR) --listen $(DEMO_LISTEN) $(DEMO_FLAGS)

.PHONY: build
build: web ## bin/gantry, one static binary with the web pages inside
	@go build -ldflags '$(LDFLAGS)' -o bin/gantry .

.PHONY: web
web: web/dist/.built ## the web pages

.PHONY: image
image: $(IMAGE) ## the tiny cloud image that demo and tests boot

# The tests' own output comes last. -p 2: packages start databases, machines and browsers of their own. The proofs over several
# programs start those as users do, without the race detector. SQLite itself, C that was translated to
# Go, is left out of the race detector: it took half of the time of all tests.
END_TO_END := gantry/internal/endtoend
# Kills of the broker and of libvirtd on a real libvirtd take minutes for each kind of order: make proof.
LONG := Libvirt

.PHONY: test
test: packages lint web-test fuzz $(IMAGE) build ## everything: linters, web tests, fuzzers, all Go tests with the race detector
	@CGO_ENABLED=1 go test -race -gcflags=modernc.org/sqlite/lib=-race=false -p 2 -timeout 20m $$(go list ./... | grep -v '^$(END_TO_END)')
	@go test -p 2 -timeout 20m -skip '$(LONG)' ./internal/endtoend/...
	@$(MAKE) panel-test

.PHONY: proof
proof: packages $(IMAGE) ## the longest proof: kill -9 of the broker and of libvirtd at every step on a real libvirtd
	@go test -timeout 90m -run '$(LONG)' ./internal/endtoend/crash

.PHONY: panel-test
panel-test: packages build $(IMAGE) ## the panel in Chromium against the demo with real guests; pictures of all pages go to artifacts/panel
	@$(NPM) run endtoend --silent

.PHONY: screenshots
screenshots: panel-test ## the README's pictures, made by the tests
	@mkdir -p docs/screenshots
	@cp artifacts/panel/{dashboard-light,machines-dark,console-in-page}.png docs/screenshots/

.PHONY: bench
bench: build $(IMAGE) ## measure, write docs/PERFORMANCE.md; BENCH=REGEXP measures some sections only
	@$(INSTALL) qemu mariadb network
	@go run ./bench/report --only '$(BENCH)'

.PHONY: lint
lint: web/dist/.built web/node_modules/.installed ## gofmt, vet, staticcheck, eslint, tsc, Dockerfile, compose.yaml
	@unformatted=$$(gofmt -l $$(git ls-files '*.go' 2>/dev/null || find . -name '*.go' -not -path '*/node_modules/*')); \
	if [ -n "$$unformatted" ]; then echo "not gofmt-ed:" $$unformatted >&2; exit 1; fi
	@go vet ./...
	@go tool -modfile=scripts/lint/go.mod staticcheck ./...
	@cd scripts/lint && go vet ./... && go test ./...
	@$(NPM) run generated --silent
	@$(NPM) run lint --silent
	@$(NPM) run typecheck --silent

.PHONY: web-test
web-test: web/node_modules/.installed ## tests of the web pages
	@$(NPM) run test --if-present

.PHONY: fuzz
fuzz: web/dist/.built ## every fuzz target for FUZZ_TIME
	@scripts/fuzz.sh $(FUZZ_TIME)

.PHONY: packages
packages: ## what tests need from Debian: databases, machines, a browser, a C compiler for the race detector
	@$(INSTALL) compiler qemu image-tools mariadb chromium fonts network sshd libvirt

.PHONY: clean
clean: ## remove what was built; var/ keeps the cloud image and the demo's state
	@rm -rf bin artifacts web/node_modules
	@find web/dist -mindepth 1 -not -name .gitkeep -delete

web/node_modules/.installed: web/package.json web/package-lock.json
	@$(NPM) ci
	@touch $@

web/dist/.built: $(WEB_FILES) | web/node_modules/.installed
	@$(NPM) run build
	@touch $@

# The script knows by itself whether its inputs changed; it is quick when they did not.
$(IMAGE): $(shell find scripts/build-cloud-image.sh scripts/cloud-image -type f)
	@$(INSTALL) image-tools
	@scripts/build-cloud-image.sh $@
	@touch $@
