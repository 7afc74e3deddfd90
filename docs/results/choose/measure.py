"""How far `mtl choose` stays behind the best candidate of every task, on planted tasks of unequal size.

    python3 docs/results/choose/measure.py PROGRAM FOLDER FIRST LAST [DEV] [STEPS]

For every seed from FIRST to LAST - 1: topic with 1,000 training examples, genre (related to it) and clash (in conflict
with both) with about 20, labels without noise, DEV dev examples a task (20), 400 test examples, STEPS steps (300).
Each candidate is trained to the end on its own, `choose` runs under its budget, and all are scored on test. Writes
FOLDER/rows.csv, one row a seed and task; a seed that is there already is left alone. Prints the mean regret.
"""

import csv
import json
import pathlib
import shutil
import subprocess
import sys

ARMS = {"single": "each", "hard": "best", "soft": "each", "groups": "best"}
TASKS = {"topic": (2000, 0.2, 0.3), "genre": (1000, 0.4895, 0.4895), "clash": (1000, 0.4895, 0.4895)}
COLUMNS = ["seed", "task", "taken", "beside", "chosen", *ARMS, "trainings", "expected", "low", "high"]

MANIFEST = """about = "planted {task}"
licence = "MIT OR Apache-2.0"
task = {{ kind = "classification" }}
generator = {{ name = "planted", task = "{task}", examples = {examples}, seed = {seed}, noise = 0.0 }}
splits = {{ seed = {seed}, dev_share = {dev}, test_share = {test} }}
"""

RECIPE = """tasks = ["topic.toml", "genre.toml", "clash.toml"]
checkpoint = "embedded"
sharing = {{ strategy = "hard" }}
weighting = {{ rule = "equal" }}
train = {{ steps = {steps}, batch = 16, max_tokens = 32, dropout = 0.0, limit = 1000, seed = {seed}, threads = 1 }}
optimizer = {{ name = "adamw", rate = 3e-3 }}
evaluation = {{ every = {every}, dev_limit = {dev}, test_limit = 400 }}
"""


def main():
    program, folder, first, last = sys.argv[1], pathlib.Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    dev = int(sys.argv[5]) if len(sys.argv) > 5 else 20
    steps = int(sys.argv[6]) if len(sys.argv) > 6 else 300
    folder.mkdir(parents=True, exist_ok=True)
    table = folder / "rows.csv"
    rows = list(csv.DictReader(table.open())) if table.exists() else []
    for seed in range(first, last):
        if not any(int(row["seed"]) == seed for row in rows):
            rows += measured(program, folder, seed, dev, steps)
            with table.open("w") as file:
                writer = csv.DictWriter(file, COLUMNS)
                writer.writeheader()
                writer.writerows(rows)
    print(summary([row for row in rows if first <= int(row["seed"]) < last]))


def run(program, *words):
    result = subprocess.run([program, *map(str, words)], capture_output=True, text=True)
    if result.returncode:
        sys.exit(f"{words}: {result.stderr[-2000:]}")
    return result.stdout


def measured(program, folder, seed, dev, steps):
    place = folder / f"seed-{seed}"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    for task, (examples, of_dev, of_test) in TASKS.items():
        text = MANIFEST.format(task=task, examples=examples, seed=seed, dev=of_dev, test=of_test)
        (place / f"{task}.toml").write_text(text)
    recipe = place / "recipe.toml"
    recipe.write_text(RECIPE.format(steps=steps, every=max(1, steps // 12), dev=dev, seed=seed))
    scores = {}
    for arm, keep in ARMS.items():
        out = place / arm
        run(program, "train", recipe, "--out", out, "--set", f"sharing.strategy={arm}", "--set", f"evaluation.keep={keep}")
        report = json.loads((out / "report.json").read_text())
        scores[arm] = {task: report["tasks"][task]["test"] for task in TASKS}
    run(program, "choose", recipe, "--out", place / "chosen")
    choice = json.loads((place / "chosen" / "choice.json").read_text())
    (folder / f"choice-{seed}.json").write_text(json.dumps(choice))
    rows = []
    for task in choice["tasks"]:
        name = task["name"]
        gain = next((gain for arm, gain in task["gains"] if arm == task["taken"]), None)
        rows.append({
            "seed": seed, "task": name, "taken": task["taken"], "beside": "+".join(task["beside"]),
            "chosen": choice["report"]["tasks"][name]["test"],
            **{arm: scores[arm][name] for arm in ARMS},
            "trainings": choice["cost"]["passes"] / choice["cost"]["training"],
            **{key: gain[key] if gain else "" for key in ["expected", "low", "high"]},
        })
    shutil.rmtree(place)
    return rows


def summary(rows):
    def mean(values):
        values = list(values)
        return sum(values) / max(1, len(values))

    seeds = sorted({row["seed"] for row in rows})
    lines = [f"{len(seeds)} seeds"]
    best, each = {}, []
    for task in TASKS:
        own = [row for row in rows if row["task"] == task]
        means = {arm: mean(float(row[arm]) for row in own) for arm in ARMS}
        best[task] = max(means, key=means.get)
        taken = {arm: sum(row["taken"] == arm for row in own) for arm in ARMS}
        chosen = mean(float(row["chosen"]) for row in own)
        shown = ", ".join(f"{arm} {value:.4f} ({taken[arm]})" for arm, value in means.items())
        lines.append(f"{task}: chosen {chosen:.4f}; {shown} (times taken); best {best[task]}")
    fixed = mean(float(row[best[row["task"]]]) - float(row["chosen"]) for row in rows)
    each = mean(max(float(row[arm]) for arm in ARMS) - float(row["chosen"]) for row in rows)
    arms = ", ".join(f"{arm} {mean(float(row[arm]) for row in rows):.4f}" for arm in ARMS)
    shared = sum(row["task"] == "clash" and row["beside"] != "" for row in rows)
    lines.append(f"mean over tasks: chosen {mean(float(row['chosen']) for row in rows):.4f}, {arms}")
    lines.append(f"mean regret against the best arm of each task: {fixed:+.4f}; against the best of each run: {each:+.4f}")
    lines.append(f"clash shares in {shared} of {len(seeds)} seeds; cost {max(float(row['trainings']) for row in rows):.2f} trainings at most")
    return "\n".join(lines)


main()
