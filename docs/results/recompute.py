#!/usr/bin/env python3
"""Recomputes the numbers of a comparison's report.md from the CSVs that are shipped beside it.

    python3 docs/results/recompute.py FOLDER...

From report.csv and metrics.csv (what every run scored): means and standard deviations over the common seeds, gains over
the baseline task by task and in the mean, Delta m in its three forms, ranks, Friedman's test, the paired t and Wilcoxon's
test, d_z. From intervals.csv (what resampling the test examples found, which needs the answers and is taken as given):
every p from its estimate, standard error and degrees of freedom, the ends of every interval, Holm's corrections over tasks
and over candidates, and the words of every verdict. Prints each difference and exits 1 if there is one. Standard library
alone.
"""

import csv
import html
import itertools
import math
import pathlib
import re
import sys

TIE = 1e-10  # Two scores tie within this share of the larger.
TINY = 0.05  # Delta m leaves out a baseline nearer to 0 than this, or than two of its standard deviations.


def mean(values):
    return sum(values) / len(values)


def deviation(values):
    if len(values) < 2:
        return 0.0
    centre = mean(values)
    return math.sqrt(sum((value - centre) ** 2 for value in values) / (len(values) - 1))


def tied(values):
    """Values with those that tie made equal, to the smallest of them."""
    out, first = list(values), math.nan
    for at in sorted(range(len(values)), key=lambda at: values[at]):
        value = values[at]
        if not (value == first or value - first <= TIE * max(abs(value), abs(first))):
            first = value
        out[at] = first
    return out


def ranks(values):
    """1 for the smallest; equal values share their mean rank."""
    return [sum(v < x for v in values) + (sum(v == x for v in values) + 1) / 2 for x in values]


def beta_fraction(a, b, x):
    """The continued fraction of the incomplete beta function (Lentz)."""
    tiny, c, d = 1e-300, 1.0, 1 - (a + b) * x / (a + 1)
    d = 1 / (d if abs(d) > tiny else tiny)
    found = d
    for m in range(1, 10000):
        for step in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 + step * d
            d = 1 / (d if abs(d) > tiny else tiny)
            c = 1 + step / c
            c = c if abs(c) > tiny else tiny
            found *= d * c
        if abs(d * c - 1) < 1e-15:
            break
    return found


def student_beyond(t, degrees):
    """P(|T| > |t|)."""
    if t == 0:
        return 1.0
    a, b, x = degrees / 2, 0.5, degrees / (degrees + t * t)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    if x < (a + 1) / (a + b + 2):
        return front * beta_fraction(a, b, x) / a
    return 1 - front * beta_fraction(b, a, 1 - x) / b


def holm(p):
    order, out, largest = sorted(range(len(p)), key=lambda at: p[at]), [0.0] * len(p), 0.0
    for place, at in enumerate(order):
        largest = min(1.0, max(largest, p[at] * (len(p) - place)))
        out[at] = largest
    return out


def friedman(blocks):
    """The statistic, and p by all orders of each block's ranks where they are few."""
    doubled = [[round(2 * rank) for rank in ranks([-score for score in tied(block)])] for block in blocks]
    n, k = len(blocks), len(blocks[0])
    sums = [sum(row[at] for row in doubled) for at in range(k)]
    groups = sum(row.count(rank) ** 3 - row.count(rank) for row in doubled for rank in set(row))
    untied = 1 - groups / (n * (k**3 - k))
    if untied <= 0:
        return 0.0, 1.0
    statistic = max(0.0, (12 / (n * k * (k + 1)) * sum((s / 2) ** 2 for s in sums) - 3 * n * (k + 1)) / untied)
    if k > 4 or n > 8 or statistic < 1e-12:
        return statistic, 1.0 if statistic < 1e-12 else None
    reached, states = sum(s * s for s in sums), {tuple([0] * k): 1.0}
    for row in doubled:
        orders, following = set(itertools.permutations(row)), {}
        for state, share in states.items():
            for order in orders:
                key = tuple(a + b for a, b in zip(state, order))
                following[key] = following.get(key, 0) + share / len(orders)
        states = following
    return statistic, sum(share for state, share in states.items() if sum(s * s for s in state) >= reached)


