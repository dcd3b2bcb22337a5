#!/usr/bin/env python3
"""Time to the first token of llama.cpp and transformers on the prompts of reuse_benchmark: all computed, and behind a known
beginning that the program itself keeps.

    reuse_peers.py LLM.gguf TEXT [--tokens 1024] [--share 0.99] [--threads 1] [--runs 20] [--peers llama,transformers]

    (llama-cpp-python 0.3, transformers 5.13, torch 2.15)

llama.cpp runs the file as it is, and its weights in BF16 (written beside it) with flash attention. Text becomes tokens within
the time, as in reuse_benchmark.
"""
import argparse
import json
import os
import pathlib
import statistics
import time


ROWS = []


def report(name, tokens, share, times, decoding, decoded):
    ROWS.append({"mode": name, "tokens": tokens, "share": share, "ms_all": [1000 * t for t in times], "tokens_per_second": decoding})
    last = 1000 * (statistics.median(times) + decoded / decoding)
    times = sorted(times)
    p95 = times[min(len(times) - 1, round(0.95 * (len(times) - 1)))]
    print(f"{name:<34} {tokens:>6} {share:>5.2f} {1000 * statistics.median(times):>9.1f} {1000 * p95:>9.1f} {decoding:>8.1f} {last:>8.0f}", flush=True)


def prompts(encode, decode, text, tokens, known, runs):
    """A known beginning and what is new in each run, as text. The last prompt that is new as a whole begins as known ones do."""
    ids = encode(text)
    fresh = tokens - known
    tails = [decode(ids[tokens + run * fresh:tokens + (run + 1) * fresh]) for run in range(runs)]
    if not known:
        tails[-1] = decode(ids[:tokens])
    return decode(ids[:known]), tails


def llama(arguments, text):
    import ctypes
    import llama_cpp

    plain = str(arguments.llm)
    bf16 = plain.replace(".gguf", ".bf16.gguf")
    if not os.path.exists(bf16):
        how = llama_cpp.llama_model_quantize_default_params()
        how.allow_requantize = True
        how.ftype = llama_cpp.LLAMA_FTYPE_MOSTLY_BF16
        llama_cpp.llama_model_quantize(plain.encode(), bf16.encode(), ctypes.byref(how))
    for name, path, flash in (("llama.cpp, file as it is", plain, False), ("llama.cpp, BF16, flash attention", bf16, True)):
        for tokens in arguments.tokens:
            model = llama_cpp.Llama(path, n_ctx=tokens + 256, n_batch=512, n_threads=arguments.threads,
                                    n_threads_batch=arguments.threads, flash_attn=flash, verbose=False)
            encode = lambda part: model.tokenize(part.encode(), add_bos=False, special=False)
            decode = lambda ids: model.detokenize(ids).decode(errors="replace")
            for share in [0.0] + arguments.share:
                known = int(share * tokens)
                runs = arguments.long_runs if tokens - known >= 400 else arguments.runs
                head, tails = prompts(encode, decode, text, tokens, known, runs)
                times = []
                if known:
                    next(model.generate(encode(head), temp=0))
                for tail in tails:
                    if not known:
                        model.reset()
                    begin = time.perf_counter()
                    stream = model.generate(encode(head + tail), temp=0, reset=True)
                    next(stream)
                    times.append(time.perf_counter() - begin)
                begin = time.perf_counter()
                for _ in range(arguments.decode):
                    next(stream)
                decoding = arguments.decode / (time.perf_counter() - begin)
                report(name, tokens, share, times, decoding, arguments.decode)


def transformers(arguments, text):
    import torch
    import transformers

    torch.set_num_threads(arguments.threads)
    torch.set_grad_enabled(False)
    folder, file = arguments.llm.parent, arguments.llm.name
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, gguf_file=file)
    encode = lambda part: tokenizer(part, add_special_tokens=False).input_ids
    for kind in (getattr(torch, name) for name in arguments.types.split(",")):
        model = transformers.AutoModelForCausalLM.from_pretrained(folder, gguf_file=file, dtype=kind).eval()
        name = f"transformers, {'f32' if kind == torch.float32 else 'bf16'}"
        for tokens in arguments.tokens:
            for share in [0.0] + arguments.share:
                known = int(share * tokens)
                runs = arguments.long_runs if tokens - known >= 400 else arguments.runs
                head, tails = prompts(encode, tokenizer.decode, text, tokens, known, runs)
                cache, times = transformers.DynamicCache(), []
                if known:
                    model(torch.tensor([encode(head)]), past_key_values=cache, logits_to_keep=1)
                length = cache.get_seq_length()
                for tail in tails:
                    if known:
                        if cache.get_seq_length() > length:
                            cache.crop(length - cache.get_seq_length())  # takes how many to remove, as a negative number
                    else:
                        cache = transformers.DynamicCache()
                    begin = time.perf_counter()
                    ids = encode(head + tail)[length:]
                    logits = model(torch.tensor([ids]), past_key_values=cache, logits_to_keep=1).logits
                    times.append(time.perf_counter() - begin)
                begin = time.perf_counter()
                for _ in range(arguments.decode):
                    logits = model(logits[:, -1].argmax(-1, keepdim=True), past_key_values=cache).logits
                report(name, tokens, share, times, arguments.decode / (time.perf_counter() - begin), arguments.decode)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("llm", type=pathlib.Path)
    parser.add_argument("text", type=pathlib.Path)
    parser.add_argument("--tokens", type=int, nargs="+", default=[1024])
    parser.add_argument("--share", type=float, nargs="+", default=[0.99])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--long-runs", type=int, default=3)
    parser.add_argument("--decode", type=int, default=63)
    parser.add_argument("--types", default="float32,bfloat16", help="of transformers; bfloat16 is slow on a CPU without it")
    parser.add_argument("--json", type=pathlib.Path, help="write the rows, with all times")
    parser.add_argument("--peers", default="llama,transformers")
    arguments = parser.parse_args()
    text = arguments.text.read_text()[:400000]
    print(f"{'':<34} {'tokens':>6} {'known':>5} {'median ms':>9} {'p95 ms':>9} {'then t/s':>8} {f'ms to {arguments.decode + 1}':>8}")
    for peer in arguments.peers.split(","):
        {"llama": llama, "transformers": transformers}[peer](arguments, text)
    if arguments.json:
        arguments.json.write_text(json.dumps(ROWS, indent=1) + "\n")


if __name__ == "__main__":
    main()
