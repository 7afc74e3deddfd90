#!/usr/bin/env python3
"""The training step in PyTorch: the peer that this project's step is timed against.

    torch_peer.py gen --batches FILE                        write the batches and heads that every peer uses
    torch_peer.py serve --model DIR --batches FILE          answer lines "CASE MODE N" on stdin, see README.md
    torch_peer.py run --model DIR --batches FILE --case f64 --mode ew -n 5

A step is three tasks of 16 texts each: forward, loss and backward per task, one AdamW update of everything.

CASE   ragged (8 to 64 tokens, padded to the longest), f64 (16 × 64), f128 (16 × 128), g128 (32 × 128, for a GPU)
MODE   forward    three forwards, nothing else
       ew         one backward of the three losses' sum
       ewacc      three backwards, one after the other: the same gradient in less memory
       nash_flat  Nash-MTL as a careful PyTorch user writes it: each backward accumulates straight into its row of one
                  flat buffer, one product makes the Gram matrix, exact Newton solves it, one pass recombines the rows
       nash       Nash-MTL by torchjd (mtl_backward, one gradient at a time, which is its faster setting here)
       and, appended: +bf16 autocast, +tf32 (CUDA), +compile
"""
import argparse
import json
import resource
import sys
import time
from pathlib import Path

import numpy as np

TASKS, CLASSES, HIDDEN = 3, (2, 3, 5), 384
SETS = 4
RATE, DECAY, DROPOUT, MAX_NORM = 2e-5, 0.01, 0.1, 1.0


# -- batches ---------------------------------------------------------------------------------------------------------

def generate(path, seed=7):
    """The recipe is part of the protocol: draws in this order from numpy's default generator."""
    from safetensors.numpy import save_file
    tensors = {}

    def draw(rng, case, texts, lengths_of):
        for s in range(SETS):
            for t in range(TASKS):
                lengths = lengths_of(rng)
                ids = np.zeros((texts, int(lengths.max())), np.int64)
                for row, length in zip(ids, lengths):
                    row[:length] = rng.integers(1000, 30000, length)
                    row[0], row[length - 1] = 101, 102
                tensors[f"{case}.{s}.{t}.ids"] = ids
                tensors[f"{case}.{s}.{t}.len"] = lengths.astype(np.int64)
                tensors[f"{case}.{s}.{t}.lab"] = rng.integers(0, CLASSES[t], texts).astype(np.int64)

    rng = np.random.default_rng(seed)
    draw(rng, "ragged", 16, lambda rng: rng.integers(8, 65, 16))
    draw(rng, "f64", 16, lambda _: np.full(16, 64))
    draw(rng, "f128", 16, lambda _: np.full(16, 128))
    for t, classes in enumerate(CLASSES):
        tensors[f"head.{t}.w"] = (rng.standard_normal((classes, HIDDEN)) * 0.05).astype(np.float32)
        tensors[f"head.{t}.b"] = np.zeros(classes, np.float32)
    draw(np.random.default_rng(seed + 1), "g128", 32, lambda _: np.full(32, 128))
    save_file(tensors, path)


class Batches:
    def __init__(self, path, device):
        import torch
        from safetensors.torch import load_file
        self.tensors = {name: tensor.to(device) for name, tensor in load_file(path).items()}
        self.masks = {}
        for name in [name for name in self.tensors if name.endswith(".ids")]:
            extent = self.tensors[name].shape[1]
            lengths = self.tensors[name[:-3] + "len"]
            self.masks[name[:-4]] = (torch.arange(extent, device=device)[None] < lengths[:, None]).long()

    def get(self, case, index):
        """Per task of set `index`: ids, mask, labels."""
        keys = [f"{case}.{index % SETS}.{task}" for task in range(TASKS)]
        return [(self.tensors[f"{key}.ids"], self.masks[key], self.tensors[f"{key}.lab"]) for key in keys]

    def head(self, task):
        return self.tensors[f"head.{task}.w"], self.tensors[f"head.{task}.b"]


