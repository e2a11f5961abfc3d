"""Shared and global memory: chains of addresses for latencies, independent accesses for what a multiprocessor takes per clock.

A chain reads its next address from memory. In shared memory every word holds 0, and the next address is the base plus the word
that came; the assembler adds the base in the load itself, where it is one.
"""

import numpy as np

from kernel import build

SHARED = 32 << 10
MODULE = ".extern .shared .align 1024 .b8 smem[];"

# Fills shared memory with zeros; %r9 is its base, %r10 the address of this thread's 16 bytes (a warp's lie side by side).
FILL = """    mov.u32 %r9, smem;
    shl.b32 %r8, %me, 2;
    mov.u32 %r7, 0;
FILL:
    add.u32 %r6, %r9, %r8;
    st.shared.u32 [%r6], %zero;
    mov.u32 %r5, %ntid.x;
    shl.b32 %r5, %r5, 2;
    add.u32 %r8, %r8, %r5;
    setp.lt.u32 %p0, %r8, 32768;
    @%p0 bra FILL;
    shl.b32 %r10, %me, 4;
    and.b32 %r10, %r10, 16383;
    add.u32 %r10, %r10, %r9;
    mov.b32 %r11, %r9;
"""


def registers(first, count):
    return "{" + ", ".join(f"%r{first + n}" for n in range(count)) + "}"


def wide(count):
    return {1: "", 2: ".v2", 4: ".v4"}[count]


def loads(words):
    """Independent loads of so many words by each lane; volatile, so that none is dropped."""
    step = 4 * words
    setup = FILL + f"    mul.lo.u32 %r10, %lane, {step};\n    add.u32 %r10, %r10, %r9;\n"
    body = "\n".join(
        f" ld.volatile.shared{wide(words)}.u32 {registers(20 + 4 * n, words) if words > 1 else f'%r{20 + 4 * n}'}, "
        f"[%r10+{n * 32 * step % 8192}];"
        for n in range(16)
    )
    return build(body, setup=setup, module=MODULE, sink=[f"%r{20 + 4 * n}" for n in range(16)], threads=512)


def stores(words):
    step = 4 * words
    setup = FILL + f"    mul.lo.u32 %r10, %lane, {step};\n    add.u32 %r10, %r10, %r9;\n"
    value = registers(11, words) if words > 1 else "%r11"
    setup += "    mov.u32 %r12, %me; mov.u32 %r13, %me; mov.u32 %r14, %me;\n"
    body = "\n".join(
        f" st.volatile.shared{wide(words)}.u32 [%r10+{n * 32 * step % 8192}], {value};" for n in range(16)
    )
    return build(body, setup=setup, module=MODULE)


# A lane's row of a matrix of 8 x 16 bytes: conflict free.
ROWS = FILL + "    shl.b32 %r12, %lane, 4;\n    add.u32 %r12, %r12, %r9;\n"


def shared_chain(instruction):
    body = "\n".join(f" {instruction}\n add.u32 %r11, %r11, %r9;" for _ in range(16))
    return build(body, setup=FILL, module=MODULE, sink=["%r11"])


