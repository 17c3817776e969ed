# Two commands do everything: `make demo` and `make test`. Both set up what they need.
# Needs Rust (rustup), Go, make and, for pods, root on Debian.

CLUSTER ?= .cluster
LEVEL   ?= pods
IMAGE   := localhost/runner-controller:dev
TARGET  := x86_64-unknown-linux-gnu
# The image holds nothing but this binary, so it must be static.
BINARY  := target/$(TARGET)/release/runner-controller
DEVCLUSTER := target/debug/devcluster

.PHONY: help demo engine test planted reliability cluster-up cluster-down generate lint deny semver binary devcluster clean-clusters image

help: ## Show what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

demo: devcluster $(if $(filter engine,$(MAKECMDGOALS)),,binary) ## Set up a real cluster, install the controller, run the samples (RUN="http helm" those only; KEEP=no removes the cluster afterwards)
ifeq ($(filter engine,$(MAKECMDGOALS)),)
	DEVCLUSTER=$(DEVCLUSTER) BINARY=$(BINARY) IMAGE=$(IMAGE) CLUSTER=$(CLUSTER) KEEP=$(KEEP) RUN="$(RUN)" hack/demo.sh
else
	@echo "building the controller and the Engine (about 4 min when cold)"
	cargo build --quiet --workspace --bins
	DEVCLUSTER=$(DEVCLUSTER) CLUSTER=$(CLUSTER) KEEP=$(KEEP) hack/demo_engine.sh
endif

engine: ## make demo engine: an Engine on top of it, from an Action to its outcome
	@$(if $(filter demo,$(MAKECMDGOALS)),true,$(MAKE) demo engine)

test: ## Set up real clusters and run every test
	hack/test.sh

reliability: ## The tests of what dies, at full length: model, bad inputs, crash matrix, storms, outages, planted bugs (hours)
	CRASH_MATRIX=full hack/test.sh "pure" "bad inputs" "crash matrix" "outages" "planted bugs"

planted: ## Plant bugs in a copy of the project, one at a time, and tell which check catches which (an hour)
	cargo build --quiet --workspace --all-targets
	$(DEVCLUSTER) build --level argo
	target/debug/planted

cluster-up: devcluster ## Bring up a cluster: LEVEL=control-plane|argo|pods CLUSTER=.cluster
	$(DEVCLUSTER) up --dir $(CLUSTER) --level $(LEVEL)

cluster-down: devcluster ## Stop it and remove what it left
	$(DEVCLUSTER) down --dir $(CLUSTER)

generate: ## Write the generated manifests
	cargo run --quiet -- crd > config/crd/runnerexecutions.yaml
	cargo run --quiet -- crd --go | gofmt > go/v1alpha1/types.go
	cargo run --quiet -p engine -- crd > engine/config/crd.yaml

lint: ## rustfmt and clippy
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

deny: ## The dependencies: known vulnerabilities, licenses, sources (fetches the list of vulnerabilities)
	hack/deny.sh

semver: ## Whether the library still offers what it did at the baseline
	hack/semver.sh

image: devcluster binary ## Write the image, with the tools in it, as an OCI archive: target/runner-controller.tar
	$(DEVCLUSTER) build
	$(DEVCLUSTER) image --output target/runner-controller.tar $(IMAGE)=$(BINARY),$$($(DEVCLUSTER) path helm),$$($(DEVCLUSTER) path tofu)

devcluster:
	@echo "building devcluster (about 2 min when cold)"
	cargo build --quiet -p devcluster

# Packed relocations are 8 KB instead of 1 MB, all of which would be read into memory at each start.
binary:
	@echo "building the controller as a static release binary (about 4 min when cold)"
	CARGO_PROFILE_RELEASE_STRIP=symbols RUSTFLAGS="-C target-feature=+crt-static -C link-arg=-Wl,-z,pack-relative-relocs" cargo build --quiet --release -p runner-controller --target $(TARGET)
