#!/usr/bin/env python3
"""Writes two tiny models with random weights for the tests, as complete sentence-transformers directories.

    make_tiny_models.py TESTS_DATA_DIRECTORY

tiny_bert: WordPiece (vocab.txt only), CLS pooling, a default prompt, no Normalize. tiny_xlmr: SentencePiece unigram
trained on the text below, mean pooling, a prompt by name, Normalize. Golden vectors are made by make_embeddings.py.
"""
import json
import pathlib
import shutil
import sys
import tempfile

import sentencepiece
import torch
import transformers
from safetensors.torch import save_file

data = pathlib.Path(sys.argv[1])
TEXT = """A cache serves the same answer again when the new question asks for the same thing in other words.
How do I reset the password of my account? I forgot my password, what now? Where can I change my address?
The river flows through the old town. Which train goes to the airport at nine? My order has not arrived yet.
Le café est fermé le lundi. Wie spät ist es in Zürich? ¿Dónde está la estación? Привет, как дела? 你好 世界 こんにちは
Boil the eggs for seven minutes, then cool them. Version 2.0 breaks the build; version 1.9 does not. 3.14 100% $5"""
COMMON = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64)


def write_json(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2) + "\n")


def save(directory, model, pooling, normalize, prompts, default, limit):
    tensors = {name: value.contiguous() for name, value in model.state_dict().items() if "position_ids" not in name}
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})
    write_json(directory / "config.json", {**model.config.to_diff_dict(), "architectures": [type(model).__name__]})
    types = ["Transformer", "Pooling"] + (["Normalize"] if normalize else [])
    paths = ["", "1_Pooling", "2_Normalize"]
    write_json(directory / "modules.json", [
        {"idx": i, "name": str(i), "path": paths[i], "type": f"sentence_transformers.models.{name}"}
        for i, name in enumerate(types)])
    write_json(directory / "1_Pooling/config.json", {
        "word_embedding_dimension": 32, "pooling_mode_cls_token": pooling == "cls",
        "pooling_mode_mean_tokens": pooling == "mean", "pooling_mode_max_tokens": False,
        "pooling_mode_mean_sqrt_len_tokens": False})
    write_json(directory / "sentence_bert_config.json", {"max_seq_length": limit, "do_lower_case": False})
    write_json(directory / "config_sentence_transformers.json", {"prompts": prompts, "default_prompt_name": default})


def randomise(model):
    torch.manual_seed(11)
    for name, parameter in model.named_parameters():
        # Larger than the library's own start, so that every part shows in the vectors and texts differ.
        torch.nn.init.normal_(parameter, mean=1.0 if "LayerNorm.weight" in name else 0.0, std=0.25)
    return model.eval()


bert = data / "tiny_bert"
shutil.rmtree(bert, ignore_errors=True)
bert.mkdir(parents=True)
letters = sorted({c for c in TEXT.lower() if not c.isspace()} | set("abcdefghijklmnopqrstuvwxyz0123456789.,?!'-"))
words = sorted({w.strip(".,?;¿").lower() for w in TEXT.split()} - set(letters) - {""})
vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + letters + ["##" + c for c in letters] + words
(bert / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
write_json(bert / "tokenizer_config.json", {"tokenizer_class": "BertTokenizer", "do_lower_case": True,
                                            "model_max_length": 64})
config = transformers.BertConfig(vocab_size=len(vocabulary), max_position_embeddings=64, **COMMON)
save(bert, randomise(transformers.BertModel(config, add_pooling_layer=False)), "cls", False,
     {"query": "query: "}, "query", 48)

xlmr = data / "tiny_xlmr"
shutil.rmtree(xlmr, ignore_errors=True)
xlmr.mkdir(parents=True)
with tempfile.TemporaryDirectory() as work:
    corpus = pathlib.Path(work, "corpus.txt")
    corpus.write_text(TEXT * 20)
    sentencepiece.SentencePieceTrainer.train(
        input=str(corpus), model_prefix=work + "/m", vocab_size=300, model_type="unigram", character_coverage=1.0,
        num_threads=1, minloglevel=2, hard_vocab_limit=False)
    shutil.copy(work + "/m.model", xlmr / "sentencepiece.bpe.model")
pieces = sentencepiece.SentencePieceProcessor(model_file=str(xlmr / "sentencepiece.bpe.model")).get_piece_size()
write_json(xlmr / "tokenizer_config.json", {"tokenizer_class": "XLMRobertaTokenizer", "model_max_length": 48})
config = transformers.XLMRobertaConfig(vocab_size=pieces + 2, max_position_embeddings=52, type_vocab_size=1,
                                       pad_token_id=1, bos_token_id=0, eos_token_id=2, layer_norm_eps=1e-5, **COMMON)
save(xlmr, randomise(transformers.XLMRobertaModel(config, add_pooling_layer=False)), "mean", True,
     {"query": "query: ", "passage": "passage: "}, None, 40)
print(len(vocabulary), "pieces of WordPiece,", pieces, "of SentencePiece")
