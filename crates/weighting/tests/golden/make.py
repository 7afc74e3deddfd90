"""Makes `definitions.json`: what each rule should answer, straight from its definition, by numpy and scipy.

Independent of the Rust code in method as well as in language: quadratic programmes are solved by enumerating supports,
equations by scipy's minimizer, CAGrad by SLSQP on its primal.

    pip install numpy scipy==1.17.1
    python3 make.py
"""

import itertools
import json
import pathlib

import numpy as np
from scipy.optimize import minimize

RNG = np.random.default_rng(20261123)


def matrices():
    """Task gradients, one row a task."""
    yield "wide", RNG.normal(size=(3, 11))
    conflicting = RNG.normal(size=(4, 9))
    conflicting[1] = -0.8 * conflicting[0] + 0.3 * conflicting[1]
    yield "conflicting", conflicting
    yield "scaled", RNG.normal(size=(4, 20)) * np.array([[1e-3], [1.0], [40.0], [7e2]])
    yield "correlated", RNG.normal(size=(1, 30)) + 0.4 * RNG.normal(size=(5, 30))


def supports(k):
    for size in range(1, k + 1):
        yield from itertools.combinations(range(k), size)


def min_norm(g):
    """argmin wᵀGw on the simplex: over every support the affine minimiser, the best that is feasible."""
    best = None
    for s in map(list, supports(len(g))):
        x = np.linalg.solve(g[np.ix_(s, s)], np.ones(len(s)))
        w = np.zeros(len(g))
        w[s] = x / x.sum()
        if (w >= 0).all() and (best is None or w @ g @ w < best @ g @ best):
            best = w
    return best


def dual_cone(g, u):
    """argmin vᵀGv with v ≥ u: every set of free coordinates, the best that is feasible."""
    best = u.copy()
    for s in map(list, supports(len(g))):
        rest = [i for i in range(len(g)) if i not in s]
        v = u.copy()
        v[s] = -np.linalg.solve(g[np.ix_(s, s)], g[np.ix_(s, rest)] @ u[rest])
        if (v >= u - 1e-15).all() and v @ g @ v < best @ g @ best:
            best = v
    return best


def fair(g, a):
    """(Gw)ᵢ = wᵢ^(−1/a), the stationary point of a convex potential; scipy's minimizer, then Newton steps for the digits."""
    unit = np.diag(g) ** (-1 / (1 + 1 / a))
    g0, p = g * np.outer(unit, unit), 1 / a
    scale = unit ** (1 - p)
    power = lambda w: np.log(w) if a == 1 else w ** (1 - p) / (1 - p)
    value = lambda w: w @ g0 @ w / 2 - (scale * power(w)).sum()
    slope = lambda w: g0 @ w - scale * w**-p
    w = minimize(value, np.ones(len(g)), jac=slope, method="L-BFGS-B", bounds=[(1e-9, None)] * len(g),
                 options=dict(ftol=1e-16, gtol=1e-13, maxiter=10000)).x
    for _ in range(5):
        w = w - np.linalg.solve(g0 + np.diag(p * scale * w ** (-p - 1)), slope(w))
    w = unit * w
    assert np.abs(w ** (1 / a) * (g @ w) - 1).max() < 1e-9
    return w


def cagrad(j, c):
    """max minᵢ ⟨gᵢ, d⟩ in the ball around the mean, through its dual on the simplex; SLSQP, then polished."""
    g, k = j @ j.T, len(j)
    unit = np.trace(g) / k
    g = g / unit
    h, radius = g.mean(1), c * np.sqrt(g.mean())
    value = lambda w: w @ h + radius * np.sqrt(w @ g @ w)
    slope = lambda w: h + radius * g @ w / np.sqrt(w @ g @ w)
    best = min(
        (
            minimize(value, start, jac=slope, bounds=[(0, 1)] * k, method="SLSQP", options=dict(ftol=1e-16, maxiter=2000),
                     constraints=[dict(type="eq", fun=lambda w: w.sum() - 1, jac=lambda w: np.ones(k))])
            for start in [np.ones(k) / k, *np.eye(k) * 0.9 + 0.1 / k]
        ),
        key=lambda result: result.fun,
    ).x
    return 1 / k + radius * best / np.sqrt(best @ g @ best)


