#!/usr/bin/env python3
"""Training pairs per second and peak memory of a plain PyTorch loop beside pc-train, on the same pairs and threads.

    train_peers.py PC_TRAIN MODEL_DIRECTORY TRAIN.tsv VALID.tsv [--threads N] [--rounds N]

The loop does what pc-train does: 32 pairs a batch, at most 64 tokens, batches of like length, each distinct text of a
batch encoded once, mean pooling, BCE on (cosine / lambda - c), gradient clipping, AdamW. Rounds of the two alternate.
pc-train's rate comes from its own log of steps, so that neither side counts loading or validation.
"""
import argparse
import csv
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time


def read(path):
    with open(path, encoding="utf-8", newline="\n") as file:
        return [(row["q1"], row["q2"], float(row["label"])) for row in
                csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)]


def pytorch_round(model_directory, pairs, threads, steps):
    """Runs in a process of its own; prints pairs a second and the peak memory in MiB."""
    import torch
    import transformers
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    tokenizer = transformers.AutoTokenizer.from_pretrained(model_directory)
    model = transformers.AutoModel.from_pretrained(model_directory).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-5, weight_decay=0.01)
    random.Random(1).shuffle(pairs)
    length = {text: len(ids) for text, ids in
              zip([t for p in pairs for t in p[:2]],
                  tokenizer([t for p in pairs for t in p[:2]], truncation=True, max_length=64)["input_ids"])}
    batches = []
    for begin in range(0, len(pairs), 32 * 32):
        window = sorted(pairs[begin:begin + 32 * 32], key=lambda p: max(length[p[0]], length[p[1]]))
        batches += [window[i:i + 32] for i in range(0, len(window), 32)]
    random.Random(2).shuffle(batches)
    batches = batches[:steps]
    warm = 2
    for number, batch in enumerate(batches):
        if number == warm:
            start = time.perf_counter()
        texts = sorted({t for p in batch for t in p[:2]}, key=lambda t: length[t])
        place = {t: i for i, t in enumerate(texts)}
        inputs = tokenizer(texts, padding=True, truncation=True, max_length=64, return_tensors="pt")
        hidden = model(**inputs).last_hidden_state
        mask = inputs["attention_mask"].unsqueeze(-1).float()
        vectors = torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=1)
        first = vectors[[place[p[0]] for p in batch]]
        second = vectors[[place[p[1]] for p in batch]]
        logits = (first * second).sum(1) / 0.06 - 10
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, torch.tensor([p[2] for p in batch]))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    seconds = time.perf_counter() - start
    print(json.dumps([sum(map(len, batches[warm:])) / seconds,
                      resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))


def run_measured(command):
    """Runs a command; its peak memory in MiB."""
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    if status != 0:
        raise RuntimeError(f"{command[0]} failed with status {status}")
    return usage.ru_maxrss / 1024


def pc_train_round(arguments, pairs, steps):
    with tempfile.TemporaryDirectory() as work:
        train = os.path.join(work, "train.tsv")
        with open(train, "w", encoding="utf-8") as file:
            file.write("q1\tq2\tlabel\n")
            file.writelines(f"{a}\t{b}\t{label:g}\n" for a, b, label in pairs[:steps * 32])
        log = os.path.join(work, "log.jsonl")
        memory = run_measured([arguments.pc_train, "--model", arguments.model, "--train", train, "--valid", arguments.valid,
                        "--out", os.path.join(work, "out"), "--epochs", "1", "--threads", str(arguments.threads),
                        "--device", "cpu", "--log", log])
        with open(log, encoding="utf-8") as file:
            lines = [json.loads(line) for line in file]
    done = [line for line in lines if line["event"] == "step"]
    return sum(line["pairs"] for line in done[2:]) / sum(line["seconds"] for line in done[2:]), memory


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pc_train")
    parser.add_argument("model")
    parser.add_argument("train")
    parser.add_argument("valid")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--pytorch-only", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    pairs = read(arguments.train)
    random.Random(3).shuffle(pairs)
    if arguments.pytorch_only:
        pytorch_round(arguments.model, pairs[:arguments.steps * 32], arguments.threads, arguments.steps)
        return
    ours, theirs = [], []
    for _ in range(arguments.rounds):
        ours.append(pc_train_round(arguments, pairs, arguments.steps))
        output = subprocess.run([sys.executable] + sys.argv + ["--pytorch-only"], check=True, capture_output=True)
        theirs.append(json.loads(output.stdout))
    for name, rounds in (("pc-train", ours), ("PyTorch", theirs)):
        rates = sorted(rate for rate, _ in rounds)
        print(f"{name}: {statistics.median(rates):.1f} pairs/s ({rates[0]:.1f} to {rates[-1]:.1f}), "
              f"peak memory {max(memory for _, memory in rounds):.0f} MiB")
    ratio = statistics.median(r for r, _ in ours) / statistics.median(r for r, _ in theirs)
    print(f"ratio of the medians: {ratio:.2f}")


main()
