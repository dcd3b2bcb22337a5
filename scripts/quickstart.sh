#!/usr/bin/env bash
# From a fresh Debian 12 to a cache with a fine-tuned encoder: installs packages, fetches the model, builds Release,
# teaches the model on the demo pairs, compares it with the untouched one on pairs it has not seen, and serves a stream of
# their prompts. May be repeated.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/install_dependencies.sh
scripts/fetch_model.sh
cmake --preset release
cmake --build --preset release --target pc-train pc-eval pc-sim

bin=build/release/bin
base=models/all-MiniLM-L6-v2
tuned=models/quickstart
if [ -f "$tuned/promptcache.json" ]; then
  echo "fine-tuning: $tuned is there (remove it to train again)"
else
  resume=()
  if [ -f "$tuned/checkpoint.safetensors" ]; then resume=(--resume); fi
  "$bin/pc-train" --model "$base" --train examples/data/train.tsv --valid examples/data/valid.tsv --out "$tuned" "${resume[@]}"
fi
echo
echo "On the held-out demo pairs, the fine-tuned model beside the untouched one:"
"$bin/pc-eval" --model "$tuned" --baseline "$base" --pairs examples/data/test.tsv --valid examples/data/valid.tsv \
  --json "$tuned/evaluation.json" --html "$tuned/evaluation.html"
echo
echo "Their prompts, sent through a cache with either model:"
"$bin/pc-sim" --model "$tuned" --baseline "$base" --pairs examples/data/test.tsv --tune examples/data/valid.tsv \
  --timings --report "$tuned/simulation.html"
echo
echo "measures: $tuned/evaluation.json"
echo "reports:  $PWD/$tuned/evaluation.html and simulation.html"
