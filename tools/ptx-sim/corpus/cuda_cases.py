"""Kernels of cuda_kernels.cu, through nvcc: optimised with line information, and not optimised at all."""

import itertools
import math
import os
import pathlib
import shutil
import subprocess
import sysconfig
import tempfile

import numpy as np

from case import Case, from_bf16, to_bf16

HERE = pathlib.Path(__file__).parent


def nvcc():
    installed = pathlib.Path(sysconfig.get_paths()["purelib"]) / "nvidia"
    found = [os.environ.get("NVCC"), shutil.which("nvcc"), *map(str, installed.glob("cu*/bin/nvcc"))]
    for path in filter(None, found):
        return path
    raise FileNotFoundError("nvcc")


def compiled(arch, flags, source):
    with tempfile.TemporaryDirectory() as folder:
        out = f"{folder}/kernels.ptx"
        subprocess.run([nvcc(), "-ptx", f"-arch={arch}", *flags, HERE / source, "-o", out], check=True)
        return pathlib.Path(out).read_text()


def cases(arch):
    for name, flags in [("", ["-lineinfo"]), ("debug_", ["-G"])]:
        ptx = compiled(arch, flags, "cuda_kernels.cu")
        for case in all_cases(ptx):
            case.name = name + case.name
            yield case
    yield from library_cases(compiled(arch, ["-lineinfo", "-std=c++17"], "cuda_library_kernels.cu"), arch)


