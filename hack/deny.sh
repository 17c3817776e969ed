#!/usr/bin/env bash
# cargo deny by deny.toml: all checks, or those that are named. That of advisories fetches the list of them anew.
set -euo pipefail
cd "$(dirname "$0")/.."
"$(hack/tool.sh cargo-deny 0.20.2 --debug)" --all-features --workspace check --hide-inclusion-graph "$@"
