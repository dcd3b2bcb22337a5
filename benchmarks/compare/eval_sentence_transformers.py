#!/usr/bin/env python3
"""AUC of a model on pair files as sentence-transformers and scikit-learn compute it, to hold pc-eval against.

    eval_sentence_transformers.py MODEL_DIRECTORY PAIRS.tsv[.gz]...
"""
import csv
import gzip
import sys

import numpy
import sentence_transformers
from sklearn.metrics import roc_auc_score

model = sentence_transformers.SentenceTransformer(sys.argv[1], device="cpu")
for path in sys.argv[2:]:
    opener = gzip.open if open(path, "rb").read(2) == b"\x1f\x8b" else open
    with opener(path, "rt", encoding="utf-8", newline="\n") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    texts = sorted({row[key] for row in rows for key in ("q1", "q2")}, key=len)
    vectors = dict(zip(texts, model.encode(texts, batch_size=32, normalize_embeddings=True)))
    scores = [float(numpy.dot(vectors[row["q1"]], vectors[row["q2"]])) for row in rows]
    auc = roc_auc_score([float(row["label"]) >= 0.5 for row in rows], scores)
    print(f"{path}: {len(rows)} pairs, AUC {auc:.6f}", flush=True)