def all_cases(ptx):
    rng = np.random.default_rng(11)
    f32 = lambda *shape: rng.standard_normal(shape, np.float32)
    ints = lambda lo, hi, *shape: rng.integers(lo, hi, shape, dtype=np.int32)

    def case(name, grid, block, args, **more):
        return Case(name, ptx, more.pop("entry", name), grid, block, args, **more)

    x, y = f32(500), f32(500)
    yield case("saxpy", (2, 1, 1), (96, 1, 1), [("f32", 2.5), ("in", x), ("inout", y, np.float32(2.5) * x + y), ("i32", 500)], rtol=1e-6, atol=1e-6)

    x = np.round(f32(3000) * 16)
    yield case("reduce", (3, 1, 1), (256, 1, 1), [("in", x), ("inout", np.zeros(1, np.float32), x.sum(keepdims=True)), ("i32", 3000)])

    x = ints(0, 1000, 70, 45)
    yield case("transpose", (2, 3, 1), (32, 8, 1), [("in", x), ("out", x.T), ("i32", 70), ("i32", 45)])

    a, b = f32(37, 50), f32(50, 29)
    want = (a.astype(np.float64) @ b).astype(np.float32)
    yield case("matmul", (2, 3, 1), (16, 16, 1), [("in", a), ("in", b), ("out", want), ("i32", 37), ("i32", 29), ("i32", 50)], shared=2048, rtol=1e-4, atol=1e-5)

    for name, make, read, shape, acc, tol in [
        ("wmma_f16", lambda v: v.astype(np.float16), lambda v: v.astype(np.float64), (16, 16), np.float32, 1e-5),
        ("wmma_f16_wide", lambda v: v.astype(np.float16), lambda v: v.astype(np.float64), (8, 32), np.float32, 1e-5),
        ("wmma_f16_tall", lambda v: v.astype(np.float16), lambda v: v.astype(np.float64), (32, 8), np.float16, 1e-2),
        ("wmma_bf16", to_bf16, lambda v: from_bf16(v).astype(np.float64), (16, 16), np.float32, 1e-5),
        ("wmma_s8", lambda v: (v * 30).clip(-128, 127).astype(np.int8), lambda v: v.astype(np.int64), (16, 16), np.int32, 0),
        ("wmma_f64", lambda v: v.astype(np.float64), lambda v: v, (8, 8), np.float64, 1e-12),
    ]:
        a, b = make(f32(shape[0], 48)), make(f32(shape[1], 48))
        want = (2 * (read(a) @ read(b).T)).astype(acc)
        yield case(name, (1, 1, 1), (32, 1, 1), [("in", a), ("in", b), ("out", want), ("i32", 48)], rtol=tol, atol=10 * tol)

    x = np.round(f32(2, 5, 64, 4) * 8)
    want = x.sum(1)[:, np.arange(64) ^ 1]
    yield case("pipeline", (2, 1, 1), (64, 1, 1), [("in", x), ("out", want), ("i32", 5)])

    x = ints(0, 100, 40, 16)
    s = np.sort(x, 1)
    want = np.zeros(40, np.int64)
    for i in range(16):
        want = (want * 31 + s[np.arange(40), s[:, i] & 15]) & 0xFFFFFFFF
    yield case("local_array", (1, 1, 1), (40, 1, 1), [("in", x), ("out", want.astype(np.uint32).view(np.int32))])

    x = ints(0, 50, 40)
    v = np.choose(x % 3, [2 * x, x * x, -x])
    yield case("pointers", (1, 1, 1), (64, 1, 1), [("in", x), ("out", (v + np.where(np.arange(40) % 2, 3 * v, 1)).astype(np.int32)), ("i32", 40)])

    x, i = ints(0, 9, 64), np.arange(64, dtype=np.float64)
    want = np.choose(x, [np.sin(i), np.sqrt(i), i * i + 1, -i, np.exp(-i), i / 3, np.fmod(i, 2.5), np.cbrt(i), 0 * i])
    yield case("choose", (1, 1, 1), (64, 1, 1), [("in", x), ("out", want.astype(np.float32))], rtol=1e-5, atol=1e-6)

    x = rng.standard_normal(50) * 3
    want = np.sin(x) + np.exp(x) / (1 + x * x) + np.sqrt(np.abs(x)) + (np.abs(x) + 0.5) ** 1.5 + 1 / (x + 10)
    yield case("doubles", (1, 1, 1), (64, 1, 1), [("in", x), ("out", want), ("i32", 50)], rtol=1e-13, atol=1e-13)

    x, y, u = f32(64).astype(np.float16), f32(64).astype(np.float16), to_bf16(f32(64))
    d, e = x.astype(np.float64), y.astype(np.float64)
    v = np.maximum((d * e + 0.5).astype(np.float16), -y).astype(np.float64)
    want = ((2**v).astype(np.float16) + (d * d).astype(np.float16)).astype(np.float16)
    w = to_bf16(from_bf16(u).astype(np.float64) ** 2 + 1)
    yield case("halves", (1, 1, 1), (32, 1, 1), [("in", x), ("in", y), ("out", want), ("in", u), ("out", w)], rtol=2e-3, atol=1e-3)

    x = rng.integers(0, 1 << 32, 32, dtype=np.uint32)
    yield case("bits", (1, 1, 1), (32, 1, 1), [("in", x.view(np.int32)), ("out", bits(x).view(np.int32))])

    x = ints(0, 200, 2, 64)
    out = np.array([0, -5, 1000, 0, 0, 0, 0, 0], np.int32)
    sums = np.zeros(9, np.float32)
    flat = x.ravel()
    after = np.array([flat.sum(), flat.max(), flat.min(), np.bitwise_xor.reduce(flat), flat.size % 7, 0, 0, 0], np.int32)
    after_sums = np.append(np.bincount(flat & 7, minlength=8) * 0.5, flat.max()).astype(np.float32)
    yield case("atomics", (2, 1, 1), (64, 1, 1), [
        ("in", x), ("inout", out, after), ("inout", sums, after_sums),
        ("inout", np.zeros(1, np.int64), np.array([int(flat.sum()) * 1000000007], np.int64)),
        ("inout", np.zeros(1), np.array([flat.sum() * 0.25])),
        ("inout", np.zeros(2, np.float16), np.array([128, 256], np.float16)),
    ])

    x = np.round(f32(5, 32) * 8)
    yield case("last_block", (5, 1, 1), (32, 1, 1), [("in", x), ("out", x.sum(1)), ("out", x.sum(keepdims=True).ravel())])

    x = ints(0, 100, 64)
    v = np.repeat(x.reshape(8, 8).sum(1), 8)
    odd = (x & 1).reshape(2, 32)
    rank, size = np.cumsum(odd, 1) - odd, odd.sum(1, keepdims=True)
    yield case("groups", (1, 1, 1), (64, 1, 1), [("in", x), ("out", (v + (odd * (1000 * size + rank)).ravel()).astype(np.int32))])

    x = ints(0, 10, 96)
    want = int((x > 3).sum()) * 100 + 10 * int((x >= 0).all()) + int((x > 8).any())
    yield case("votes", (1, 1, 1), (96, 1, 1), [("in", x), ("out", np.full(96, want, np.int32))])

    x = f32(300)
    want = np.convolve(np.pad(x, 2), np.array([0.1, 0.2, 0.4, 0.2, 0.1]), "valid").astype(np.float32)
    yield case("stencil", (3, 1, 1), (128, 1, 1), [("in", x), ("out", want), ("i32", 300)], rtol=1e-5, atol=1e-6)

    particle = np.dtype([("p", np.float32, 3), ("m", np.float32), ("e", np.float64), ("k", np.int8), ("pad", np.int8, 7)])
    one, many = np.zeros(1, particle), np.zeros(20, particle)
    one["p"], one["m"], one["e"], one["k"] = [1, 2, 3], 0.5, 7, 5
    many["p"], many["m"], many["e"], many["k"] = f32(20, 3), f32(20), rng.standard_normal(20), rng.integers(0, 100, 20)
    want = many.copy()
    want["p"][:, 0] += 2
    want["m"] *= np.float32(0.5)
    want["e"] -= 7
    want["k"] ^= 5
    raw = lambda v: v.view(np.int8).copy()
    yield case("structs", (1, 1, 1), (20, 1, 1), [("bytes", one.tobytes().hex()), ("in", raw(many)), ("inout", np.zeros(20 * 32, np.int8), raw(want))])

    yield case("talk", (1, 1, 1), (32, 1, 1), [("in", np.array([7, -8], np.int32))], prints="7 of two:  0.00 a 1099511627776%\n-8 of two:  1.50 b 1099511627776%\n")
    yield case("insist", (1, 1, 1), (32, 1, 1), [("in", np.arange(32, dtype=np.int32))], refuted="small")

    x = np.concatenate([f32(28) * 20, np.array([500, -1e9, 0.001, np.nan], np.float32)])
    h = np.stack([toward(x, 0), toward(x, 1)], 1)
    yield case("eighths", (1, 1, 1), (32, 1, 1), [("in", x), ("out", e4m3(x).view(np.int8)), ("out", h)])

    x = ints(0, 1000, 6, 32)
    yield case("producer_consumer", (1, 1, 1), (64, 1, 1), [("in", x), ("out", 3 * x[:, ::-1]), ("i32", 6)])

    x, y = (rng.integers(0, 1 << 32, (16, 4), dtype=np.uint32) for _ in range(2))
    x[3] = 0xFFFFFFFF
    want = []
    for p, q in zip(x, y):
        s = sum((int(a) + int(b)) << (32 * n) for n, (a, b) in enumerate(zip(p, q)))
        want.append([(s >> (32 * n)) & 0xFFFFFFFF for n in range(4)])
    yield case("big_sum", (1, 1, 1), (16, 1, 1), [("in", x.view(np.int32)), ("in", y.view(np.int32)), ("out", np.array(want, np.uint32).view(np.int32))])

    yield from recursive_cases(case, ints)


