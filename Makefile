# `make test` is everything that CI runs, `make help` says what else there is. It
# needs Go, and gcc for the race detector; modules and tools come from the module
# cache or its proxy.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := test
export GOWORK := off

# The modules of this repository but for tools/, which has no packages. A new
# module is a new line here: verify and test then cover it.
MODULES := \
	. \
	bench/compare \
	bench/compare/hashi \
	bench/compare/peers/etcd \
	bench/compare/peers/ours \
	bench/compare/peers/upstream \
	examples/kv \
	fuzzy \
	testing/compat \
	testing/internal/child \
	testing/interop \
	testing/interop/node \
	testing/interop/peers/ours \
	testing/interop/peers/upstream-1.6.0 \
	testing/interop/peers/upstream-1.7.3 \
	testing/interop/peers/upstream-1.8.0 \
	testing/process \
	testing/safety \
	testing/safety/ours \
	testing/safety/scenarios \
	testing/safety/theirs

# The parts of `make test`, and how many minutes each may take on two cores in a
# fresh clone with an empty module cache. Together they stay below 20. The times
# taken are printed at the end.
#
#   verify   formatting, vet and staticcheck of all modules; builds staticcheck
#   unit     tests of the root module, with the race detector
#   sim      nodes stepped by hand, without it: many more seeds in the same time
#   fuzz     every decoder with some thousands of inputs, see FUZZTIME
#   fuzzy    whole nodes in virtual time under all faults
#   tags     build and tests with the build tags hashicorpmetrics and batchtest
#   modules  tests of the other modules, among them that the API is complete
#   benches  that what measures measures right: every workload, tiny
#   safety   histories that hurt users of other libraries
#   process  processes of examples/kv under all faults
#   mixed    clusters of processes that mix this library with hashicorp/raft
PARTS := \
	verify:3 \
	unit:4 \
	sim:1 \
	fuzz:2 \
	fuzzy:1 \
	tags:1 \
	modules:2 \
	benches:1 \
	safety:1 \
	process:2 \
	mixed:1

ifeq ($(shell go env CGO_ENABLED),1)
RACE := -race
endif
GOTEST := go test $(RACE) -timeout 10m

# fuzz runs each fuzz test with so many inputs, or, with a unit, for so long:
# make fuzz FUZZTIME=10m
FUZZTIME := 2000x

# soak runs each of its random parts for so long, simulates so many seeds of nodes
# stepped by hand and so many virtual hours of whole nodes, and opens so many of
# the states that a crash may leave of each write.
SOAKTIME := 10m
SOAKSEEDS := 100000
SOAKHOURS := 100
SOAKSTATES := 64

# sim simulates so many seeds.
SEEDS := 2000

.PHONY: test $(foreach p,$(PARTS),$(firstword $(subst :, ,$p))) \
	help bench bench-full fix soak soak-fuzzy interop compare-safety mutants demo staticcheck race-warning

help:
	@echo 'make test             all that CI runs: $(foreach p,$(PARTS),$(firstword $(subst :, ,$p)))'
	@echo 'make demo             a replicated key-value service, its leader killed before your eyes'
	@echo 'make bench            every case of the comparison with other libraries once: minutes'
	@echo 'make bench-full       five rounds of all of them: hours'
	@echo 'make verify           formatting, vet and staticcheck of all modules'
	@echo 'make fix              format and tidy'
	@echo 'make soak             the random parts at length: hours'
	@echo 'make soak-fuzzy       whole nodes through $(SOAKHOURS) virtual hours of faults'
	@echo 'make interop          every release of hashicorp/raft in every scenario'
	@echo 'make compare-safety   hashicorp/raft and this library in the same histories'
	@echo 'make mutants          break the code, see which test notices'
	@echo 'make fuzz FUZZTIME=1m every decoder with random input'

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
	$(GOTEST) -tags batchtest -run 'FSM|Batch' ./testing/rafttest
	cd testing/compat && $(GOTEST) -tags hashicorpmetrics ./...

modules: race-warning
	@failed=; for m in $(filter-out . bench/% fuzzy testing/interop testing/process testing/safety,$(MODULES)); do \
		echo "test $$m"; \
		(cd $$m && $(GOTEST) ./...) || failed=1; \
	done; [ -z "$$failed" ]

benches:
	@failed=; for m in $(filter bench/%,$(MODULES)); do \
		echo "test $$m"; \
		(cd $$m && go test -timeout 10m ./...) || failed=1; \
	done; [ -z "$$failed" ]

# Parts that start processes have nodes of their own with the race detector, or
# none: see their READMEs.
fuzzy:
	cd fuzzy && go test -count=1 -timeout 10m ./...

safety:
	cd testing/safety && $(GOTEST) -count=1 ./...

process:
	cd testing/process && go test -count=1 -timeout 10m ./...

mixed:
	cd testing/interop && go test -count=1 -timeout 10m ./...

interop:
	cd testing/interop && go run . -all

compare-safety:
	cd testing/safety && go run .

mutants:
	go run ./testing/mutants

sim:
	go test -count=1 -timeout 10m -run 'TestSim$$' . -sim.seeds $(SEEDS)

soak: soak-fuzzy
	go test -count=1 -timeout 10h -run 'TestSim$$' . -sim.seeds $(SOAKSEEDS)
	go test -count=1 -timeout 10h -run 'Crash|Creation' . ./raftboltdb -crash.states $(SOAKSTATES)
	go test -count=1 -timeout 10h -run Crashes ./raftwal -crash.seeds $(SOAKSTATES)
	$(MAKE) fuzz FUZZTIME=$(SOAKTIME)
	cd testing/process && go run . $(RACE) -nodes 5 -duration $(SOAKTIME)
	cd testing/interop && go run . -all $(RACE) -duration $(SOAKTIME)

soak-fuzzy:
	cd fuzzy && go test -count=1 -timeout 100h -v -run 'TestFuzz$$' . -hours $(SOAKHOURS) -nodes 5

fuzz:
	@grep -rlE '^func Fuzz' --include='*_test.go' . | xargs -n1 dirname | sort -u | while read -r pkg; do \
		for f in $$(grep -hoE '^func Fuzz\w*' $$pkg/*_test.go | cut -c6-); do \
			(cd $$pkg && go test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1x -parallel 2 . | sed "s|^|$$f |"); \
		done; \
	done

bench:
	cd bench/compare && go run . -short

bench-full:
	cd bench/compare && go run . -out results.jsonl

demo:
	cd examples/kv && go run ./demo

staticcheck:
	@go build -C tools -o $(CURDIR)/.bin/staticcheck honnef.co/go/tools/cmd/staticcheck

race-warning:
	@[ -n "$(RACE)" ] || { echo; echo "*** NO C COMPILER: THE TESTS RUN WITHOUT THE RACE DETECTOR ***"; echo; }
