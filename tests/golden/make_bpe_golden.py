#!/usr/bin/env python3
"""Writes three small byte-level BPE tokenizers and what the tokenizers library makes of the texts of tokenizer_texts.json.gz.

    make_bpe_golden.py TESTS_DATA_DIRECTORY      (tokenizers 0.22)

tiny_bpe_NAME.json for the words of gpt2, llama3 and smollm, the merges learned from those texts that are valid UTF-8;
llama3 also takes whole words first, with merges that would not lead to all of them. Ids are in tiny_bpe_ids.json.gz.
"""
import base64
import gzip
import json
import pathlib
import sys

from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

data = pathlib.Path(sys.argv[1])
STRIDE = 4  # of the many random ones
texts = [base64.b64decode(text) for text in json.load(gzip.open(data / "tokenizer_texts.json.gz"))]
MORE = ["Don't you'LL we'RE I'ſ 'S 's  'll", "a  b   c    ", "  \n\n x\r\n\r\n  y \t z", "12345 678 9 ½ Ⅷ ٣٤٥ 1a2b3", "!!!\n\n??? ...a",
        "x = foo(bar[3], 'it''s');\n\tif (y) {\n\t\treturn -1.5e10;\n\t}\n", "\u00a0nbsp\u2003em \u3000wide\u0085next", " 'tis", "'", "'l",
        "<|end|><|begin|>user", "e\u0301 n\u0303 \U0001f469\u200d\U0001f680", "the the the  the", "日本語 テキスト 123"]
texts = texts[:20] + texts[20::STRIDE] + [text.encode() for text in MORE]
readable = [text.decode() for text in texts if text.decode(errors="ignore").encode() == text and len(text) < 2000]
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
CUTS = {
    "gpt2": byte_level,
    "llama3": pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(LLAMA3), "isolated"),
                                       pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]),
    "smollm": pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), byte_level]),
}
golden = {}
for name, cut in CUTS.items():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = cut
    tokenizer.train_from_iterator(readable + MORE * 20, trainers.BpeTrainer(
        vocab_size=700, special_tokens=["<|end|>", "<|begin|>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False))
    content = json.loads(tokenizer.to_str())
    if name == "llama3":
        content["model"]["ignore_merges"] = True
        for word in ("Ġpassword", "ĠZÃ¼rich", "return"):
            content["model"]["vocab"].setdefault(word, len(content["model"]["vocab"]))
    path = data / f"tiny_bpe_{name}.json"
    path.write_text(json.dumps(content, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.encode_special_tokens = True  # special tokens in a text are text
    golden[name] = [tokenizer.encode(text.decode(errors="replace"), add_special_tokens=False).ids for text in texts]
with gzip.GzipFile(data / "tiny_bpe_ids.json.gz", "wb", mtime=0) as file:
    file.write(json.dumps({"stride": STRIDE, "more": MORE, **golden}, separators=(",", ":")).encode())
