# make run, test, lint, e2e, image: each installs what it needs first.

SHELL := /bin/sh
GO ?= go

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
COMMIT ?= $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
LDFLAGS := -X main.version=$(VERSION) -X main.commit=$(COMMIT)

TOOLS := $(CURDIR)/.tools
BIN := $(CURDIR)/bin/unistore

# Pinned tools. Each version has its own file name, so that a new pin is a new build.
GOLANGCI_VERSION := v2.15.0
VERSITYGW_VERSION := v1.8.0
MINIO_VERSION := v0.0.0-20260212201848-7aac2a2c5b7c
HADOOP_VERSION := 3.4.1
GOLANGCI := $(TOOLS)/bin/golangci-lint-$(GOLANGCI_VERSION)
VERSITYGW := $(TOOLS)/bin/versitygw-$(VERSITYGW_VERSION)
MINIO := $(TOOLS)/bin/minio-$(MINIO_VERSION)
VENV := $(TOOLS)/venv
HADOOP := $(TOOLS)/hadoop-$(HADOOP_VERSION)
NPM := $(TOOLS)/npm
EMULATOR := $(CURDIR)/bin/emulator

# $(call install,PACKAGE@VERSION,FILE): build a tool with the Go toolchain and give it its pinned name.
define install
	@mkdir -p $(TOOLS)/build $(TOOLS)/bin
	GOBIN=$(TOOLS)/build GOFLAGS=-buildvcs=false $(GO) install $(1)
	mv $(TOOLS)/build/$(notdir $(firstword $(subst @, ,$(1)))) $(2)
endef

.PHONY: help run build test policies lint fmt e2e e2e-deps emulator bench image deps clean

help:
	@echo 'make run     build and serve on the embedded default'
	@echo 'make build   bin/unistore'
	@echo 'make test    every test that needs no outside service, with the race detector'
	@echo 'make policies  the hit ratios of docs/policies.md'
	@echo 'make lint    golangci-lint with the import rules, gofmt, go vet'
	@echo 'make fmt     format the code'
	@echo 'make e2e     the binary with real clients and real servers'
	@echo 'make bench   the gateway side by side with others: ratios, JSON and a plot in bench-results'
	@echo 'make image   the container'
	@echo 'make deps    install what building needs (Debian packages)'
	@echo 'make clean   remove what was built; .tools stays'

run: build
	$(BIN) serve $(ARGS)

build: deps
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN) ./cmd/unistore

test: deps
	$(GO) test -race -timeout 15m ./...

policies: deps
	CACHE_HIT_RATIOS=all $(GO) test -count=1 -timeout 15m -run TestHitRatios ./cache -rewrite

lint: deps $(GOLANGCI)
	$(GOLANGCI) run --allow-serial-runners ./...
	$(GOLANGCI) fmt --diff
	$(GO) vet -tags e2e ./...
	GOLANGCI=$(GOLANGCI) .ci/imports

fmt: $(GOLANGCI)
	$(GOLANGCI) fmt

e2e: build emulator e2e-deps $(VERSITYGW) $(MINIO) $(VENV)/.requirements $(NPM)/.lock $(HADOOP)/.pom
	UNISTORE_TEST_BINARY=$(BIN) UNISTORE_TEST_VERSITYGW=$(VERSITYGW) UNISTORE_TEST_MINIO=$(MINIO) \
	UNISTORE_TEST_VENV=$(VENV) UNISTORE_TEST_EMULATOR=$(EMULATOR) UNISTORE_TEST_NPM=$(NPM)/node_modules \
	UNISTORE_TEST_HADOOP=$(HADOOP) $(GO) test -tags e2e -count=1 -timeout 30m ./e2e/... ./upstream/s3/... ./upstream/oss/... ./upstream/hdfs/...

# The emulators of clouds, as a process.
emulator: deps
	$(GO) build -trimpath -o $(EMULATOR) ./e2e/emulator

# BENCH narrows it to some benchmarks; more in e2e/bench.
BENCH ?= .
bench: build e2e-deps $(VERSITYGW) $(MINIO)
	UNISTORE_TEST_BINARY=$(BIN) UNISTORE_TEST_VERSITYGW=$(VERSITYGW) UNISTORE_TEST_MINIO=$(MINIO) \
	UNISTORE_BENCH_RESULTS=$(CURDIR)/bench-results \
	$(GO) test -tags e2e -run '^$$' -bench '$(BENCH)' -benchtime 1x -timeout 60m ./e2e/bench

image:
	docker build --build-arg VERSION=$(VERSION) --build-arg COMMIT=$(COMMIT) -t unistore:$(VERSION) .

deps:
	@.ci/deps build

clean:
	rm -rf bin

$(GOLANGCI):
	$(call install,github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION),$@)

$(VERSITYGW):
	$(call install,github.com/versity/versitygw/cmd/versitygw@$(VERSITYGW_VERSION),$@)

$(MINIO):
	$(call install,github.com/minio/minio@$(MINIO_VERSION),$@)

# HDFS's daemons and all they need, from Maven Central.
$(HADOOP)/.pom: e2e/hadoop/pom.xml | e2e-deps
	rm -rf $(HADOOP)
	mvn -q -B -f e2e/hadoop/pom.xml -Dhadoop.version=$(HADOOP_VERSION) \
		org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies -DoutputDirectory=$(HADOOP)
	cp e2e/hadoop/pom.xml $@

e2e-deps:
	@.ci/deps e2e

$(VENV)/.requirements: e2e/requirements.txt | e2e-deps
	rm -rf $(VENV)
	python3 -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r e2e/requirements.txt
	cp e2e/requirements.txt $@

# The vendors' own clients; no script of a package is run.
$(NPM)/.lock: e2e/npm/package-lock.json e2e/npm/package.json e2e/npm/.npmrc | e2e-deps
	rm -rf $(NPM)
	mkdir -p $(NPM)
	cp e2e/npm/package.json e2e/npm/package-lock.json e2e/npm/.npmrc $(NPM)/
	cd $(NPM) && npm ci --silent
	cp e2e/npm/package-lock.json $@
