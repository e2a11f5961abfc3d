#!/usr/bin/env python3
"""Looks for the rule by which a tensor core adds, in the answers of `survey.py run`.

    python3 adder.py device.npz

What is tried: products are exact; those of a block of k and the old sum are moved to the greatest exponent among them; F bits behind its place
are kept and the rest is cut off; the sum is rounded to f32 (to nearest, or cut off, or kept) and goes into the next block. For each
instruction the share of results that a rule gives exactly is printed, the best rules first; 1.0 is a rule that explains everything.

    1.0 + 2^-24 + 2^-24, F = 23: 1, both small ones are cut off      F = 24: 1 + 2^-23
"""

import itertools
import re
import sys

import numpy as np

import survey
from item import FORMAT
from tensor import HALF, MMA, SHARED, WIDTH

NOTHING = -5000


def values(codes, ty):
    """f64 of codes; NaN for what is not finite."""
    exponent, fraction = FORMAT[ty]
    codes = codes.astype(np.int64)
    e, rest = codes >> fraction & (1 << exponent) - 1, codes & (1 << fraction) - 1
    size = np.ldexp((rest + np.where(e > 0, 1 << fraction, 0)).astype(float), np.maximum(e, 1) - (1 << (exponent - 1)) + 1 - fraction)
    top = (codes & 0x7F) == 0x7F if ty == "e4m3" else e == (1 << exponent) - 1
    return np.where(top, np.nan, np.where(codes >> (exponent + fraction) & 1, -size, size))


def unpack(words, ty):
    """One more axis: the elements of a word. The tensor core reads the upper 19 bits of tf32."""
    words = words & np.uint32(0xFFFFE000) if ty == "tf32" else words
    bits = {"f32": 32}.get(ty) or WIDTH[ty]
    return np.stack([values(words >> np.uint32(n) & np.uint32((1 << bits) - 1), ty) for n in range(0, 32, bits)], axis=-1)


def exponent(v):
    return np.where(v == 0, NOTHING, np.frexp(np.abs(v))[1] - 1)