def wilcoxon(differences):
    """The smaller rank sum and p by all patterns of signs."""
    kept = [d for d in differences if d != 0]
    doubled = [round(2 * rank) for rank in ranks(tied([abs(d) for d in kept]))]
    positive = sum(rank for rank, d in zip(doubled, kept) if d > 0)
    reached, patterns = min(positive, sum(doubled) - positive), {0: 1.0}
    for rank in doubled:
        following = {}
        for total, share in patterns.items():
            for key in (total, total + rank):
                following[key] = following.get(key, 0) + share / 2
        patterns = following
    return reached / 2, min(1.0, 2 * sum(share for total, share in patterns.items() if total <= reached))


def rows(path):
    with open(path, encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file))
    for row in found:  # A leading ' keeps spreadsheets from running a cell as a formula.
        row.update({key: cell[1:] for key, cell in row.items() if re.match(r"'[=+\-@\t\r]", cell)})
    return found


def unescaped(cell):
    cell = html.unescape(cell.strip()).replace("**", "")
    return re.sub(r"\\([\\`*_\[\]#|~$@+-])", r"\1", cell)


def tables(text):
    """The tables of a Markdown text by their titles, each a list of rows of cells with its head first."""
    found, title = {}, None
    for line in text.splitlines():
        if line.startswith("#"):
            title = line.lstrip("# ")
        elif line.startswith("|") and not re.fullmatch(r"[|:\- ]+", line):
            found.setdefault(title, []).append([unescaped(c) for c in re.split(r"(?<!\\)\|", line)[1:-1]])
    return found


