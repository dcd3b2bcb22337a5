#!/usr/bin/env bash
# Every loss on the boundary slice of qqp_gptcache under the same budget, three seeds each, and shuffled labels.
#   losses.sh BUILD SETS MODEL OUT      SETS from prepare_sets.py; an unfinished call is taken up again
set -euo pipefail
build=$1 sets=$2 model=$3 out=$4
mkdir -p "$out"
run() {  # name, training pairs, then options
  local name=$1 train=$2; shift 2
  local resume=()
  if [ -n "$(find "$out/$name" -name '*.safetensors' -print -quit 2> /dev/null)" ]; then resume=(--resume); fi
  [ -f "$out/$name.json" ] ||
    "$build/bin/pc-train" --model "$model" --train "$sets/qqp_hard/$train.tsv" --valid "$sets/qqp_hard/valid.tsv" \
      --test "$sets/qqp_hard/test.tsv" --out "$out/$name" --epochs 1 --seeds 3 --json "$out/$name.json" \
      --log "$out/$name.jsonl" "$@" "${resume[@]}"
}
for loss in bce sld sld-symmetric cosine contrastive triplet; do run "$loss" train --loss "$loss"; done
run shuffled train_shuffled
