"""Holds what `mtl export` writes to what `mtl predict` answers, in transformers and sentence-transformers.

    python parity.py MTL FOLDER [ARCHITECTURE/STRATEGY …]

needs: pip install torch transformers sentence-transformers safetensors numpy

For every architecture, a tiny encoder of random weights is made by transformers; for every strategy, MTL trains six
tasks over it, whose heads are one of each form that is exported. Every export is loaded by its library, and its logits
are compared to the run's answers: log-probabilities and log-odds, which are logits up to a constant, and values. The
tables that are printed are those of docs/export.md: the largest differences, or that a strategy is refused; then scores
of models that the libraries fine-tuned and saved, as they compute them and as `mtl evaluate` does after an import.
"""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

os.environ.update(HF_HUB_OFFLINE="1", HF_HUB_DISABLE_PROGRESS_BARS="1", TRANSFORMERS_VERBOSITY="error", TOKENIZERS_PARALLELISM="false")

import numpy as np
import torch
import transformers as hf
from safetensors.torch import load_file
from sentence_transformers import SentenceTransformer
from tokenizers import BertWordPieceTokenizer, ByteLevelBPETokenizer
from tokenizers.processors import RobertaProcessing

HIDDEN, LIMIT = 32, 1e-4
ARCHITECTURES = ["bert", "distilbert", "electra", "roberta", "xlm-roberta", "camembert"]
# Strategies, with the settings that such a small encoder asks for.
STRATEGIES = {
    "adaptive": [], "bitfit": [], "groups": [], "hard": [], "hierarchical": [], "lora": [], "mtl-lora": [], "single": [],
    "single-small": ["sharing.tolerance=2"], "soft": [], "sparse": [], "task-norm": [], "tensor": ["sharing.rank=6"],
}
REFUSED = {
    "adapter": [], "cross-stitch": ["sharing.limit=6"], "dselect-k": [], "mmoe": [], "mtan": [], "pal": [], "ple": [],
    "prefix": [], "sluice": ["sharing.limit=6"],
}
WORDS = ["red", "green", "blue", "fast", "slow", "printer", "screen", "invoice", "team", "late", "early", "broken"]

torch.manual_seed(0)
torch.set_num_threads(1)


