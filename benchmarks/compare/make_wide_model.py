#!/usr/bin/env python3
"""A model of 12 layers of width 768 with outliers, to see what int8 makes of them.

    make_wide_model.py BASE OUT --gain 20

Random layers, with weights of heavy tails, over the word vectors of BASE (all-MiniLM-L6-v2), projected to the new width.
Six channels of every normalisation are GAIN times as large as the others, and the weights that read them smaller by its
root, as trained models have it. Needs numpy and safetensors.
"""
import argparse
import json
import os
import shutil

import numpy as np
from safetensors.numpy import load_file, save_file

WIDTH, INNER, LAYERS, OUTLIERS = 768, 3072, 12, 6
COPIED = ["tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json", "modules.json",
          "sentence_bert_config.json", "config_sentence_transformers.json"]


def random_weights(base, gain):
    random = np.random.default_rng(1)
    given = load_file(os.path.join(base, "model.safetensors"))
    words = given["embeddings.word_embeddings.weight"]
    turn = random.normal(size=(words.shape[1], WIDTH)).astype(np.float32) / np.sqrt(words.shape[1])
    weights = {f"embeddings.{name}_embeddings.weight": (given[f"embeddings.{name}_embeddings.weight"] @ turn
                                                        * scale).astype(np.float32)
               for name, scale in (("word", 1), ("position", 0.3), ("token_type", 1))}
    outliers = random.choice(WIDTH, OUTLIERS, replace=False)

    def norm(name):
        scale = (1 + 0.1 * random.normal(size=WIDTH)).astype(np.float32)
        shift = (0.05 * random.normal(size=WIDTH)).astype(np.float32)
        scale[outliers] *= gain
        shift[outliers] += gain * 0.5 * random.choice([-1, 1], OUTLIERS)
        weights[name + ".weight"], weights[name + ".bias"] = scale, shift

    def linear(name, outputs, inputs, spread):
        matrix = (random.standard_t(5, size=(outputs, inputs)) * spread / np.sqrt(inputs)).astype(np.float32)
        if inputs == WIDTH:
            matrix[:, outliers] /= gain ** 0.5
        weights[name + ".weight"] = matrix
        weights[name + ".bias"] = (0.02 * random.normal(size=outputs)).astype(np.float32)

    norm("embeddings.LayerNorm")
    for layer in range(LAYERS):
        at = f"encoder.layer.{layer}."
        for name in ("query", "key", "value"):
            linear(at + "attention.self." + name, WIDTH, WIDTH, 0.7)
        linear(at + "attention.output.dense", WIDTH, WIDTH, 0.4)
        norm(at + "attention.output.LayerNorm")
        linear(at + "intermediate.dense", INNER, WIDTH, 0.7)
        linear(at + "output.dense", WIDTH, INNER, 0.4)
        norm(at + "output.LayerNorm")
    return weights


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base")
    parser.add_argument("out")
    parser.add_argument("--gain", type=float, default=20)
    arguments = parser.parse_args()
    os.makedirs(arguments.out, exist_ok=True)
    save_file(random_weights(arguments.base, arguments.gain), os.path.join(arguments.out, "model.safetensors"),
              metadata={"format": "pt"})
    for name in COPIED:
        shutil.copy(os.path.join(arguments.base, name), arguments.out)
    changes = {"config.json": {"hidden_size": WIDTH, "intermediate_size": INNER, "num_hidden_layers": LAYERS,
                               "num_attention_heads": 12},
               "1_Pooling/config.json": {"word_embedding_dimension": WIDTH}}
    os.makedirs(os.path.join(arguments.out, "1_Pooling"), exist_ok=True)
    for name, change in changes.items():
        with open(os.path.join(arguments.base, name)) as file:
            settings = json.load(file)
        with open(os.path.join(arguments.out, name), "w") as file:
            json.dump(settings | change, file, indent=2)


if __name__ == "__main__":
    main()
