#!/usr/bin/env python3
"""Measures on a device what the time model assumes; asks the model the same; and compares.

    python3 measure.py --out measured.json                                 all, within a minute
    python3 measure.py --model target/debug/ptx-sim --out modelled.json    what the simulator predicts for the same kernels
    python3 measure.py --compare measured.json modelled.json               side by side, the greatest differences last
    python3 measure.py --only tensor --out -                               one group
    python3 measure.py --quick                                             shortest loops, for a driver that only simulates

Needs numpy and, on a device, cuda-bindings. Each group runs in a process of its own: a kernel that faults or hangs costs
the rest of its group, which is begun again behind the item that failed.
"""

import argparse
import importlib
import json
import pathlib
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

GROUPS = ("arithmetic", "memory", "sync", "copies", "whole", "tensor", "clock")
# What can be asked of a model: all but launches, the device's bandwidth, and its clock.
MODELLED = ("arithmetic", "memory", "sync", "copies", "tensor")
# Seconds that a group may take, and how often it is begun again.
LIMIT, AGAIN = 25, 6


def child(group, skip, quick, model):
    """Measures one group; a line of JSON for each item."""
    if model:
        from model import Model

        gpu = Model(model)
    else:
        from gpu import Gpu

        gpu = Gpu(quick)
    say = lambda line: print("@" + json.dumps(line), flush=True)
    say({"device": gpu.name, "sms": gpu.sms})
    for at, (name, unit, measure) in enumerate(importlib.import_module(group).items(gpu)):
        if at < skip:
            continue
        say({"begin": at, "name": name})
        start = time.monotonic()
        try:
            line = {"measured": measure()}
        except Exception as error:  # Whatever it is, the other items go on.
            line = {"error": f"{type(error).__name__}: {error}"[:400]}
        say({"group": group, "name": name, "unit": unit, **line,
             "seconds": round(time.monotonic() - start, 3)})
        if "error" in line and not model and not alive():
            return 3
    return 0


def alive():
    """Whether the context still answers: a fault in a kernel ends it for good."""
    from gpu import cu

    return cu.cuCtxSynchronize()[0] == cu.CUresult.CUDA_SUCCESS


def one_group(group, given, results, facts):
    """Runs a group, again behind an item that ended its process."""
    limit = given.limit
    skip, until = 0, time.monotonic() + limit
    for _ in range(AGAIN):
        command = [sys.executable, __file__, "--child", group, "--skip", str(skip)]
        command += ["--quick"] if given.quick else []
        command += ["--model", given.model] if given.model else []
        left = until - time.monotonic()
        if left <= 0:
            results.append({"group": group, "name": f"items from {skip} on", "error": f"no time left of {limit} s"})
            return
        try:
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=left)
            text, status = done.stdout, done.returncode
        except subprocess.TimeoutExpired as late:
            text, status = (late.stdout or b"").decode(errors="replace"), "timeout"
        begun = None
        for line in text.splitlines():
            if not line.startswith("@"):
                continue
            value = json.loads(line[1:])
            if "begin" in value:
                begun = value
            elif "group" in value:
                results.append(value)
                begun, skip = None, skip + 1
            else:
                facts.update(value)
        if status == 0:
            return
        if begun is not None:
            results.append({"group": group, "name": begun["name"], "error": f"the process ended: {status}"})
            skip = begun["begin"] + 1


def compare(measured, modelled):
    """A line for each item that both have a number for, the greatest ratio last."""
    read = lambda path: {r["name"]: r.get("measured") for r in json.loads(pathlib.Path(path).read_text())["items"]}
    ours, rows = read(modelled), []
    for name, value in read(measured).items():
        told = ours.get(name)
        if all(isinstance(v, (int, float)) and v > 0 for v in (value, told)):
            rows.append((told / value, name, value, told))
    for ratio, name, value, told in sorted(rows, key=lambda row: max(row[0], 1 / row[0])):
        print(f"{ratio:6.2f}  {value:10.2f} measured {told:10.2f} by the model   {name}")


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--out", default="-")
    arguments.add_argument("--only", action="append", choices=GROUPS)
    arguments.add_argument("--quick", action="store_true")
    arguments.add_argument("--limit", type=float, default=LIMIT, help="seconds for a group")
    arguments.add_argument("--model", metavar="PTX_SIM", help="asks this command in the place of a device")
    arguments.add_argument("--compare", nargs=2, metavar="JSON")
    arguments.add_argument("--child", help=argparse.SUPPRESS)
    arguments.add_argument("--skip", type=int, default=0, help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.child:
        return child(given.child, given.skip, given.quick, given.model)
    if given.compare:
        return compare(*given.compare)
    results, facts = [], {}
    start = time.monotonic()
    groups = given.only or [g for g in GROUPS if not given.model or g in MODELLED]
    for group in groups:
        one_group(group, given, results, facts)
    facts["seconds"] = round(time.monotonic() - start, 1)
    text = json.dumps({**facts, "items": results}, indent=1, ensure_ascii=False)
    if given.out == "-":
        print(text)
    else:
        pathlib.Path(given.out).write_text(text + "\n")
    failed = [r for r in results if "error" in r]
    print(f"{len(results)} items, {len(failed)} failed, {facts['seconds']} s", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