def shared_items(gpu):
    chains = {
        "ld.shared.b32": "ld.volatile.shared.u32 %r11, [%r11];",
        "ld.shared.b64": "ld.volatile.shared.v2.u32 {%r11, %r13}, [%r11];",
        "ld.shared.b128": "ld.volatile.shared.v4.u32 {%r11, %r13, %r14, %r15}, [%r11];",
        "ldmatrix.x1": "ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%r11}, [%r11];",
        "ldmatrix.x4": "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r11, %r13, %r14, %r15}, [%r11];",
        "ldmatrix.x4.trans": "ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%r11, %r13, %r14, %r15}, [%r11];",
        "atom.shared.add of one lane": "@%p9 atom.shared.add.u32 %r11, [%r11], %zero;",
        "atom.shared.add of a warp to one word": "atom.shared.add.u32 %r11, [%r11], %zero;",
    }
    for name, instruction in chains.items():
        def chain(instruction=instruction):
            text = shared_chain(instruction).replace("    bar.sync 0;", "    setp.eq.u32 %p9, %lane, 0;\n    bar.sync 0;", 1)
            return gpu.per_round(text, shared=SHARED) / 16

        yield f"{name}: latency", "clocks", chain

    def interval(text, per_round=16, warps=16):
        return gpu.per_round(text, threads=32 * warps, shared=SHARED) / (per_round * warps)

    for words in (1, 2, 4):
        yield f"ld.shared.b{32 * words}: interval", "clocks/warp", lambda w=words: interval(loads(w))
        yield f"st.shared.b{32 * words}: interval", "clocks/warp", lambda w=words: interval(stores(w))
    for trans in ("", ".trans"):
        body = "\n".join(
            f" ldmatrix.sync.aligned.m8n8.x4{trans}.shared.b16 {registers(20 + 4 * n, 4)}, [%r12+{n * 512}];"
            for n in range(16)
        )
        # Zero is added, which the assembler does not know: it would read once what is read twice from one address, and drop what
        # nobody looks at.
        body += "".join(f"\n xor.b32 %r200, %r200, %r{20 + 4 * n};" for n in range(16)) + "\n add.u32 %r12, %r12, %r20;"
        setup = ROWS + "    mov.u32 %r200, 0;\n"
        text = build(body, setup=setup, module=MODULE, sink=["%r200"], threads=512)
        yield f"ldmatrix.x4{trans}: interval", "clocks/warp", lambda t=text: interval(t)
        body = "\n".join(
            f" stmatrix.sync.aligned.m8n8.x4{trans}.shared.b16 [%r12+{n * 512}], {{%me, %me, %lane, %warp}};"
            for n in range(16)
        )
        text = build(body, setup=ROWS, module=MODULE)
        yield f"stmatrix.x4{trans}: interval", "clocks/warp", lambda t=text: interval(t)
    for name, setup in {
        "spread": "    shl.b32 %r12, %me, 2;\n    add.u32 %r12, %r12, %r9;\n",
        "one word of a warp": "    shl.b32 %r12, %warp, 2;\n    add.u32 %r12, %r12, %r9;\n",
    }.items():
        body = "\n".join(" red.shared.add.u32 [%r12], %r300;" for _ in range(16))
        text = build(body, setup=FILL + setup + "    add.u32 %r300, %lane, 3;\n", module=MODULE)
        yield f"red.shared.add, {name}: interval", "clocks/warp", lambda t=text: interval(t)
    for way in (2, 4, 8, 32):
        setup = FILL + f"    mul.lo.u32 %r12, %lane, {4 * way};\n    add.u32 %r12, %r12, %r9;\n"
        body = "\n".join(f" ld.volatile.shared.u32 %r{20 + n}, [%r12+{4096 * (n % 4)}];" for n in range(16))
        text = build(body, setup=setup, module=MODULE, sink=[f"%r{20 + n}" for n in range(16)])
        yield f"ld.shared.b32, {way} lanes a bank: interval", "clocks/warp", lambda t=text: interval(t)


