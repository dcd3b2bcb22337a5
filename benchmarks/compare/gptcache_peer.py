#!/usr/bin/env python3
"""Time of a lookup by meaning, embedding excluded, in GPTCache and in promptcache, on the same vectors.

    gptcache_peer.py build/release/bin/cache_benchmark [--entries 5000]

cache_benchmark is run first and leaves its vectors in a file; GPTCache (SQLite and FAISS, as its own examples set it up)
gets the same entries and is asked the same queries. Needs gptcache and faiss-cpu.
"""
import argparse
import os
import re
import statistics
import subprocess
import tempfile
import time

import numpy as np

WIDTH = 384
QUERIES = 1000


def gptcache_times(vectors, entries, folder, asked):
    from gptcache import Cache
    from gptcache.adapter.api import get, put
    from gptcache.manager import CacheBase, VectorBase, get_data_manager
    from gptcache.processor.pre import get_prompt
    from gptcache.similarity_evaluation.distance import SearchDistanceEvaluation
    manager = get_data_manager(CacheBase("sqlite", sql_url=f"sqlite:///{folder}/gptcache.db"),
                               VectorBase("faiss", dimension=WIDTH, index_path=f"{folder}/faiss.index"),
                               max_size=entries * 2)
    cache = Cache()

    def embed(prompt, **_):
        number = int(prompt[1:])
        return vectors[number if prompt[0] == "v" else entries + number]

    cache.init(pre_embedding_func=get_prompt, embedding_func=embed, data_manager=manager,
               similarity_evaluation=SearchDistanceEvaluation())
    for i in range(entries):
        put(f"v{i}", "r" * 500, cache_obj=cache)
    times = []
    hits = 0
    for i in range(asked):
        start = time.perf_counter_ns()
        answer = get(f"q{i}", cache_obj=cache)
        times.append((time.perf_counter_ns() - start) / 1000)
        hits += answer is not None
    return times, hits


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary")
    parser.add_argument("--entries", type=int, default=5000)
    parser.add_argument("--asked", type=int, default=500)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "vectors.f32")
        output = subprocess.run([arguments.binary, "--entries", str(arguments.entries), "--vectors", path, "--only", "reads"],
                                check=True, capture_output=True, text=True).stdout
        print(output, end="")
        ours = float(re.search(r"lookup by meaning.*?p50\s+([0-9.]+) us", output).group(1))
        vectors = np.fromfile(path, dtype=np.float32).reshape(-1, WIDTH)
        times, hits = gptcache_times(vectors, arguments.entries, folder, min(arguments.asked, QUERIES))
    times.sort()
    median = statistics.median(times)
    print(f"GPTCache: p50 {median:.0f} us, p99 {times[int(len(times) * 0.99)]:.0f} us, {hits} of {len(times)} answered")
    print(f"median of GPTCache to ours: {median / ours:.0f}")


main()