def left(registers, ty):
    """Registers [warp, lane, n] of A as [warp, 16, k]."""
    a = unpack(registers, ty)
    count, per = a.shape[2:]
    out = np.zeros((a.shape[0], 16, max(count // 2, 1) * 4 * per))
    for lane, n in itertools.product(range(32), range(count)):
        at = 4 * per * (n >> 1) + per * (lane % 4)
        out[:, lane // 4 + 8 * (n & 1), at : at + per] = a[:, lane, n]
    return out


def right(registers, ty):
    """Registers of B as [warp, k, 8]."""
    b = unpack(registers, ty)
    count, per = b.shape[2:]
    out = np.zeros((b.shape[0], count * 4 * per, 8))
    for lane, n in itertools.product(range(32), range(count)):
        at = 4 * per * n + per * (lane % 4)
        out[:, at : at + per, lane // 4] = b[:, lane, n]
    return out


def accumulators(registers, half):
    """Registers of C or D as [warp, 16, columns]."""
    c = unpack(registers, "f16" if half else "f32")
    out = np.zeros((c.shape[0], 16, c.shape[2] * (4 if half else 2)))
    for lane, n in itertools.product(range(32), range(c.shape[2])):
        column = 2 * (lane % 4)
        if half:
            out[:, lane // 4 + 8 * (n & 1), 8 * (n >> 1) + column : 8 * (n >> 1) + column + 2] = c[:, lane, n]
        else:
            out[:, lane // 4 + 8 * (n >> 1 & 1), 8 * (n >> 2) + column + (n & 1)] = c[:, lane, n, 0]
    return out


def nearest(v):
    return v.astype(np.float32).astype(float)


def cut(v):
    near = v.astype(np.float32)
    return np.where(np.abs(near) > np.abs(v), np.nextafter(near, np.float32(0)), near).astype(float)


def rule(a, b, c, blocks, kept, rounded):
    total = c
    ea, eb = exponent(a)[:, :, None, :], exponent(b).swapaxes(1, 2)[:, None, :, :]
    products = a[:, :, None, :] * b.swapaxes(1, 2)[:, None, :, :]
    exponents = np.where(products == 0, NOTHING, ea + eb)
    for block in blocks:
        top = np.maximum(np.maximum(exponents[..., block].max(-1), exponent(total)), -1000)
        parts = np.trunc(np.ldexp(products[..., block], (kept - top)[..., None])).sum(-1)
        total = rounded(np.ldexp(parts + np.trunc(np.ldexp(total, kept - top)), top - kept))
    return total


def of_mma(item, answer):
    name = item.name.removeprefix("mma.sync.aligned.")
    na, nb, nd, ty = MMA[name]
    data, half = item.input.view(np.uint32).reshape(-1, 32, na + nb + nd), nd == 2
    factors = left(data[..., :na], ty), right(data[..., na : na + nb], ty)
    return name, ty, half, *factors, accumulators(data[..., na + nb :], half), accumulators(answer.view(np.uint32).reshape(-1, 32, nd), half)


def of_wgmma(item, answer):
    name, d, ty = re.match(r"(wgmma\S+\.(f32|f16)\.(\w+)\.\w+),", item.name).groups()
    half, count = d == "f16", item.out_bytes // 512
    threads = item.input[SHARED:].view(np.uint32).reshape(4, 32, 5 + count)
    # Cores of 8 rows by 16 bytes, those along k side by side.
    cores = item.input[HALF : HALF + 64 * 32].reshape(8, 2, 8, 16).swapaxes(1, 2).reshape(64, 32)
    b = unpack(np.ascontiguousarray(cores).view(np.uint32), ty).reshape(64, -1).T
    a = left(threads[..., :4], ty)
    return name, ty, half, a, np.repeat(b[None], 4, axis=0), accumulators(threads[..., 5:], half), accumulators(answer.view(np.uint32).reshape(4, 32, count), half)


def main(path):
    questions = {}
    with np.load(path) as file:
        for at, item in enumerate(survey.items("tensor")):
            name = f"tensor {at}"
            if name not in file.files:
                continue
            if item.name.startswith("mma.sync"):
                key, *rest = of_mma(item, file[name])
            elif "spread" in item.name and "spread None" not in item.name:
                key, *rest = of_wgmma(item, file[name])
            else:
                continue
            questions.setdefault(key, []).append(rest)
    for key, some in questions.items():
        tried = []
        k = some[0][2].shape[2]
        for size, kept, rounded in itertools.product((4, 8, 16, 32), range(10, 30), (nearest, cut, lambda v: v)):
            if size > k:
                continue
            hits = results = 0
            for ty, half, a, b, c, d in some:
                # Bytes are multiplied as f16 by mma: the lower two of each word, then the upper two, and the old sum at the end.
                bytes_ = ty[0] == "e" and key.startswith("m")
                parts = [[x for x in range(k) if x % 4 // 2 == n] for n in range(2)] if bytes_ else [list(range(k))]
                blocks = [part[n : n + size] for part in parts for n in range(0, len(part), size)]
                got = rule(a, b, c * (not bytes_), blocks, kept, rounded)
                got = nearest(got + c) if bytes_ else got
                got = got.astype(np.float16).astype(float) if half else got
                finite = np.isfinite(d)
                hits, results = hits + (got == d)[finite].sum(), results + finite.sum()
            tried.append((hits / results, f"blocks of {size}, {kept} bits, {getattr(rounded, '__name__', '')}".replace("<lambda>", "kept")))
        tried.sort(reverse=True)
        print(key, *(f"    {share:.4f} {words}" for share, words in tried[:4]), sep="\n", flush=True)


if __name__ == "__main__":
    with np.errstate(all="ignore"):
        main(sys.argv[1])
