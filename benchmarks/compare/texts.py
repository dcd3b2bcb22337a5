"""Texts of the data sets that the comparisons run on."""
import collections
import csv
import gzip
import json
import lzma
import pathlib
import random
import sys

# Of the sets with prompts and questions in English: the columns or keys that have them. Longer documents, traces and
# other languages are left out.
COLUMNS = ("q1", "q2", "text", "query")
KEYS = ("question", "prompt")
SETS = ("ambignq", "arena_hard", "banking77", "clinc150", "disfl_qa", "entityquestions", "evouna", "gptcache_mock",
        "hwu64", "mmlu", "mmlu_pro", "mqp", "nq_hard", "nq_mined_pairs", "nq_open", "paws_wiki", "qqp_gptcache", "rqe",
        "semeval_cqa_b", "squad11", "trec_queries", "triviaqa", "webquestions")


def opened(path):
    opener = {".gz": gzip.open, ".xz": lzma.open}.get(path.suffix, open)
    return opener(path, "rt", encoding="utf-8", newline="\n")


def pairs(data, name):
    """Rows (q1, q2, label) of a set of pairs."""
    path = pathlib.Path(data) / name / "pairs.tsv.gz"
    if not path.exists():
        sys.exit(f"no {path}: --data wants the folder with the data sets")
    with opened(path) as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        return [(row["q1"], row["q2"], float(row["label"]) >= 0.5) for row in rows if row["label"]]


def questions(data, count, seed=1):
    """Distinct questions of qqp_gptcache, drawn at random."""
    distinct = sorted({text for row in pairs(data, "qqp_gptcache") for text in row[:2]})
    if count > len(distinct):
        sys.exit(f"qqp_gptcache has {len(distinct)} questions, wanted {count}")
    return random.Random(seed).sample(distinct, count)


def texts_of(path):
    with opened(path) as file:
        if ".tsv" in path.name:
            for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
                yield from (row[column] for column in COLUMNS if row.get(column))
            return
        for line in file:
            record = json.loads(line)
            yield from (record[key] for key in KEYS if isinstance(record.get(key), str))
            for annotation in record.get("annotations") or []:  # the rewrites of AmbigNQ
                for pair in annotation.get("qaPairs", []):
                    yield pair["question"]


def all_texts(data, seed=1):
    """Every distinct text of SETS, small and capital letters being the same, in a random order; and how many came from
    each set."""
    distinct = {}
    counts = collections.Counter()
    for name in SETS:
        for path in sorted((pathlib.Path(data) / name).glob("*.?z")):
            for text in texts_of(path):
                text = " ".join(text.split())
                if text and distinct.setdefault(text.casefold(), text) is text:
                    counts[name] += 1
    if not distinct:
        sys.exit(f"no data sets in {data}: --data wants the folder with the data sets")
    texts = list(distinct.values())
    random.Random(seed).shuffle(texts)
    return texts, counts
