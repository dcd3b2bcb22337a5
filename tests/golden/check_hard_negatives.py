#!/usr/bin/env python3
"""Checks the suite of hard negatives and prints its counts; exits with 1 if it finds a fault.

    check_hard_negatives.py [DIRECTORY]          (default: ../data/hard_negatives beside this script)

Faults: wrong columns, empty cells, a text used twice anywhere, texts of a row that differ in case or punctuation only,
too few rows, more than MAX_FRAME prompts of one frame, and prompts alike enough to share a frame on both sides of the
split. Word overlap is reported, not judged: the suite wants negatives closer to their prompt than paraphrases are.
"""
import collections
import pathlib
import statistics
import sys
import unicodedata

HEADER = ["prompt", "paraphrase", "negative", "split"]
CATEGORIES = ["conditions", "dates", "degree", "entities", "numbers", "opposites", "order", "question_type", "scope",
              "units"]
MIN_ROWS, MIN_ROWS_PER_CATEGORY, MIN_FRAMES = 1500, 120, 900
MAX_FRAME = 3       # prompts that are one sentence with another slot
ALIKE = 0.65        # word overlap from which two prompts count as one theme
UNSPACED = ("CJK", "HIRAGANA", "KATAKANA")


def normalized(text):
    """Lower case, punctuation and symbols out, single spaces."""
    kept = (c if unicodedata.category(c)[0] in "LMN" else " " for c in text.lower())
    return " ".join("".join(kept).split())


def words(text):
    """The set of words; characters where a script writes no spaces."""
    result = set()
    for word in normalized(text).split():
        unspaced = any(unicodedata.name(c, "").startswith(UNSPACED) for c in word)
        result.update(word if unspaced else [word])
    return result


def jaccard(a, b):
    return len(a & b) / len(a | b) if a or b else 0.0


def frame(text):
    """The sentence without digits and capitalised words (the first word stays); the whole text if little is left."""
    kept = [w for i, w in enumerate(text.split())
            if not any(c.isdigit() for c in w) and (i == 0 or not w.lstrip("\"'«“(")[:1].isupper())]
    return normalized(" ".join(kept)) if len(kept) >= 3 else normalized(text)


def main():
    here = pathlib.Path(__file__).resolve().parent
    directory = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else here.parent / "data" / "hard_negatives"
    faults, rows, seen = [], [], {}
    for path in sorted(directory.glob("*.tsv")):
        if path.stem not in CATEGORIES:
            faults.append(f"{path.name}: not a category")
        lines = path.read_text(encoding="utf-8").split("\n")
        if lines.pop() != "":
            faults.append(f"{path.name}: no newline at the end")
        if lines[0].split("\t") != HEADER:
            faults.append(f"{path.name}: header {lines[0]!r}")
        for number, line in enumerate(lines[1:], 2):
            where, cells = f"{path.name}:{number}", line.split("\t")
            if len(cells) != len(HEADER) or not all(c and c == c.strip() for c in cells):
                faults.append(f"{where}: wants {len(HEADER)} trimmed, filled cells")
                continue
            if cells[3] not in ("dev", "test"):
                faults.append(f"{where}: split {cells[3]!r}")
            if len({normalized(c) for c in cells[:3]}) != 3:
                faults.append(f"{where}: texts differ in case or punctuation only")
            for key in {normalized(c) for c in cells[:3]}:
                if key in seen:
                    faults.append(f"{where}: text used before in {seen[key]}: {key}")
                seen[key] = where
            rows.append((path.stem, where, *cells))

    frames = collections.defaultdict(list)
    for _, where, prompt, _, _, split in rows:
        frames[frame(prompt)].append((where, split))
    for text, uses in frames.items():
        if len(uses) > MAX_FRAME:
            faults.append(f"{len(uses)} prompts share a frame: {text!r}: {', '.join(w for w, _ in uses)}")
    bags = [words(row[2]) for row in rows]
    for i, row in enumerate(rows):
        alike = [j for j in range(len(rows)) if j != i and jaccard(bags[i], bags[j]) >= ALIKE]
        if len(alike) >= MAX_FRAME:
            faults.append(f"{row[1]}: {len(alike)} prompts much alike: {row[2]}")
        for j in alike:
            if j > i and rows[j][5] != row[5]:
                faults.append(f"{row[1]} and {rows[j][1]}: alike but split apart: {row[2]} / {rows[j][2]}")

    print(f"{'category':<14} {'rows':>5} {'dev':>5} {'test':>5}   median word overlap of the prompt with its\n"
          f"{'':<32}   {'paraphrase':>10} {'negative':>10}   rows with the paraphrase closer")
    for category in CATEGORIES + ["all"]:
        mine = [r for r in rows if category in (r[0], "all")]
        if len(mine) < (MIN_ROWS if category == "all" else MIN_ROWS_PER_CATEGORY):
            faults.append(f"{category}: {len(mine)} rows are too few")
        if not mine:
            continue
        same = [jaccard(words(r[2]), words(r[3])) for r in mine]
        other = [jaccard(words(r[2]), words(r[4])) for r in mine]
        dev = sum(r[5] == "dev" for r in mine)
        print(f"{category:<14} {len(mine):>5} {dev:>5} {len(mine) - dev:>5}   {statistics.median(same):>10.2f} "
              f"{statistics.median(other):>10.2f}   {sum(s > o for s, o in zip(same, other)):>5}")
    print(f"{len(frames)} frames, {len(seen)} texts")
    if len(frames) < MIN_FRAMES:
        faults.append(f"{len(frames)} frames are too few")
    for fault in faults:
        print("fault:", fault)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
