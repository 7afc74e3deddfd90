#!/usr/bin/env python3
"""Whether fixtures that were made again say the same as those that are kept.

    python3 .ci/fixtures.py KEPT MADE

KEPT and MADE are files or folders; what MADE lacks is passed over, since some inputs are not at hand everywhere. JSON
and safetensors are compared number by number, to the relative 1e-5 that builds of one library differ by from processor
to processor; everything else byte by byte. What cannot be the same is left out: see LEFT_OUT.
"""

import json
import pathlib
import re
import sys

NEAR = 1e-5
# Versions; and biases of keys after training, whose gradient is zero but for rounding, which AdamW makes steps of.
LEFT_OUT = re.compile(r"\.transformers_version$|\.trained\..*(key|k_lin)\.bias$")


def differences(kept, made, place):
    if isinstance(kept, bool) or isinstance(made, bool) or not isinstance(kept, (int, float, list, dict)):
        if kept != made:
            yield f"{place}: {kept!r} is now {made!r}"
    elif isinstance(kept, dict) and isinstance(made, dict):
        if kept.keys() != made.keys():
            yield f"{place}: other keys: {sorted(kept.keys() ^ made.keys())}"
        for key in sorted(kept.keys() & made.keys()):
            if LEFT_OUT.search(f"{place}.{key}"):
                continue
            yield from differences(kept[key], made[key], f"{place}.{key}")
    elif isinstance(kept, list) and isinstance(made, list):
        if len(kept) != len(made):
            yield f"{place}: {len(kept)} items are now {len(made)}"
        for at, (old, new) in enumerate(zip(kept, made)):
            yield from differences(old, new, f"{place}[{at}]")
    elif not isinstance(made, (int, float)) or abs(kept - made) > NEAR * max(1, abs(kept), abs(made)):
        yield f"{place}: {kept!r} is now {made!r}"


def tensors(path):
    from safetensors.numpy import load_file

    return {name: [list(tensor.shape), tensor.flatten().tolist()] for name, tensor in load_file(path).items()}


def compared(kept, made):
    if kept.suffix == ".json":
        yield from differences(json.loads(kept.read_text()), json.loads(made.read_text()), kept.name)
    elif kept.suffix == ".safetensors":
        yield from differences(tensors(kept), tensors(made), kept.name)
    elif kept.read_bytes() != made.read_bytes():
        yield f"{kept.name}: other bytes"


def main():
    kept, made = map(pathlib.Path, sys.argv[1:])
    pairs = [(kept, made)]
    if kept.is_dir():
        pairs = [(kept / path.relative_to(made), path) for path in sorted(made.rglob("*")) if path.is_file()]
    pairs = [(old, new) for old, new in pairs if new.suffix != ".py" and "__pycache__" not in new.parts]
    found = []
    for old, new in pairs:
        found += [f"{old}: not kept"] if not old.exists() else [f"{old}: {what}" for what in compared(old, new)]
    for what in found[:20]:
        print(what)
    print(f"{len(pairs)} files compared, {len(found)} differences")
    sys.exit(bool(found) or not pairs)


main()
