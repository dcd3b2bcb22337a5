#!/usr/bin/env python3
"""Splits the pair sets into train, valid and test such that no question is on two sides, over all sets together.

    prepare_sets.py --data DIR --pc-mine build/release/bin/pc-mine --model models/all-MiniLM-L6-v2 --out DIR

`pc-mine split` deals each set out by component (7:1:2); a pair of one side with a question that another set has on a
stricter side (test before valid before train) is dropped. The questions of nq_mined_pairs and nq_response_pairs hang
together almost all; there each question that the others do not have is dealt out on its own, and pairs across two sides
are dropped. The boundary slice of qqp_gptcache is selected on each side (`pc-mine select`) with the untouched model.
DIR gets NAME/{train,valid,test}.tsv, and qqp_hard, with a copy of its train.tsv with shuffled labels. What DIR/splits and
DIR/slices have already is not made again.
"""
import argparse
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


def rows(path):
    with open(path, encoding="utf-8") as file:
        return [tuple(line.rstrip("\n").split("\t")[:3]) for line in file][1:]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--pc-mine", type=pathlib.Path, required=True)
    parser.add_argument("--model", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    arguments = parser.parse_args()
    out = arguments.out
    out.mkdir(parents=True, exist_ok=True)

    parts, strictest = {}, {}
    for name, files in SETS.items():
        splits = out / "splits" / name
        if not splits.exists():
            write(out / "splits" / f"{name}.tsv", read(arguments.data, files))
            subprocess.run([arguments.pc_mine, "split", "--pairs", out / "splits" / f"{name}.tsv", "--out-dir", splits,
                            "--seed", "1"], check=True)
        for number, side in enumerate(SIDES):
            parts[name, side] = rows(splits / f"{side}.tsv")
            if name == "qqp":
                hard = out / "slices" / f"{side}.tsv"
                if not hard.exists():
                    hard.parent.mkdir(exist_ok=True)
                    subprocess.run([arguments.pc_mine, "select", "--pairs", splits / f"{side}.tsv", "--model",
                                    arguments.model, "--out", hard], check=True)
                parts["qqp_hard", side] = rows(hard)
            for pair in parts[name, side]:
                for question in map(key, pair[:2]):
                    strictest[question] = max(strictest.get(question, 0), number)
    for (name, side), pairs in parts.items():
        kept = [pair for pair in pairs if all(strictest[key(question)] == SIDES.index(side) for question in pair[:2])]
        if len(kept) < len(pairs):
            print(f"{name}, {side}: {len(pairs) - len(kept)} of {len(pairs)} pairs have a question on a stricter side")
        write(out / name / f"{side}.tsv", kept)
    side_of = {question: SIDES[number] for question, number in strictest.items()}

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

    train = rows(out / "qqp_hard" / "train.tsv")
    labels = [row[2] for row in train]
    random.Random(1).shuffle(labels)
    write(out / "qqp_hard" / "train_shuffled.tsv", [(row[0], row[1], label) for row, label in zip(train, labels)])
    for name in [*SETS, *CONNECTED, "qqp_hard"]:
        counts = []
        for side in SIDES:
            labels = [row[2] for row in rows(out / name / f"{side}.tsv")]
            counts.append(f"{side} {len(labels)} ({labels.count('1')} positive)")
        print(f"{name}: {', '.join(counts)}")


if __name__ == "__main__":
    main()
