#!/usr/bin/env bash
# Every test, by layer, or those of the layers that are named; the clusters are shared by the tests of a layer and
# removed at the end. CRASH_MATRIX=full: at full length where it has one.
set -uo pipefail
cd "$(dirname "$0")/.."

RUNNER_TEST_CLUSTERS="$(mktemp -d /tmp/rex.XXXXXX)"
export RUNNER_TEST_CLUSTERS
export RUST_BACKTRACE=0 # a failed test says what is wrong in words
only=$(printf '%s\n' "$@")
failed=0
started=$SECONDS

layer() {
  local name=$1 before=$SECONDS
  shift
  [ -z "$only" ] || grep -qxF "$name" <<<"$only" || return 0
  printf '\n=== %s ===\n' "$name"
  "$@" || failed=1
  clusters_down
  printf -- '--- %s: %s s\n' "$name" $((SECONDS - before))
}
clusters_down() {
  for dir in "$RUNNER_TEST_CLUSTERS"/*/; do
    [ -d "$dir" ] && target/debug/devcluster down --dir "${dir%/}" >/dev/null 2>&1
  done
}
# Installs a package of Debian's unless its file is there.
need() {
  [ -e "$2" ] || { apt-get update -qq && apt-get install -qq -y --no-install-recommends "$1"; }
}

outages() {
  need libfaketime /usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1 &&
    cargo test --workspace --no-fail-fast --test outages -- --nocapture --test-threads=1
}
instructions() {
  need valgrind /usr/bin/valgrind &&
    GUNGRAUN_RUNNER=$(hack/tool.sh gungraun-runner 0.20.0) && export GUNGRAUN_RUNNER &&
    cargo bench --workspace --bench instructions
}
cleanup() {
  clusters_down
  rm -rf "$RUNNER_TEST_CLUSTERS"
}
trap cleanup EXIT

echo "Building the tests (about 6 min when cold) ..."
cargo build --quiet --workspace --all-targets || exit 1
echo "Building Kubernetes, Argo, helm and OpenTofu (about 20 min when cold, then nothing) ..."
target/debug/devcluster build --level pods || exit 1

# Always the whole workspace, narrowed by the name of the test: another selection of packages would have other
# features, and so build everything anew.
layer "format" cargo fmt --all --check
layer "lints" cargo clippy --quiet --workspace --all-targets -- -D warnings
layer "promised API" hack/semver.sh
# Without advisories, whose list is somewhere else: make deny.
layer "dependencies" hack/deny.sh bans licenses sources
layer "pure" cargo test --workspace --no-fail-fast --lib --bins --test manifests
layer "documentation" cargo test --workspace --no-fail-fast --doc
layer "control plane" cargo test --workspace --no-fail-fast --test control_plane --test real
layer "argo" cargo test --workspace --no-fail-fast --test argo
layer "engines and others" cargo test --workspace --no-fail-fast --test go_types --test submit --test conformance --test beside_the_built_in --test engine
layer "pods" cargo test --workspace --no-fail-fast --test pods --test tools --test plugin
layer "bad inputs" cargo test --workspace --no-fail-fast --test bad_inputs -- --nocapture --test-threads=1
layer "crash matrix" cargo test --workspace --no-fail-fast --test crash -- --nocapture --test-threads=1
layer "outages" outages
# That every bug of the table still fits the code is a pure test; to build the project once for each takes an hour.
[ "${CRASH_MATRIX:-}" != full ] || layer "planted bugs" target/debug/planted
layer "instructions" instructions

printf '\nall layers: %s s\n' $((SECONDS - started))
exit $failed
