#!/usr/bin/env bash
# A pair scorer trained on a mixture: the boundary slice of qqp_gptcache, unselected pairs of it, other sets, and the dev half
# of the hard-negative suite. A first pass (OUT/pair), and a second one from there with more of word order and of the suite
# (OUT/pair2). About 40 minutes each on 2 cores; an unfinished call is taken up again.
#   scorers.sh BUILD SETS MODEL OUT      SETS from prepare_sets.py
set -euo pipefail
build=$1 sets=$2 model=$3 out=$4
mkdir -p "$out"
"$(dirname "$0")/suite_pairs.py" "$(dirname "$0")/../../tests/data/hard_negatives" --split dev > "$out/suite_dev.tsv"

# name, model to start from, pairs of qqp, paws_wiki and the suite for each of the slice
pass() {
  if [ -f "$out/$1.json" ]; then return; fi
  local resume=()
  if [ -n "$(find "$out/$1" -name "*.safetensors" -print -quit 2> /dev/null)" ]; then resume=(--resume); fi
  "$build/bin/pc-train" --kind pair --model "$2" --train "$sets/qqp_hard/train.tsv" --valid "$sets/qqp_hard/valid.tsv" \
    --mix "$sets/qqp/train.tsv:$3" --mix "$sets/mqp/train.tsv:0.26" --mix "$sets/nq_hard/train.tsv:0.3" \
    --mix "$sets/paws_wiki/train.tsv:$4" --mix "$sets/hwu64_slot/train.tsv:0.2" --mix "$out/suite_dev.tsv:$5" \
    --learning-rate 7e-5 --epochs 1 --out "$out/$1" --json "$out/$1.json" --log "$out/$1.jsonl" "${resume[@]}"
}

pass pair "$model" 3.4 0.69 0.22
pass pair2 "$out/pair" 3 1.38 0.45
