#!/usr/bin/env bash
# Installs the Debian 12 packages that building, testing and the quickstart need. Asks apt only for what is missing.
set -euo pipefail

packages=(
  g++ cmake ninja-build ccache pkg-config git ca-certificates          # build
  libdnnl-dev libhwy-dev libhnswlib-dev libeigen3-dev                   # arithmetic, index
  libutf8proc-dev nlohmann-json3-dev                                    # text, JSON
  libssl-dev zlib1g-dev libsqlite3-dev libcli11-dev                     # digests, gzip, the store, command lines
  libcpp-httplib-dev                                                    # asking a teacher LLM over HTTP and HTTPS
  libtorch-dev libopenblas0-pthread                                     # training; the reference BLAS is far slower
  catch2 libbenchmark-dev gnuplot-nox                                   # tests, benchmarks, the report's plots
  python3 python3-pip                                                   # fetches the model
)

missing=()
for package in "${packages[@]}"; do
  dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
done
if [ ${#missing[@]} -eq 0 ]; then
  echo "packages: all there"
  exit 0
fi
echo "packages: installing ${missing[*]}"
as_root=()
if [ "$(id -u)" -ne 0 ]; then as_root=(sudo); fi
"${as_root[@]}" apt-get update -qq
DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