def encoder(architecture, folder):
    """A tiny encoder of random weights and its tokenizer, as transformers saves them."""
    folder.mkdir(parents=True)
    corpus = folder / "corpus.txt"
    corpus.write_text("\n".join(" ".join(WORDS) for _ in range(50)))
    sizes = dict(vocab_size=400, hidden_size=HIDDEN, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
                 max_position_embeddings=66)
    if "bert" in architecture and architecture not in ("roberta", "xlm-roberta", "camembert") or architecture == "electra":
        made = BertWordPieceTokenizer()
        made.train([str(corpus)], vocab_size=300)
        made.save_model(str(folder))
        tokenizer = hf.BertTokenizerFast(str(folder / "vocab.txt"))
    else:
        made = ByteLevelBPETokenizer()
        made.train([str(corpus)], vocab_size=350, special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
        made.post_processor = RobertaProcessing(("</s>", 2), ("<s>", 0), trim_offsets=True, add_prefix_space=False)
        made.save(str(folder / "tokenizer.json"))
        tokenizer = hf.PreTrainedTokenizerFast(
            tokenizer_file=str(folder / "tokenizer.json"), bos_token="<s>", eos_token="</s>", cls_token="<s>",
            sep_token="</s>", pad_token="<pad>", unk_token="<unk>", mask_token="<mask>")
        sizes["pad_token_id"] = 1
    if architecture == "distilbert":
        config = hf.DistilBertConfig(vocab_size=400, dim=HIDDEN, n_layers=2, n_heads=4, hidden_dim=64,
                                     max_position_embeddings=66)
    elif architecture == "electra":
        config = hf.ElectraConfig(**sizes, embedding_size=16)
    else:
        config = {"bert": hf.BertConfig, "roberta": hf.RobertaConfig, "xlm-roberta": hf.XLMRobertaConfig,
                  "camembert": hf.CamembertConfig}[architecture](**sizes)
    model = hf.AutoModel.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    corpus.unlink()


def data(folder):
    """Six tasks: a class, two classes, labels, a value, a pair, tags."""
    draw = random.Random(0)
    sentence = lambda: [draw.choice(WORDS) for _ in range(draw.randint(3, 12))]
    rows = ["body,team,urgency,topics,score"]
    for _ in range(200):
        words = sentence()
        colours = sorted({word for word in words if word in WORDS[:3]}) or ["red"]
        team = ["billing", "hardware", "network"][(words.count("invoice") + 2 * words.count("printer")) % 3]
        urgency = "high" if "late" in words else "low"
        rows.append(f"{' '.join(words)},{team},{urgency},{';'.join(colours)},{50 + 20 * words.count('fast')}")
    (folder / "tickets.csv").write_text("\n".join(rows[:161]) + "\n")
    (folder / "held.csv").write_text("\n".join(rows[:1] + rows[161:]) + "\n")
    for name, kind, more in [("team", "classification", ""), ("topics", "multilabel", 'label_separator = ";"\n'),
                             ("score", "regression", "")]:
        (folder / f"held-{name}.toml").write_text(
            f'about = "made"\nlicence = "MIT"\n[task]\nkind = "{kind}"\n[columns]\ntext = "body"\nlabel = "{name}"\n{more}'
            '[splits]\ntrain = ["tickets.csv"]\ndev = ["held.csv"]\n')
    (folder / "held-tags.toml").write_text(
        'about = "made"\nlicence = "MIT"\n[task]\nkind = "tagging"\nscheme = "plain"\n'
        '[columns]\ntokens = "0"\nlabel = "1"\n[splits]\ntrain = ["ner.conll"]\ndev = ["held.conll"]\n')
    pairs = ["a\tb\tlabel"]
    for _ in range(120):
        a, b = sentence(), sentence()
        pairs.append(f"{' '.join(a)}\t{' '.join(a if draw.random() < .5 else b)}\t{'same' if b[0] < 'h' else 'other'}")
    (folder / "pairs.tsv").write_text("\n".join(pairs) + "\n")
    for name, count in [("ner", 120), ("held", 30)]:
        lines = []
        for _ in range(count):
            lines += [f"{word} {'B-colour' if word in WORDS[:3] else 'O'}" for word in sentence()[:6]] + [""]
        (folder / f"{name}.conll").write_text("\n".join(lines) + "\n")
    (folder / "tickets.toml").write_text(
        'about = "made"\nlicence = "MIT"\n[columns]\ntext = "body"\n'
        '[[columns.labels]]\nname = "team"\nkind = "classification"\n'
        '[[columns.labels]]\nname = "urgency"\nkind = "classification"\n'
        '[[columns.labels]]\nname = "topics"\nkind = "multilabel"\nlabel_separator = ";"\n'
        '[[columns.labels]]\nname = "score"\nkind = "regression"\n[splits]\nall = ["tickets.csv"]\n')
    (folder / "pairs.toml").write_text(
        'about = "made"\nlicence = "MIT"\n[task]\nkind = "classification"\n'
        '[columns]\ntext_a = "a"\ntext_b = "b"\nlabel = "label"\n[splits]\nall = ["pairs.tsv"]\n')
    (folder / "ner.toml").write_text(
        'about = "made"\nlicence = "MIT"\n[task]\nkind = "tagging"\n[columns]\ntokens = "0"\nlabel = "1"\n'
        '[splits]\nall = ["ner.conll"]\n')
    texts = [" ".join(sentence()) for _ in range(11)] + ["", "red " * 80]
    return {
        "text": [{"text": text} for text in texts],
        # Short first texts: where both overflow an odd room, tokenizers gives the longer one the odd token, MTL the first.
        "pair": [{"text_a": " ".join(a.split()[:4]), "text_b": b} for a, b in zip(texts, texts[1:])],
        "tokens": [{"tokens": text.split()} for text in texts if text.split() and len(text) < 100],
    }


def recipe(architecture, folder):
    """One recipe, whose heads are one of each form."""
    own = {"distilbert": "relu", "electra": "gelu"}.get(architecture, "tanh")
    heads = {
        "tickets.toml:team": f'pooling = "cls", hidden = {HIDDEN}, activation = "{own}"',
        "tickets.toml:urgency": 'pooling = "cls"',
        "tickets.toml:topics": 'pooling = "mean"',
        "tickets.toml:score": 'pooling = "max", hidden = 16, activation = "gelu"',
        "pairs.toml": f'pooling = "cls", hidden = 8, activation = "{own}"',
        "ner.toml": 'pooling = "mean"',
    }
    tasks = "\n".join(f'  {{ name = "../{name}", head = {{ {head} }} }},' for name, head in heads.items())
    (folder / "model.toml").write_text(
        f'about = "made"\nlicence = "MIT"\narchitecture = "{architecture}"\n[[source]]\nkind = "path"\nfolder = "encoder"\n'
        'files = [{ path = "config.json" }, { path = "tokenizer.json" }, { path = "tokenizer_config.json" }, '
        '{ path = "model.safetensors" }]\n')
    (folder / "recipe.toml").write_text(
        f'tasks = [\n{tasks}\n]\ncheckpoint = "model.toml"\n[train]\nsteps = 24\nbatch = 8\nmax_tokens = 24\n'
        '[optimizer]\nname = "adamw"\nrate = 3e-3\n[weighting]\nrule = "equal"\n[evaluation]\nevery = 0\n')


class Runs:
    """Runs MTL, and reads what it says."""

    def __init__(self, program, folder, queries):
        self.program, self.folder, self.queries = program, folder, queries

    def run(self, *arguments, fails=False):
        environment = {**os.environ, "MTL_CACHE": str(self.folder / "cache")}
        ended = subprocess.run([self.program, *map(str, arguments)], capture_output=True, text=True, env=environment)
        if (ended.returncode != 0) != fails:
            raise SystemExit(f"{arguments}: {ended.stdout}{ended.stderr}")
        return ended.stderr if fails else ended.stdout

    def answers(self, run, task, form):
        lines = self.folder / f"{form}.jsonl"
        lines.write_text("".join(json.dumps(query) + "\n" for query in self.queries[form]))
        return [json.loads(line) for line in self.run("predict", run, "--task", task, "--json", "--input", lines).splitlines()]


FORMS = {"team": "text", "urgency": "text", "topics": "text", "score": "text", "pairs": "pair", "ner": "tokens"}


def form_of(task):
    return FORMS[task.split(".")[-1]]


def logits_of(folder, task, queries):
    """What the exported folder computes for `queries`, one array each."""
    form = form_of(task)
    if (folder / "modules.json").exists():
        model = SentenceTransformer(str(folder), device="cpu")
        texts = [(query["text_a"], query["text_b"]) if form == "pair" else query["text"] for query in queries]
        return model.encode(texts, batch_size=4, convert_to_numpy=True), model.tokenizer
    tokenizer = hf.AutoTokenizer.from_pretrained(folder)
    kind = hf.AutoModelForTokenClassification if form == "tokens" else hf.AutoModelForSequenceClassification
    model, loading = kind.from_pretrained(folder, output_loading_info=True)
    for what in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        assert not loading[what], f"{folder}: {what} {loading[what]}"
    model.eval()
    with torch.no_grad():
        if form == "tokens":
            found = []
            for query in queries:
                inputs = tokenizer(query["tokens"], is_split_into_words=True, truncation=True, return_tensors="pt")
                words = inputs.word_ids()
                firsts = [at for at, word in enumerate(words) if word is not None and words[at - 1] != word]
                found.append(model(**inputs).logits[0, firsts].numpy())
            return found, tokenizer
        if form == "pair":
            texts = [query["text_a"] for query in queries], [query["text_b"] for query in queries]
        else:
            texts = ([query["text"] for query in queries],)
        return model(**tokenizer(*texts, truncation=True, padding=True, return_tensors="pt")).logits.numpy(), tokenizer


def difference(found, answers, labels):
    """The largest difference between logits `found` and what the run answered."""
    worst = 0.0
    for logits, answer in zip(found, answers, strict=True):
        logits = np.asarray(logits, dtype=np.float64)
        if "tags" in answer:
            chosen = logits.argmax(-1)
            # Words behind the longest input are seen by neither; the run answers them with a score of 0.
            seen = len(chosen)
            assert [labels[at] for at in chosen] == answer["tags"][:seen], (labels, chosen, answer)
            assert not any(answer["scores"][seen:]), answer
            wanted = np.log(np.asarray(answer["scores"][:seen], dtype=np.float64))
            shifted = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
            worst = max(worst, np.abs(shifted.max(-1) - wanted).max())
        elif "value" in answer:
            # In the unit of the targets, whose deviation is 20 or so.
            worst = max(worst, abs(logits[0] - answer["value"]) / max(1.0, abs(answer["value"])))
        else:
            scores = np.asarray([answer["scores"][name] for name in labels], dtype=np.float64)
            if isinstance(answer["label"], list):
                worst = max(worst, np.abs(logits - (np.log(scores) - np.log1p(-scores))).max())
            else:
                wanted = np.log(scores)
                worst = max(worst, np.abs((logits - logits.mean()) - (wanted - wanted.mean())).max())
                assert labels[int(logits.argmax())] == answer["label"]
    return worst


def check_tokenizer(tokenizer, folder):
    config = json.loads((folder / "tokenizer_config.json").read_text())
    assert tokenizer.model_max_length == 24 and config["model_max_length"] == 24
    assert tokenizer.pad_token and tokenizer.cls_token and tokenizer.sep_token and tokenizer.unk_token


def whole_run(runs, run, folder):
    """The encoder by AutoModel and the heads beside it, applied here."""
    runs.run("export", run, "--to", folder)
    model, tokenizer = hf.AutoModel.from_pretrained(folder).eval(), hf.AutoTokenizer.from_pretrained(folder)
    worst = 0.0
    activations = {"tanh": torch.tanh, "relu": torch.relu, "gelu": torch.nn.functional.gelu}
    for task in json.loads((folder / "tasks.json").read_text())["tasks"]:
        if task["reads"] != "text":
            continue
        head = load_file(folder / task["folder"] / "model.safetensors")
        labels = [task["id2label"][str(at)] for at in range(len(task["id2label"]))]
        found = []
        with torch.no_grad():
            for query in runs.queries["text"]:
                states = model(**tokenizer(query["text"], truncation=True, return_tensors="pt")).last_hidden_state[0]
                x = {"mean": states.mean(0), "cls": states[0], "max": states.max(0).values}[task["pooling"]]
                if "dense.weight" in head:
                    x = activations[task["activation"]](head["dense.weight"] @ x + head["dense.bias"])
                found.append((head["output.weight"] @ x + head["output.bias"]).numpy())
        worst = max(worst, difference(found, runs.answers(run, task["name"], "text"), labels))
    return worst


def cell(runs, place, architecture, strategy):
    """The largest difference by layout, of one architecture and one strategy."""
    run = place / "runs" / strategy
    settings = [part for key in {**STRATEGIES, **REFUSED}[strategy] for part in ("--set", key)]
    runs.run("train", place / "recipe.toml", "--out", run, "--set", f"sharing.strategy={strategy}", *settings)
    if strategy in REFUSED:
        error = runs.run("export", run, "--to", place / "none", "--each", fails=True)
        assert f"the strategy `{strategy}`" in error and "more than a change" in error, error
        return None
    worst = {}
    each = place / "exports" / strategy
    runs.run("export", run, "--to", each, "--each")
    for folder in sorted(each.iterdir()):
        folders = [folder]
        if folder.name.endswith("team"):
            # The same head by the other library.
            sentences = place / "exports" / f"{strategy}-sentences"
            runs.run("export", run, "--to", sentences, "--task", folder.name, "--format", "sentence-transformers")
            folders.append(sentences)
        for one in folders:
            found, tokenizer = logits_of(one, folder.name, runs.queries[form_of(folder.name)])
            check_tokenizer(tokenizer, one)
            config = json.loads((one / "config.json").read_text())
            labels = [config["id2label"][str(at)] for at in range(len(config["id2label"]))]
            layout = "sentence-transformers" if (one / "modules.json").exists() else config["architectures"][0]
            layout = layout[layout.index("For"):] if "For" in layout else layout
            here = difference(found, runs.answers(run, folder.name, form_of(folder.name)), labels)
            worst[layout] = max(worst.get(layout, 0.0), here)
    if strategy == "hard":
        worst["whole run"] = whole_run(runs, run, place / "exports" / "whole")
    return worst


LABELS = {
    # Not in the order of the alphabet, in which the datasets have them.
    "team": ["network", "billing", "hardware"], "topics": ["red", "blue", "green"], "score": ["score"],
    "tags": ["O", "B-colour"],
}


def fine_tune(model, tokenizer, task, labels, data):
    """A few steps of Adam, so that answers differ from text to text."""
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    texts, truths = data
    model.eval()  # without dropout
    for step in range(60):
        at = [(step * 16 + place) % len(texts) for place in range(16)]
        chosen, wanted = [texts[place] for place in at], [truths[place] for place in at]
        inputs = tokenizer(chosen, is_split_into_words=task == "tags", truncation=True, padding=True, return_tensors="pt")
        if task == "score":
            truth = torch.tensor([float(value) for value in wanted])
        elif task == "team":
            truth = torch.tensor([labels.index(name) for name in wanted])
        else:
            words = [inputs.word_ids(row) for row in range(len(at))]
            truth = torch.tensor([[-100 if word is None else labels.index(tags[word]) for word in row]
                                  for row, tags in zip(words, wanted)])
        optimizer.zero_grad()
        model(**inputs, labels=truth).loss.backward()
        optimizer.step()


def held(folder, task, split="dev"):
    """Texts or words of a split, and their truths."""
    names = {"train": ("ner", "tickets"), "dev": ("held", "held")}[split]
    if task == "tags":
        sentences = [block.split("\n") for block in (folder / f"{names[0]}.conll").read_text().strip().split("\n\n")]
        return [[line.split()[0] for line in lines] for lines in sentences], [
            [line.split()[1] for line in lines] for lines in sentences]
    header, *rows = (folder / f"{names[1]}.csv").read_text().strip().split("\n")
    at = header.split(",").index(task)
    rows = [row.split(",") for row in rows]
    return [row[0] for row in rows], [row[at] for row in rows]


def score_of(task, labels, logits, truths):
    """The headline metric and its value, as computed from `logits` here."""
    if task == "team":
        chosen = [labels[int(row.argmax())] for row in logits]
        assert len(set(chosen)) > 1, chosen
        return "accuracy", np.mean([a == b for a, b in zip(chosen, truths, strict=True)])
    if task == "topics":
        sets = [{name for name, logit in zip(labels, row) if logit > 0} for row in logits]
        return "subset-accuracy", np.mean([found == set(truth.split(";")) for found, truth in zip(sets, truths, strict=True)])
    if task == "score":
        return "mae", np.mean([abs(row[0] - float(truth)) for row, truth in zip(logits, truths, strict=True)])
    pairs = [(labels[int(row.argmax())], tag) for rows, tags in zip(logits, truths) for row, tag in zip(rows, tags, strict=True)]
    return "token-accuracy", np.mean([a == b for a, b in pairs])


def imported(runs, place, architecture):
    """The largest difference of a score of models that were saved by the libraries themselves, after an import."""
    worst, base = {}, hf.AutoConfig.from_pretrained(place / "encoder")
    tokenizer = hf.AutoTokenizer.from_pretrained(place / "encoder")
    tokenizer.model_max_length = 24
    for task, labels in LABELS.items():
        if task == "topics" and architecture != "bert":
            continue
        folder = place / "public" / task
        if task == "topics":
            from sentence_transformers.sentence_transformer.modules import Pooling
            from sentence_transformers.base.modules import Dense, Transformer
            words = Transformer(str(place / "encoder"), max_seq_length=24)
            dense = Dense(HIDDEN, len(labels), activation_function=torch.nn.Identity())
            model = SentenceTransformer(modules=[words, Pooling(HIDDEN, pooling_mode="mean"), dense], device="cpu")
            model.save(str(folder))
            config = json.loads((folder / "config.json").read_text())
            config.update(id2label=dict(enumerate(labels)), problem_type="multi_label_classification")
            (folder / "config.json").write_text(json.dumps(config))
        else:
            kind = hf.AutoModelForTokenClassification if task == "tags" else hf.AutoModelForSequenceClassification
            model = kind.from_pretrained(
                place / "encoder", num_labels=len(labels), id2label=dict(enumerate(labels)),
                label2id={name: at for at, name in enumerate(labels)},
                problem_type="regression" if task == "score" else None)
            fine_tune(model, tokenizer, task, labels, held(runs.folder, task, "train"))
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
        texts, truths = held(runs.folder, task)
        FORMS[task] = "tokens" if task == "tags" else "text"
        queries = [{"tokens" if task == "tags" else "text": text} for text in texts]
        logits, _ = logits_of(folder, task, queries)
        metric, wanted = score_of(task, labels, logits, truths)
        run = place / "runs" / f"imported-{task}"
        runs.run("import", folder, "--task", runs.folder / f"held-{task}.toml", "--out", run)
        found = json.loads(runs.run("evaluate", run, "--limit", 0, "--json"))[f"held-{task}"][metric]
        worst[f"{task}: {metric} {wanted:.4f}"] = abs(found - wanted)
    return worst


def main(program, folder, only):
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    queries = data(folder)
    runs = Runs(str(Path(program).resolve()), folder, queries)
    layouts = ["ForSequenceClassification", "ForTokenClassification", "sentence-transformers", "whole run"]
    print("| architecture | strategy | " + " | ".join(layouts) + " |\n| --- | --- |" + " --: |" * len(layouts), flush=True)
    failed = []
    for architecture in ARCHITECTURES:
        strategies = [*STRATEGIES, *REFUSED] if architecture == "bert" else STRATEGIES
        strategies = [strategy for strategy in strategies if not only or f"{architecture}/{strategy}" in only]
        if not strategies:
            continue
        place = folder / architecture
        encoder(architecture, place / "encoder")
        recipe(architecture, place)
        for strategy in strategies:
            worst = cell(runs, place, architecture, strategy)
            if worst is None:
                cells = ["refused"] * len(layouts)
            else:
                cells = [f"{worst[layout]:.0e}" if layout in worst else "–" for layout in layouts]
                failed += [f"{architecture} {strategy} {layout}: {size}" for layout, size in worst.items() if not size <= LIMIT]
            print(f"| {architecture} | {strategy} | " + " | ".join(cells) + " |", flush=True)
    print("\n| architecture | imported task and its score in transformers | difference |\n| --- | --- | --: |", flush=True)
    for architecture in ARCHITECTURES:
        if only and f"{architecture}/import" not in only:
            continue
        place = folder / architecture
        if not (place / "encoder").exists():
            encoder(architecture, place / "encoder")
        for about, size in imported(runs, place, architecture).items():
            print(f"| {architecture} | {about} | {size:.0e} |", flush=True)
            failed += [f"{architecture} {about}: {size}"] if not size <= LIMIT else []
    if failed:
        raise SystemExit("logits differ by more than 1e-4:\n" + "\n".join(failed))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], set(sys.argv[3:]))
