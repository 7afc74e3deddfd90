"""Makes `conflicts.json`: directions where gradients conflict, repeat, vanish or leave no direction that serves all.

Each problem is put to cvxpy as its paper writes it, over the direction itself, not over weights, and solved by Clarabel.
    python -m venv venv && venv/bin/pip install cvxpy==1.9.3 clarabel==0.11.1
    venv/bin/python conflicts.py
"""

import json
import pathlib

import cvxpy as cp
import numpy as np

RNG = np.random.default_rng(20261126)
PRECISE = dict(solver=cp.CLARABEL, tol_gap_abs=1e-11, tol_gap_rel=1e-11, tol_feas=1e-11)


def matrices():
    """Task gradients, one row a task, and what is special about them."""
    for _ in range(6):
        yield "more tasks than columns", RNG.normal(size=(6, 3))
    for _ in range(6):
        rows = RNG.normal(size=(4, 7))
        rows[1] = -RNG.uniform(0.3, 3) * rows[0]
        yield "an opposite pair", rows
    for _ in range(6):
        rows = RNG.normal(size=(4, 3))
        rows[1] = -RNG.uniform(0.3, 3) * rows[0]
        yield "an opposite pair in three dimensions", rows
    for _ in range(6):
        rows = RNG.normal(size=(4, 6))
        rows[3] = -(RNG.uniform(0.2, 2, size=3) @ rows[:3])
        yield "in balance", rows
    for _ in range(4):
        rows = RNG.normal(size=(5, 6))
        rows[4] = rows[2]
        rows[3] = -(RNG.uniform(0.2, 2, size=2) @ rows[:2])
        yield "three in balance and a duplicate", rows
    for _ in range(4):
        rows = RNG.normal(size=(5, 8)) * np.array([[1e-2], [1.0], [30.0], [1.0], [4.0]])
        rows[1] = -0.9 * rows[0] / 1e-2 + 0.1 * rows[1]
        yield "nearly opposite, scaled", rows


def cagrad(j, c):
    """max minᵢ ⟨gᵢ, d⟩ with ‖d − g₀‖ ≤ c‖g₀‖; of many that reach 0 the nearest to g₀. None where the optimum is flat."""
    centre = j.mean(0)
    unit = np.linalg.norm(centre)
    j1, c1 = j / unit, centre / unit
    d, t = cp.Variable(j.shape[1]), cp.Variable()
    cp.Problem(cp.Maximize(t), [j1 @ d >= t, cp.norm(d - c1) <= c]).solve(**PRECISE)
    smallest = np.linalg.norm(j1, axis=1).min()
    if abs(t.value) > 1e-3 * smallest:
        return unit * d.value
    if abs(t.value) > 1e-7 * smallest:
        return None
    near = cp.Variable(j.shape[1])
    problem = cp.Problem(cp.Minimize(cp.sum_squares(near - c1)), [j1 @ near >= 0])
    problem.solve(**PRECISE)
    away = np.sqrt(problem.value)
    return unit * near.value if away < c - 1e-4 else None


def projected(j, centre):
    """The nearest direction to `centre` that conflicts with no task."""
    unit = np.linalg.norm(centre)
    d = cp.Variable(j.shape[1])
    scale = np.linalg.norm(j, axis=1, keepdims=True)
    cp.Problem(cp.Minimize(cp.sum_squares(d - centre / unit)), [(j / scale) @ d >= 0]).solve(**PRECISE)
    return unit * d.value


def min_norm(j):
    w = cp.Variable(len(j))
    unit = np.abs(j).max()
    cp.Problem(cp.Minimize(cp.sum_squares((j / unit).T @ w)), [w >= 0, cp.sum(w) == 1]).solve(**PRECISE)
    return j.T @ w.value


def answers(j):
    for c in (0.1, 0.4, 0.8):
        yield "cagrad", {"c": c, "rescale": "none"}, cagrad(j, c)
    yield "dualproj", {}, projected(j, j.mean(0))
    yield "upgrad", {}, sum(projected(j, row) for row in j) / len(j)
    yield "mgda", {}, min_norm(j)


cases = []
for name, j in matrices():
    for rule, params, direction in answers(j):
        if direction is None:
            continue
        # What the interior point leaves of a direction, in lengths of the longest gradient.
        scale = np.linalg.norm(j, axis=1).max()
        step = {"draws": [j.tolist()], "direction": direction.tolist(), "scale": scale}
        cases.append({"rule": rule, "params": params, "matrix": name, "tolerance": 2e-5, "steps": [step]})
about = "made by conflicts.py: directions by cvxpy and Clarabel where gradients conflict"
text = json.dumps({"about": about, "cases": cases})
pathlib.Path(__file__).with_name("conflicts.json").write_text(text.replace('{"rule"', '\n{"rule"') + "\n")
