#!/usr/bin/env bash
# Whether the library still offers all that it did at the baseline. Nothing is published yet, so the baseline is the
# commit that hack/semver-baseline names: the last release, once there is one. A change that breaks others is announced
# by the version in Cargo.toml, as everywhere (0.1 to 0.2, later 1 to 2), and is let through by that.
set -euo pipefail
cd "$(dirname "$0")/.."

baseline=$(<hack/semver-baseline)
if ! git cat-file -e "$baseline^{commit}" 2>/dev/null; then
  case "$(git rev-parse --is-shallow-repository 2>/dev/null)" in
    false) echo "hack/semver-baseline names $baseline, which is no commit of this repository" >&2 && exit 1 ;;
    *) echo "not checked: the baseline $baseline is not in a shallow clone, or without git" && exit 0 ;;
  esac
fi
# One folder for both versions, so that what they depend on is compiled once. The program itself is not optimized: its own
# work takes a second.
CARGO_TARGET_DIR=$PWD/target/semver "$(hack/tool.sh cargo-semver-checks 0.51.0 --debug)" semver-checks --package runner-controller --baseline-rev "$baseline"
