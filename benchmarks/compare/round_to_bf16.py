#!/usr/bin/env python3
"""AUC of a model whose linear layers round weights and inputs to bf16, as ours do on processors that have it.

    round_to_bf16.py MODEL PAIRS

PyTorch computes in f32 what bf16 leaves, so that any processor can tell what the rounding costs. PAIRS has q1, q2 and
label, plain or gzip. Needs sentence-transformers and scikit-learn.
"""
import csv
import gzip
import sys

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sklearn.metrics import roc_auc_score


def rounded(tensor):
    return tensor.bfloat16().float()


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    model = SentenceTransformer(sys.argv[1], device="cpu")
    for layer in model[0].auto_model.encoder.modules():
        if isinstance(layer, torch.nn.Linear):
            layer.weight.data = rounded(layer.weight.data)
            layer.register_forward_pre_hook(lambda _, given: (rounded(given[0]), *given[1:]))
    opened = gzip.open if sys.argv[2].endswith(".gz") else open
    with opened(sys.argv[2], "rt", encoding="utf-8", newline="") as file:
        pairs = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    texts = sorted({pair[side] for pair in pairs for side in ("q1", "q2")})
    vectors = dict(zip(texts, model.encode(texts, normalize_embeddings=True, show_progress_bar=False)))
    scores = [float(np.dot(vectors[pair["q1"]], vectors[pair["q2"]])) for pair in pairs]
    print(f"AUC {roc_auc_score([float(pair['label']) >= 0.5 for pair in pairs], scores):.4f}")


if __name__ == "__main__":
    main()