def recursive_cases(case, ints):
    one = (1, 1, 1)
    x = ints(0, 13, 48)
    fibonacci = [0, 1]
    while len(fibonacci) < 13:
        fibonacci.append(fibonacci[-1] + fibonacci[-2])
    queens = np.array([1, 1, 0, 0, 2, 10, 4])
    want = np.array(fibonacci)[x] + 1000 * queens[x % 7] + np.where(x % 2, 0, 1000000)
    yield case("recursive", one, (48, 1, 1), [("in", x), ("out", want.astype(np.int32))])

    x = ints(-1000, 1000, 40, 20)
    yield case("sort_rows", one, (40, 1, 1), [("in", x), ("out", np.sort(x, 1))])

    def permutations(n):
        values = [sum(c * 7 ** (n - 1 - j) for j, c in enumerate(p)) % 1009 for p in itertools.permutations(range(n))]
        return sum(values)

    x = ints(0, 6, 32)
    yield case("permute", one, (32, 1, 1), [("in", x), ("out", np.array([permutations(n) for n in x], np.int32))])

    def expression(number, level, depth):
        if level == 0:
            return number + depth
        right = level - 1 if level % 2 == 0 else 0
        return 3 * expression(number, level - 1, depth + 1) - expression(number, right, depth + 1)

    x = ints(0, 6, 32)
    want = [expression(i, n, 0) for i, n in enumerate(x)]
    yield case("expressions", one, (32, 1, 1), [("in", x), ("out", np.array(want, np.int32))])