# -- the bargain -----------------------------------------------------------------------------------------------------

def bargain(gram):
    """α > 0 with αᵢ(Gα)ᵢ = 1, by damped Newton on the diagonally scaled Gram matrix in double precision."""
    gram = np.asarray(gram, np.float64)
    lengths = np.sqrt(np.diag(gram))
    cosines = gram / np.outer(lengths, lengths)
    beta = np.full(len(lengths), np.sqrt(len(lengths) / max(cosines.sum(), 1e-12)))
    for _ in range(100):
        slope = cosines @ beta - 1 / beta
        if np.abs(beta * slope).max() < 1e-12:
            break
        move = np.linalg.solve(cosines + np.diag(beta ** -2), slope)
        decrement = np.sqrt(max(slope @ move, 0))
        beta = beta - move / (1 + decrement if decrement > 0.25 else 1)
    return beta / lengths


# -- the step --------------------------------------------------------------------------------------------------------

class Model:
    """Encoder, three heads, optimizer; one per set of options."""

    def __init__(self, folder, batches, device, options):
        import torch
        import transformers
        from safetensors.torch import load_file
        torch.manual_seed(0)
        self.torch, self.device, self.options, self.batches = torch, device, options, batches
        config = transformers.AutoConfig.from_pretrained(folder)
        self.encoder = transformers.BertModel(config, add_pooling_layer=False)
        weights = load_file(str(Path(folder) / "model.safetensors"))
        weights = {name.removeprefix("bert."): tensor.float() for name, tensor in weights.items()}
        missing = self.encoder.load_state_dict(weights, strict=False).missing_keys
        assert not [name for name in missing if "position_ids" not in name], missing
        self.encoder.to(device).train()
        self.heads = []
        for task in range(TASKS):
            weight, bias = batches.head(task)
            head = torch.nn.Linear(HIDDEN, CLASSES[task]).to(device)
            with torch.no_grad():
                head.weight.copy_(weight)
                head.bias.copy_(bias)
            self.heads.append(head)
        self.shared = list(self.encoder.parameters())
        everything = self.shared + [p for head in self.heads for p in head.parameters()]
        self.optimizer = torch.optim.AdamW(everything, lr=RATE, weight_decay=DECAY, fused=True)
        self.call = torch.compile(self.encoder, dynamic=True) if "compile" in options else self.encoder
        if device == "cuda":
            torch.backends.cuda.matmul.allow_tf32 = "tf32" in options
        self.rows = None

    def feature(self, ids, mask):
        states = self.call(input_ids=ids, attention_mask=mask).last_hidden_state
        weights = mask.unsqueeze(-1).to(states.dtype)
        return (states * weights).sum(1) / weights.sum(1)

    def loss(self, task, feature, labels):
        functional = self.torch.nn.functional
        return functional.cross_entropy(self.heads[task](functional.dropout(feature, DROPOUT)).float(), labels)

    def losses(self, batch):
        """One at a time, each under autocast where asked."""
        for task, (ids, mask, labels) in enumerate(batch):
            with self.torch.autocast(self.device, dtype=self.torch.bfloat16, enabled="bf16" in self.options):
                yield self.loss(task, self.feature(ids, mask), labels)

    def step(self, mode, batch):
        self.solve = 0.0
        self.optimizer.zero_grad(set_to_none=True)
        {"forward": self.forward, "ew": self.summed, "ewacc": self.accumulated, "nash_flat": self.nash_flat,
         "nash": self.nash}[mode](batch)
        if mode != "forward":
            self.optimizer.step()

    def forward(self, batch):
        for _ in self.losses(batch):
            pass

    def summed(self, batch):
        sum(self.losses(batch)).backward()

    def accumulated(self, batch):
        for loss in self.losses(batch):
            loss.backward()

    def nash_flat(self, batch):
        if self.rows is None:
            length = sum(p.numel() for p in self.shared)
            self.rows = self.torch.empty(TASKS, length, device=self.device)
            cut = [row.split([p.numel() for p in self.shared]) for row in self.rows]
            self.views = [[piece.view_as(p) for piece, p in zip(row, self.shared)] for row in cut]
        self.rows.zero_()
        for views, loss in zip(self.views, self.losses(batch)):
            self.point_gradients_at(views)
            loss.backward()
        gram = (self.rows @ self.rows.T).cpu().numpy()
        start = time.perf_counter()
        alpha = bargain(gram)
        self.solve = (time.perf_counter() - start) * 1e3
        total, *others = self.rows
        total.mul_(float(alpha[0]))
        for weight, row in zip(alpha[1:], others):
            total.add_(row, alpha=float(weight))
        self.point_gradients_at(self.views[0])
        self.torch.nn.utils.clip_grad_norm_(self.shared, MAX_NORM)

    def point_gradients_at(self, views):
        """Where backward finds a gradient it adds to it in place."""
        for parameter, view in zip(self.shared, views):
            parameter.grad = view

    def nash(self, batch):
        from torchjd.aggregation import NashMTL
        from torchjd.autojac import jac_to_grad, mtl_backward
        if self.rows is None:
            self.rows = NashMTL(n_tasks=TASKS, max_norm=MAX_NORM)
        with self.torch.autocast(self.device, dtype=self.torch.bfloat16, enabled="bf16" in self.options):
            features = [self.feature(ids, mask) for ids, mask, _ in batch]
            losses = [self.loss(task, features[task], batch[task][2]) for task in range(TASKS)]
        mtl_backward(losses, features=features, parallel_chunk_size=1)
        jac_to_grad([p for p in self.shared if getattr(p, "jac", None) is not None], self.rows)


