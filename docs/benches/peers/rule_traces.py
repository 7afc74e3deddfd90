"""Scripted traces of weighting rules by TorchJD, the oracle of crates/weighting/tests/golden/torchjd.json.

    python3 -m venv venv && venv/bin/pip install torch torchjd numpy
    venv/bin/python docs/benches/peers/rule_traces.py > crates/weighting/tests/golden/torchjd.json

Every case is a rule, its settings in this project's names, and steps: losses or gradients in, weights or a direction out,
the rule's state carried from step to step. All in f64.
"""

import importlib.metadata
import json

import numpy as np
import torch
from torchjd.aggregation import (
    IMTLG, AlignedMTL, ConFIG, ExcessMTLWeighting, GradVacWeighting, Krum, MoDoWeighting, PCGrad, SDMGradWeighting, TrimmedMean,
)
from torchjd.scalarization import DWA, FAMO, IMTLL, STCH, UW, GeometricMean

torch.set_default_dtype(torch.float64)
RNG = np.random.default_rng(7)
SOURCE = f"torchjd {importlib.metadata.version('torchjd')}"


def losses(steps, tasks):
    fall = 1 / (1 + 0.1 * np.arange(steps))[:, None]
    return (0.2 + np.abs(RNG.normal(size=tasks))) * fall * (1 + 0.05 * RNG.normal(size=(steps, tasks)))


def weights_of(scalarize, values):
    """The gradient of a scalarization: what it multiplies each task's gradient with."""
    values = torch.tensor(values, requires_grad=True)
    scalarize(values).backward()
    return values.grad.tolist()


def learned(module, rate, steps):
    """A rule with own parameters, trained by Adam on the value it returns."""
    optimizer = torch.optim.Adam(module.parameters(), lr=rate)
    for values in steps:
        leaf = torch.tensor(values, requires_grad=True)
        optimizer.zero_grad()
        module(leaf).backward()
        yield {"losses": values.tolist(), "weights": leaf.grad.tolist()}
        optimizer.step()


def famo(rate, decay, steps):
    rule = FAMO(steps.shape[1], lr=rate, weight_decay=decay)
    for values in steps:
        after = values * (1 - 0.1 * RNG.random(len(values)))
        weights = weights_of(rule, values)
        rule.update(torch.tensor(after))
        yield {"losses": values.tolist(), "weights": weights, "losses_after": after.tolist()}


def main():
    cases = []

    def add(rule, params, steps, tolerance=1e-9):
        cases.append({"rule": rule, "params": params, "tolerance": tolerance, "steps": list(steps), "source": SOURCE})

    add("uncertainty", {"rate": 0.025, "clamp": 50.0}, learned(UW(3), 0.025, losses(30, 3)))
    add("uncertainty", {"rate": 0.1, "clamp": 50.0}, learned(UW(4), 0.1, losses(30, 4)))
    add("imtl-l", {"rate": 0.05, "clamp": 50.0}, learned(IMTLL(3), 0.05, losses(30, 3)))
    add("gls", {}, ({"losses": l.tolist(), "weights": weights_of(GeometricMean(), l)} for l in losses(4, 5)))
    for mu in (0.05, 2.0):
        add("stch", {"mu": mu, "warmup": 0}, ({"losses": l.tolist(), "weights": weights_of(STCH(mu), l)} for l in losses(4, 4)))

    for beta in (0.5, 0.1):
        rule, steps = GradVacWeighting(beta=beta, eps=0.0), []
        for _ in range(6):
            j = torch.tensor(RNG.normal(size=(2, 6)))
            steps.append({"draws": [j.tolist()], "weights": rule(j @ j.T).tolist()})
        add("gradvac", {"beta": beta}, steps)

    # The weights apply to draw 0; these rules see the inner products of draws 1 and 2.
    three = lambda tasks: [torch.tensor(RNG.normal(size=(tasks, 12))) for _ in range(3)]
    for name, params, rule in (
        ("modo", {"gamma": 0.1, "rho": 0.1}, MoDoWeighting(0.1, 0.1)),
        ("modo", {"gamma": 0.02, "rho": 0.5}, MoDoWeighting(0.02, 0.5)),
        ("sdmgrad", {"rate": 10.0, "momentum": 0.5, "iterations": 20, "lambda": 0.3}, SDMGradWeighting()),
        ("sdmgrad", {"rate": 5.0, "momentum": 0.5, "iterations": 7, "lambda": 0.6}, SDMGradWeighting(5.0, 0.5, 7, 0.6)),
    ):
        steps = []
        for _ in range(6):
            draws = three(3)
            shared = draws[0]
            # Draws of one gradient: mostly signal, some noise.
            draws = [shared + 0.3 * d for d in draws]
            steps.append({"draws": [d.tolist() for d in draws], "weights": rule(draws[1] @ draws[2].T).tolist()})
        add(name, params, steps)

    for rate, warmup in ((0.5, 1), (0.05, 3)):
        rule, steps = ExcessMTLWeighting(rate, warmup), []
        for _ in range(8):
            j = torch.tensor(RNG.normal(size=(3, 9)))
            # TorchJD's weights sum to 1, ours to the number of tasks.
            steps.append({"draws": [j.tolist()], "weights": (3 * rule(j)).tolist()})
        add("excess-mtl", {"rate": rate, "warmup": warmup}, steps, 1e-6)

    plain = (
        ("krum", {"byzantine": 1, "selected": 2}, Krum(1, 2), 5),
        ("trimmed-mean", {"trim": 2}, TrimmedMean(2), 6),
        ("imtl-g", {}, IMTLG(), 4),
        ("config", {}, ConFIG(), 4),
        ("pcgrad", {}, PCGrad(), 2),
        ("aligned-mtl", {"scale": "min"}, AlignedMTL(scale_mode="min"), 4),
        ("aligned-mtl", {"scale": "median"}, AlignedMTL(scale_mode="median"), 4),
        ("aligned-mtl", {"scale": "rmse"}, AlignedMTL(scale_mode="rmse"), 5),
    )
    for name, params, rule, tasks in plain:
        for _ in range(2):
            j = torch.tensor(RNG.normal(size=(tasks, 15)))
            add(name, params, [{"draws": [j.tolist()], "direction": rule(j).tolist()}], 1e-6)

    for window, temperature in ((3, 2.0), (2, 0.7)):
        rule, steps = DWA(temperature), []
        for step, values in enumerate(losses(10, 3)):
            steps.append({"losses": values.tolist(), "weights": weights_of(rule, values)})
            if (step + 1) % window == 0:
                rule.step()
        add("dwa", {"window": window, "temperature": temperature}, steps)
    for rate, decay in ((0.025, 1e-3), (0.2, 0.0)):
        add("famo", {"rate": rate, "decay": decay}, famo(rate, decay, losses(15, 4)), 1e-7)

    text = json.dumps({"about": f"made by rule_traces.py with {SOURCE}", "cases": cases})
    print(text.replace('{"rule"', '\n{"rule"'))


main()
