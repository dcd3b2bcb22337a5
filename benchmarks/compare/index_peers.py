#!/usr/bin/env python3
"""Search for the nearest of real vectors, ours beside hnswlib, usearch and faiss.

    index_peers.py --binary build/release/bin/index_benchmark --model models/all-MiniLM-L6-v2 --data DIR
                   [--sizes 5000,50000,500000]

The texts are the distinct prompts and questions of the data sets in one random order (entityquestions, a third of them,
has its questions from patterns); the first 1,000 are queries, the following ones entries, so that the entries of a
smaller size are among those of a larger. They are embedded once by embed_benchmark, which stands beside --binary, and
kept in --env. All graphs have 16 links and look at 120 candidates when building and at 180 when searching, which are our
defaults; ours-graph scans below 8,192 entries, and ours-graph-none and ours-flat-none do without the vectors in f32, as
the i8 and SQ8 of the others do. One thread searches, one query at a time, and the engines take turns within every round.
Peers are called from Python: "call us" is what the same call takes on an index of 16 entries.

grown B: bytes an entry that the process has grown by; own B: the size of the index when saved, by its own account (ours:
bytes_per_entry). recall@1: the answer is as near as the nearest, to 1e-6.
"""
import hashlib
import os
import random
import subprocess
import sys
import tempfile
import time

import environment  # noqa: F401
import numpy as np

from bulk_peers import write
from prepare import digest
from texts import all_texts
from workers import FOLDER, Embedder, Worker, parsed, parser_for, save, started

WIDTH = 384
TURN = 100  # queries
ENGINES = ("ours-graph,ours-graph-none,ours-flat,hnswlib,usearch-f32,usearch-i8,faiss-hnsw,faiss-hnsw-sq8,faiss-flat,"
           "faiss-sq8")
TITLES = {"ours-graph": "promptcache, HnswIndex", "ours-graph-none": "promptcache, HnswIndex, codes only",
          "ours-flat": "promptcache, FlatIndex", "ours-flat-none": "promptcache, FlatIndex, codes only"}


class Index(Worker):
    def __init__(self, name, arguments, vectors, entries):
        self.name = name
        self.ours = name.startswith("ours-")
        place = [vectors, arguments.queries, entries]
        if self.ours:
            super().__init__([arguments.binary, "--pipe", name.removeprefix("ours-"), *place])
            self.title = TITLES.get(name, name)
            self.call = None
        else:
            super().__init__([sys.executable, FOLDER / "index_engines.py", name, *place, "--threads",
                              arguments.build_threads], arguments.build_threads, ready=True)
            self.call = int(self.ask("call")) / 1000
        self.search(0, 0)  # it has read the queries
        before = self.memory()
        self.build_seconds = int(self.ask("build")) / 1e9
        time.sleep(1)  # our thread in the background frees the scan when the graph has taken over
        after = self.memory()
        self.grown = sum(after[key] - before[key] for key in ("anonymous", "files")) / entries
        self.own = int(self.ask("size"))
        self.microseconds, self.found = [], []

    def search(self, begin, end):
        times, ids = self.ask(f"{begin} {end}").split("\t")
        return [int(taken) / 1000 for taken in times.split()], [int(number) for number in ids.split()]

    def turn(self, begin, end, queries):
        before = (begin - TURN) % queries
        self.search(before, min(before + 10, queries))  # the caches are another engine's
        times, ids = self.search(begin, end)
        self.microseconds += times
        self.found += ids


