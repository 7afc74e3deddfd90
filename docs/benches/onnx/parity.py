#!/usr/bin/env python3
"""Every architecture, kind of head and pooling, trained for a few steps under several strategies, exported and answered
by onnxruntime: each output within 1e-4 of `mtl predict`.

    parity.py MTL FOLDER        (MTL: the binary; FOLDER: where to work)

pip install numpy onnx onnxruntime tokenizers
"""
import json
import random
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx

from exported import Exported

MOST = 1e-4

BERT = """hidden_size = 64
num_hidden_layers = 2
num_attention_heads = 4
intermediate_size = 96
max_position_embeddings = 64
initializer_range = 0.3
"""
MODELS = {
    "bert": BERT + 'type_vocab_size = 2\nhidden_act = "gelu"\n',
    "roberta": BERT + 'hidden_act = "gelu"\nlayer_norm_eps = 1e-5\n',
    "electra": BERT + 'embedding_size = 16\nhidden_act = "gelu_new"\n',
    "distilbert": """dim = 64
n_layers = 2
n_heads = 4
hidden_dim = 96
max_position_embeddings = 64
activation = "gelu"
initializer_range = 0.3
""",
}
# Pooling and the width of the hidden layer.
HEADS = {"bert": ("mean", 0), "roberta": ("cls", 12), "electra": ("max", 0), "distilbert": ("mean", 12)}
STRATEGIES = ["hard", "lora", "single"]
# On one architecture, the other strategies that come to plain encoders.
OTHERS = ["bitfit", "groups", "hierarchical", "mtl-lora", "soft", "single-small", "task-norm", "tensor"]
TASKS = ["planted-topic", "planted-mood", "planted-tags", "subjects.toml", "pairs.toml"]


def run(mtl, folder, *arguments):
    done = subprocess.run([mtl, *arguments], cwd=folder, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(arguments)}: {done.stderr}")
    return done.stdout


def write(folder, words):
    """Data of the kinds that no generator makes: sets of labels, and pairs. Their words are the generated ones."""
    draw = random.Random(1)
    text = lambda: " ".join(draw.choice(words) for _ in range(draw.randint(2, 9)))
    rows = lambda count, row: "\n".join(json.dumps(row()) for _ in range(count))
    labels = lambda: draw.sample(["red", "green", "blue"], draw.randint(1, 2))
    (folder / "subjects.jsonl").write_text(rows(80, lambda: {"text": text(), "label": labels()}))
    (folder / "pairs.jsonl").write_text(
        rows(80, lambda: {"text_a": text(), "text_b": text(), "label": draw.choice(["same", "other"])})
    )
    for name, task in [("subjects", 'kind = "multilabel"'), ("pairs", 'kind = "classification"')]:
        columns = '[columns]\ntext_a = "text_a"\ntext_b = "text_b"\n' if name == "pairs" else ""
        (folder / f"{name}.toml").write_text(f'[task]\n{task}\n{columns}[splits]\nall = ["{name}.jsonl"]\n')
    texts = [text() for _ in range(12)] + [" ".join(draw.choice(words) for _ in range(40)), "unheard words"]
    return {
        "text": [{"text": one} for one in texts],
        "pair": [{"text_a": one, "text_b": text()} for one in texts],
        "tokens": [{"tokens": one.split()} for one in texts[:12]],
    }


def said(task, answer):
    """The numbers that `predict --json` prints, in the order of the output."""
    if task["output"] == "value":
        return [answer["value"]]
    if task["reads"] == "tokens":
        return answer["scores"]
    return [answer["scores"][label] for label in task["labels"]]


def compared(mtl, folder, out, texts):
    """The largest difference of each task, and how far its outputs lie apart."""
    exported, found = Exported(folder / out), {}
    for path in exported.paths:
        onnx.checker.check_model(str(path), full_check=True)
    for name, task in exported.tasks.items():
        rows = texts[task["reads"]]
        (folder / "texts.txt").write_text("\n".join(json.dumps(row) for row in rows))
        lines = run(mtl, folder, "predict", "run", "--task", name, "--json", "--input", "texts.txt").splitlines()
        expected = [said(task, json.loads(line)) for line in lines]
        for batch in (1, len(rows)):
            outputs = exported.answers(name, rows, batch)
            if task["reads"] == "tokens":
                tags = [json.loads(line)["tags"] for line in lines]
                assert [[task["labels"][at] for at in one.argmax(1)] for one in outputs] == tags, (out, name)
                outputs = [one.max(1) for one in outputs]
            off = max(float(np.abs(np.array(a) - np.array(b)).max()) for a, b in zip(outputs, expected, strict=True))
            found[name] = max(off, found.get(name, (0, 0))[0]), float(np.ptp(np.concatenate([*outputs], axis=None)))
    return found, exported


def main():
    mtl, folder = str(Path(sys.argv[1]).resolve()), Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    few = ["--set", "train.steps=6", "--set", "optimizer.rate=1e-3", "--set", "evaluation.dev_limit=20"]
    few += ["--set", "evaluation.test_limit=20"]
    run(mtl, folder, "train", "embedded", "--out", "words", *few)
    vocabulary = json.loads((folder / "words/encoder/tokenizer.json").read_text())["model"]["vocab"]
    texts, worst = write(folder, sorted(word for word in vocabulary if word.isalpha())), 0.0
    for architecture, sizes in MODELS.items():
        (folder / f"{architecture}.toml").write_text(f'architecture = "{architecture}"\n\n[random]\n{sizes}')
        pooling, hidden = HEADS[architecture]
        for strategy in [*STRATEGIES, *(OTHERS if architecture == "bert" else [])]:
            settings = [f"tasks={json.dumps(TASKS)}", f"checkpoint={architecture}.toml", f"sharing.strategy={strategy}"]
            # A fifth of so small an encoder would be less than a layer.
            settings += ["sharing.tolerance=10"] if strategy == "single-small" else []
            settings += [f"head.pooling={pooling}", f"head.hidden={hidden}", "weighting.rule=equal"]
            more = [word for setting in settings for word in ("--set", setting)]
            run(mtl, folder, "train", "embedded", "--out", "run", "--fresh", *few, *more)
            out = f"{architecture}-{strategy}"
            shutil.rmtree(folder / out, ignore_errors=True)
            run(mtl, folder, "export", "run", "--onnx", "--to", out)
            found, exported = compared(mtl, folder, out, texts)
            files = len(exported.sessions)
            expected = {"hard": 1, "lora": len(TASKS), "single": len(TASKS)}.get(strategy, files)
            assert files == expected and len(found) == len(TASKS), (out, exported.paths)
            for name, (off, spread) in found.items():
                assert spread > 1e-2, f"{out}, {name}: all outputs are alike ({spread}): nothing is compared"
                assert off <= MOST, f"{out}, {name}: off by {off}"
            here = max(off for off, _ in found.values())
            worst = max(worst, here)
            spread = min(spread for _, spread in found.values())
            told = f"{files} file{'s' * (files > 1)}, {len(found)} outputs that range over {spread:.2f} or more"
            print(f"{out}: {told}, off by at most {here:.1e}", flush=True)
    print(f"all within {MOST}: off by at most {worst:.1e}")


if __name__ == "__main__":
    main()
