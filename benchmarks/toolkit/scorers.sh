#!/usr/bin/env bash
# A pair scorer trained on a mixture: the boundary slice of qqp_gptcache, unselected pairs of it, other sets, and the dev half
# of the hard-negative suite. A first pass (OUT/pair), a second one from there with more of word order and of the suite
# (OUT/pair2), and two more with pairs made by alteration, attacks among them (OUT/pair3). About 40 minutes a pass on 2 cores; an
# unfinished call is taken up again.
#   scorers.sh BUILD SETS MODEL OUT      SETS from prepare_sets.py
set -euo pipefail
build=$1 sets=$2 model=$3 out=$4
here=$(dirname "$0")
mkdir -p "$out"
"$here/suite_pairs.py" "$here/../../tests/data/hard_negatives" --split dev > "$out/suite_dev.tsv"
"$here/altered_pairs.py" "$sets/qqp/train.tsv" --lexicon "$here/../../data/guards/en.txt" > "$out/altered.tsv"
# The last passes are judged by altered pairs as well, which the slice alone would rate lower.
{
  cut -f1-3 "$sets/qqp_hard/valid.tsv"
  "$here/altered_pairs.py" "$sets/qqp/valid.tsv" --lexicon "$here/../../data/guards/en.txt" --seed 7 | tail -n +2 | cut -f1-3
} > "$out/valid_altered.tsv"

# name, model to start from, pairs to validate by, pairs of qqp, paws_wiki and the suite for each of the slice; more arguments
pass() {
  local name=$1 from=$2 valid=$3 qqp=$4 paws=$5 suite=$6
  shift 6
  if [ -f "$out/$name.json" ]; then return; fi
  local resume=()
  if [ -n "$(find "$out/$name" -name "*.safetensors" -print -quit 2> /dev/null)" ]; then resume=(--resume); fi
  "$build/bin/pc-train" --kind pair --model "$from" --train "$sets/qqp_hard/train.tsv" --valid "$valid" \
    --mix "$sets/qqp/train.tsv:$qqp" --mix "$sets/mqp/train.tsv:0.26" --mix "$sets/nq_hard/train.tsv:0.3" \
    --mix "$sets/paws_wiki/train.tsv:$paws" --mix "$sets/hwu64_slot/train.tsv:0.2" --mix "$out/suite_dev.tsv:$suite" \
    --learning-rate 7e-5 --out "$out/$name" --json "$out/$name.json" --log "$out/$name.jsonl" "$@" "${resume[@]}"
}

pass pair "$model" "$sets/qqp_hard/valid.tsv" 3.4 0.69 0.22 --epochs 1
pass pair2 "$out/pair" "$sets/qqp_hard/valid.tsv" 3 1.38 0.45 --epochs 1
pass pair3 "$out/pair2" "$out/valid_altered.tsv" 3 1.38 0.45 --epochs 2 --mix "$out/altered.tsv:3.2"
