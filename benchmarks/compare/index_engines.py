#!/usr/bin/env python3
"""The indices beside ours, each run by index_peers.py in a process of its own.

    index_engines.py NAME VECTORS QUERIES ENTRIES [--threads N] [--m 16] [--ef-construction 120] [--ef-search 180]
    index_engines.py --list

Answers lines as index_benchmark --pipe does: the first QUERIES rows of the file VECTORS (f32) are queries, the ENTRIES
rows after them are entries.
"""
import argparse
import ctypes
import importlib
import importlib.metadata
import sys
import time

import numpy as np

WIDTH = 384
CHUNK = 1000


class Hnswlib:
    module = package = "hnswlib"

    def __init__(self, options):
        import hnswlib
        self.index = hnswlib.Index(space="ip", dim=WIDTH)
        self.index.init_index(options.entries, options.ef_construction, options.m, random_seed=1)
        self.index.set_ef(options.ef_search)
        self.threads = options.threads

    def add(self, ids, rows):
        self.index.add_items(rows, ids, num_threads=self.threads)

    def search(self, query):
        return self.index.knn_query(query, k=1, num_threads=1)[0][0, 0]

    def size(self):
        return self.index.index_file_size()


class Usearch:
    module, package = "usearch.index", "usearch"

    def __init__(self, options, kind):
        from usearch.index import Index
        self.index = Index(ndim=WIDTH, metric="cos", dtype=kind, connectivity=options.m,
                           expansion_add=options.ef_construction, expansion_search=options.ef_search)
        self.threads = options.threads

    def add(self, ids, rows):
        self.index.add(ids, rows, threads=self.threads)

    def search(self, query):
        return self.index.search(query, 1, threads=1).keys[0]

    def size(self):
        return self.index.serialized_length


class Faiss:
    module, package = "faiss", "faiss-cpu"

    def __init__(self, options, recipe):
        import faiss
        self.faiss = faiss
        faiss.omp_set_num_threads(options.threads)
        self.index = faiss.index_factory(WIDTH, recipe.format(m=options.m), faiss.METRIC_INNER_PRODUCT)
        if isinstance(self.index, faiss.IndexHNSW):
            self.index.hnsw.efConstruction = options.ef_construction
            self.index.hnsw.efSearch = options.ef_search
        self.first = None

    def train(self, rows):
        if not self.index.is_trained:
            self.index.train(rows)

    def add(self, ids, rows):
        self.index.add(rows)  # numbers the rows as they come

    def built(self):
        self.faiss.omp_set_num_threads(1)

    def search(self, query):
        return self.index.search(query[None], 1)[1][0, 0]

    def size(self):
        count = 0

        def write(part):
            nonlocal count
            count += len(part)
            return len(part)

        writer = self.faiss.PyCallbackIOWriter(write)
        self.faiss.write_index(self.index, writer)
        return count


ENGINES = {
    "hnswlib": ("hnswlib, HNSW f32", Hnswlib),
    "usearch-f32": ("usearch, HNSW f32", Usearch, "f32"),
    "usearch-i8": ("usearch, HNSW i8", Usearch, "i8"),
    "faiss-flat": ("faiss, scan f32", Faiss, "Flat"),
    "faiss-sq8": ("faiss, scan SQ8", Faiss, "SQ8"),
    "faiss-hnsw": ("faiss, HNSW f32", Faiss, "HNSW{m},Flat"),
    "faiss-hnsw-sq8": ("faiss, HNSW SQ8", Faiss, "HNSW{m}_SQ8"),
}


def rows_of(path, begin, count):
    with open(path, "rb") as file:
        file.seek(begin * WIDTH * 4)
        rows = np.fromfile(file, dtype=np.float32, count=count * WIDTH).reshape(-1, WIDTH)
    if len(rows) < count:
        raise SystemExit(f"{path} ends before row {begin + count}")
    return rows


def give_back():
    """Returns what the allocator keeps of freed memory, so that it is not taken for the index."""
    ctypes.CDLL(None).malloc_trim(0)


def build(index, options):
    """Nanoseconds of training and adding, the reading of the file left out."""
    taken = 0
    if hasattr(index, "train"):
        sample = rows_of(options.vectors, options.queries, min(options.entries, 20000))
        start = time.perf_counter_ns()
        index.train(sample)
        taken += time.perf_counter_ns() - start
    for begin in range(0, options.entries, CHUNK):
        count = min(CHUNK, options.entries - begin)
        rows = rows_of(options.vectors, options.queries + begin, count)
        ids = np.arange(begin, begin + count, dtype=np.uint64)
        start = time.perf_counter_ns()
        index.add(ids, rows)
        taken += time.perf_counter_ns() - start
    if hasattr(index, "built"):
        index.built()
    return taken


def search(index, queries):
    times, ids = [], []
    for query in queries:
        start = time.perf_counter_ns()
        nearest = index.search(query)
        times.append(time.perf_counter_ns() - start)
        ids.append(int(nearest))
    return times, ids


def call_time(make, more, options):
    """Nanoseconds of a search among 16 entries: what the call itself takes."""
    index = make(options, *more)
    rows = rows_of(options.vectors, options.queries, min(options.entries, 2000))
    if hasattr(index, "train"):
        index.train(rows)
    index.add(np.arange(16, dtype=np.uint64), rows[:16])
    if hasattr(index, "built"):
        index.built()
    return int(np.median(search(index, rows[:200])[0]))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="?")
    parser.add_argument("vectors", nargs="?")
    parser.add_argument("queries", nargs="?", type=int)
    parser.add_argument("entries", nargs="?", type=int)
    parser.add_argument("--threads", type=int, default=1, help="for building; a search has one")
    parser.add_argument("--m", type=int, default=16)
    parser.add_argument("--ef-construction", type=int, default=120)
    parser.add_argument("--ef-search", type=int, default=180)
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    if options.list:
        print(*ENGINES, sep="\n")
        return
    if options.name not in ENGINES or options.entries is None:
        parser.error(f"wanted one of {', '.join(ENGINES)}, a file of vectors and two numbers")
    title, make, *more = ENGINES[options.name]
    importlib.import_module(make.module)
    version = importlib.metadata.version(make.package)
    index = None
    queries = rows_of(options.vectors, 0, options.queries)
    print("ready", title.replace(",", f" {version},", 1), flush=True)
    for line in map(str.strip, sys.stdin):
        if line == "build":
            index = make(options, *more)
            taken = build(index, options)
            give_back()
            print(taken, flush=True)
        elif line == "call":
            taken = call_time(make, more, options)
            give_back()
            print(taken, flush=True)
        elif line == "size":
            print(index.size() // options.entries, flush=True)
        else:
            begin, end = map(int, line.split())
            times, ids = search(index, queries[begin:end])
            print(*times, end="\t")
            print(*ids, flush=True)


if __name__ == "__main__":
    main()
