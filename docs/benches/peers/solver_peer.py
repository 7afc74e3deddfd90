#!/usr/bin/env python3
"""Nash bargaining weights by three programs on the same Gram matrices, in alternation.

    python3 -m venv venv && venv/bin/pip install numpy cvxpy ecos torchjd
    cargo build --release --package xtask
    venv/bin/python docs/benches/peers/solver_peer.py --binary target/release/xtask

Programs
  mtl       `xtask bench solver --grams FILE --json`: the time of one solve is taken inside the program
  ccp       Nash-MTL's convex-concave procedure with cvxpy and ECOS, written here after the paper's section 3.2 and the
            authors' settings: G over its Frobenius norm, 20 rounds at the most, stop when the weights move less than
            1e-6, keep the last weights where ECOS fails
  ccp-dpp   the same, with the program arranged so that cvxpy compiles it once instead of in every round
  torchjd   torchjd.aggregation.NashMTL(max_norm=0)

Every program sees matrix 1, then every program matrix 2, and so on. The Python problems are built and used once before
the clock starts, and each matrix is started from equal weights; the clock counts the processor time of their thread
alone, so that a busy machine does not count against them, where mtl's counts the wall. "off" is the largest deviation of a_i (G a)_i from
their mean, relative to it: zero for the bargaining solution whatever its length. "lost": an exception, a weight that is
not positive and finite, or the starting weights handed back.
"""

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
import warnings

import numpy as np

warnings.filterwarnings("ignore")


def jacobian(kind, tasks, draw):
    rows = draw.standard_normal((tasks, 4 * tasks + 16))
    if kind == "scaled":
        rows *= 10.0 ** draw.uniform(-3, 3, (tasks, 1))
    elif kind == "collinear":
        rows = draw.standard_normal((1, rows.shape[1])) + 1e-3 * rows
    elif kind == "conflicting":
        for i in range(1, tasks, 2):
            rows[i] = 1e-2 * rows[i] - rows[i - 1]
    elif kind == "unit":  # easy, with a Gram matrix of Frobenius norm 1
        return rows / np.sqrt(np.linalg.norm(rows @ rows.T))
    return rows / np.sqrt(rows.shape[1])  # norms near 1 where nothing else is asked for


class Bargaining:
    """Minimise sum(G a) + <gradient of the log terms at the last a, a>, subject to log a_i + log (G a)_i >= 0."""

    def __init__(self, tasks, once):
        import cvxpy as cp

        self.cp, self.tasks, self.once = cp, tasks, once
        self.weights = cp.Variable(tasks, nonneg=True)
        self.gram = cp.Parameter((tasks, tasks))
        self.norm = cp.Parameter(nonneg=True)
        self.slope = cp.Parameter(tasks)
        self.last = cp.Parameter(tasks)
        gains = self.gram @ self.weights
        if once:  # the slope comes divided by the norm, and the constant is left out
            linear = self.slope @ self.weights
        else:
            linear = self.slope @ (self.weights - self.last) / self.norm
        agreed = [-cp.log(self.norm * self.weights[i]) - cp.log(gains[i]) <= 0 for i in range(tasks)]
        self.problem = cp.Problem(cp.Minimize(cp.sum(gains) + linear), agreed)

    def solve(self, rows):
        gram = rows @ rows.T
        norm = float(np.linalg.norm(gram))
        gram /= norm
        self.gram.value, self.norm.value = gram, norm
        last = np.ones(self.tasks)
        for _ in range(20):
            slope = 1 / last + gram @ (1 / (gram @ last))
            self.slope.value, self.last.value = slope / norm if self.once else slope, last
            try:
                self.problem.solve(solver=self.cp.ECOS, warm_start=True, max_iters=100)
                weights = np.array(self.weights.value, dtype=float)
            except Exception:
                weights = last
            if np.linalg.norm(weights - last) < 1e-6:
                break
            last = weights
        return last


class TorchJD:
    def __init__(self, tasks):
        import torch
        from torchjd.aggregation import NashMTL

        self.torch, self.tasks = torch, tasks
        self.weighting = NashMTL(n_tasks=tasks, max_norm=0.0).weighting

    def solve(self, rows):
        self.weighting.prvs_alpha = np.ones(self.tasks)  # reset() would build the problem anew
        return self.weighting(self.torch.from_numpy(rows)).detach().numpy().astype(float)


def ours(binary, kind, rows):
    with tempfile.NamedTemporaryFile("w", suffix=".json", delete=False) as file:
        json.dump([{"class": kind, "gram": (rows @ rows.T).tolist()}], file)
    try:
        command = [binary, "bench", "solver", "--grams", file.name, "--json"]
        cell = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)[0]
    finally:
        os.unlink(file.name)
    return cell


def deviation(rows, weights):
    products = weights * (rows @ (rows.T @ weights))
    return float(np.abs(products / products.mean() - 1).max())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True, help="the built xtask")
    parser.add_argument("--tasks", default="2,3,8,16,64")
    parser.add_argument("--classes", default="unit,easy,scaled,collinear,conflicting")
    parser.add_argument("--matrices", type=int, default=5)
    parser.add_argument("--programs", default="ccp,ccp-dpp,torchjd")
    chosen = parser.parse_args()
    make = {
        "ccp": lambda tasks: Bargaining(tasks, once=False),
        "ccp-dpp": lambda tasks: Bargaining(tasks, once=True),
        "torchjd": TorchJD,
    }
    print("| class | K | program | median | off, worst | lost | mtl is faster by |\n|---|---|---|---|---|---|---|")
    for kind in chosen.classes.split(","):
        for tasks in map(int, chosen.tasks.split(",")):
            draw = np.random.default_rng([tasks, len(kind)])
            problems = [jacobian(kind, tasks, draw) for _ in range(chosen.matrices)]
            peers = {name: make[name](tasks) for name in chosen.programs.split(",")}
            for peer in peers.values():
                try:
                    peer.solve(jacobian("easy", tasks, draw))
                except Exception:
                    pass
            times, off, lost = {name: [] for name in ["mtl", *peers]}, {}, {}
            for rows in problems:
                cell = ours(chosen.binary, kind, rows)
                times["mtl"].append(cell["median_us"])
                off["mtl"] = max(off.get("mtl", 0.0), cell["residual"])
                lost["mtl"] = lost.get("mtl", 0) + (cell["statuses"] != {"agreed": 1})
                for name, peer in peers.items():
                    start = time.thread_time()
                    try:
                        weights = peer.solve(rows)
                    except Exception:
                        weights = np.full(tasks, np.nan)
                    times[name].append((time.thread_time() - start) * 1e6)
                    sound = np.all(np.isfinite(weights)) and np.all(weights > 0) and not np.all(weights == 1)
                    lost[name] = lost.get(name, 0) + (not sound)
                    if sound:
                        off[name] = max(off.get(name, 0.0), deviation(rows, weights))
            base = statistics.median(times["mtl"])
            for name, taken in times.items():
                middle = statistics.median(taken)
                shown = f"{middle:.2f} µs" if name == "mtl" else f"{middle / 1e3:.1f} ms"
                worst = f"{off[name]:.0e}" if name in off else "–"
                ratio = "" if name == "mtl" else f"{middle / base:,.0f}×"
                print(f"| {kind} | {tasks} | {name} | {shown} | {worst} | {lost[name]}/{len(problems)} | {ratio} |", flush=True)


if __name__ == "__main__":
    main()
