#!/usr/bin/env python3
"""Time and memory of each step from a prompt log to a tuned model and its report.

    whole_path.py --build build/release --model models/all-MiniLM-L6-v2 --prompts queries.tsv.gz --out DIR

The teacher is teacher.py, on loopback: its time is not a language model's, its labels are not to be learnt from. A step
whose file is in DIR already is left out. Seconds are wall clock; memory is the largest resident set of the step's process.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import time


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("build", "model", "prompts", "out"):
        parser.add_argument(f"--{name}", type=pathlib.Path, required=True)
    parser.add_argument("--limit", type=int, default=100000)
    arguments = parser.parse_args()
    tools, model, out = arguments.build / "bin", arguments.model, arguments.out
    out.mkdir(parents=True, exist_ok=True)
    log = out / "steps.json"
    steps = json.loads(log.read_text()) if log.exists() else {}

    def step(name, result, *command):
        if not (out / result).exists():
            begin = time.monotonic()
            pid = os.posix_spawn(command[0], [str(part) for part in command], os.environ)
            _, status, usage = os.wait4(pid, 0)
            if status != 0:
                sys.exit(f"{name} ended with {os.waitstatus_to_exitcode(status)}")
            steps[name] = {"seconds": time.monotonic() - begin, "cpu_seconds": usage.ru_utime + usage.ru_stime,
                           "mib": usage.ru_maxrss / 1024}
            log.write_text(json.dumps(steps, indent=1) + "\n")

    step("mine", "mined.tsv", tools / "pc-mine", "neighbours", "--model", model, "--prompts", arguments.prompts,
         "--limit", arguments.limit, "--k", 3, "--out", out / "mined.tsv", "--json", out / "mined.json")
    with subprocess.Popen([sys.executable, pathlib.Path(__file__).with_name("teacher.py")], stdout=subprocess.PIPE,
                          text=True) as teacher:
        step("label", "labelled.tsv", tools / "pc-label", "--pairs", out / "mined.tsv", "--out", out / "labelled.tsv",
             "--endpoint", teacher.stdout.readline().strip(), "--model", "stand-in", "--no-key", "--parallel", 8,
             "--resume", "--json", out / "labelled.json")
        teacher.terminate()
    step("split", "data", tools / "pc-mine", "split", "--pairs", out / "labelled.tsv", "--out-dir", out / "data",
         "--ratios", "6:1:3")
    for side in ("train", "valid", "test"):
        step(f"select, {side}", f"{side}.tsv", tools / "pc-mine", "select", "--pairs", out / "data" / f"{side}.tsv",
             "--model", model, "--out", out / f"{side}.tsv")
    step("train, one epoch", "tuned", tools / "pc-train", "--model", model, "--train", out / "train.tsv", "--valid",
         out / "valid.tsv", "--out", out / "tuned", "--epochs", 1)
    step("judge", "report.html", tools / "pc-eval", "--model", out / "tuned", "--baseline", model, "--pairs",
         out / "test.tsv", "--calibration", out / "valid.tsv", "--report", out / "report.html")
    for name, taken in steps.items():
        print(f"{name:<18} {taken['seconds']:>8.1f} s  {taken['cpu_seconds']:>8.1f} s of CPU  {taken['mib']:>6.0f} MiB")


if __name__ == "__main__":
    main()
