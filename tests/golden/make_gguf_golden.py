#!/usr/bin/env python3
"""Writes a small GGUF file with a tensor of each type that is read, and its values as the gguf package decodes them.

    make_gguf_golden.py TESTS_DATA_DIRECTORY      (gguf 0.19, numpy)

The blocks are random bytes with scales that are finite; the values come from gguf.quants.dequantize.
"""
import gzip
import json
import pathlib
import sys

import gguf
import numpy

data = pathlib.Path(sys.argv[1])
random = numpy.random.default_rng(1)
# Bytes at which a block has its scales of 16 bits.
TYPES = {"F32": None, "F16": None, "BF16": None, "Q8_0": [0], "Q4_0": [0], "Q4_1": [0, 2], "Q4_K": [0, 2], "Q6_K": [208]}
SHAPE = (2, 512)

writer = gguf.GGUFWriter(data / "tiny.gguf", "llama")
writer.add_string("test.text", "größer")
writer.add_uint32("test.count", 7)
writer.add_int32("test.below", -3)
writer.add_float32("test.share", 0.25)
writer.add_bool("test.yes", True)
writer.add_array("test.words", ["a", "", "b c"])
writer.add_array("test.numbers", [1, -2, 3])
golden = {}
for name, scales in TYPES.items():
    kind = gguf.GGMLQuantizationType[name]
    values_a_block, bytes_a_block = gguf.GGML_QUANT_SIZES[kind]
    if scales is None:
        values = random.standard_normal(SHAPE).astype(numpy.float32)
        values[0, :3] = [0, 2.0**-24, -2.0**-16]  # zero and what is subnormal in 16 bits
        stored = gguf.quants.quantize(values, kind)
    else:
        stored = random.integers(0, 256, (SHAPE[0], SHAPE[1] // values_a_block * bytes_a_block), dtype=numpy.uint8)
        blocks = stored.reshape(-1, bytes_a_block)
        for place in scales:
            scale = random.uniform(-2, 2, len(blocks)).astype(numpy.float16)
            scale[0] = numpy.float16(2.0**-20)
            blocks[:, place:place + 2] = scale.view(numpy.uint8).reshape(-1, 2)
    writer.add_tensor(name, stored, raw_dtype=kind)
    golden[name] = gguf.quants.dequantize(stored, kind).reshape(-1).astype(numpy.float64).tolist()
writer.add_tensor("Q5_0", numpy.zeros((1, 22), dtype=numpy.uint8), raw_dtype=gguf.GGMLQuantizationType.Q5_0)
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
with gzip.GzipFile(data / "tiny_gguf_values.json.gz", "wb", mtime=0) as file:
    file.write(json.dumps(golden).encode())