# -- the protocol ----------------------------------------------------------------------------------------------------

class Peer:
    def __init__(self, args):
        import torch
        torch.set_num_threads(args.threads)
        self.torch, self.args, self.count = torch, args, 0
        self.batches = Batches(args.batches, args.device)
        self.key = self.model = None

    def run(self, case, mode, steps, warm=0):
        name, *options = mode.split("+")
        # Only one model lives at a time, so that peak memory is that of one mode.
        if self.key != (key := (name, *sorted(options))):
            self.model = None
            self.model, self.key = Model(self.args.model, self.batches, self.args.device, options), key
        times, solves = [], []
        for at in range(warm + steps):
            batch = self.batches.get(case, self.count)
            self.count += 1
            start = self.clock()
            self.model.step(name, batch)
            if at >= warm:
                times.append((self.clock() - start) * 1e3)
                solves.append(self.model.solve)
        answer = {"case": case, "mode": mode, "ms": [round(time, 2) for time in times],
                  "solve_ms": round(float(np.median(solves)), 3),
                  "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}
        if self.args.device == "cuda":
            answer["gpu_mb"] = self.torch.cuda.max_memory_allocated() >> 20
        return answer

    def clock(self):
        if self.args.device == "cuda":
            self.torch.cuda.synchronize()
        return time.perf_counter()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["gen", "serve", "run"])
    parser.add_argument("--batches", default="batches.safetensors")
    parser.add_argument("--model", help="folder of all-MiniLM-L6-v2: config.json, model.safetensors")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--case", default="f64")
    parser.add_argument("--mode", default="ew")
    parser.add_argument("-n", type=int, default=5)
    args = parser.parse_args()
    if args.what == "gen":
        return generate(args.batches)
    if not args.model:
        parser.error("--model is needed")
    peer = Peer(args)
    if args.what == "run":
        return print(json.dumps(peer.run(args.case, args.mode, args.n, warm=2)))
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        try:
            case, mode, steps = line.split()
            answer = peer.run(case, mode, int(steps))
        except Exception as error:  # one bad job must not end the others'
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