class Report:
    """What the CSVs of a folder say, and what its report.md shows."""

    def __init__(self, folder):
        self.folder, self.wrong, self.checked = folder, [], 0
        self.text = (folder / "report.md").read_text(encoding="utf-8")
        self.tables = tables(self.text)
        runs, metrics = rows(folder / "report.csv"), rows(folder / "metrics.csv")
        self.intervals = rows(folder / "intervals.csv")
        self.arms = list(dict.fromkeys(row["arm"] for row in runs))
        self.tasks = list(dict.fromkeys(row["task"] for row in runs))
        self.headline = {row["task"]: row["metric"] for row in runs}
        self.role = {row["arm"]: row["role"] for row in runs}
        self.baseline = next(row["arm"] for row in runs if row["baseline"] == "true")
        self.pilot = any(row["pilot"] == "true" for row in runs)
        self.seeds = list(dict.fromkeys(row["seed"] for row in runs))
        self.values, self.lower = {}, set()
        for row in metrics:
            self.values.setdefault((row["arm"], row["task"], row["metric"]), {})[row["seed"]] = float(row["value"])
            if row["lower_is_better"] == "true":
                self.lower.add(row["metric"])
        for row in runs:  # Both files tell the same headline scores.
            own = self.values.get((row["arm"], row["task"], row["metric"]), {}).get(row["seed"])
            shown = float(row["score"]) if row["score"] else None
            self.same(f"headline score of {row['arm']} on {row['task']}, seed {row['seed']}", own, shown, 1e-12)
        self.finished = {arm: [s for s in self.seeds if any(s in self.scores(arm, t) for t in self.tasks)] for arm in self.arms}
        self.pairs = {arm: [s for s in self.finished[arm] if s in self.finished[self.baseline]] for arm in self.arms}
        self.judged = {arm: [t for t in self.tasks if self.scores(arm, t)] for arm in self.arms}
        self.ranked = [arm for arm in self.arms if arm == self.baseline or self.is_ranked(arm)]
        self.common = [s for s in self.seeds if all(s in self.finished[arm] for arm in self.ranked)]

    def scores(self, arm, task, metric=None):
        return self.values.get((arm, task, metric or self.headline[task]), {})

    def is_ranked(self, arm):
        enough = 2 * len(self.pairs[arm]) >= len(self.finished[self.baseline])
        return self.role[arm] == "candidate" and len(self.judged[arm]) == len(self.tasks) and enough

    def over(self, arm, scores):
        """The scores that an arm's means are over."""
        common = [s for s in self.finished[arm] if s in self.common] or self.finished[arm]
        return [scores[s] for s in common if s in scores]

    def differences(self, arm, task, metric=None):
        sign = -1 if (metric or self.headline[task]) in self.lower else 1
        own, other = self.scores(arm, task, metric), self.scores(self.baseline, task, metric)
        return [sign * (own[s] - other[s]) for s in self.pairs[arm]]

    def same(self, what, found, shown, tolerance):
        self.checked += 1
        if found is None or shown is None:
            if found is not shown:
                self.wrong.append(f"{what}: recomputed {found}, shown {shown}")
        elif not abs(found - shown) <= tolerance + 1e-9 * max(abs(found), abs(shown)):
            self.wrong.append(f"{what}: recomputed {found:.10g}, shown {shown:.10g}")

    def shown(self, what, found, cell):
        """Checks a cell of the report against a number, to the digits that the cell has."""
        cell = cell.split(" ")[0] if not cell.startswith("<") else cell
        self.checked += 1
        if found is None or cell == "–":
            if not (found is None and cell == "–"):
                self.wrong.append(f"{what}: recomputed {found}, shown {cell}")
            return
        if cell.startswith("<"):
            good = found < float(cell[1:])
        else:
            digits = len(cell.partition(".")[2])
            good = abs(found - float(cell)) <= 0.5000001 * 10**-digits + 1e-9
        if not good:
            self.wrong.append(f"{what}: recomputed {found:.10g}, shown {cell}")

    def arm_of(self, cell):
        """The arm that a row of the report is of: the longest name that its first cell starts with."""
        names = sorted((arm for arm in self.arms if cell.startswith(arm)), key=len)
        return names[-1] if names else None

    def table(self, title):
        found = self.tables.get(title, [[]])
        return found[0], [(self.arm_of(row[0]), row) for row in found[1:]]

    def run(self):
        self.check_scores()
        self.check_gains()
        self.check_transfers()
        self.check_tests()
        self.check_contrasts()
        self.check_verdicts()
        return self.wrong

    def check_scores(self):
        _, table = self.table("Scores")
        for arm, row in (entry for entry in table if entry[0]):
            for task, cell in zip(self.tasks, row[1:]):
                scores = self.over(arm, self.scores(arm, task))
                parts = cell.replace("▲", "").replace("▼", "").split("±")
                self.shown(f"mean of {arm} on {task}", mean(scores) if scores else None, parts[0].strip())
                if len(parts) > 1:
                    self.shown(f"deviation of {arm} on {task}", deviation(scores), parts[1].strip())
        head, table = self.table("Every metric")
        for row in (row for _, row in table):
            for arm, cell in zip(head[3:], row[3:]):
                scores = self.over(arm, self.scores(arm, row[0], row[1]))
                self.shown(f"{row[1]} of {arm} on {row[0]}", mean(scores) if scores else None, cell)
        head, table = self.table("Score of every run")
        for arm, row in table:
            for name, cell in zip(head[2:], row[2:]):
                score = self.scores(arm, row[1]).get(name.removeprefix("seed "))
                self.shown(f"score of {arm} on {row[1]}, {name}", score, cell)

    def mean_differences(self, arm):
        return [mean(of_seed) for of_seed in zip(*(self.differences(arm, task) for task in self.judged[arm]))]

    def ratios(self, arm):
        """{task: {metric: gain in percent over the pairs}} of what has a ratio."""
        found = {}
        for task in self.judged[arm]:
            for name, t, metric in self.values:
                base = list(self.scores(self.baseline, t, metric).values()) if (name, t) == (arm, task) else []
                if base and abs(mean(base)) >= max(TINY, 2 * deviation(base)):
                    gain = mean(self.differences(arm, task, metric))
                    found.setdefault(task, {})[metric] = 100 * gain / abs(mean(base))
        return found

    def of(self, arm, of, task=""):
        return next((r for r in self.intervals if (r["arm"], r["of"], r["task"]) == (arm, of, task)), None)

    def check_interval(self, what, row, estimate):
        """An interval's estimate against the scores; its p and ends against its error and degrees."""
        value = {key: float(row[key]) for key in ("estimate", "low", "high", "confidence", "standard_error", "degrees", "p")}
        self.same(f"estimate of {what}", estimate, value["estimate"], 1e-9)
        if value["standard_error"] > 0 and value["estimate"] != 0:
            p = student_beyond(value["estimate"] / value["standard_error"], value["degrees"])
            self.same(f"p of {what}", p, value["p"], 1e-7)
        if value["standard_error"] > 0:
            for end in ("low", "high"):
                outside = student_beyond((value[end] - value["estimate"]) / value["standard_error"], value["degrees"])
                self.same(f"{end} end of {what}", outside, 1 - value["confidence"], 1e-7)
        return value["p"]

    def check_gains(self):
        others = [arm for arm in self.arms if self.of(arm, "gain")]
        p = {arm: self.check_interval(f"gain of {arm}", self.of(arm, "gain"), mean(self.mean_differences(arm))) for arm in others}
        family = [arm for arm in others if self.role[arm] == "candidate"]
        corrected = dict(p) | dict(zip(family, holm([p[arm] for arm in family])))
        head, table = self.table("Gain over the baseline")
        column = {name: at for at, name in reversed(list(enumerate(head)))}
        blocks = [[mean(self.over(arm, self.scores(arm, task))) for arm in self.ranked] for task in self.tasks]
        rank = {}
        if len(self.ranked) > 1 and len(self.tasks) > 1 and self.common:
            of_tasks = [ranks([-score for score in tied(block)]) for block in blocks]
            rank = {arm: mean([block[at] for block in of_tasks]) for at, arm in enumerate(self.ranked)}
        for arm, row in table:
            self.shown(f"mean rank of {arm}", rank.get(arm), row[column["mean rank"]])
            if arm not in p:
                continue
            self.same(f"corrected p of {arm}", corrected[arm], float(self.of(arm, "gain")["corrected_p"]), 1e-9)
            ratios = self.ratios(arm)
            headline = [ratios[t][self.headline[t]] for t in ratios if self.headline[t] in ratios[t]]
            per_task = [mean(list(metrics.values())) for metrics in ratios.values()]
            per_metric = [gain for metrics in ratios.values() for gain in metrics.values()]
            differences = self.mean_differences(arm)
            equal = len(set(tied(differences))) == 1 and differences[0] != 0
            for name, found in {
                "pairs of seeds": len(self.pairs[arm]),
                "gain": mean(differences),
                "p": p[arm],
                "p, Holm": corrected[arm] if arm in family else None,
                "Δm headline, %": mean(headline) if headline else None,
                "Δm per task, %": mean(per_task) if per_task else None,
                "Δm per metric, %": mean(per_metric) if per_metric else None,
                "d_z": None if equal or len(differences) < 2 else effect(differences),
            }.items():
                self.shown(f"{name} of {arm}", found, row[column[name]])

    def check_transfers(self):
        _, table = self.table("Transfer to each task")
        for arm in self.arms:
            tasks = [task for task in self.tasks if self.of(arm, "task", task)]
            p = []
            for task in tasks:
                row = self.of(arm, "task", task)
                p.append(self.check_interval(f"gain of {arm} on {task}", row, mean(self.differences(arm, task))))
            for task, corrected in zip(tasks, holm(p)):
                row = self.of(arm, "task", task)
                self.same(f"corrected p of {arm} on {task}", corrected, float(row["corrected_p"]), 1e-9)
                cells = next((r for a, r in table if a == arm and r[1] == task), None)
                if cells is None:
                    self.wrong.append(f"no row for {arm} on {task}")
                    continue
                for what, found, cell in (("gain", float(row["estimate"]), cells[3]), ("p", float(row["p"]), cells[5])):
                    self.shown(f"{what} of {arm} on {task}", found, cell)
                self.shown(f"p, Holm of {arm} on {task}", corrected, cells[6])

    def check_contrasts(self):
        for row in (r for r in self.intervals if r["of"] == "contrast"):
            arm, other = row["arm"], row["against"]
            tasks = [task for task in self.judged[arm] if task in self.judged[other]]
            seeds = [seed for seed in self.finished[arm] if seed in self.finished[other]]
            gains = [mean([self.scores(arm, t)[s] - self.scores(other, t)[s] for t in tasks]) for s in seeds]
            self.check_interval(f"difference of {arm} from {other}", row, mean(gains))

    def check_tests(self):
        _, table = self.table("Tests")
        for arm, row in table:
            what = f"{row[1]} of {row[0]}"
            if row[1].startswith("Friedman"):
                blocks = [[mean(self.over(a, self.scores(a, task))) for a in self.ranked] for task in self.tasks]
                statistic, p = friedman(blocks)
                self.shown(f"statistic of {what}", statistic, row[2])
                if p is not None and "exact" in row[1]:
                    self.shown(f"p of {what}", p, row[5])
            elif arm in self.judged and row[1] in ("paired t", "Wilcoxon signed-rank, exact"):
                differences = self.mean_differences(arm)
                differences = [0.0 if abs(d) <= 1e-12 else d for d in differences]
                if row[1] == "paired t":
                    equal = len(set(tied(differences))) == 1
                    t = mean(differences) / (deviation(differences) / math.sqrt(len(differences))) if not equal else 0.0
                    p = student_beyond(t, len(differences) - 1)
                    nothing = equal and differences[0] != 0
                    statistic, p = (None, None) if nothing else (t, p)
                else:
                    statistic, p = wilcoxon(differences)
                self.shown(f"statistic of {what}", statistic, row[2])
                self.shown(f"p of {what}", p, row[5])

    def check_verdicts(self):
        said = dict(re.findall(r"^- \*\*((?:\\.|[^\\*])+)\*\*.*?: \*\*(.+?)\.\*\*$", self.text, re.MULTILINE))
        said = {unescaped(arm): unescaped(words) for arm, words in said.items()}
        for arm in self.arms:
            row = self.of(arm, "gain")
            words = said.get(arm, "")
            if row is None or self.pilot or words.startswith("Pilot"):
                continue
            self.checked += 1
            found = float(row["corrected_p"]) <= float(row["level"])
            expected = "Not told apart"
            if found:
                expected = "Better than" if float(row["estimate"]) > 0 else "Worse than"
            if not words.startswith(expected):
                self.wrong.append(f"verdict on {arm}: recomputed “{expected} …”, shown “{words}”")


def effect(differences):
    spread = deviation(differences)
    return mean(differences) / spread if spread else 0.0


def main(arguments):
    here = pathlib.Path(__file__).parent
    folders = [pathlib.Path(name) for name in arguments] or sorted(path.parent for path in here.glob("*/metrics.csv"))
    wrong = False
    for folder in folders:
        report = Report(folder)
        differences = report.run()
        for line in differences:
            print(f"{folder}: {line}")
        print(f"{folder}: {report.checked} numbers recomputed, {len(differences)} differ")
        wrong = wrong or bool(differences)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
