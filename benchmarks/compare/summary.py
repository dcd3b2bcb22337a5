#!/usr/bin/env python3
"""One table of what the other programs left with --results: median, p99, memory, and AUC or recall.

    summary.py RESULTS [--tokens 16]
"""
import argparse
import json
import pathlib


def rows_of(folder, pattern):
    return [row for path in sorted(folder.glob(pattern)) for row in json.loads(path.read_text(encoding="utf-8"))]


def shown(value, form):
    return "-" if value is None else format(value, form)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=pathlib.Path)
    parser.add_argument("--tokens", type=int, help="of the texts whose times are shown (16, or what was measured first)")
    arguments = parser.parse_args()
    encode = rows_of(arguments.results, "encode_*.json")
    bulk = rows_of(arguments.results, "bulk_*.json")
    quality = rows_of(arguments.results, "quality.json")
    index = rows_of(arguments.results, "index.json")
    if not encode + bulk + quality + index:
        parser.error(f"no results in {arguments.results}")
    measured = [row["tokens"] for row in encode]
    tokens = arguments.tokens or (16 if 16 in measured else measured[0] if measured else 0)
    threads = sorted({row["threads"] for row in encode + bulk})
    sets = sorted({name for row in quality for name in row["auc"]})
    times = {(row["engine"], row["threads"]): row for row in encode if row["tokens"] == tokens}
    rates = {(row["engine"], row["threads"]): row["texts_per_second"] for row in bulk}
    others = {row["engine"]: row for row in quality}
    engines = list(dict.fromkeys(row["engine"] for row in encode + bulk + quality))
    if engines:
        print(f"one text of {tokens} tokens: ms; many: texts a second; memory grown by opening: MiB")
        print(f"{'engine':<46}" + "".join(f" {f'median, {n} thr':>14} {'p99':>7}" for n in threads) +
              "".join(f" {f'texts/s, {n}':>11}" for n in threads) + f" {'MiB':>5} {'load s':>6}" +
              "".join(f" {f'AUC {name}':>8}" for name in sets))
    for engine in engines:
        line = f"{engine:<46}"
        for count in threads:
            row = times.get((engine, count), {})
            line += f" {shown(row.get('median_ms'), '.2f'):>14} {shown(row.get('p99_ms'), '.2f'):>7}"
        line += "".join(f" {shown(rates.get((engine, count)), '.0f'):>11}" for count in threads)
        row = others.get(engine)
        line += f" {shown(row and row['anonymous_mib'] + row['files_mib'], '.0f'):>5}"
        line += f" {shown(row and row['load_s'], '.2f'):>6}"
        print(line + "".join(f" {shown(row and row['auc'].get(name), '.4f'):>8}" for name in sets))
    if index:
        print(f"\n{'index':<36} {'entries':>8} {'median us':>9} {'p99':>8} {'bytes a vector':>14} {'recall@1':>8}")
    for row in index:
        print(f"{row['engine']:<36} {row['entries']:>8} {row['median_us']:>9.1f} {row['p99_us']:>8.1f} "
              f"{row['grown_bytes']:>14.0f} {row['recall']:>8.3f}")


if __name__ == "__main__":
    main()
