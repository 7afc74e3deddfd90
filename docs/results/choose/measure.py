"""How far `mtl choose` stays behind the best candidate of every task, on the recipe planted-mixed.

    python3 docs/results/choose/measure.py PROGRAM FOLDER FIRST LAST [KEY=VALUE ...]

For every seed from FIRST to LAST - 1, which draws the training examples too: topic with 1,000 training examples, genre
(related to it) and clash (in conflict with it) with 20, dev as small. Each candidate is trained to the end on its own,
`choose` runs under its budget, and all are scored on test. Further arguments are given to every command as --set.
Writes FOLDER/rows.csv, one row a seed and task; a seed that is there already is left alone. Prints the mean regret.
"""

import csv
import json
import pathlib
import shutil
import subprocess
import sys

ARMS = {"single": "each", "hard": "best", "soft": "each", "groups": "best"}
TASKS = [f"planted-mixed-{name}" for name in ["topic", "genre", "clash"]]
COLUMNS = ["seed", "task", "taken", "beside", "chosen", *ARMS, "trainings", "expected", "low", "high"]


def main():
    program, folder, first, last = sys.argv[1], pathlib.Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    more = sys.argv[5:]
    folder.mkdir(parents=True, exist_ok=True)
    table = folder / "rows.csv"
    rows = list(csv.DictReader(table.open())) if table.exists() else []
    for seed in range(first, last):
        if not any(int(row["seed"]) == seed for row in rows):
            rows += measured(program, folder, seed, more)
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


def measured(program, folder, seed, more):
    place = folder / f"seed-{seed}"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    sets = ["train.threads=1", f"train.seed={seed}", f"train.data_seed={seed}", *more]
    given = [word for key in sets for word in ("--set", key)]
    scores = {}
    for arm, keep in ARMS.items():
        out = place / arm
        run(program, "train", "planted-mixed", "--out", out, *given, "--set", f"sharing.strategy={arm}", "--set", f"evaluation.keep={keep}")
        report = json.loads((out / "report.json").read_text())
        scores[arm] = {task: report["tasks"][task]["test"] for task in TASKS}
    run(program, "choose", "planted-mixed", "--out", place / "chosen", *given)
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
    shared = sum(row["task"] == "planted-mixed-clash" and row["beside"] != "" for row in rows)
    lines.append(f"mean over tasks: chosen {mean(float(row['chosen']) for row in rows):.4f}, {arms}")
    lines.append(f"mean regret against the best arm of each task: {fixed:+.4f}; against the best of each run: {each:+.4f}")
    lines.append(f"clash shares in {shared} of {len(seeds)} seeds; cost {max(float(row['trainings']) for row in rows):.2f} trainings at most")
    return "\n".join(lines)


main()
