#!/usr/bin/env python3
"""Loads a model directory in sentence-transformers and compares its vectors with ours, number by number.

    vectors_sentence_transformers.py build/release/bin/embed_benchmark MODEL_DIRECTORY PAIRS.tsv [--texts 500]

Prints the largest difference of any component; exits with 1 where it is above 1e-5.
"""
import argparse
import csv
import gzip
import subprocess
import sys

import numpy as np
import sentence_transformers


def texts_of(path, count):
    with open(path, "rb") as file:
        opener = gzip.open if file.read(2) == b"\x1f\x8b" else open
    with opener(path, "rt", encoding="utf-8", newline="\n") as file:
        texts = {row[key]: None for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
                 for key in ("q1", "q2")}
    return list(texts)[:count]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary")
    parser.add_argument("model")
    parser.add_argument("pairs")
    parser.add_argument("--texts", type=int, default=500)
    arguments = parser.parse_args()
    texts = texts_of(arguments.pairs, arguments.texts)
    theirs = sentence_transformers.SentenceTransformer(arguments.model, device="cpu").encode(texts)
    answer = subprocess.run([arguments.binary, "--model", arguments.model, "--pipe"], check=True, capture_output=True,
                            text=True, input="".join(f"1\t{text}\n" for text in texts)).stdout
    ours = np.array([line.split("\t")[1].split() for line in answer.splitlines()], dtype=np.float32)
    largest = np.abs(ours - theirs).max()
    print(f"{len(texts)} texts, largest difference of a component {largest:.2e}, "
          f"lowest cosine {(ours * theirs).sum(1).min():.7f}, sentence-transformers {sentence_transformers.__version__}")
    return 0 if largest <= 1e-5 else 1


sys.exit(main())
