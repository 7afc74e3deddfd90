#!/usr/bin/env python3
"""Writes cases.rs: Gram matrices, exponents, and the weights with alpha_i^(1/exponent) (G alpha)_i = 1 to sixty digits.

Independent of the crate: multiple precision (mpmath), Newton in the logarithms of the weights on the residual itself,
by continuation from the orthogonal case to the matrix asked for. The matrix is taken as the floats that are written.

    pip install mpmath==1.3.0 && python3 make.py > cases.rs
"""

import random

import mpmath as mp

mp.mp.dps = 60


def gram(rows):
    return [[float(mp.fdot(a, b)) for b in rows] for a in rows]


def newton(matrix, power, log_weights):
    """log (G alpha) + power * log alpha = 0, from a start close enough for the gains to stay positive; else None."""
    size = matrix.rows
    for _ in range(60):
        weights = [mp.exp(x) for x in log_weights]
        gains = matrix * mp.matrix(weights)
        if min(gains) <= 0:
            return None
        miss = mp.matrix([-(mp.log(gains[i]) + power * log_weights[i]) for i in range(size)])
        if mp.norm(miss, mp.inf) < mp.mpf(10) ** -50:
            return weights
        slope = mp.matrix(size, size)
        for i in range(size):
            for j in range(size):
                slope[i, j] = matrix[i, j] * weights[j] / gains[i] + (power if i == j else 0)
        step = mp.lu_solve(slope, miss)
        if mp.norm(step, mp.inf) > 20:
            return None
        log_weights = [x + d for x, d in zip(log_weights, step)]
    return None


def solve(entries, exponent):
    size = len(entries)
    power = 1 / mp.mpf(exponent)
    exact = mp.matrix(entries)
    log_weights = [-mp.log(exact[i, i]) / (1 + power) for i in range(size)]
    done, stride = mp.mpf(0), mp.mpf(1)
    while done < 1:
        share = min(mp.mpf(1), done + stride)
        between = mp.matrix(size, size)
        for i in range(size):
            for j in range(size):
                between[i, j] = exact[i, j] * (1 if i == j else share)
        weights = newton(between, power, log_weights)
        if weights is None:
            stride /= 2
            assert stride > mp.mpf(2) ** -40, "no solution"
            continue
        log_weights, done = [mp.log(w) for w in weights], share
    return [float(w) for w in weights]


def jacobians():
    draw = random.Random(20220202)
    normal = lambda tasks, width: [[draw.gauss(0, 1) for _ in range(width)] for _ in range(tasks)]
    yield "one task", [[3.0, 4.0]]
    yield "orthogonal", [[2.0, 0.0, 0.0], [0.0, 0.5, 0.0], [0.0, 0.0, 7.0]]
    yield "two in conflict", [[1.0, 0.0], [-0.99, 0.1]]
    yield "nearly opposite", [[1.0, 0.0], [-1.0, 0.01]]
    yield "normal 3x7", normal(3, 7)
    yield "normal 5x30", normal(5, 30)
    yield "normal 12x40", normal(12, 40)
    shared = [draw.gauss(0, 1) for _ in range(20)]
    yield "collinear", [[b + 1e-3 * draw.gauss(0, 1) for b in shared] for _ in range(4)]
    twin = normal(2, 9)
    yield "a duplicate", [twin[0], twin[0], twin[1]]
    yield "rank two of four", [[1.0, 0.2], [1.0, -0.7], [0.1, 1.0], [0.9, 0.4]]
    pairs = normal(3, 25)
    yield "conflicting pairs", [r for a in pairs for r in (a, [-x + 0.05 * draw.gauss(0, 1) for x in a])]
    yield "twelve decades", [[x * 10.0**e for x in row] for row, e in zip(normal(4, 16), (-6, -1, 2, 6))]


def main():
    print("//! Written by make.py; not to be edited.\n")
    print("pub(crate) struct Case {\n    pub(crate) name: &'static str,\n    pub(crate) exponent: f64,")
    print("    pub(crate) gram: &'static [&'static [f64]],\n    pub(crate) alpha: &'static [f64],\n}\n")
    print("#[rustfmt::skip]\npub(crate) const CASES: &[Case] = &[")
    for name, rows in jacobians():
        entries = gram(rows)
        matrix = ", ".join("&[" + ", ".join(map(repr, row)) + "]" for row in entries)
        # Off 1 the equation is not scale-invariant: over twelve decades its weights leave every float behind.
        exponents = {"twelve decades": (1.0,), "nearly opposite": (1.0, 0.5, 2.0), "conflicting pairs": (1.0, 0.5, 2.0)}
        for exponent in exponents.get(name, (1.0, 0.2, 0.5, 2.0, 5.0, 10.0)):
            alpha = ", ".join(map(repr, solve(entries, exponent)))
            print(f'    Case {{ name: "{name}", exponent: {exponent!r}, gram: &[{matrix}], alpha: &[{alpha}] }},')
    print("];")


if __name__ == "__main__":
    main()
