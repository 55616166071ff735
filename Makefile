# `make test` is everything that CI runs. It needs Go, and gcc for the race
# detector; modules and tools come from the module cache or its proxy.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := test
export GOWORK := off

# The modules of this repository but for tools/, which has no packages. A new
# module is a new line here: verify and test then cover it.
MODULES := \
	. \
	examples/kv \
	testing/compat \
	testing/interop \
	testing/interop/node \
	testing/interop/peers/ours \
	testing/interop/peers/upstream-1.6.0 \
	testing/interop/peers/upstream-1.7.3 \
	testing/interop/peers/upstream-1.8.0

# The parts of `make test`, and how many minutes each may take on two cores in a
# fresh clone with an empty module cache. Together they stay below 20. The times
# taken are printed at the end.
#
#   verify   formatting, vet and staticcheck of all modules; builds staticcheck
#   unit     tests of the root module, with the race detector
#   sim      simulated clusters, without it: many more seeds in the same time
#   tags     build and tests with the build tags hashicorpmetrics and batchtest
#   modules  tests of the other modules, among them that the API is complete
#   interop  clusters of processes that mix this library with hashicorp/raft
PARTS := \
	verify:4 \
	unit:5 \
	sim:1 \
	tags:2 \
	modules:3 \
	interop:4

ifeq ($(shell go env CGO_ENABLED),1)
RACE := -race
endif
GOTEST := go test $(RACE) -timeout 10m

# fuzz runs each fuzz test of the root module for so long.
FUZZTIME := 10s

# soak breaks clusters of processes at random, each mix of libraries for so long.
SOAKTIME := 10m

# sim simulates clusters of so many seeds, soak of so many.
SEEDS := 2000
SOAKSEEDS := 100000

.PHONY: test verify fix unit sim tags modules interop soak fuzz demo staticcheck race-warning

# test runs all parts, also after one has failed.
test:
	@failed=; table=; \
	for entry in $(PARTS); do \
		part=$${entry%:*} result=ok start=$$SECONDS; \
		echo "=== make $$part"; \
		$(MAKE) --no-print-directory $$part || { result=FAILED; failed=1; }; \
		took=$$((SECONDS - start)); \
		[ $$took -le $$((60 * $${entry#*:})) ] || result="$$result, over its budget"; \
		table+=$$(printf '%-8s %5d s of %2d min  %s' $$part $$took $${entry#*:} "$$result")$$'\n'; \
	done; \
	printf '\n%stotal    %5d s\n' "$$table" $$SECONDS; \
	[ -z "$$failed" ]

# verify writes nothing into the tree but .bin/.
verify: staticcheck
	@unformatted=$$(gofmt -l .); [ -z "$$unformatted" ] || { echo "not formatted (make fix):"; echo "$$unformatted"; exit 1; }
	@unlisted=$$(git ls-files '*go.mod' | xargs -n1 dirname | grep -vxF -e tools $(MODULES:%=-e %) || true); \
		[ -z "$$unlisted" ] || { echo "modules missing from MODULES: $$unlisted"; exit 1; }
	@failed=; for m in $(MODULES); do \
		echo "vet and staticcheck $$m"; \
		(cd $$m && go vet ./... && $(CURDIR)/.bin/staticcheck ./...) || failed=1; \
	done; [ -z "$$failed" ]

fix:
	gofmt -w .
	for m in tools $(MODULES); do (cd $$m && go mod tidy); done

unit: race-warning
	$(GOTEST) ./...

tags:
	go vet -tags hashicorpmetrics,batchtest ./...
	$(GOTEST) -tags hashicorpmetrics ./internal/metrics
	$(GOTEST) -tags batchtest ./testing/rafttest
	cd testing/compat && $(GOTEST) -tags hashicorpmetrics ./...

modules: race-warning
	@failed=; for m in $(filter-out . testing/interop,$(MODULES)); do \
		echo "test $$m"; \
		(cd $$m && $(GOTEST) ./...) || failed=1; \
	done; [ -z "$$failed" ]

interop:
	cd testing/interop && go test -count=1 -timeout 10m ./...

sim:
	go test -count=1 -timeout 10m -run 'TestSim$$' . -sim.seeds $(SEEDS)

soak:
	go test -count=1 -timeout 10h -run 'TestSim$$' . -sim.seeds $(SOAKSEEDS)
	cd testing/interop && for mix in ours,ours,ours ours,ours,upstream-1.8.0 ours,upstream-1.7.3,upstream-1.8.0; do \
		go run . $(RACE) -mix $$mix -duration $(SOAKTIME); \
	done

fuzz:
	@grep -rlE '^func Fuzz' --include='*_test.go' . | xargs -n1 dirname | sort -u | grep -vE '^./(examples|testing)/' | while read -r pkg; do \
		for f in $$(grep -hoE '^func Fuzz\w*' $$pkg/*_test.go | cut -c6-); do \
			(set -x; go test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1x $$pkg); \
		done; \
	done

demo:
	cd examples/kv && go run ./demo

staticcheck:
	@go build -C tools -o $(CURDIR)/.bin/staticcheck honnef.co/go/tools/cmd/staticcheck

race-warning:
	@[ -n "$(RACE)" ] || { echo; echo "*** NO C COMPILER: THE TESTS RUN WITHOUT THE RACE DETECTOR ***"; echo; }
