#!/usr/bin/env bash
# Installs what is missing, builds everything in Release, and runs every test. Quick the second time.
# Real data sets are used when PROMPTCACHE_DATA names them; tests that lack them are reported as skipped.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/install_dependencies.sh
scripts/fetch_model.sh minilm smollm2
cmake --preset release
cmake --build --preset release
# Two spinning OpenMP pools (oneDNN's and LibTorch's) would starve each other.
export OMP_WAIT_POLICY=passive
ctest --test-dir build/release --output-on-failure --parallel "$(nproc)"
