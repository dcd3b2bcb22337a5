#!/usr/bin/env python3
"""Splits the pair sets into train, valid and test such that no question is on two sides, over all sets together.

    prepare_sets.py --data DIR --pc-mine build/release/bin/pc-mine --model models/all-MiniLM-L6-v2 --out DIR

All sets but two are put into one file, which `pc-mine split` deals out by component (7:1:2), and taken apart again. The
questions of nq_mined_pairs and nq_response_pairs hang together almost all; there each question that the others do not
have is dealt out on its own, and pairs across two sides are dropped. Then the boundary slice of qqp_gptcache is selected
on each side (`pc-mine select`) with the untouched model. DIR gets NAME/{train,valid,test}.tsv, and qqp_hard, and a copy of
qqp_hard/train.tsv with its labels shuffled.
"""
import argparse
import collections
import csv
import gzip
import hashlib
import pathlib
import random
import re
import subprocess

SETS = {
    "qqp": ["qqp_gptcache/pairs"], "mqp": ["mqp/pairs"], "nq_hard": ["nq_hard/pairs"], "paws_wiki": ["paws_wiki/pairs"],
    "hwu64_slot": ["hwu64_slot_pairs/pairs"], "rqe": ["rqe/train", "rqe/test"], "semeval": ["semeval_cqa_b/pairs"],
    "korean": ["question_pair_ko/pairs"], "disfl_qa": ["disfl_qa/pairs"], "gptcache_mock": ["gptcache_mock/pairs"],
    "ambignq": ["ambignq_pairs/pairs"],
}
CONNECTED = {"nq_mined": ["nq_mined_pairs/pairs"], "nq_response": ["nq_response_pairs/pairs"]}
SIDES = ("train", "valid", "test")


def key(question):
    """The form in which pc-mine compares questions."""
    text = re.sub(r"[ \t-\r]+", " ", question.strip(" \t\n\v\f\r?!.,;:\"'`()[]"))
    return text.translate({upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)})


def read(data, names):
    pairs = []
    for name in names:
        with gzip.open(data / f"{name}.tsv.gz", "rt", encoding="utf-8") as file:
            for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
                q1, q2 = row["q1"], row["q2"]
                # nq_response: the groups that are a noise estimate, not truth, are left out.
                trusted = "response" not in row or (row["answer_relation"], row["label"]) in (
                    ("overlap", "1"), ("disjoint", "0"))
                if row["label"] in ("0", "1") and key(q1) and key(q2) and key(q1) != key(q2) and trusted:
                    pairs.append((q1, q2, row["label"]))
    return pairs


def write(path, pairs):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("q1\tq2\tlabel\n" + "".join("\t".join(pair) + "\n" for pair in pairs), encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--pc-mine", type=pathlib.Path, required=True)
    parser.add_argument("--model", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    arguments = parser.parse_args()
    out = arguments.out
    out.mkdir(parents=True, exist_ok=True)

    with open(out / "joint.tsv", "w", encoding="utf-8") as file:
        file.write("q1\tq2\tlabel\tset\n")
        for name, files in SETS.items():
            file.writelines(f"{q1}\t{q2}\t{label}\t{name}\n" for q1, q2, label in read(arguments.data, files))
    subprocess.run([arguments.pc_mine, "split", "--pairs", out / "joint.tsv", "--out-dir", out / "joint", "--seed", "1"],
                   check=True)
    side_of = {}
    for side in SIDES:
        parts = collections.defaultdict(list)
        with open(out / "joint" / f"{side}.tsv", encoding="utf-8") as file:
            for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
                parts[row["set"]].append((row["q1"], row["q2"], row["label"]))
                for question in (row["q1"], row["q2"]):
                    if side_of.setdefault(key(question), side) != side:
                        raise SystemExit(f"on two sides: {question}")
        for name, pairs in parts.items():
            write(out / name / f"{side}.tsv", pairs)

    def side_of_question(question):
        if question in side_of:
            return side_of[question]
        draw = int.from_bytes(hashlib.sha256(question.encode()).digest()[:4], "big") / 2**32
        return "train" if draw < 0.7 else "valid" if draw < 0.8 else "test"

    for name, files in CONNECTED.items():
        parts = {side: [] for side in SIDES}
        pairs = read(arguments.data, files)
        for q1, q2, label in pairs:
            side = side_of_question(key(q1))
            if side == side_of_question(key(q2)):
                parts[side].append((q1, q2, label))
        for side in SIDES:
            write(out / name / f"{side}.tsv", parts[side])
        kept = sum(map(len, parts.values()))
        print(f"{name}: {len(pairs) - kept} of {len(pairs)} pairs lie across two sides and are dropped")

    (out / "qqp_hard").mkdir(exist_ok=True)
    for side in SIDES:
        subprocess.run([arguments.pc_mine, "select", "--pairs", out / "qqp" / f"{side}.tsv", "--model", arguments.model,
                        "--out", out / "qqp_hard" / f"{side}.tsv"], check=True)
    with open(out / "qqp_hard" / "train.tsv", encoding="utf-8") as file:
        rows = [row.rstrip("\n").split("\t") for row in file][1:]
    labels = [row[2] for row in rows]
    random.Random(1).shuffle(labels)
    write(out / "qqp_hard" / "train_shuffled.tsv", [(row[0], row[1], label) for row, label in zip(rows, labels)])
    for name in [*SETS, *CONNECTED, "qqp_hard"]:
        counts = []
        for side in SIDES:
            path = out / name / f"{side}.tsv"
            labels = [line.rstrip("\n").split("\t")[2] for line in open(path, encoding="utf-8")][1:]
            counts.append(f"{side} {len(labels)} ({labels.count('1')} positive)")
        print(f"{name}: {', '.join(counts)}")


if __name__ == "__main__":
    main()
