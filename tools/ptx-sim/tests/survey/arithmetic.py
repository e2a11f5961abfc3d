"""Arithmetic of every type, rounding and modifier, comparisons, classes, bit fields; atomics on a cell for each thread."""

import numpy as np

from item import BITS, KIND, Item, column, columns, elementwise

ONE, TWO, THREE = "%d, %a;", "%d, %a, %b;", "%d, %a, %b, %c;"
ROUNDINGS = ("rn", "rz", "rm", "rp")
NAN_RULES = ("", ".NaN", ".xorsign.abs", ".NaN.xorsign.abs")
COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge", "equ", "neu", "ltu", "leu", "gtu", "geu", "num", "nan")


def items():
    rng = np.random.default_rng(7)
    yield from singles(rng)
    yield from halves(rng)
    yield from integers(rng)
    yield from words(rng)
    yield from atomics(rng)


def plain(rng, text, destination, kinds):
    return elementwise(text, destination, [KIND[k] for k in kinds], columns(rng, kinds))


def singles(rng):
    for ty in ("f32", "f64"):
        kind = KIND[ty]
        flushes = ("", ".ftz") if ty == "f32" else ("",)
        for rounding in ROUNDINGS:
            for words_ in [f + s for f in flushes for s in (("", ".sat") if ty == "f32" else ("",))]:
                for op in ("add", "sub", "mul"):
                    yield plain(rng, f"{op}.{rounding}{words_}.{ty} {TWO}", kind, [ty] * 2)
                yield plain(rng, f"fma.{rounding}{words_}.{ty} {THREE}", kind, [ty] * 3)
            for flush in flushes:
                yield plain(rng, f"div.{rounding}{flush}.{ty} {TWO}", kind, [ty] * 2)
                yield plain(rng, f"rcp.{rounding}{flush}.{ty} {ONE}", kind, [ty])
                yield plain(rng, f"sqrt.{rounding}{flush}.{ty} {ONE}", kind, [ty])
        for flush in flushes:
            for op in ("min", "max"):
                for rule in NAN_RULES if ty == "f32" else ("",):
                    yield plain(rng, f"{op}{flush}{rule}.{ty} {TWO}", kind, [ty] * 2)
            for op in ("abs", "neg"):
                yield plain(rng, f"{op}{flush}.{ty} {ONE}", kind, [ty])
            for name in COMPARISONS:
                yield plain(rng, f"setp.{name}{flush}.{ty} {TWO}", "p", [ty] * 2)
        yield plain(rng, f"copysign.{ty} {TWO}", kind, [ty] * 2)
        for name in ("finite", "infinite", "number", "notanumber", "normal", "subnormal"):
            yield plain(rng, f"testp.{name}.{ty} {ONE}", "p", [ty])


def halves(rng):
    for ty in ("f16", "bf16"):
        for pair in (False, True):
            name, kind = (ty + "x2", "r") if pair else (ty, "h")

            def one(text, count):
                low = columns(rng, [ty] * count)
                if pair:
                    low = [p | q << np.uint64(16) for p, q in zip(low, columns(rng, [ty] * count))]
                return elementwise(text, kind, [kind] * count, low)

            for flush in ("", ".ftz") if ty == "f16" else ("",):
                for sat in ("", ".sat") if ty == "f16" else ("",):
                    for op in ("add", "sub", "mul"):
                        yield one(f"{op}.rn{flush}{sat}.{name} {TWO}", 2)
                    yield one(f"fma.rn{flush}{sat}.{name} {THREE}", 3)
                yield one(f"fma.rn{flush}.relu.{name} {THREE}", 3)
                for op in ("neg", "abs"):
                    yield one(f"{op}{flush}.{name} {ONE}", 1)
                for op in ("min", "max"):
                    for rule in NAN_RULES:
                        yield one(f"{op}{flush}{rule}.{name} {TWO}", 2)


