#!/usr/bin/env python3
"""Writes tiny decoders with random weights as Hugging Face directories, and what transformers computes with them.

    make_decoder_golden.py TESTS_DATA_DIRECTORY [SMOLLM2.gguf]      (transformers 5.13, torch 2.15)

tiny_llama (two query heads share one of keys and values, rotary positions scaled as in Llama 3.1), tiny_gpt2, tiny_mpt.
decoder_logits.json.gz: logits of the same tokens `causal`, and for the first two `masked`: two modules that do not see
each other at positions with gaps, and text that sees both. With the GGUF file of SmolLM2-135M-Instruct: smollm2.json.gz,
greedy answers of 64 tokens to 20 questions, and some logits of each.
"""
import gzip
import json
import pathlib
import shutil
import sys

import torch
import transformers
from safetensors.torch import save_file

data = pathlib.Path(sys.argv[1])
VOCABULARY, TOKENS = 300, 40
ids = [(7 * i * i + 3 * i + 1) % VOCABULARY for i in range(TOKENS)]
MODULES = [(0, 12, 5), (12, 26, 40), (26, TOKENS, 70)]  # first token, end, position; the last sees all


def write(path, value):
    with gzip.GzipFile(path, "wb", mtime=0) as file:
        file.write(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())


def rounded(logits):
    return [[float(f"{value:.7g}") for value in row] for row in logits.tolist()]


def build(name, model):
    torch.manual_seed(5)
    for key, parameter in model.named_parameters():
        torch.nn.init.normal_(parameter, mean=1.0 if "norm" in key or "ln_" in key else 0.0, std=0.2)
    model.tie_weights()
    directory = data / name
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    config = model.config.to_diff_dict()
    config.pop("transformers_version", None)
    (directory / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    tensors = {key: value.detach().contiguous() for key, value in model.state_dict().items() if key != "lm_head.weight"}
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})
    return model.eval()


def masked(model):
    mask = torch.full((TOKENS, TOKENS), torch.finfo(torch.float32).min)
    positions = []
    for first, end, position in MODULES:
        positions += list(range(position, position + end - first))
        for token in range(first, end):
            mask[token, (0 if end == TOKENS else first):token + 1] = 0
    return model(torch.tensor([ids]), attention_mask=mask[None, None], position_ids=torch.tensor([positions])).logits[0]


torch.set_grad_enabled(False)
torch.set_num_threads(2)
tiny = {
    "tiny_llama": transformers.LlamaForCausalLM(transformers.LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=256, rms_norm_eps=1e-5, tie_word_embeddings=True, eos_token_id=2,
        rope_parameters={"rope_type": "llama3", "rope_theta": 1000.0, "factor": 4.0, "low_freq_factor": 1.0,
                         "high_freq_factor": 4.0, "original_max_position_embeddings": 64})),
    "tiny_gpt2": transformers.GPT2LMHeadModel(transformers.GPT2Config(
        vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, n_positions=128, eos_token_id=2, bos_token_id=1)),
    "tiny_mpt": transformers.MptForCausalLM(transformers.MptConfig(
        vocab_size=VOCABULARY, d_model=24, n_layers=2, n_heads=3, max_seq_len=128, eos_token_id=2)),
}
golden = {"ids": ids, "modules": MODULES}
for name, model in tiny.items():
    model = build(name, model)
    golden[name] = {"causal": rounded(model(torch.tensor([ids])).logits[0])}
    if name != "tiny_mpt":
        golden[name]["masked"] = rounded(masked(model))
write(data / "decoder_logits.json.gz", golden)

if len(sys.argv) > 2:
    file = pathlib.Path(sys.argv[2])
    model = transformers.AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    QUESTIONS = ["What is a cache?", "Name three rivers in Europe.", "How do I boil an egg?", "Write a haiku about rain.",
                 "What is 12 times 11?", "Why is the sky blue?", "Translate 'good morning' into French.",
                 "Give me a recipe for pancakes.", "Who wrote Hamlet?", "Explain recursion to a child.",
                 "List the planets of the solar system.", "What should I pack for a week of hiking?",
                 "How can I sleep better?", "Write a SQL query that counts rows.", "What does HTTP 404 mean?",
                 "Suggest a name for a bakery.", "How far is the moon?", "Summarise the story of Cinderella.",
                 "What is the difference between a list and a tuple in Python?", "Tell me a joke about databases."]
    answers = []
    for question in QUESTIONS:
        prompt = f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"
        tokens = tokenizer(prompt, add_special_tokens=False, return_tensors="pt").input_ids
        logits = model(tokens).logits[0, -1]
        output = model.generate(tokens, max_new_tokens=64, do_sample=False, repetition_penalty=1.0)[0, tokens.shape[1]:]
        answers.append({"question": question, "ids": tokens[0].tolist(), "answer": output.tolist(),
                        "logits": [float(f"{value:.7g}") for value in logits[::97].tolist()]})
    write(data / "smollm2.json.gz", answers)