def definitions(j):
    g, k = j @ j.T, len(j)
    norms = np.sqrt(np.diag(g))
    yield "equal", {}, np.ones(k), 1e-12
    yield "mean", {}, np.ones(k) / k, 1e-12
    yield "nash", {"max_norm": 0.0}, fair(g, 1.0), 1e-8
    alpha = fair(g, 1.0)
    yield "nash", {"max_norm": 1.0}, alpha / np.sqrt(alpha @ g @ alpha), 1e-8
    for a in (0.5, 2.0):
        yield "fairgrad", {"alpha": a, "max_norm": 0.0}, fair(g, a), 1e-8
    yield "mgda", {}, min_norm(g), 1e-9
    yield "dualproj", {}, dual_cone(g, np.ones(k) / k), 1e-9
    yield "upgrad", {}, sum(dual_cone(g, e / k) for e in np.eye(k)), 1e-9
    for c in (0.3, 0.8):
        yield "cagrad", {"c": c, "rescale": "none"}, cagrad(j, c), 2e-5
    yield "cagrad", {"c": 0.5, "rescale": "square"}, cagrad(j, 0.5) / 1.25, 2e-5
    yield "cagrad", {"c": 0.5, "rescale": "linear"}, cagrad(j, 0.5) / 1.5, 2e-5
    v = np.linalg.solve(g, norms)
    yield "imtl-g", {}, v / v.sum(), 1e-8
    values, vectors = np.linalg.eigh(g)
    for scale, square in (("min", values[0]), ("median", np.sort(values)[(k - 1) // 2]), ("rmse", values.mean())):
        root_inverse = vectors @ np.diag(np.sqrt(square / values)) @ vectors.T
        for name, p in (("mean", 1 / k), ("sum", 1.0)):
            yield "aligned-mtl", {"scale": scale, "preference": name}, root_inverse @ np.full(k, p), 1e-8
    u = np.linalg.pinv(j / norms[:, None]) @ np.ones(k)
    u /= np.linalg.norm(u)
    yield "config", {}, (j @ u).sum() * u, 1e-8


def gradnorm(j, steps):
    """GradNorm as its paper's algorithm 1 with Adam, from the first step's losses."""
    alpha, rate = 1.5, 0.025
    w, m, v = np.ones(len(j)), np.zeros(len(j)), np.zeros(len(j))
    first = None
    for t, losses in enumerate(steps, 1):
        yield w.copy()
        first = losses if first is None else first
        norms = np.linalg.norm(j, axis=1)
        ratio = losses / first
        target = (w * norms).mean() * (ratio / ratio.mean()) ** alpha
        slope = np.sign(w * norms - target) * norms
        m, v = 0.9 * m + 0.1 * slope, 0.999 * v + 0.001 * slope**2
        w = w - rate * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        w = np.maximum(w, 1e-4)
        w *= len(w) / w.sum()


def moco(js, losses, beta=0.5, gamma=0.1):
    y, lam = np.zeros_like(js[0]), np.ones(len(js[0])) / len(js[0])
    for t, (j, loss) in enumerate(zip(js, losses), 1):
        unit = j / (np.linalg.norm(j, axis=1, keepdims=True) + 1e-8) * loss[:, None]
        y = y - beta / t**0.5 * (y - unit)
        z = lam - gamma / t**0.5 * (y @ y.T @ lam)
        lam = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
        yield lam @ y


def db_mtl(js, losses, beta=0.9):
    h = np.zeros_like(js[0])
    for j, loss in zip(js, losses):
        fresh = j / (loss + 1e-8)[:, None]
        h = fresh + beta * (h - fresh)
        norms = np.linalg.norm(h, axis=1)
        yield (norms.max() / norms) @ h


def main():
    cases = []
    for name, j in matrices():
        for rule, params, answer, tolerance in definitions(j):
            key = "direction" if rule == "config" else "weights"
            step = {"draws": [j.tolist()], key: answer.tolist()}
            cases.append({"rule": rule, "params": params, "matrix": name, "tolerance": tolerance, "steps": [step]})
    losses = np.abs(RNG.normal(size=(8, 3))) + 0.1
    js = RNG.normal(size=(8, 3, 10)) * np.array([1.0, 5.0, 0.2])[:, None]
    norms = [{"draws": [js[0].tolist()], "losses": l.tolist(), "weights": w.tolist()}
             for l, w in zip(losses, gradnorm(js[0], losses))]
    cases.append({"rule": "gradnorm", "params": {}, "matrix": "steps", "tolerance": 1e-9, "steps": norms})
    for rule, made in (("moco", moco(js, losses)), ("db-mtl", db_mtl(js, losses))):
        steps = [{"draws": [j.tolist()], "losses": l.tolist(), "direction": d.tolist()}
                 for j, l, d in zip(js, losses, made)]
        # The rule keeps its buffer in f32.
        cases.append({"rule": rule, "params": {}, "matrix": "steps", "tolerance": 1e-6, "steps": steps})
    about = "made by make.py: what each rule's definition gives, by numpy and scipy"
    text = json.dumps({"about": about, "cases": cases})
    pathlib.Path(__file__).with_name("definitions.json").write_text(text.replace('{"rule"', '\n{"rule"') + "\n")


main()
