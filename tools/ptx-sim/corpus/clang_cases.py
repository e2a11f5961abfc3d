"""Kernels of clang_kernels.c, through clang's NVPTX backend: optimised, not optimised, and with debug sections."""

import os
import pathlib
import shutil
import subprocess
import tempfile

import numpy as np

from case import Case

HERE = pathlib.Path(__file__).parent


def clang():
    for name in (os.environ.get("CLANG"), "clang-22", "clang-21", "clang"):
        if name and shutil.which(name):
            return shutil.which(name)
    raise FileNotFoundError("clang")


def compiled(arch, flags):
    with tempfile.TemporaryDirectory() as folder:
        out = f"{folder}/kernels.ptx"
        line = [clang(), "--target=nvptx64-nvidia-cuda", f"-march={arch}", "-Xclang", "-target-feature", "-Xclang", "+ptx80", "-nogpulib", *flags, "-S", HERE / "clang_kernels.c", "-o", out]
        subprocess.run(line, check=True)
        return pathlib.Path(out).read_text()


def cases(arch):
    for name, flags in [("", ["-O2"]), ("plain_", ["-O0"]), ("debug_", ["-O1", "-g"])]:
        ptx = compiled(arch, flags)
        for case in all_cases(ptx):
            case.name = name + case.name
            yield case


def all_cases(ptx):
    rng = np.random.default_rng(5)
    ints = lambda lo, hi, *shape: rng.integers(lo, hi, shape, dtype=np.int32)

    def case(name, grid, block, args, **more):
        return Case(name, ptx, name, (grid, 1, 1), (block, 1, 1), args, **more)

    x = rng.standard_normal((2, 256), np.float32)
    yield case("sort", 2, 256, [("in", x), ("out", np.sort(x, 1))])

    x, h = rng.standard_normal((70, 4), np.float32), rng.standard_normal((70, 2)).astype(np.float16)
    v = (h.astype(np.float64) ** 2 + 0.25).astype(np.float16).astype(np.float32)
    yield case("vectors", 2, 64, [("in", x), ("in", h), ("out", x * v[:, :1] + x[:, ::-1] * v[:, 1:]), ("i32", 70)], rtol=3e-3, atol=1e-3)

    pair = np.dtype([("a", np.int64), ("b", np.int32), ("c", np.int16), ("pad", np.int16)])
    x = np.zeros(16, pair)
    x["a"], x["b"], x["c"] = rng.integers(-1 << 40, 1 << 40, 16), ints(-1000, 1000, 16), rng.integers(-99, 99, 16)
    y, want = x[np.arange(16) ^ 1], np.zeros(16, pair)
    want["a"], want["b"], want["c"] = x["a"] * np.arange(16) + y["a"], x["b"] ^ y["b"], x["c"] - y["c"]
    yield case("pairs", 1, 16, [("in", x.view(np.int64)), ("inout", np.zeros(32, np.int64), want.view(np.int64))])

    x = ints(0, 100, 32)
    steps = np.array([1, 10, 100, 1000])
    yield case("tables", 1, 32, [("in", x), ("out", (steps[x & 3] + np.where(x & 1, 1000, 10)).astype(np.int32))])

    x, y = rng.integers(-1 << 62, 1 << 62, 40), ints(-1 << 30, 1 << 30, 40)
    yield case("widths", 1, 40, [("in", x), ("in", y), ("out", np.array([width(int(a), int(b)) for a, b in zip(x, y)]))])

    x = ints(1, 500, 100)
    yield case("collatz", 1, 100, [("in", x), ("out", np.array([collatz(int(v)) for v in x], np.int32))])

    x = ints(0, 1000, 500)
    yield case("count", 3, 64, [("in", x), ("inout", np.zeros(16, np.int32), np.bincount(x & 15, minlength=16).astype(np.int32)), ("i32", 500)])

    x = ints(0, 500, 64)
    f = lambda v: v + (f(v // 2) + f(v // 3) if v > 3 else 0)
    yield case("nested", 1, 64, [("in", x), ("out", np.array([f(int(v)) for v in x], np.int32))])


def wrap(v, bits):
    v &= (1 << bits) - 1
    return v - (1 << bits) if v >> (bits - 1) else v


def width(x, y):
    c, s, u = wrap(x, 8), (x >> 8) & 0xFFFF, (y & 0xFFFFFFFF) | 1
    quotient = abs(x) // u * (1 if x >= 0 else -1)
    r = c * 3 - s + u % 7 + quotient + (x * x >> 64)
    bits = x & (1 << 64) - 1
    swap = int.from_bytes(u.to_bytes(4, "little"), "big")
    r = wrap(r, 64) ^ (bin(bits).count("1") + 64 - (bits | 1).bit_length() + (u & -u).bit_length() - 1 + swap)
    return wrap(r + ((abs(x) % 1000 * (1 if x >= 0 else -1)) if x > y else -u), 64)


def collatz(v):
    steps = 0
    while v > 1:
        if steps > 300:
            return -1
        if v % 4 == 0:
            v, steps = v // 4, steps + 2
            continue
        v, steps = (v // 2 if v % 4 == 2 else 3 * v + 1), steps + 1
    return steps