def library_cases(ptx, arch):
    rng = np.random.default_rng(3)
    f32 = lambda *shape: rng.standard_normal(shape, np.float32)
    ints = lambda lo, hi, *shape: rng.integers(lo, hi, shape, dtype=np.int32)

    def case(name, grid, block, args, **more):
        return Case(name, ptx, name, (grid, 1, 1), (block, 1, 1), args, **more)

    x = ints(-50, 50, 512)
    yield case("block_scan", 1, 128, [("in", x), ("out", (np.cumsum(x) - x).astype(np.int32))])

    x = rng.integers(0, 1 << 32, 256, dtype=np.uint32)
    yield case("radix_sort", 1, 64, [("in", x.view(np.int32)), ("out", np.sort(x).view(np.int32))])

    x = f32(1000)
    yield case("block_reduce", 1, 256, [("in", x), ("out", np.abs(x).max(keepdims=True)), ("i32", 1000)])

    x = ints(0, 1000, 2, 256)
    yield case("barrier_copy", 2, 256, [("in", x), ("out", x[:, ::-1])])

    x = ints(0, 1000, 5, 128)
    yield case("staged", 1, 128, [("in", x), ("out", x.sum(0, dtype=np.int32)[np.arange(128) ^ 3]), ("i32", 5)])

    t = np.arange(64, dtype=np.int32)
    yield case("messages", 2, 64, [("inout", 0 * t, 7 * t), ("inout", np.zeros(1, np.int32), np.ones(1, np.int32)), ("out", 7 * (t ^ 1) + 1)])

    x = ints(0, 500, 96)
    tiles = x.reshape(6, 16)
    want = np.repeat(tiles.max(1) * 1000 + tiles.sum(1), 16)
    yield case("group_reduce", 1, 96, [("in", x), ("out", want.astype(np.int32))])

    x = f32(32, 2)
    z = x[:, 0].astype(np.complex128) + 1j * x[:, 1]
    w = np.ones(32, np.complex128)
    for _ in range(5):
        w = w * z + z / (w + 2)
    yield case("complex_power", 1, 32, [("in", x), ("out", np.stack([w.real, w.imag], 1).astype(np.float32))], rtol=1e-3, atol=1e-4)

    x = np.linspace(-1.9, 3.0, 64).astype(np.float32)
    yield case("special_functions", 1, 64, [("in", x), ("out", np.array([special(float(v)) for v in x], np.float32))], rtol=2e-5, atol=2e-5)

    if arch != "sm_80":
        x = ints(0, 1000, 4, 64)
        yield case("exchange", 4, 64, [("in", x), ("out", x[[1, 0, 3, 2], ::-1] + 2)])
        x = ints(0, 1000, 3, 256)
        yield case("bulk", 3, 256, [("in", x), ("out", 3 * x)])


