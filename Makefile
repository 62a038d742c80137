# Everything is a short target; what they need on a fresh machine, scripts/setup installs.
GO      ?= go
BIN     := bin/wgsteer
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
BUILDER ?= docker
# -p: packages tested at once. Many build whole networks; more at a time only makes them slower.
# -count: the cache knows nothing of the kernel that privileged tests depend on.
TESTFLAGS ?= -race -p 2 -timeout 20m -count=1
# The packages with benchmarks, and how often and for how long each is run.
BENCHED = $(shell grep -rl --include='*_test.go' '^func Benchmark' . | xargs -n 1 dirname | sort -u)
BENCHFLAGS ?= -count=6 -benchtime=200ms

.PHONY: bench demo test test-long leak-matrix test-vm build image generate lint clean
.NOTPARALLEL:

setup-%:
	@scripts/setup $*

## demo: three nodes with pods talk; only WireGuard may be on the wire
demo: build setup-demo
	@$(BIN) lab run

## build: the binary, static
build: setup-build
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o $(BIN) ./cmd/wgsteer

## image: the container image, from the binary; BUILDER is docker, podman or buildah
image: build
	$(BUILDER) build --build-arg VERSION=$(VERSION) -t wgsteer:$(VERSION) .

## test: generated files, lint, then every test
test: setup-test
	scripts/check-generated
	scripts/lint
	$(GO) test $(TESTFLAGS) ./...
	# speed and allocations, which the race detector hides
	$(GO) test -count=1 -run 'Alloc|Stock' ./tunnel/udpbind
	# every benchmark, once
	@out=$$($(GO) test -vet=off -run '^$$' -bench . -benchtime 1x $(BENCHED)) || { echo "$$out"; exit 1; }

## test-long: the tests that take minutes (privtest.Long)
test-long: setup-test
	WGSTEER_LONG=1 $(GO) test $(TESTFLAGS) -timeout 40m -v -run '^TestLong' ./internal/e2e ./internal/kubee2e ./internal/interop

## bench: the parts' benchmarks, for benchstat (docs/benchmarking.md)
bench: setup-build
	@$(GO) test -vet=off -timeout 4h -run '^$$' -bench . $(BENCHFLAGS) $(BENCHED)

## leak-matrix: docs/leak-matrix*.md, from a run of their tests
leak-matrix: setup-test
	WGSTEER_LONG=1 $(GO) test -count=1 -run '^(TestLeakMatrix|TestLongLeakMatrixByClsact)$$' ./internal/e2e -update-leak-matrix

## test-vm: the tests of what meets the kernel, on other kernels, in virtual machines (no root, no KVM)
test-vm: setup-vm
	PATH=$$PATH:/usr/sbin:/sbin REQUIRE_PRIVILEGED=1 $(GO) test -count=1 -timeout 80m -v ./internal/vmtest -vm

## generate: what is generated, from its sources
generate: setup-test
	$(GO) generate ./...

## lint: gofmt, vet, staticcheck
lint:
	scripts/lint

## clean: what build and tests left in the tree
clean:
	rm -rf bin dist coverage
