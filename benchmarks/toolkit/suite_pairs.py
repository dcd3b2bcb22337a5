#!/usr/bin/env python3
"""Labelled pairs of the hard-negative suite, q1, q2, label, kind, for pc-train and pc-eval.

    suite_pairs.py tests/data/hard_negatives --split dev > dev.tsv

A row makes three pairs: prompt and paraphrase (1), prompt and negative (0), paraphrase and negative (0); with --two only the
first two, so that there are as many controls as negatives. Judge on --split test, which nothing was developed on.
"""
import argparse
import csv
import pathlib


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suite", type=pathlib.Path)
    parser.add_argument("--split", choices=["dev", "test"], required=True)
    parser.add_argument("--two", action="store_true")
    arguments = parser.parse_args()
    print("q1\tq2\tlabel\tkind")
    for path in sorted(arguments.suite.glob("*.tsv")):
        with path.open(encoding="utf-8") as file:
            for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
                if row["split"] != arguments.split:
                    continue
                pairs = [(row["prompt"], row["paraphrase"], 1), (row["prompt"], row["negative"], 0)]
                if not arguments.two:
                    pairs.append((row["paraphrase"], row["negative"], 0))
                for q1, q2, label in pairs:
                    print(q1, q2, label, path.stem, sep="\t")


if __name__ == "__main__":
    main()
