#!/usr/bin/env python3
"""Times several peers in alternation, so that a drifting machine hits all of them alike.

    alternate.py OUT.jsonl ROUNDS NAME=COMMAND … -- 'NAME CASE MODE STEPS' …

Each COMMAND is a peer that speaks the protocol of README.md; it may begin with environment settings (A=1 B=2 peer …).
Every round runs every job once, in order. Round -1 warms up with one step a job and is not counted. Each answer is
one line of OUT.jsonl, together with `other_cpu`: how many processors something else kept busy meanwhile. A row
above 0.05 was disturbed and is no measurement. The first NAME listed is what the ratios are against.
"""
import json
import os
import shlex
import statistics
import subprocess
import sys
import time

TICKS = os.sysconf("SC_CLK_TCK")


class Peer:
    def __init__(self, command):
        words, settings = shlex.split(command), dict(os.environ)
        while "=" in words[0]:
            key, value = words.pop(0).split("=", 1)
            settings[key] = value
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=settings)
        if not self.answer().get("ready"):
            raise SystemExit(f"{command}: did not say that it is ready")

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.process.args}: ended with status {self.process.wait()}")
        return json.loads(line)

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.answer()

    def seconds(self):
        """Processor time of the peer so far."""
        with open(f"/proc/{self.process.pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS


def busy_seconds():
    """Processor time of the whole machine so far, idling and waiting left out."""
    with open("/proc/stat") as file:
        fields = [int(field) for field in file.readline().split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / TICKS


def measure(peer, case, mode, steps):
    machine, own, start = busy_seconds(), peer.seconds(), time.monotonic()
    answer = peer.ask(f"{case} {mode} {steps}")
    wall, own = time.monotonic() - start, peer.seconds() - own
    others = max(busy_seconds() - machine - own, 0) / max(wall, 1e-9)
    return answer | {"wall": round(wall, 3), "cpu": round(own, 3), "other_cpu": round(others, 2)}


def report(results, first):
    print(f"{'peer':10} {'case':7} {'mode':16} {'median':>8} {'min':>8} {'max':>8} {'steps':>5} "
          f"{'other':>6}  ratio, extras")
    medians = {job: statistics.median(t for row in rows for t in row["ms"]) for job, rows in results.items()}
    for (name, case, mode), rows in results.items():
        times = [t for row in rows for t in row["ms"]]
        against = medians.get((first, case, mode))
        ratio = f"{medians[name, case, mode] / against:.2f}" if against else "-"
        extras = {key: rows[-1][key] for key in rows[-1] if key.endswith("_mb") or key == "solve_ms"}
        others = statistics.median(row["other_cpu"] for row in rows)
        print(f"{name:10} {case:7} {mode:16} {medians[name, case, mode]:8.1f} {min(times):8.1f} {max(times):8.1f} "
              f"{len(times):5} {others:6.2f}  {ratio} {extras}")


def main():
    if "--" not in sys.argv or len(sys.argv) < 5:
        raise SystemExit(__doc__)
    split = sys.argv.index("--")
    out, rounds = sys.argv[1], int(sys.argv[2])
    commands = dict(word.split("=", 1) for word in sys.argv[3:split])
    jobs = [job.split() for job in sys.argv[split + 1:]]
    peers = {name: Peer(command) for name, command in commands.items()}
    results = {}
    with open(out, "a") as file:
        for at in range(-1, rounds):
            for name, case, mode, steps in jobs:
                row = measure(peers[name], case, mode, int(steps) if at >= 0 else 1)
                row |= {"peer": name, "round": at}
                file.write(json.dumps(row) + "\n")
                file.flush()
                if "error" in row:
                    print(f"{name} {case} {mode}: {row['error']}", file=sys.stderr)
                elif at >= 0:
                    results.setdefault((name, case, mode), []).append(row)
    report(results, next(iter(commands)))
    for peer in peers.values():
        peer.process.stdin.close()
        peer.process.wait()


if __name__ == "__main__":
    main()
