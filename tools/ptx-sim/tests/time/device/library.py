#!/usr/bin/env python3
"""Kernels of the library: what the simulator predicts for an H100 beside what a device takes.

    python3 library.py predict --tilec target/debug/tilec --out predicted.json       anywhere
    python3 library.py measure --tilec ./tilec --out measured.json                   on the device
    python3 library.py compare predicted.json measured.json

Both sides run `tilec bench`, which makes the same code and the same data; kernels that are stopped or fail keep their reason.
A ratio above 1 says that the model is too slow. A single launch between two events carries some microseconds of launch on a
device, so the smallest times say more about that than about the kernel.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import time

# File, kernel (where the file has several), constants, dimensions. The file is one of the library that is built in.
SHAPES = [
    *[("gemm::matmul", "matmul", {"T": t}, {"M": n, "N": n, "K": n})
      for t, n in (("bf16", 1024), ("bf16", 2048), ("bf16", 4096), ("bf16", 8192), ("f16", 4096), ("f32", 2048))],
    ("gemm::matmul", "matmul", {"T": "bf16"}, {"M": 16, "N": 8192, "K": 8192}),
    ("gemm::gemm", "gemm", {"T": "bf16"}, {"M": 4096, "N": 4096, "K": 4096}),
    ("gemm::swiglu", "swiglu", {"T": "bf16"}, {"M": 4096, "N": 4096, "K": 4096}),
    ("gemm::w4a16", "w4a16", {"T": "bf16", "GS": 128}, {"M": 16, "N": 8192, "K": 8192}),
    *[("attention::flash_fwd", "flash_fwd", {"T": "bf16", "D": d, "CAUSAL": c},
       {"B": 16384 // n, "M": n, "N": n, "HQ": 2048 // d, "HK": 2048 // d})
      for d, n, c in ((128, 1024, "false"), (128, 4096, "false"), (128, 4096, "true"), (64, 4096, "false"), (64, 4096, "true"))],
    ("attention::decode", "decode", {"T": "bf16", "D": 128, "DV": 128, "GR": 4}, {"B": 16, "N": 4096, "HQ": 32, "HK": 8}),
    ("norm::rmsnorm", "rmsnorm", {"T": "bf16"}, {"M": 8192, "N": 4096}),
    ("norm::rmsnorm_rows", "rmsnorm_rows", {"T": "bf16"}, {"M": 8192, "N": 4096}),
    ("norm::layernorm", "layernorm", {"T": "bf16"}, {"M": 8192, "N": 4096}),
    ("softmax::softmax", "softmax_fwd", {"T": "bf16"}, {"M": 8192, "N": 4096}),
    ("reduce::sum", "row_sum", {"T": "f32"}, {"M": 8192, "N": 4096}),
    ("elementwise::add", "add", {"T": "bf16"}, {"M": 8192, "N": 4096}),
    ("elementwise::silu_mul", "silu_mul", {"T": "bf16"}, {"M": 8192, "N": 4096}),
    ("elementwise::add", "add", {"T": "bf16"}, {"M": 256, "N": 1024}),
    ("linear::simple_gla", "simple_gla", {"T": "bf16", "K": 128, "V": 128}, {"L": 8192, "H": 16, "NS": 4}),
    ("linear::ssd", "ssd", {"T": "bf16", "N": 128, "P": 64}, {"L": 8192, "H": 32, "G": 1, "NS": 4}),
    ("moe::grouped_matmul", "grouped_matmul", {"T": "bf16", "BS": 64}, {"R": 8192, "K": 2048, "N": 2048, "E": 16}),
    ("head::linear_cross_entropy", "linear_cross_entropy", {"T": "bf16"}, {"N": 2048, "DM": 2048, "V": 32768}),
]


def name(shape):
    file, kernel, consts, dims = shape
    return f"{kernel} " + " ".join(f"{k}={v}" for k, v in {**consts, **dims}.items())


def bench(tilec, shape, device, limit):
    file, kernel, consts, dims = shape
    command = [tilec, "bench", file, "--kernel", kernel, "--device", device, "--target", "sm_90", "--json"]
    for key, value in consts.items():
        command += ["--const", f"{key}={value}"]
    for key, value in dims.items():
        command += ["--dim", f"{key}={value}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit)
        answer = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        return {"error": f"more than {limit:.0f} s"}
    except json.JSONDecodeError:
        return {"error": (done.stderr or done.stdout or f"status {done.returncode}")[-400:]}
    if not answer["results"]:
        return {"error": "; ".join(f"{d['code']}: {d['message']}" for d in answer["diagnostics"])[:400]}
    result = answer["results"][0]
    kept = {key: result[key] for key in ("ms", "gflops", "gbytes_per_s", "compile_ms", "repetitions")}
    return {**kept, **(result["predicted"] or {})}


def run(given, device):
    rows, until = [], time.monotonic() + given.limit
    shapes = [s for s in SHAPES if not given.only or any(word in name(s) for word in given.only)]
    for shape in shapes:
        left = until - time.monotonic()
        start = time.monotonic()
        row = {"error": f"no time left of {given.limit:.0f} s"} if left <= 1 else bench(given.tilec, shape, device, min(left, 120))
        row = {"name": name(shape), **row, "seconds": round(time.monotonic() - start, 1)}
        print(json.dumps(row), flush=True)
        rows.append(row)
    pathlib.Path(given.out).write_text(json.dumps(rows, indent=1) + "\n")


def compare(predicted, measured):
    """A table in the form of the project's documents."""
    read = lambda path: {row["name"]: row for row in json.loads(pathlib.Path(path).read_text())}
    ours, theirs = read(predicted), read(measured)
    print("| kernel | predicted ms | measured ms | ratio | bound by | calibrated |\n| --- | --- | --- | --- | --- | --- |")
    for key in ours:
        a, b = ours[key], theirs.get(key, {"error": "not measured"})
        if "error" in a or "error" in b:
            print(f"| {key} | {a.get('ms', '-')} | {b.get('ms', '-')} | - | {a.get('error') or b['error']} | |")
            continue
        calibrated = "yes" if a["checked"] else "no"
        print(f"| {key} | {a['ms']:.3f} | {b['ms']:.3f} | {a['ms'] / b['ms']:.2f} | {a['bound']} | {calibrated} |")


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = arguments.add_subparsers(dest="part", required=True)
    for part in ("predict", "measure"):
        one = parts.add_parser(part)
        one.add_argument("--tilec", default="tilec")
        one.add_argument("--out", required=True)
        one.add_argument("--only", action="append", help="a word of the name")
        one.add_argument("--limit", type=float, default=300 if part == "measure" else 3600, help="seconds for all")
    both = parts.add_parser("compare")
    both.add_argument("predicted")
    both.add_argument("measured")
    given = arguments.parse_args()
    if given.part == "compare":
        compare(given.predicted, given.measured)
    else:
        run(given, "sim" if given.part == "predict" else "cuda")
    return 0


if __name__ == "__main__":
    sys.exit(main())
