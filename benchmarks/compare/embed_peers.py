#!/usr/bin/env python3
"""Time to embed one text on one thread beside PyTorch (sentence-transformers), ONNX Runtime and CTranslate2.

    embed_peers.py --binary build/release/bin/embed_benchmark --model models/all-MiniLM-L6-v2

The engines take turns within every round, so that a noisy machine troubles all of them alike. Printed are the medians,
their ratio to ours, and the lowest cosine with sentence-transformers (f32). Tokenisation is part of every figure. With
--precision int8 ours, ONNX Runtime (dynamic quantisation, weights per channel, and per tensor) and CTranslate2 run in
int8 beside ours and ONNX Runtime in f32. Needs sentence-transformers and onnxruntime; CTranslate2 is left out where it is
not installed.
"""
import argparse
import os
import random
import statistics
import subprocess
import tempfile
import time

os.environ["OMP_NUM_THREADS"] = "1"  # before the engines start their pools

import numpy as np
import torch
import sentence_transformers
from transformers import AutoModel, AutoTokenizer


def unit(vector):
    return vector / np.linalg.norm(vector)


class Ours:
    def __init__(self, binary, model, precision):
        self.name = f"promptcache, {precision}"
        command = [binary, "--model", model, "--precision", precision, "--pipe"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)

    def times(self, text, repeats):
        self.process.stdin.write(f"{repeats}\t{text}\n")
        self.process.stdin.flush()
        times, self.vector = self.process.stdout.readline().split("\t")
        self.vector = np.array(self.vector.split(), dtype=np.float32)
        return [int(t) / 1e6 for t in times.split()]


class Timed:
    def times(self, text, repeats):
        result = []
        for _ in range(repeats):
            start = time.perf_counter_ns()
            self.vector = self.embed(text)
            result.append((time.perf_counter_ns() - start) / 1e6)
        return result


class SentenceTransformers(Timed):
    name = f"sentence-transformers {sentence_transformers.__version__}, torch {torch.__version__}"

    def __init__(self, model):
        self.model = sentence_transformers.SentenceTransformer(model, device="cpu")

    def embed(self, text):
        return self.model.encode(text, normalize_embeddings=True, show_progress_bar=False)


class PlainTorch(Timed):
    """The same network without sentence-transformers' own work around it."""
    name = f"torch {torch.__version__}, bare"

    def __init__(self, model):
        self.tokenizer = AutoTokenizer.from_pretrained(model)
        self.model = AutoModel.from_pretrained(model).eval()

    @torch.inference_mode()
    def embed(self, text):
        inputs = self.tokenizer(text, truncation=True, max_length=256, return_tensors="pt")
        return unit(self.model(**inputs).last_hidden_state[0].mean(0).numpy())


class OnnxRuntime(Timed):
    def __init__(self, model, folder, quantisation=None):
        import onnxruntime
        self.name = f"onnxruntime {onnxruntime.__version__}, {quantisation or 'f32'}"
        self.tokenizer = AutoTokenizer.from_pretrained(model)
        network = AutoModel.from_pretrained(model, attn_implementation="eager").eval()

        class HiddenStates(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.network = network

            def forward(self, input_ids, attention_mask):
                return self.network(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state

        path = os.path.join(folder, "model.onnx")
        ids = torch.full((1, 16), 100, dtype=torch.long)
        axes = {0: "batch", 1: "length"}
        torch.onnx.export(HiddenStates(), (ids, torch.ones_like(ids)), path, dynamo=False, opset_version=17,
                          input_names=["input_ids", "attention_mask"], output_names=["hidden"],
                          dynamic_axes={"input_ids": axes, "attention_mask": axes})
        if quantisation:
            from onnxruntime.quantization import QuantType, quantize_dynamic
            # Where bytes are multiplied without VNNI, weights of 8 bits are cut off; its documentation says 7 there.
            quantised = os.path.join(folder, "quantised.onnx")
            quantize_dynamic(path, quantised, weight_type=QuantType.QInt8, reduce_range=reduce_range(),
                             per_channel=quantisation == "int8 per channel")
            path = quantised
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def embed(self, text):
        inputs = self.tokenizer(text, truncation=True, max_length=256, return_tensors="np")
        feed = {name: inputs[name].astype(np.int64) for name in ("input_ids", "attention_mask")}
        return unit(self.session.run(None, feed)[0][0].mean(0))


class CTranslate2(Timed):
    def __init__(self, model, folder, kind="float32"):
        import ctranslate2
        self.name = f"ctranslate2 {ctranslate2.__version__}, {kind}"
        path = os.path.join(folder, "ctranslate2")
        ctranslate2.converters.TransformersConverter(model).convert(path, quantization=kind, force=True)
        self.encoder = ctranslate2.Encoder(path, device="cpu", inter_threads=1, intra_threads=1, compute_type=kind)
        self.tokenizer = AutoTokenizer.from_pretrained(model)

    def embed(self, text):
        ids = self.tokenizer(text, truncation=True, max_length=256)["input_ids"]
        return unit(np.array(self.encoder.forward_batch([ids]).last_hidden_state)[0].mean(0))


def reduce_range():
    with open("/proc/cpuinfo") as info:
        return "vnni" not in info.read()


def text_of(tokens, seed):
    words = "how the what when user account day time work great small open house water money".split()
    generator = random.Random(seed)
    return " ".join(generator.choice(words) for _ in range(tokens - 2))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--precision", choices=["f32", "int8"], default="f32")
    parser.add_argument("--tokens", default="8,16,32,64,128")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--repeats", type=int, default=4, help="calls in one turn; the first is not counted")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        reference = SentenceTransformers(arguments.model)
        engines = [Ours(arguments.binary, arguments.model, arguments.precision), reference]
        if arguments.precision == "f32":
            engines.append(PlainTorch(arguments.model))
            peers = [(OnnxRuntime,), (CTranslate2,)]
        else:
            engines.append(Ours(arguments.binary, arguments.model, "f32"))
            peers = [(OnnxRuntime,), (OnnxRuntime, "int8 per channel"), (OnnxRuntime, "int8 per tensor"),
                     (CTranslate2, "int8")]
        for make, *options in peers:
            try:
                engines.append(make(arguments.model, folder, *options))
            except Exception as error:  # an engine that cannot read the model is no reason to drop the others
                print(f"left out {make.__name__}: {type(error).__name__}: {error}")
        lowest = {engine.name: 1.0 for engine in engines}
        print(f"{'tokens':>6}  {'engine':<50} {'median ms':>10} {'fastest':>9} {'times ours':>11}")
        for tokens in map(int, arguments.tokens.split(",")):
            times = {engine.name: [] for engine in engines}
            for turn in range(arguments.rounds):
                text = text_of(tokens, turn)
                for engine in random.sample(engines, len(engines)):
                    times[engine.name] += engine.times(text, arguments.repeats)[1:]
                for engine in engines:
                    lowest[engine.name] = min(lowest[engine.name], float(unit(engine.vector) @ reference.vector))
            ours = statistics.median(times[engines[0].name])
            for engine in engines:
                median = statistics.median(times[engine.name])
                print(f"{tokens:>6}  {engine.name:<50} {median:>10.2f} {min(times[engine.name]):>9.2f} "
                      f"{median / ours:>10.2f}x", flush=True)
        for name, cosine in lowest.items():
            print(f"lowest cosine with sentence-transformers: {cosine:.7f}  {name}")


if __name__ == "__main__":
    main()