def vectors_file(arguments, entries):
    """A file with the vectors of the queries and of at least so many entries."""
    texts, counts = all_texts(arguments.data)
    wanted = arguments.queries + entries
    print(f"{len(texts)} distinct texts: {', '.join(f'{name} {count}' for name, count in counts.most_common())}")
    if wanted > len(texts):
        sys.exit(f"{entries} entries and {arguments.queries} queries are more than the {len(texts)} texts there are")
    order = hashlib.sha256("\n".join(texts).encode()).hexdigest()[:12]
    prefix = f"{order}-{digest(arguments.model)}-{arguments.precision}-"
    folder = arguments.env / "vectors"
    folder.mkdir(parents=True, exist_ok=True)
    counts = [int(path.stem.removeprefix(prefix)) for path in folder.glob(prefix + "*.f32")]
    if enough := [count for count in counts if count >= wanted]:
        return folder / f"{prefix}{min(enough)}.f32"
    path = folder / f"{prefix}{wanted}.f32"
    half = folder / f"half.{os.getpid()}"
    print(f"embedding {wanted} texts", flush=True)
    arguments.binary, index_binary = arguments.binary.with_name("embed_benchmark"), arguments.binary
    with tempfile.TemporaryDirectory() as temporary:
        embedder = Embedder(f"ours-{arguments.precision}", arguments, "--bulk", os.cpu_count(), shown=True)
        seconds = embedder.bulk(write(f"{temporary}/texts.txt", texts[:wanted]), half)
        embedder.close()
    arguments.binary = index_binary
    half.rename(path)
    print(f"embedded {wanted} texts in {seconds:.0f} s", flush=True)
    return path


def best_similarities(queries, entries):
    best = np.full(len(queries), -2, dtype=np.float32)
    for begin in range(0, len(entries), 20000):
        best = np.maximum(best, (queries @ entries[begin:begin + 20000].T).max(1))
    return best


def measure(arguments, path, size):
    rows = np.memmap(path, dtype=np.float32, mode="r").reshape(-1, WIDTH)
    queries, entries = np.array(rows[:arguments.queries]), rows[arguments.queries:arguments.queries + size]
    best = best_similarities(queries, entries)
    engines = started(arguments.engines, lambda name: Index(name, arguments, path, size))
    order = random.Random(1)
    for begin in range(0, len(queries), TURN):
        for engine in order.sample(engines, len(engines)):
            engine.turn(begin, min(begin + TURN, len(queries)), len(queries))
    print(f"\n{size} entries, {len(queries)} queries; built on {arguments.build_threads} thread(s), ours on one")
    print(f"{'index':<36} {'build s':>8} {'median us':>9} {'p99 us':>8} {'call us':>7} {'recall@1':>8} {'grown B':>8} "
          f"{'own B':>6}")
    results = []
    for engine in engines:
        found = np.array([entries[number] for number in engine.found])
        recall = float(np.mean((found * queries).sum(1) >= best - 1e-6))
        median, p99 = np.median(engine.microseconds), np.quantile(engine.microseconds, 0.99)
        call = "-" if engine.call is None else f"{engine.call:.1f}"
        print(f"{engine.title:<36} {engine.build_seconds:>8.2f} {median:>9.1f} {p99:>8.1f} {call:>7} {recall:>8.3f} "
              f"{engine.grown:>8.0f} {engine.own:>6}", flush=True)
        results.append({"engine": engine.title, "entries": size, "build_s": engine.build_seconds, "median_us": median,
                        "p99_us": p99, "call_us": engine.call, "recall": recall, "grown_bytes": engine.grown,
                        "own_bytes": engine.own})
        engine.close()
    return results


def main():
    listed = subprocess.run([sys.executable, FOLDER / "index_engines.py", "--list"], capture_output=True, text=True)
    parser = parser_for(__doc__, engines=ENGINES, data=True)
    parser.add_argument("--sizes", default="5000,50000")
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--precision", default="int8", help="of ours, which embeds the texts")
    parser.add_argument("--build-threads", type=int, default=1, help="of the peers")
    arguments = parsed(parser, listed.stdout.split())
    sizes = sorted(map(int, arguments.sizes.split(",")))
    path = vectors_file(arguments, sizes[-1])
    save(arguments, "index", [row for size in sizes for row in measure(arguments, path, size)])


if __name__ == "__main__":
    main()
