#!/usr/bin/env python3
"""Writes two tiny pair scorers with random weights, and what sentence-transformers' CrossEncoder makes of fixed pairs.

    make_pair_scorers.py TESTS_DATA_DIRECTORY

tiny_bert_pair and tiny_xlmr_pair have config.json and model.safetensors only: their tokenizers are those of tiny_bert
and tiny_xlmr. The file of scores states the versions it was made with; logits have seven significant digits.
"""
import gzip
import json
import pathlib
import shutil
import sys
import tempfile

import sentence_transformers
import torch
import transformers
from safetensors.torch import save_file

data = pathlib.Path(sys.argv[1])
COMMON = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, num_labels=1)
TEXTS = [
    "How do I reset the password of my account?", "I forgot my password, what now?", "Where can I change my address?",
    "", "a", "Version 2.0 breaks the build; version 1.9 does not.", "Le café est fermé le lundi.", "你好 世界",
    "Boil the eggs for seven minutes, then cool them.", "the train goes to the airport at nine " * 3, "river " * 30,
    "my order has not arrived yet " * 8,
]
PAIRS = [(a, b) for a in TEXTS for b in TEXTS]


def randomise(model):
    torch.manual_seed(12)
    for name, parameter in model.named_parameters():
        torch.nn.init.normal_(parameter, mean=1.0 if "LayerNorm.weight" in name else 0.0, std=0.25)
    return model.eval()


def write(name, model, tokenizer_of):
    directory = data / f"{name}_pair"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    tensors = {key: value.contiguous() for key, value in model.state_dict().items() if "position_ids" not in key}
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})
    config = {**model.config.to_diff_dict(), "architectures": [type(model).__name__], "id2label": {"0": "LABEL_0"},
              "label2id": {"LABEL_0": 0}}
    (directory / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    with tempfile.TemporaryDirectory() as work:
        whole = pathlib.Path(work)
        for source in (data / tokenizer_of, directory):
            for file in source.iterdir():
                if file.is_file() and file.name not in ("modules.json", "sentence_bert_config.json",
                                                        "config_sentence_transformers.json"):
                    shutil.copy(file, whole / file.name)
        scorer = sentence_transformers.CrossEncoder(str(whole), device="cpu")
        logits = scorer.predict(PAIRS, batch_size=1, activation_fn=torch.nn.Identity())
        # As lists: an empty second text alone would count as none.
        ids = scorer.tokenizer([a for a, _ in PAIRS], [b for _, b in PAIRS], truncation="longest_first",
                               max_length=scorer.max_seq_length)["input_ids"]
    golden = {
        "made_by": f"sentence-transformers {sentence_transformers.__version__}, transformers {transformers.__version__}, "
                   f"torch {torch.__version__}",
        "max_tokens": scorer.max_seq_length,
        "texts": TEXTS, "logits": [float(f"{value:.7g}") for value in logits], "ids": ids,
    }
    with open(data / f"{name}_pair_scores.json.gz", "wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as file:
        file.write(json.dumps(golden, ensure_ascii=True, separators=(",", ":")).encode())


torch.set_num_threads(1)
bert = json.loads((data / "tiny_bert" / "config.json").read_text())
write("tiny_bert", randomise(transformers.BertForSequenceClassification(transformers.BertConfig(
    vocab_size=bert["vocab_size"], max_position_embeddings=64, **COMMON))), "tiny_bert")
xlmr = json.loads((data / "tiny_xlmr" / "config.json").read_text())
write("tiny_xlmr", randomise(transformers.XLMRobertaForSequenceClassification(transformers.XLMRobertaConfig(
    vocab_size=xlmr["vocab_size"], max_position_embeddings=52, type_vocab_size=1, pad_token_id=1, bos_token_id=0,
    eos_token_id=2, layer_norm_eps=1e-5, **COMMON))), "tiny_xlmr")
