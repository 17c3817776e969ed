#!/usr/bin/env bash
# tool.sh NAME VERSION [OPTION...]: prints the path of a program of crates.io, which is installed once per machine.
set -euo pipefail
name=$1 version=$2
root="${XDG_CACHE_HOME:-$HOME/.cache}/runner-controller/tools/$name-$version"
if [ ! -x "$root/bin/$name" ]; then
  echo "installing $name $version (minutes, once per machine)" >&2
  env -u CARGO_TARGET_DIR cargo install --quiet --locked --root "$root" "${@:3}" "$name@$version" >&2
fi
echo "$root/bin/$name"
