#!/usr/bin/env bash
# Caching efficiency of models on the prompts of the test pairs, 20 orders, tau tuned on the validation pairs' prompts.
#   efficiency.sh BUILD SETS MODEL OUT --tuned TUNED [--tuned TUNED ...] SET...      SETS from prepare_sets.py
set -euo pipefail
build=$1 sets=$2 base=$3 out=$4; shift 4
mkdir -p "$out"
models=()
while [ "${1:-}" = --tuned ]; do models+=("$2"); shift 2; done
for name in "$@"; do
  for model in "${models[@]}"; do
    file="$out/$name-$(echo "$model" | tr / -)"
    [ -f "$file.json" ] ||
      "$build/bin/pc-sim" --model "$model" --baseline "$base" --pairs "$sets/$name/test.tsv" \
        --tune "$sets/$name/valid.tsv" --tau-from 0.6 --json "$file.json" > "$file.txt"
    echo "== $name, $model"
    cat "$file.txt"
  done
done
