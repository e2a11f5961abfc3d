#!/usr/bin/env python3
"""Runs every case that make.py wrote through the `ptx-sim` command and compares with numpy.

    run.py CORPUS [--ptx-sim PATH] [--only TEXT] [--markdown]

For each case: does it read, are the values numpy's, and is check mode quiet? A finding on these kernels, which are
right, is a false alarm, and is counted by its class.
"""

import argparse
import collections
import json
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np

from case import from_bf16


def specification(folder, scratch, n, spec):
    kind, rest = spec[0], spec[1:]
    if kind == "in":
        return f"in:{folder}/in{n}.npy"
    if kind == "inout":
        return f"inout:{folder}/in{n}.npy:{scratch}/out{n}.npy"
    if kind == "out":
        names = {"float16": "f16", "float32": "f32", "float64": "f64", "uint8": "u8", "bool": "u8"}
        dtype = names.get(rest[0], rest[0].replace("uint", "i").replace("int", "i"))
        return f"out:{dtype}:{rest[1]}:{scratch}/out{n}.npy"
    return ":".join([kind, *rest]) if rest else kind


def numbers(array, how):
    return from_bf16(array) if how == "bf16" else array


def run(case, folder, command, check):
    with tempfile.TemporaryDirectory() as scratch:
        line = [command, "run", str(folder / "kernel.ptx"), "--entry", case["entry"], "--json"]
        line += ["--grid", ",".join(map(str, case["grid"])), "--block", ",".join(map(str, case["block"]))]
        line += ["--shared", str(case["shared"])]
        if check:
            line.append("--check")
        for n, spec in enumerate(case["args"]):
            line += ["--arg", specification(folder, scratch, n, spec)]
        for name, spec in case.get("buffers", {}).items():
            line += ["--buffer", f"{name}={specification(folder, scratch, name, spec)}"]
        start = time.time()
        try:
            done = subprocess.run(line, capture_output=True, text=True, timeout=300)
        except subprocess.TimeoutExpired:
            return "timeout", [], "", 300.0, []
        seconds = time.time() - start
        if done.returncode == 2 or not done.stdout.strip():
            return "unreadable", [], (done.stderr or "no answer").strip().splitlines()[-1], seconds, []
        answer = json.loads(done.stdout.strip().splitlines()[-1])
        findings = answer.get("findings", [])
        problem = ""
        for n, spec in [*enumerate(case["args"]), *case.get("buffers", {}).items()]:
            path = pathlib.Path(scratch) / f"out{n}.npy"
            if spec[0] not in ("out", "inout") or not path.exists():
                continue
            want = np.load(folder / f"want{n}.npy").ravel()
            got = np.load(path).ravel().view(want.dtype)
            want, got = numbers(want, case["read"]), numbers(got, case["read"])
            if not np.allclose(got, want, rtol=case["rtol"], atol=case["atol"], equal_nan=True):
                bad = ~np.isclose(got, want, rtol=case["rtol"], atol=case["atol"], equal_nan=True)
                at = int(np.argmax(bad))
                problem = f"output {n}: {int(bad.sum())} of {bad.size} differ, first [{at}] {got[at]} for {want[at]}"
                break
        if case["prints"] is not None and answer.get("printed") not in (None, case["prints"]):
            problem = f"printed {answer['printed']!r}"
        return answer["verdict"], findings, problem, seconds, answer.get("notes", [])


def summary(rows):
    """One line for each tool and target."""
    groups = collections.defaultdict(list)
    for row in rows:
        groups[tuple(row[0].split("-")[:2])].append(row)
    print("| tool | target | cases | values as numpy has them | quiet in check mode | seconds, checked |")
    print("| --- | --- | --- | --- | --- | --- |")
    for (tool, arch), all_of in sorted(groups.items()):
        equal = sum(r[1] in ("equal", "refuted as it should") for r in all_of)
        quiet = sum(r[2] == "quiet" for r in all_of)
        plain, checked = sum(r[3] for r in all_of), sum(r[4] for r in all_of)
        print(f"| {tool} | {arch} | {len(all_of)} | {equal} | {quiet} | {plain:.1f}, {checked:.1f} |")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("corpus", type=pathlib.Path)
    parser.add_argument("--ptx-sim", default="target/release/ptx-sim")
    parser.add_argument("--only", default="")
    parser.add_argument("--markdown", action="store_true")
    options = parser.parse_args()
    rows, alarms, notes, failed = [], collections.Counter(), collections.Counter(), 0
    for path in sorted(options.corpus.glob("*/case.json")):
        folder, case = path.parent, json.loads(path.read_text())
        if options.only not in folder.name:
            continue
        plain = run(case, folder, options.ptx_sim, False)
        checked = run(case, folder, options.ptx_sim, True)
        kinds_of_notes = sorted({n["kind"] for n in checked[4]})
        notes.update(kinds_of_notes)
        expected = case["refuted"]
        values = "equal"
        if expected:
            hit = plain[0] == "refuted" and any(expected in f["message"] for f in plain[1])
            values = "refuted as it should" if hit else f"not refuted: {plain[0]} {plain[2]}"
        elif plain[0] != "clean":
            why = plain[2] or "; ".join(f"{f['kind']}: {f['message']} (line {f['line']})" for f in plain[1][:1])
            values = f"{plain[0]}: {why}"
        elif plain[2]:
            values = plain[2]
        quiet = "quiet"
        if not expected and checked[0] != "clean":
            kinds = sorted({f["kind"] for f in checked[1]}) or [checked[0]]
            alarms.update(kinds)
            quiet = ", ".join(kinds)
            for f in checked[1][:1]:
                print(f"  {folder.name}: {f['kind']}: {f['message']} (line {f['line']})", file=sys.stderr)
        good = values in ("equal", "refuted as it should") and quiet == "quiet"
        failed += not good
        rows.append((folder.name, values, quiet, plain[3], checked[3]))
        if not options.markdown:
            said = f" (notes: {', '.join(kinds_of_notes)})" if kinds_of_notes else ""
            print(f"{'ok ' if good else 'BAD'} {folder.name}: {values}; {quiet}{said}; {plain[3]:.2f} s, {checked[3]:.2f} s")
    if options.markdown:
        summary(rows)
    print(f"\n{len(rows)} cases, {len(rows) - failed} good; false alarms: {dict(alarms) or 'none'}; cases with notes: {dict(notes) or 'none'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
