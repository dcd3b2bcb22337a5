#!/usr/bin/env python3
"""AUC of models on the test side of every set, beside the untouched model.

    judge.py --pc-eval build/release/bin/pc-eval --sets DIR --base models/all-MiniLM-L6-v2 --results DIR MODEL...

--sets is what prepare_sets.py made. Several seeds of one recipe are models whose names differ in the last part only
(OUT/runs/seed-1, OUT/runs/seed-2): they get a column of means and standard deviations. A single model's column has the
interval of its difference from the untouched one, resampled by question cluster. The output of pc-eval is kept in
--results and not measured again.
"""
import argparse
import collections
import json
import pathlib
import statistics
import subprocess

SETS = "qqp_hard,qqp,mqp,nq_hard,paws_wiki,hwu64_slot"


def measured(arguments, model, name, baseline=False):
    path = arguments.results / model.strip("/").replace("/", "-") / f"{name}{'-difference' if baseline else ''}.json"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run([arguments.pc_eval, "--model", model, *(["--baseline", arguments.base] if baseline else []),
                        "--pairs", arguments.sets / name / "test.tsv", "--precision", arguments.precision, "--json", path],
                       check=True, stdout=subprocess.DEVNULL)
    return json.loads(path.read_text())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pc-eval", type=pathlib.Path, required=True)
    parser.add_argument("--sets", type=pathlib.Path, required=True)
    parser.add_argument("--base", required=True)
    parser.add_argument("--results", type=pathlib.Path, required=True)
    parser.add_argument("--names", default=SETS)
    parser.add_argument("--precision", default="f32")
    parser.add_argument("models", nargs="+")
    arguments = parser.parse_args()
    recipes = collections.defaultdict(list)
    for model in arguments.models:
        path = pathlib.Path(model)
        several = path.parent.name == "runs" and path.name.startswith("seed-")
        recipes[path.parent.parent.name if several else path.name].append(model)
    print(f"{'set':<14} {'pairs':>6} {'untouched':>9}  " + "  ".join(f"{name:>26}" for name in recipes))
    for name in arguments.names.split(","):
        untouched = measured(arguments, arguments.base, name)
        cells = []
        for models in recipes.values():
            results = [measured(arguments, model, name, baseline=len(models) == 1) for model in models]
            aucs = [result["model"]["auc"] for result in results]
            if len(aucs) > 1:
                cells.append(f"{statistics.mean(aucs):.4f} +- {statistics.stdev(aucs):.4f}")
            else:
                low, high = (results[0]["difference"][f"auc_cluster_{end}"] for end in ("low", "high"))
                cells.append(f"{aucs[0]:.4f} ({low:+.4f} to {high:+.4f})")
        print(f"{name:<14} {untouched['pairs']:>6} {untouched['model']['auc']:>9.4f}  " +
              "  ".join(f"{cell:>26}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()
