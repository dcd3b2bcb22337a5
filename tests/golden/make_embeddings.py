#!/usr/bin/env python3
"""Writes what sentence-transformers makes of a fixed set of texts, for the embedder's golden tests.

    make_embeddings.py MODEL_DIRECTORY OUT.json.gz [--count N]

The file states the versions it was made with. Values have six significant digits: the tests compare by cosine.
"""
import argparse
import gzip
import json
import random

import sentence_transformers
import torch
import transformers

WORDS = """how do i reset my password please cancel the order change address what is difference between open account
bank fee transfer money abroad tax return deadline boil an egg bake bread without yeast fix leaking tap python list
comprehension null pointer exception docker container restart policy visa requirements travel insurance fever child
medicine dose law contract notice period gravity electron photosynthesis river capital population 2024 3.14 100% $5
e-mail don't O'Neill C++ naïve café München straße Ångström żółw résumé""".split()
SPECIAL = [
    "", " ", "\n\t", "a", "?", "hello", "the", "[UNK]", "[SEP] inside [CLS]", "<pad> <s> </s>", "😀", "🎉🎉🎉 party 🥳",
    "👩‍👩‍👧‍👦 family", "🇩🇪 flag", "中文字符", "日本語のテキストです。", "한국어 문장입니다", "Русский текст", "Ελληνικά",
    "العربية", "עברית", "ไทย", "हिन्दी", "tiếng Việt", "mixed 中文 and English", "a\u0000b", "\u200bzero\u200bwidth",
    "\u00adsoft\u00adhyphen", "ﬁ ligature", "Ⅷ roman", "ＦＵＬＬ width", "e\u0301 combining", "x" * 50, "x" * 150, "1234567890" * 8,
    "http://example.com/a?b=c&d=e#f", "user@example.com", "SELECT * FROM t WHERE a = 'b';", "if (a < b) { return c; }",
    "ALL CAPS SHOUTING", "tabs\tand\nnewlines\r\nhere", "\"quoted\" 'single' `back`", "... --- ...", "@#$%^&*()", "½ ¼ ™ © €",
    "word " * 126, "word " * 127, "word " * 254, "word " * 255, "word " * 300, "long question? " * 400, "中" * 600,
]


def texts(count):
    generator = random.Random(20240229)
    result = list(SPECIAL)
    while len(result) < count:
        length = generator.choice([1, 2, 3, 5, 8, 8, 12, 12, 16, 24, 40, 80])
        result.append(" ".join(generator.choice(WORDS) for _ in range(length)) + generator.choice(["", "?", ".", "!"]))
    return result[:count]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("out")
    parser.add_argument("--count", type=int, default=220)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model = sentence_transformers.SentenceTransformer(arguments.model, device="cpu")
    inputs = texts(arguments.count)
    vectors = model.encode(inputs, batch_size=1, convert_to_numpy=True)
    lengths = [len(model.tokenizer(model_prefix(model) + text)["input_ids"]) for text in inputs]
    golden = {
        "made_by": f"sentence-transformers {sentence_transformers.__version__}, transformers {transformers.__version__}, "
                   f"torch {torch.__version__}",
        "texts": inputs,
        "truncated": [length > model.max_seq_length for length in lengths],
        "embeddings": [[float(f"{value:.6g}") for value in vector] for vector in vectors],
    }
    with open(arguments.out, "wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as file:
        file.write(json.dumps(golden, ensure_ascii=True, separators=(",", ":")).encode())


def model_prefix(model):
    return model.prompts.get(model.default_prompt_name, "") if model.default_prompt_name else ""


if __name__ == "__main__":
    main()