def special(v):
    """The sum that special_functions takes, in double precision."""
    bessel = sum((-1) ** m * (v / 2) ** (2 * m) / math.factorial(m) ** 2 for m in range(30))
    r = math.erf(v) + math.erfc(v) + math.lgamma(v + 3) + math.gamma(v + 2.5) + math.log1p(v * v) + math.expm1(v * 0.1)
    r += math.atan2(v, 2) + math.sinh(v * 0.5) + 1 / math.sqrt(v * v + 1) + math.hypot(v, 3)
    r += float(np.rint(np.float32(v) * np.float32(10))) + math.trunc(v) + math.fmod(v, float(np.float32(0.7))) + v * 8 + v / 3
    r += math.asin(v * 0.1) + bessel + math.tan(v * 0.3) + (abs(v) + 0.1) ** 1.7 + math.cos(math.pi * v)
    return r + (1 + math.erf(v / math.sqrt(2))) / 2 + math.acosh(abs(v) + 1)


def bits(x):
    mask, out = 0xFFFFFFFF, []
    signed = lambda v: v - (1 << 32) if v >> 31 else v
    byte = lambda v, n: (v >> (8 * n)) & 0xFF
    ballot = sum(int(v & 1) << i for i, v in enumerate(x))
    total = sum(int(v) & 15 for v in x)
    for i, v in enumerate(map(int, x)):
        clz = 32 - v.bit_length()
        ffs = (v & -v).bit_length()
        brev = int(f"{v:032b}"[::-1], 2)
        r = bin(v).count("1") + clz * 100 + ffs * 10000 + (brev >> 3)
        pool = v | ((~v & mask) << 32)
        perm = sum(byte(pool, s) << (8 * n) for n, s in enumerate([5, 1, 7, 3]))
        pair = v | ((v * 3 & mask) << 32)
        funnel = (pair << (i & 31)) >> 32 & mask
        r ^= (perm + funnel + (v * 0x9E3779B9 >> 32)) & mask
        dot = 7 + sum((byte(v, n) - 256 * (byte(v, n) >> 7)) * (4 - n) for n in range(4))
        sad = abs(v - i) + 5
        vadd = ((v + 2) & 0xFFFF) | (((v >> 16) + 1) & 0xFFFF) << 16
        r += dot + sad + vadd + ballot
        r += 7 * sum(1 << j for j, w in enumerate(x) if (int(w) & 3) == (v & 3))
        wide = v * v + i
        r += wide % 1000003 + (wide // 17 & mask) + total
        out.append(r & mask)
    return np.array(out, np.uint32)


def toward(x, up):
    """float32 to float16, towards zero or up."""
    with np.errstate(over="ignore", invalid="ignore"):
        near = x.astype(np.float16)
        wide = near.astype(np.float32)
        if up:
            near = np.where(wide < x, np.nextafter(near, np.float16(np.inf)), near)
        else:
            near = np.where(np.abs(wide) > np.abs(x), np.nextafter(near, np.float16(0)), near)
    return near


def e4m3(x):
    codes = np.array([c for c in range(0x7F)])
    value = np.where(codes >> 3 == 0, (codes & 7) / 8 * 2.0**-6, (1 + (codes & 7) / 8) * 2.0 ** ((codes >> 3) - 7))
    out = []
    for v in x:
        if np.isnan(v):
            out.append(0x7F)
            continue
        d = np.abs(value - abs(float(v)))
        best = min(range(len(codes)), key=lambda c: (d[c], c & 1))
        out.append(best | (0x80 if np.signbit(v) else 0))
    return np.array(out, np.uint8)
