#!/usr/bin/env bash
# Models that learn without forgetting, on several sets, about 20 minutes a pass and run on 2 cores.
#   mixtures.sh BUILD SETS MODEL OUT      SETS from prepare_sets.py; an unfinished call is taken up again
# kept        the boundary slice of qqp_gptcache, with pairs of other sets mixed in and guarded; three seeds
# wide        nearly all pairs of qqp_gptcache, at a higher learning rate; 30 minutes
# unseen      the same slice and its whole training side alone: the guards are sets it does not train on
# open        the training sides of all sets of an open licence, none of qqp_gptcache or mqp
set -euo pipefail
build=$1 sets=$2 model=$3 out=$4
mkdir -p "$out"
run() {  # name, set to choose by, then options
  local name=$1 set=$2; shift 2
  local resume=()
  if [ -n "$(find "$out/$name" -name '*.safetensors' -print -quit 2> /dev/null)" ]; then resume=(--resume); fi
  [ -f "$out/$name.json" ] ||
    "$build/bin/pc-train" --model "$model" --train "$sets/$set/train.tsv" --valid "$sets/$set/valid.tsv" \
      --test "$sets/$set/test.tsv" --out "$out/$name" --epochs 1 --json "$out/$name.json" --log "$out/$name.jsonl" \
      "$@" "${resume[@]}"
}
mix() { for pair in "$@"; do options+=(--mix "$sets/${pair%:*}/train.tsv:${pair#*:}"); done; }
guard() { for set in "$@"; do options+=(--guard "$sets/$set/valid.tsv"); done; }

options=()
mix qqp:2 mqp:0.13 nq_hard:0.15 paws_wiki:0.6 hwu64_slot:0.4
guard mqp nq_hard paws_wiki hwu64_slot
run kept qqp_hard --seeds 3 "${options[@]}"

options=(--learning-rate 5e-5)
mix qqp:3.4 mqp:0.26 nq_hard:0.15 paws_wiki:0.6 hwu64_slot:0.4
guard mqp nq_hard
run wide qqp_hard "${options[@]}"

options=()
mix rqe:0.5 korean:0.4 disfl_qa:0.4 gptcache_mock:0.06 ambignq:0.6 nq_mined:1.2 nq_hard:0.23 nq_response:0.46 hwu64_slot:0.75
guard nq_hard hwu64_slot rqe korean
run open paws_wiki "${options[@]}"

options=()
mix qqp:2
guard mqp nq_hard paws_wiki hwu64_slot
run unseen qqp_hard "${options[@]}"
