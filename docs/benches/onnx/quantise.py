#!/usr/bin/env python3
"""What dynamic quantisation to 8 bits costs: score of every task, size and latency, beside single precision.

    mtl evaluate RUN --split test --answers answers.jsonl
    mtl export RUN --onnx --to FOLDER
    quantise.py FOLDER answers.jsonl [TEXTS]       (TEXTS: how many a task the latency is measured on; 200)

pip install numpy onnx onnxruntime tokenizers
"""
import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np
from onnxruntime.quantization import QuantType, quantize_dynamic

from exported import Exported


def score(kind, truths, said):
    """Pearson's correlation of values, token accuracy of tags, F1 over all labels of sets, else accuracy."""
    if kind == "value":
        return float(np.corrcoef(truths, said)[0, 1])
    if kind == "tags":
        pairs = [pair for truth, tags in zip(truths, said) for pair in zip(truth, tags)]
        return sum(a == b for a, b in pairs) / len(pairs)
    if kind == "set":
        both = sum(len(set(a) & set(b)) for a, b in zip(truths, said))
        return 2 * both / max(1, sum(len(a) + len(b) for a, b in zip(truths, said)))
    return sum(a == b for a, b in zip(truths, said)) / len(truths)


def kind_of(task, row):
    if "value" in row:
        return "value"
    if "tags" in row:
        return "tags"
    return "set" if isinstance(row["label"], list) else "class"


def decoded(task, kind, output):
    if kind == "value":
        return float(output[0])
    if kind == "tags":
        return [task["labels"][at] for at in output.argmax(1)]
    if kind == "set":
        return [label for label, probability in zip(task["labels"], output) if probability > 0.5]
    return task["labels"][output.argmax()]


def timed(exported, rows, rounds):
    """Milliseconds for each text on its own; the models take turns, so that a busy machine is busy for all of them."""
    texts = [(name, row) for name, own in rows.items() for row in own]
    found = [[] for _ in exported]
    for name, row in texts[:20]:
        [one.answers(name, [row]) for one in exported]
    for _ in range(rounds):
        for name, row in texts:
            for place, one in enumerate(exported):
                start = time.perf_counter()
                one.answers(name, [row])
                found[place].append(1e3 * (time.perf_counter() - start))
    return found


def main():
    folder, most = Path(sys.argv[1]), int(sys.argv[3]) if len(sys.argv) > 3 else 200
    lines = [json.loads(line) for line in Path(sys.argv[2]).read_text().splitlines()]
    whole = Exported(folder)
    ways = {"f32": ".onnx", "int8": ".int8.onnx", "int8, by channel": ".int8-channels.onnx"}
    for path in whole.paths:
        base = str(path).removesuffix(".onnx")
        quantize_dynamic(path, base + ".int8.onnx", weight_type=QuantType.QInt8)
        quantize_dynamic(path, base + ".int8-channels.onnx", weight_type=QuantType.QInt8, per_channel=True)
    models = {name: Exported(folder, suffix) for name, suffix in ways.items()}
    print(f"| task | measure | texts | run | {' | '.join(models)} |")
    print("| --- | --- | --: |" + " --: |" * (len(models) + 1))
    measures = {"class": "accuracy", "value": "Pearson's r", "tags": "token accuracy", "set": "micro F1"}
    rows = {}
    for name, task in whole.tasks.items():
        own = [line for line in lines if line["task"] == name]
        kind = kind_of(task, own[0])
        truths, key = [line["truth"] for line in own], {"value": "value", "tags": "tags"}.get(kind, "label")
        cells = [f"{score(kind, truths, [line[key] for line in own]):.4f}"]
        for model in models.values():
            said = [decoded(task, kind, output) for output in model.answers(name, own)]
            cells.append(f"{score(kind, truths, said):.4f}")
        print(f"| {name} | {measures[kind]} | {len(own)} | {' | '.join(cells)} |", flush=True)
        rows[name] = own[:most]
    sizes = [sum(path.stat().st_size for path in model.paths) / 1e6 for model in models.values()]
    print(f"| size, MB | | | | {' | '.join(f'{size:.2f}' for size in sizes)} |")
    for threads in (1, 2):
        times = timed([Exported(folder, suffix, threads) for suffix in ways.values()], rows, 3)
        shown = " | ".join(f"{statistics.median(found):.2f}" for found in times)
        print(f"| median ms a text, {threads} thread{'s' * (threads > 1)} | | | | {shown} |", flush=True)


if __name__ == "__main__":
    main()