def ring(gpu, bytes_, stride, seed=1):
    """Offsets in a random order, each in memory at the one before."""
    count = bytes_ // stride
    order = np.random.default_rng(seed).permutation(count)
    memory = np.zeros(bytes_ // 8, np.uint64)
    memory[order * (stride // 8)] = np.roll(order, -1) * stride
    return gpu.upload(memory)


def chase(cache):
    # The sum of base and offset is one more instruction: 4.
    body = "\n".join(f" add.u64 %q11, %q10, %in;\n ld.global{cache}.u64 %q10, [%q11];" for _ in range(16))
    setup = "    mov.u64 %q10, 0;\n"
    return build(body, setup=setup, after="    cvt.u32.u64 %r20, %q10;", sink=["%r20"])


def global_items(gpu):
    yield "ld.global in L1: latency", "clocks", lambda: gpu.per_round(chase(".ca"), source=ring(gpu, 8192, 64)) / 16
    small = 4 << 20 if not gpu.quick else 1 << 16

    def l2():
        # Once round the ring fetches it; the ring is too large for L1 and small beside L2.
        at = ring(gpu, small, 1024)
        return gpu.per_round(chase(".cg"), source=at, rounds=(512, 1024)) / 16

    yield "ld.global in L2: latency", "clocks", l2

    def memory():
        large = (256 << 20) if not gpu.quick else 1 << 16
        at, other = ring(gpu, large, 4096), gpu.room(large)
        flush = lambda: gpu.evict(other, large)
        return gpu.per_round(chase(".cg"), source=at, rounds=(64, 192), before=flush) / 16

    yield "ld.global in memory: latency", "clocks", memory

    word = gpu.upload(np.zeros(1 << 16, np.uint32))
    for name, setup in {
        "one word": "    mov.u64 %q11, %in;\n",
        "a word each": "    mul.wide.u32 %q11, %me, 4;\n    add.u64 %q11, %q11, %in;\n",
    }.items():
        body = "\n".join(" atom.global.add.u32 %r11, [%q11], %r11;" for _ in range(8))
        chain = build(body, setup=setup + "    mov.u32 %r11, %zero;\n", sink=["%r11"])
        yield f"atom.global.add of a warp, {name}: latency", "clocks", lambda t=chain: gpu.per_round(t, source=word) / 8
        body = "\n".join(" red.global.add.u32 [%q11], 1;" for _ in range(8))
        stream = build(body, setup=setup)
        yield (f"red.global.add of 16 warps, {name}: interval", "clocks/warp",
               lambda t=stream: gpu.per_round(t, threads=512, source=word) / (8 * 16))
    body = "\n".join(" red.global.add.f32 [%q11], 0f3F800000;" for _ in range(8))
    setup = "    shl.b32 %r12, %cta, 9;\n    add.u32 %r12, %r12, %me;\n    mul.wide.u32 %q11, %r12, 4;\n    add.u64 %q11, %q11, %in;\n"
    every = build(body, setup=setup)
    wide_ = gpu.zeros(gpu.sms * 2048)
    yield ("red.global.add.f32 of all, a word each: bytes a clock and multiprocessor", "bytes/clock",
           lambda: 8 * 512 * 4 / gpu.per_round(every, threads=512, grid=gpu.sms, source=wide_))

    # What L2 gives: every thread reads 16 bytes at a time, far apart, again and again.
    def stream(grid, bytes_, cache):
        at = gpu.zeros(bytes_)
        setup = """    mov.u32 %r12, %ntid.x;
    mad.lo.u32 %r13, %cta, %r12, %me;
    shl.b32 %r14, %r13, 4;
    mov.u32 %r15, %nctaid.x;
    mul.lo.u32 %r15, %r15, %r12;
    shl.b32 %r15, %r15, 4;
"""
        body = "\n".join(
            f""" and.b32 %r16, %r14, {bytes_ - 1};
 cvt.u64.u32 %q12, %r16;
 add.u64 %q12, %q12, %in;
 ld.global{cache}.v4.u32 {registers(20 + 4 * n, 4)}, [%q12];
 add.u32 %r14, %r14, %r15;"""
            for n in range(8)
        )
        body += "\n" + "\n".join(f" xor.b32 %r100, %r100, %r{20 + n};" for n in range(32))
        text = build(body, setup=setup + "    mov.u32 %r100, 0;\n", sink=["%r100"])
        return 8 * 1024 * 16 / gpu.per_round(text, threads=1024, grid=grid, source=at)

    size = (16 << 20) if not gpu.quick else 1 << 18
    yield "L2 to one multiprocessor", "bytes/clock", lambda: stream(1, 4 << 20 if not gpu.quick else 1 << 16, ".cg")
    yield "L2 to each of all multiprocessors", "bytes/clock", lambda: stream(gpu.sms, size, ".cg")
    yield "L1 to its multiprocessor", "bytes/clock", lambda: stream(1, 1 << 16, ".ca")


def items(gpu):
    yield from shared_items(gpu)
    yield from global_items(gpu)