def integers(rng):
    for bits in (16, 32, 64):
        whole = f"i{bits}"
        kind = KIND[whole]
        for sign in "us":
            ty = f"{sign}{bits}"
            for op in ("add", "sub", "mul.lo", "mul.hi", "min", "max", "div", "rem"):
                yield plain(rng, f"{op}.{ty} {TWO}", kind, [whole] * 2)
            for op in ("mad.lo", "mad.hi", "sad"):
                yield plain(rng, f"{op}.{ty} {THREE}", kind, [whole] * 3)
            yield plain(rng, f"shr.{ty} {TWO}", kind, [whole, "amount"])
            if bits < 64:
                double = f"i{2 * bits}"
                yield plain(rng, f"mul.wide.{ty} {TWO}", KIND[double], [whole] * 2)
                yield plain(rng, f"mad.wide.{ty} {THREE}", KIND[double], [whole, whole, double])
            if bits > 16:
                yield plain(rng, f"bfe.{ty} {THREE}", kind, [whole, "amount", "amount"])
                yield plain(rng, f"bfind.{ty} {ONE}", "r", [whole])
                yield plain(rng, f"bfind.shiftamt.{ty} {ONE}", "r", [whole])
        yield plain(rng, f"shl.b{bits} {TWO}", kind, [whole, "amount"])
        for op in (f"cnot.b{bits}", f"abs.s{bits}", f"neg.s{bits}"):
            yield plain(rng, f"{op} {ONE}", kind, [whole])
        if bits > 16:
            yield plain(rng, f"bfi.b{bits} %d, %a, %b, %c, %e;", kind, [whole, whole, "amount", "amount"])
            for op, to in (("popc", "r"), ("clz", "r"), ("brev", kind)):
                yield plain(rng, f"{op}.b{bits} {ONE}", to, [whole])


def words(rng):
    for op in ("add.sat.s32", "sub.sat.s32", "mul24.lo.s32", "mul24.hi.s32", "mul24.lo.u32", "mul24.hi.u32", "add.s16x2", "min.u16x2", "max.s16x2", "max.relu.s16x2"):
        yield plain(rng, f"{op} {TWO}", "r", ["i32"] * 2)
    for op in ("bmsk.wrap.b32", "bmsk.clamp.b32", "szext.wrap.s32", "szext.clamp.s32", "szext.wrap.u32", "szext.clamp.u32"):
        yield plain(rng, f"{op} {TWO}", "r", ["i32", "amount"])
    for op in ("mad.hi.sat.s32", "mad24.lo.s32", "mad24.hi.s32", "mad24.hi.sat.s32", "dp4a.u32.s32", "dp4a.s32.s32", "dp2a.lo.u32.s32", "dp2a.hi.s32.u32", "prmt.b32", "prmt.b32.f4e", "prmt.b32.ecl", "prmt.b32.rc16"):
        yield plain(rng, f"{op} {THREE}", "r", ["i32"] * 3)
    for op in ("shf.l.wrap.b32", "shf.l.clamp.b32", "shf.r.wrap.b32", "shf.r.clamp.b32"):
        yield plain(rng, f"{op} {THREE}", "r", ["i32", "i32", "amount"])


def atomics(rng):
    rows = 1024
    types = {"add": ("u32", "s32", "u64"), "min": ("u32", "s32", "u64", "s64"), "max": ("u32", "s32", "u64", "s64"), "inc": ("u32",), "dec": ("u32",)}
    types |= {op: ("b32", "b64") for op in ("and", "or", "xor", "exch")}
    table = [(f"{op}.{ty}", "r" if ty[1:] == "32" else "x", f"i{ty[1:]}") for op, all_ in types.items() for ty in all_]
    table += [("add.f32", "r", "f32"), ("add.f64", "x", "f64")]
    table += [(f"add.noftz.{ty}{pair}", "r" if pair else "h", ty) for ty in ("f16", "bf16") for pair in ("", "x2")]
    for op, kind, ty in table:
        old, new = columns(rng, [ty, ty], rows)
        if "x2" in op:
            old, new = (v | column(rng, ty, rows) << np.uint64(16) for v in (old, new))
        bits, reg = BITS[kind], f"%{kind}"
        load = "".join(f"    ld.global.b{bits} {reg}{n + 1}, [%in+{8 * n}];\n" for n in range(2))
        start = f"    mad.wide.u32 %in, %t, 16, %in; mad.wide.u32 %out, %t, 16, %out;\n{load}"
        in_global = f"    st.global.b{bits} [%out], {reg}1; atom.global.{op} {reg}3, [%out], {reg}2;\n"
        in_shared = f"""    .shared .align 8 .b8 cells[1024]; mov.u32 %r10, cells; mov.u32 %r11, %tid.x; mad.lo.u32 %r10, %r11, 8, %r10;
    st.shared.b{bits} [%r10], {reg}1; atom.shared.{op} {reg}3, [%r10], {reg}2; ld.shared.b{bits} {reg}4, [%r10]; st.global.b{bits} [%out], {reg}4;
"""
        for space, text in (("global", in_global), ("shared", in_shared)):
            body = start + text + f"    st.global.b{bits} [%out+8], {reg}3;"
            yield Item(f"atom.{space}.{op}", body, np.stack([old, new], axis=1), 16 * rows, 128, rows // 128)
