#!/usr/bin/env bash
# Builds and runs the consumer against the installed package and as a subproject. Arguments: source and build directory.
set -euo pipefail
source=$1
build=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cmake --install "$build" --prefix "$work/prefix" >/dev/null
cmake -S "$source/tests/packaging/consumer" -B "$work/installed" -DCMAKE_PREFIX_PATH="$work/prefix" >/dev/null
cmake --build "$work/installed" >/dev/null
"$work/installed/consumer" "$source/tests/data/tiny_bert"

cmake -S "$source/tests/packaging/consumer" -B "$work/sub" -DPROMPTCACHE_SOURCE="$source" \
  -DCMAKE_CXX_COMPILER_LAUNCHER=ccache >/dev/null
cmake --build "$work/sub" --target consumer --parallel 2 >/dev/null
"$work/sub/consumer" "$source/tests/data/tiny_bert"
