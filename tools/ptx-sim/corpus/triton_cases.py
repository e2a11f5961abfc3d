"""Kernels written in Triton, compiled for a target that need not be there."""

import re

import numpy as np
import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from case import Case, from_bf16, to_bf16

rng = np.random.default_rng(7)


@triton.jit
def add(x, y, out, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < n
    tl.store(out + at, tl.load(x + at, mask=inside) + tl.load(y + at, mask=inside), mask=inside)


@triton.jit
def softmax(x, out, columns, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    at = tl.arange(0, BLOCK)
    v = tl.load(x + row * columns + at, mask=at < columns, other=-float("inf"))
    e = tl.exp(v - tl.max(v, 0))
    tl.store(out + row * columns + at, e / tl.sum(e, 0), mask=at < columns)


@triton.jit
def layer_norm(x, w, b, out, columns, eps, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    at = tl.arange(0, BLOCK)
    inside = at < columns
    v = tl.load(x + row * columns + at, mask=inside, other=0.0).to(tl.float32)
    mean = tl.sum(v, 0) / columns
    d = tl.where(inside, v - mean, 0.0)
    r = 1 / tl.sqrt(tl.sum(d * d, 0) / columns + eps)
    y = d * r * tl.load(w + at, mask=inside) + tl.load(b + at, mask=inside)
    tl.store(out + row * columns + at, y.to(out.dtype.element_ty), mask=inside)


@triton.jit
def matmul(a, b, c, M, N, K, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, ACC: tl.constexpr):
    rm = tl.program_id(0) * BM + tl.arange(0, BM)
    rn = tl.program_id(1) * BN + tl.arange(0, BN)
    rk = tl.arange(0, BK)
    acc = tl.zeros((BM, BN), dtype=ACC)
    for k in range(0, tl.cdiv(K, BK)):
        left = tl.load(a + rm[:, None] * K + (k * BK + rk)[None, :], mask=(rm[:, None] < M) & (k * BK + rk < K)[None, :], other=0.0)
        right = tl.load(b + (k * BK + rk)[:, None] * N + rn[None, :], mask=(k * BK + rk < K)[:, None] & (rn[None, :] < N), other=0.0)
        acc = tl.dot(left, right, acc)
    tl.store(c + rm[:, None] * N + rn[None, :], acc.to(c.dtype.element_ty), mask=(rm[:, None] < M) & (rn[None, :] < N))


@triton.jit
def attention(q, k, v, o, S, scale, BM: tl.constexpr, BN: tl.constexpr, D: tl.constexpr, CAUSAL: tl.constexpr):
    rows = tl.program_id(0) * BM + tl.arange(0, BM)
    head = tl.program_id(1) * S * D
    d = tl.arange(0, D)
    query = tl.load(q + head + rows[:, None] * D + d[None, :], mask=rows[:, None] < S, other=0)
    best = tl.full((BM,), -float("inf"), tl.float32)
    total = tl.zeros((BM,), tl.float32)
    acc = tl.zeros((BM, D), tl.float32)
    last = tl.minimum(S, (tl.program_id(0) + 1) * BM) if CAUSAL else S
    for start in range(0, last, BN):
        cols = start + tl.arange(0, BN)
        key = tl.load(k + head + cols[None, :] * D + d[:, None], mask=cols[None, :] < S, other=0)
        s = tl.dot(query, key) * scale
        seen = cols[None, :] < S
        if CAUSAL:
            seen = seen & (cols[None, :] <= rows[:, None])
        s = tl.where(seen, s, -float("inf"))
        now = tl.maximum(best, tl.max(s, 1))
        p = tl.exp2(s - now[:, None])
        keep = tl.exp2(best - now)
        total = total * keep + tl.sum(p, 1)
        value = tl.load(v + head + cols[:, None] * D + d[None, :], mask=cols[:, None] < S, other=0)
        acc = tl.dot(p.to(value.dtype), value, acc * keep[:, None])
        best = now
    tl.store(o + head + rows[:, None] * D + d[None, :], (acc / total[:, None]).to(o.dtype.element_ty), mask=rows[:, None] < S)


@triton.jit
def functions(x, out, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    v = tl.load(x + at, mask=at < n, other=1.0)
    y = tl.exp(v) + tl.log(v + 3.5) + tl.sqrt(v + 4.0) + tl.rsqrt(v + 4.0) + tl.sin(v) * tl.cos(v)
    y += tl.sigmoid(v) + tl.floor(v) - tl.ceil(v) + tl.erf(v) + tl.abs(v) + tl.exp2(v) + tl.log2(v + 5.0)
    tl.store(out + at, y, mask=at < n)


@triton.jit
def integers(x, y, out, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < n
    a = tl.load(x + at, mask=inside, other=1)
    b = tl.load(y + at, mask=inside, other=1)
    r = a // b + a % b * 3 + (a ^ b) + (a << 3) + (a >> 2) + tl.umulhi(a, b) + tl.minimum(a, b) - tl.maximum(a, b)
    tl.store(out + at, r, mask=inside)


@triton.jit
def histogram(x, counts, n, BINS: tl.constexpr, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    v = tl.load(x + at, mask=at < n, other=0)
    tl.atomic_add(counts + v, 1, mask=at < n)


@triton.jit
def atomics(x, total, greatest, least, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < n
    v = tl.load(x + at, mask=inside, other=0)
    tl.atomic_add(total + (at % 4), v.to(tl.float32), mask=inside)
    tl.atomic_max(greatest, tl.max(v, 0))
    tl.atomic_min(least, tl.min(v, 0))


@triton.jit
def scans(x, sums, products, order, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    at = row * BLOCK + tl.arange(0, BLOCK)
    v = tl.load(x + at)
    tl.store(sums + at, tl.cumsum(v, 0))
    tl.store(products + row, tl.argmax(v, 0))
    tl.store(order + at, tl.sort(v))


@triton.jit
def transpose(x, out, M, N, B: tl.constexpr):
    r = tl.program_id(0) * B + tl.arange(0, B)
    c = tl.program_id(1) * B + tl.arange(0, B)
    v = tl.load(x + r[:, None] * N + c[None, :], mask=(r[:, None] < M) & (c[None, :] < N))
    tl.store(out + c[:, None] * M + r[None, :], tl.trans(v), mask=(c[:, None] < N) & (r[None, :] < M))


@triton.jit
def random_numbers(out, seed, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out + at, tl.randint(seed, at).to(tl.int32, bitcast=True), mask=at < n)


@triton.jit
def fp8(x, out, n, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    v = tl.load(x + at, mask=at < n)
    tl.store(out + at, v.to(tl.float8e4nv).to(tl.float32) + v.to(tl.float8e5).to(tl.float32), mask=at < n)


@triton.jit
def semaphore(x, out, lock, count, BLOCK: tl.constexpr):
    """Every program adds its part; the last one writes the sum: the pattern of a split reduction."""
    pid = tl.program_id(0)
    at = tl.arange(0, BLOCK)
    v = tl.load(x + pid * BLOCK + at)
    tl.atomic_add(out + at, v)
    before = tl.atomic_add(lock, 1, sem="acq_rel")
    if before == count - 1:
        # The atomic read sees what every program has added.
        s = tl.atomic_add(out + at, 0.0)
        tl.store(out + BLOCK + at, s * 2)


@triton.jit
def gelu_half(x, y, out, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < n
    a = tl.load(x + at, mask=inside, other=0)
    b = tl.load(y + at, mask=inside, other=0)
    f = a.to(tl.float32)
    g = 0.5 * f * (1 + tl.erf(f * 0.70710678))
    tl.store(out + at, (g * b).to(out.dtype.element_ty), mask=inside)


@triton.jit
def gather_rows(x, index, out, columns, BLOCK: tl.constexpr):
    row = tl.load(index + tl.program_id(0))
    for start in range(0, columns, BLOCK):
        at = start + tl.arange(0, BLOCK)
        tl.store(out + tl.program_id(0) * columns + at, tl.load(x + row * columns + at, mask=at < columns), mask=at < columns)


@triton.jit
def tma_copy(x, out, M, N, BM: tl.constexpr, BN: tl.constexpr):
    """Descriptors made on the device: tensor maps are written, fenced and used."""
    source = tl.make_tensor_descriptor(x, [M, N], [N, 1], [BM, BN])
    target = tl.make_tensor_descriptor(out, [M, N], [N, 1], [BM, BN])
    r, c = tl.program_id(0) * BM, tl.program_id(1) * BN
    target.store([r, c], source.load([r, c]) * 2)


@triton.jit
def tma_matmul(a, b, c, M, N, K, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    left = tl.make_tensor_descriptor(a, [M, K], [K, 1], [BM, BK])
    right = tl.make_tensor_descriptor(b, [K, N], [N, 1], [BK, BN])
    result = tl.make_tensor_descriptor(c, [M, N], [N, 1], [BM, BN])
    r, col = tl.program_id(0) * BM, tl.program_id(1) * BN
    acc = tl.zeros((BM, BN), tl.float32)
    for k in range(0, K, BK):
        acc = tl.dot(left.load([r, k]), right.load([k, col]), acc)
    result.store([r, col], acc.to(tl.float16))


@triton.jit
def persistent(a, b, c, M, N, K, PROGRAMS: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    across = tl.cdiv(N, BN)
    for tile in range(tl.program_id(0), tl.cdiv(M, BM) * across, PROGRAMS):
        rm = (tile // across) * BM + tl.arange(0, BM)
        rn = (tile % across) * BN + tl.arange(0, BN)
        acc = tl.zeros((BM, BN), tl.float32)
        for k in range(0, K, BK):
            rk = k + tl.arange(0, BK)
            left = tl.load(a + rm[:, None] * K + rk[None, :], mask=rm[:, None] < M, other=0)
            right = tl.load(b + rk[:, None] * N + rn[None, :], mask=rn[None, :] < N, other=0)
            acc += tl.dot(left, right)
        tl.store(c + rm[:, None] * N + rn[None, :], acc, mask=(rm[:, None] < M) & (rn[None, :] < N))


@triton.jit
def quantized(a, w, scale, c, M, N, K, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    """f16 times int8 weights with a scale for each column."""
    rm, rn = tl.program_id(0) * BM + tl.arange(0, BM), tl.program_id(1) * BN + tl.arange(0, BN)
    acc = tl.zeros((BM, BN), tl.float32)
    for k in range(0, K, BK):
        rk = k + tl.arange(0, BK)
        left = tl.load(a + rm[:, None] * K + rk[None, :])
        right = tl.load(w + rk[:, None] * N + rn[None, :]).to(tl.float16)
        acc = tl.dot(left, right, acc)
    tl.store(c + rm[:, None] * N + rn[None, :], acc * tl.load(scale + rn)[None, :])


@triton.jit
def rope(x, cos, sin, out, S, D: tl.constexpr):
    row = tl.program_id(0)
    half: tl.constexpr = D // 2
    at = tl.arange(0, half)
    c, s = tl.load(cos + (row % S) * half + at), tl.load(sin + (row % S) * half + at)
    u, v = tl.load(x + row * D + at), tl.load(x + row * D + half + at)
    tl.store(out + row * D + at, u * c - v * s)
    tl.store(out + row * D + half + at, v * c + u * s)


@triton.jit
def cross_entropy(x, label, loss, columns, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    best, total = -float("inf"), 0.0
    for start in range(0, columns, BLOCK):
        at = start + tl.arange(0, BLOCK)
        v = tl.load(x + row * columns + at, mask=at < columns, other=-float("inf"))
        now = tl.maximum(best, tl.max(v, 0))
        total = total * tl.exp(best - now) + tl.sum(tl.exp(v - now), 0)
        best = now
    picked = tl.load(x + row * columns + tl.load(label + row))
    tl.store(loss + row, tl.log(total) + best - picked)


@triton.jit
def convolution(x, w, out, H, W, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    r, c = at // W, at % W
    acc = tl.zeros((BLOCK,), tl.float32)
    for i in tl.static_range(3):
        for j in tl.static_range(3):
            y, z = r + i - 1, c + j - 1
            inside = (y >= 0) & (y < H) & (z >= 0) & (z < W)
            acc += tl.load(x + y * W + z, mask=inside, other=0) * tl.load(w + i * 3 + j)
    tl.store(out + at, acc, mask=at < H * W)


@triton.jit
def multiply_add(x0, y0, x1, y1):
    return x0 * x1, y0 * x1 + y1


@triton.jit
def recurrence(a, b, out, N: tl.constexpr):
    """h[i] = a[i] h[i-1] + b[i], as an associative scan."""
    row = tl.program_id(0)
    at = row * N + tl.arange(0, N)
    _, h = tl.associative_scan((tl.load(a + at), tl.load(b + at)), 0, multiply_add)
    tl.store(out + at, h)


@triton.jit
def talkative(x, n, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    tl.device_assert(tl.load(x + at) < n, "too large")


class Compiled:
    def __init__(self, fn, signature, constants, arch, warps=4, stages=3, **more):
        names = fn.arg_names
        types = {n: signature.get(n, "constexpr") for n in names}
        # Pointers and sizes are multiples of 16, as Triton's launcher would find them.
        attrs = {(n,): [["tt.divisibility", 16]] for n, name in enumerate(names) if types[name].startswith("*")}
        source = ASTSource(fn=fn, signature=types, constexprs={(names.index(k),): v for k, v in constants.items()}, attrs=attrs)
        made = triton.compile(source, target=GPUTarget("cuda", arch, 32), options={"num_warps": warps, "num_stages": stages, **more})
        self.ptx = made.asm["ptx"]
        self.entry = made.metadata.name
        self.shared = made.metadata.shared
        self.block = (int(re.search(r"\.reqntid (\d+)", self.ptx).group(1)), 1, 1)
        text = self.ptx[self.ptx.index(".entry") :]
        params = len(re.findall(r"\.param ", text[: text.index("{")]))
        # Beyond the kernel's own arguments come two buffers of scratch memory: descriptors made on the device live there.
        self.scratch = getattr(made.metadata, "global_scratch_size", 0)
        self.count = params - sum(t != "constexpr" for t in types.values())

    def case(self, name, grid, args, **more):
        extra = [("null",)] * self.count
        if self.scratch and extra:
            size = self.scratch * int(np.prod(grid))
            extra[0] = ("in", np.zeros(size, np.int8))
        return Case(name, self.ptx, self.entry, grid, self.block, args + extra, shared=self.shared, **more)


def cases(arch):
    f32 = lambda *shape: rng.standard_normal(shape, np.float32)

    x, y = f32(1000), f32(1000)
    k = Compiled(add, {"x": "*fp32", "y": "*fp32", "out": "*fp32", "n": "i32"}, {"BLOCK": 256}, arch)
    yield k.case("add", (4, 1, 1), [("in", x), ("in", y), ("out", x + y), ("i32", 1000)])

    x = f32(5, 700)
    e = np.exp(x.astype(np.float64) - x.max(1, keepdims=True))
    k = Compiled(softmax, {"x": "*fp32", "out": "*fp32", "columns": "i32"}, {"BLOCK": 1024}, arch)
    yield k.case("softmax", (5, 1, 1), [("in", x), ("out", (e / e.sum(1, keepdims=True)).astype(np.float32)), ("i32", 700)], rtol=1e-5, atol=1e-7)

    x, w, b = f32(3, 500), f32(500), f32(500)
    xb = to_bf16(x)
    v = from_bf16(xb).astype(np.float64)
    want = (v - v.mean(1, keepdims=True)) / np.sqrt(v.var(1, keepdims=True) + 1e-5) * w + b
    k = Compiled(layer_norm, {"x": "*bf16", "w": "*fp32", "b": "*fp32", "out": "*bf16", "columns": "i32", "eps": "fp32"}, {"BLOCK": 512}, arch)
    yield k.case("layer_norm_bf16", (3, 1, 1), [("in", xb), ("in", w), ("in", b), ("out", to_bf16(want)), ("i32", 500), ("f32", 1e-5)], read="bf16", rtol=1e-2, atol=1e-3)

    for name, kind, make, read, out, acc, tol in [
        ("f16", "*fp16", lambda v: v.astype(np.float16), lambda v: v.astype(np.float64), "*fp32", tl.float32, 1e-3),
        ("bf16", "*bf16", to_bf16, lambda v: from_bf16(v).astype(np.float64), "*fp32", tl.float32, 1e-3),
        ("tf32", "*fp32", lambda v: v, lambda v: v.astype(np.float64), "*fp32", tl.float32, 3e-2),
        ("f16_acc16", "*fp16", lambda v: (v / 8).astype(np.float16), lambda v: v.astype(np.float64), "*fp16", tl.float16, 2e-2),
        ("s8", "*i8", lambda v: (v * 40).clip(-127, 127).astype(np.int8), lambda v: v.astype(np.int64), "*i32", tl.int32, 0),
    ]:
        for M, N, K, blocks, warps in [(100, 72, 96, (32, 32, 32), 4), (128, 128, 128, (64, 64, 64), 4), (96, 64, 80, (16, 64, 32), 2)]:
            a, b = make(f32(M, K)), make(f32(K, N))
            want = (read(a) @ read(b)).astype({"*fp32": np.float32, "*i32": np.int32, "*fp16": np.float16}[out])
            BM, BN, BK = blocks
            sig = {"a": kind, "b": kind, "c": out, "M": "i32", "N": "i32", "K": "i32"}
            k = Compiled(matmul, sig, {"BM": BM, "BN": BN, "BK": BK, "ACC": acc}, arch, warps)
            grid = (-(-M // BM), -(-N // BN), 1)
            yield k.case(f"matmul_{name}_{BM}x{BN}x{BK}", grid, [("in", a), ("in", b), ("out", want), ("i32", M), ("i32", N), ("i32", K)], rtol=tol, atol=10 * tol)

    for causal in (False, True):
        for D, S, BM, BN, kind in [(64, 130, 64, 32, "f16"), (128, 96, 64, 64, "bf16"), (32, 77, 16, 16, "f16")]:
            make = to_bf16 if kind == "bf16" else lambda v: v.astype(np.float16)
            read = from_bf16 if kind == "bf16" else lambda v: v
            q, kk, v = (make(f32(2, S, D)) for _ in range(3))
            s = read(q).astype(np.float64) @ read(kk).astype(np.float64).transpose(0, 2, 1) / np.sqrt(D)
            if causal:
                s = np.where(np.tril(np.ones((S, S), bool)), s, -np.inf)
            p = np.exp(s - s.max(-1, keepdims=True))
            want = make((p / p.sum(-1, keepdims=True)) @ read(v).astype(np.float64))
            sig = {"q": "*" + {"f16": "fp16"}.get(kind, kind), "S": "i32", "scale": "fp32"}
            sig |= {n: sig["q"] for n in "kvo"}
            k = Compiled(attention, sig, {"BM": BM, "BN": BN, "D": D, "CAUSAL": causal}, arch)
            args = [("in", q), ("in", kk), ("in", v), ("out", want), ("i32", S), ("f32", 1.4426950408889634 / np.sqrt(D))]
            yield k.case(f"attention_{kind}_{D}{'_causal' if causal else ''}", (-(-S // BM), 2, 1), args, read="bf16" if kind == "bf16" else "plain", rtol=2e-2, atol=1e-2)

    x = (f32(300) * 1.5).clip(-3, 3)
    d = x.astype(np.float64)
    from math import erf

    want = np.exp(d) + np.log(d + 3.5) + np.sqrt(d + 4) + 1 / np.sqrt(d + 4) + np.sin(d) * np.cos(d)
    want += 1 / (1 + np.exp(-d)) + np.floor(d) - np.ceil(d) + np.vectorize(erf)(d) + np.abs(d) + 2**d + np.log2(d + 5)
    k = Compiled(functions, {"x": "*fp32", "out": "*fp32", "n": "i32"}, {"BLOCK": 256}, arch)
    yield k.case("functions", (2, 1, 1), [("in", x), ("out", want.astype(np.float32)), ("i32", 300)], rtol=1e-5, atol=1e-5)

    a = rng.integers(1, 1 << 30, 200, dtype=np.int32)
    b = rng.integers(1, 1 << 12, 200, dtype=np.int32)
    wide = a.astype(np.int64) * b
    with np.errstate(over="ignore"):
        want = a // b + a % b * 3 + (a ^ b) + (a << 3) + (a >> 2) + (wide >> 32).astype(np.int32) + np.minimum(a, b) - np.maximum(a, b)
    k = Compiled(integers, {"x": "*i32", "y": "*i32", "out": "*i32", "n": "i32"}, {"BLOCK": 128}, arch)
    yield k.case("integers", (2, 1, 1), [("in", a), ("in", b), ("out", want), ("i32", 200)])

    v = rng.integers(0, 16, 700, dtype=np.int32)
    k = Compiled(histogram, {"x": "*i32", "counts": "*i32", "n": "i32"}, {"BINS": 16, "BLOCK": 256}, arch)
    yield k.case("histogram", (3, 1, 1), [("in", v), ("inout", np.zeros(16, np.int32), np.bincount(v, minlength=16).astype(np.int32)), ("i32", 700)])

    v = rng.integers(-1000, 1000, 700, dtype=np.int32)
    k = Compiled(atomics, {"x": "*i32", "total": "*fp32", "greatest": "*i32", "least": "*i32", "n": "i32"}, {"BLOCK": 256}, arch)
    sums = np.array([v[i::4].sum() for i in range(4)], np.float32)
    yield k.case("atomics", (3, 1, 1), [("in", v), ("inout", np.zeros(4, np.float32), sums), ("inout", np.full(1, -5000, np.int32), v.max(keepdims=True)), ("inout", np.full(1, 5000, np.int32), v.min(keepdims=True)), ("i32", 700)])

    x = np.round(f32(4, 256) * 64) / 64
    k = Compiled(scans, {"x": "*fp32", "sums": "*fp32", "products": "*i32", "order": "*fp32"}, {"BLOCK": 256}, arch)
    yield k.case("scans", (4, 1, 1), [("in", x), ("out", np.cumsum(x, 1)), ("out", x.argmax(1).astype(np.int32)), ("out", np.sort(x, 1))])

    x = f32(70, 50).astype(np.float16)
    k = Compiled(transpose, {"x": "*fp16", "out": "*fp16", "M": "i32", "N": "i32"}, {"B": 32}, arch)
    yield k.case("transpose", (3, 2, 1), [("in", x), ("out", x.T), ("i32", 70), ("i32", 50)])

    k = Compiled(random_numbers, {"out": "*i32", "seed": "i32", "n": "i32"}, {"BLOCK": 128}, arch)
    yield k.case("philox", (2, 1, 1), [("out", philox(12345, np.arange(200))), ("i32", 12345), ("i32", 200)])

    x, y, kinds = f32(900), f32(900), {"x": "*fp16", "y": "*fp16", "out": "*fp16", "n": "i32"}
    x, y = x.astype(np.float16), y.astype(np.float16)
    f = x.astype(np.float64)
    want = (0.5 * f * (1 + np.vectorize(erf)(f * 0.70710678)) * y.astype(np.float64)).astype(np.float16)
    k = Compiled(gelu_half, kinds, {"BLOCK": 512}, arch)
    yield k.case("gelu_f16", (2, 1, 1), [("in", x), ("in", y), ("out", want), ("i32", 900)], rtol=3e-3, atol=1e-5)

    x = f32(10, 300)
    index = rng.integers(0, 10, 6, dtype=np.int32)
    k = Compiled(gather_rows, {"x": "*fp32", "index": "*i32", "out": "*fp32", "columns": "i32"}, {"BLOCK": 128}, arch)
    yield k.case("gather", (6, 1, 1), [("in", x), ("in", index), ("out", x[index]), ("i32", 300)])

    x = np.round(f32(4, 128) * 16)
    k = Compiled(semaphore, {"x": "*fp32", "out": "*fp32", "lock": "*i32", "count": "i32"}, {"BLOCK": 128}, arch)
    s = x.sum(0)
    yield k.case("semaphore", (4, 1, 1), [("in", x), ("inout", np.zeros(256, np.float32), np.concatenate([s, 2 * s])), ("inout", np.zeros(1, np.int32), np.full(1, 4, np.int32)), ("i32", 4)])

    yield from more_cases(arch, f32)

    if arch >= 89:
        x = np.concatenate([f32(100) * 10, np.array([448, 500, -1e6, 1e-3, 0.0, -0.0], np.float32)])
        want = to_fp8(x, 4, 3, 448.0) + to_fp8(x, 5, 2, 57344.0)
        k = Compiled(fp8, {"x": "*fp32", "out": "*fp32", "n": "i32"}, {"BLOCK": 128}, arch)
        yield k.case("fp8", (1, 1, 1), [("in", x), ("out", want.astype(np.float32)), ("i32", x.size)])


def more_cases(arch, f32):
    f16 = lambda *shape: f32(*shape).astype(np.float16)
    product = lambda a, b: a.astype(np.float64) @ b.astype(np.float64)

    M, N, K = 96, 80, 64
    a, b = f16(M, K), f16(K, N)
    sig = {"a": "*fp16", "b": "*fp16", "c": "*fp32", "M": "i32", "N": "i32", "K": "i32"}
    k = Compiled(persistent, sig, {"PROGRAMS": 2, "BM": 32, "BN": 32, "BK": 32}, arch)
    yield k.case("persistent", (2, 1, 1), [("in", a), ("in", b), ("out", product(a, b).astype(np.float32)), ("i32", M), ("i32", N), ("i32", K)], rtol=1e-3, atol=1e-3)

    a, w, scale = f16(64, 64), rng.integers(-127, 128, (64, 64), dtype=np.int8), np.abs(f32(64)) / 64
    sig = {"a": "*fp16", "w": "*i8", "scale": "*fp32", "c": "*fp32", "M": "i32", "N": "i32", "K": "i32"}
    k = Compiled(quantized, sig, {"BM": 64, "BN": 64, "BK": 32}, arch)
    yield k.case("quantized", (1, 1, 1), [("in", a), ("in", w), ("in", scale), ("out", (product(a, w) * scale).astype(np.float32)), ("i32", 64), ("i32", 64), ("i32", 64)], rtol=1e-3, atol=1e-3)

    S, D = 6, 64
    x, angle = f32(12, D), f32(S, D // 2)
    c, s = np.cos(angle), np.sin(angle)
    rows = np.arange(12) % S
    u, v = x[:, : D // 2], x[:, D // 2 :]
    want = np.concatenate([u * c[rows] - v * s[rows], v * c[rows] + u * s[rows]], 1)
    k = Compiled(rope, {"x": "*fp32", "cos": "*fp32", "sin": "*fp32", "out": "*fp32", "S": "i32"}, {"D": D}, arch, warps=1)
    yield k.case("rope", (12, 1, 1), [("in", x), ("in", c), ("in", s), ("out", want), ("i32", S)], rtol=1e-5, atol=1e-5)

    x, label = f32(4, 1000) * 3, rng.integers(0, 1000, 4, dtype=np.int32)
    d = x.astype(np.float64)
    want = np.log(np.exp(d).sum(1)) - d[np.arange(4), label]
    k = Compiled(cross_entropy, {"x": "*fp32", "label": "*i32", "loss": "*fp32", "columns": "i32"}, {"BLOCK": 256}, arch, warps=8)
    yield k.case("cross_entropy", (4, 1, 1), [("in", x), ("in", label), ("out", want.astype(np.float32)), ("i32", 1000)], rtol=1e-5, atol=1e-5)

    x, w = f32(19, 23), f32(3, 3)
    padded = np.pad(x, 1).astype(np.float64)
    want = sum(padded[i : i + 19, j : j + 23] * w[i, j] for i in range(3) for j in range(3))
    k = Compiled(convolution, {"x": "*fp32", "w": "*fp32", "out": "*fp32", "H": "i32", "W": "i32"}, {"BLOCK": 128}, arch)
    yield k.case("convolution", (4, 1, 1), [("in", x), ("in", w), ("out", want.astype(np.float32)), ("i32", 19), ("i32", 23)], rtol=1e-5, atol=1e-5)

    a, b = np.abs(f32(3, 256)).clip(0, 1), f32(3, 256)
    h, want = np.zeros(3), []
    for i in range(256):
        h = a[:, i] * h + b[:, i]
        want.append(h)
    k = Compiled(recurrence, {"a": "*fp32", "b": "*fp32", "out": "*fp32"}, {"N": 256}, arch)
    yield k.case("recurrence", (3, 1, 1), [("in", a), ("in", b), ("out", np.stack(want, 1).astype(np.float32))], rtol=1e-4, atol=1e-5)

    k = Compiled(talkative, {"x": "*i32", "n": "i32"}, {"BLOCK": 64}, arch, debug=True)
    yield k.case("device_assert", (1, 1, 1), [("in", np.arange(64, dtype=np.int32)), ("i32", 50)], refuted="too large")

    if arch >= 90:
        x = f32(64, 128)
        k = Compiled(tma_copy, {"x": "*fp32", "out": "*fp32", "M": "i32", "N": "i32"}, {"BM": 32, "BN": 32}, arch)
        yield k.case("tma_copy", (2, 4, 1), [("in", x), ("out", 2 * x), ("i32", 64), ("i32", 128)])
        M, N, K = 128, 128, 192
        a, b = f16(M, K), f16(K, N)
        sig = {"a": "*fp16", "b": "*fp16", "c": "*fp16", "M": "i32", "N": "i32", "K": "i32"}
        for warps in (4, 8):
            k = Compiled(tma_matmul, sig, {"BM": 64 * warps // 4, "BN": 64, "BK": 64}, arch, warps)
            args = [("in", a), ("in", b), ("out", product(a, b).astype(np.float16)), ("i32", M), ("i32", N), ("i32", K)]
            yield k.case(f"tma_matmul_{warps}", (M // (64 * warps // 4), 2, 1), args, rtol=2e-3, atol=2e-2)
        a, b = (rng.integers(-3, 4, shape).astype(np.float32) for shape in ((64, 128), (128, 64)))
        code = lambda v: (np.array([0, 0x38, 0x40, 0x44])[np.abs(v).astype(int)] | (v < 0) * 0x80).astype(np.uint8).view(np.int8)
        sig = {"a": "*fp8e4nv", "b": "*fp8e4nv", "c": "*fp32", "M": "i32", "N": "i32", "K": "i32"}
        for warps, blocks in [(4, (64, 64, 64)), (2, (16, 32, 64))]:
            k = Compiled(matmul, sig, {"BM": blocks[0], "BN": blocks[1], "BK": blocks[2], "ACC": tl.float32}, arch, warps)
            args = [("in", code(a)), ("in", code(b)), ("out", a @ b), ("i32", 64), ("i32", 64), ("i32", 128)]
            yield k.case(f"matmul_fp8_{blocks[0]}x{blocks[1]}x{blocks[2]}", (64 // blocks[0], 64 // blocks[1], 1), args)


def to_fp8(x, exponent, fraction, greatest):
    """The nearest number of an 8-bit format, ties to even, saturating."""
    v = np.abs(x.astype(np.float64))
    lowest = 2 - (1 << (exponent - 1))
    e = np.maximum(np.floor(np.log2(np.maximum(v, 1e-300))), lowest)
    quantum = 2.0 ** (e - fraction)
    return np.copysign(np.minimum(np.round(v / quantum) * quantum, greatest), x)


def philox(seed, offsets):
    """Philox 4x32, ten rounds, counter (offset, 0, 0, 0): the first word."""
    c = [offsets.astype(np.uint64), *(np.zeros(offsets.size, np.uint64) for _ in range(3))]
    k0, k1 = seed & 0xFFFFFFFF, seed >> 32
    for _ in range(10):
        p0, p1 = c[0] * np.uint64(0xD2511F53), c[2] * np.uint64(0xCD9E8D57)
        low = np.uint64(0xFFFFFFFF)
        c = [(p1 >> np.uint64(32)) ^ c[1] ^ np.uint64(k0), p1 & low, (p0 >> np.uint64(32)) ^ c[3] ^ np.uint64(k1), p0 & low]
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return c[0].astype(np.uint32).view(np.int32)
