# make dev     a mesh on this machine: control plane, a few workloads, one real Envoy each (ARGS="--for 20s -o json")
# make cluster a real Kubernetes on this machine, with a shell in which kubectl and helm work; it ends with the shell
# make images  builds the images for your own cluster and pushes them (REGISTRY=registry.example/team)
# make test    all tests, with all that they need
# make check   the whole gate: format, lints, unused dependencies, licences, typos, then make test
# make bench   figures: connect, endpoint change, route edit and so on, beside their floor (ARGS="--quick -o json")
# make soak    the long forms of the tests
#
# Each stage prints its seconds. The logic is in hack/, one script for each thing.

.PHONY: help dev cluster images test check bench soak
# Stages share one cargo lock and one terminal.
.NOTPARALLEL:

# Make turns every failure into exit code 2, except that in question mode a command marked `+` may answer 1. So that
# the exit code of `make dev` is the exit code of `lateen dev`, this goal alone runs in question mode.
ifeq ($(MAKECMDGOALS),dev)
MAKEFLAGS += --question
endif

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

dev:
	+@exec env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL hack/dev $(ARGS)

cluster:
	@hack/prerequisites --install cluster
	@hack/cluster shell

images:
	@hack/images/publish $(REGISTRY)

test:
	@hack/stage prerequisites hack/prerequisites --install test
	@hack/stage envoy hack/envoy
	@hack/stage older-envoys hack/envoy 1.39 1.38
	@hack/stage kube hack/kube/build
	@hack/stage build cargo build --locked --workspace --bins --tests
	@hack/stage images hack/images/test
	@hack/stage mutants hack/mutants
	@hack/stage test hack/test --locked --workspace $(ARGS)
	@hack/stage test-mutants hack/test --locked -p control --features mutants --test mutants

check:
	@hack/stage prerequisites hack/prerequisites --install check
	@hack/stage fetch cargo fetch --locked
	@hack/stage format cargo fmt --all --check
	@hack/stage typos hack/tool typos
	@hack/stage clippy cargo clippy --locked --workspace --all-targets -- -D warnings
	@hack/stage unused-dependencies hack/tool cargo-machete
	@hack/stage licences-and-bans hack/tool cargo-deny --log-level error check bans licenses sources
	@$(MAKE) --no-print-directory test

bench:
	@hack/stage prerequisites hack/prerequisites --install test
	@hack/stage bench cargo bench --locked --package lateend --bench mesh -- $(ARGS)

# Tests that have a long form take it when LATEEN_SOAK is set; proptest reads its own variable.
soak:
	@hack/stage prerequisites hack/prerequisites --install test
	@hack/stage envoy hack/envoy
	@hack/stage older-envoys hack/envoy 1.39 1.38
	@hack/stage kube hack/kube/build
	@hack/stage build cargo build --locked --workspace --bins --tests
	@hack/stage images hack/images/test
	@hack/stage mutants hack/mutants
	@LATEEN_SOAK=1 PROPTEST_CASES=$${PROPTEST_CASES:-10000} hack/stage soak hack/test --locked --workspace $(ARGS)
