#!/usr/bin/env bash
# A pair scorer trained on a mixture: the boundary slice of qqp_gptcache, unselected pairs of it, other sets, and the dev half
# of the hard-negative suite. About 35 minutes an epoch on 2 cores; an unfinished call is taken up again.
#   scorers.sh BUILD SETS MODEL OUT [EPOCHS]      SETS from prepare_sets.py
set -euo pipefail
build=$1 sets=$2 model=$3 out=$4 epochs=${5:-1}
mkdir -p "$out"
"$(dirname "$0")/suite_pairs.py" "$(dirname "$0")/../../tests/data/hard_negatives" --split dev > "$out/suite_dev.tsv"
resume=()
if [ -n "$(find "$out/pair" -name "*.safetensors" -print -quit 2> /dev/null)" ]; then resume=(--resume); fi
[ -f "$out/pair.json" ] ||
  "$build/bin/pc-train" --kind pair --model "$model" --train "$sets/qqp_hard/train.tsv" --valid "$sets/qqp_hard/valid.tsv" \
    --mix "$sets/qqp/train.tsv:3.4" --mix "$sets/mqp/train.tsv:0.26" --mix "$sets/nq_hard/train.tsv:0.3" \
    --mix "$sets/paws_wiki/train.tsv:0.69" --mix "$sets/hwu64_slot/train.tsv:0.2" --mix "$out/suite_dev.tsv:0.22" \
    --learning-rate 7e-5 --out "$out/pair" --epochs "$epochs" --json "$out/pair.json" --log "$out/pair.jsonl" "${resume[@]}"
