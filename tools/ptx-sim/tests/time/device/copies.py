"""Copies into shared memory: cp.async, the copy engine without and with a tensor map; one at a time, and several under way."""

from kernel import build

MODULE = ".extern .shared .align 1024 .b8 smem[];\n.shared .align 8 .b64 bars[8];"

# One thread sets eight barriers up; %r9 is the base of shared memory, %r10 the barriers.
BARRIERS = """    mov.u32 %r9, smem;
    mov.u32 %r10, bars;
    setp.ne.u32 %p0, %me, 0;
    @%p0 bra READY;
""" + "".join(f"    mbarrier.init.shared::cta.b64 [%r10+{8 * n}], 1;\n" for n in range(8)) + """    fence.mbarrier_init.release.cluster;
READY:
    bar.sync 0;
    setp.ne.u32 %p1, %me, 0;
    mov.u32 %r11, 0;
"""


def cp_async_latency():
    body = """ cp.async.cg.shared.global [%r10], [%q10], 16;
 cp.async.commit_group;
 cp.async.wait_group 0;"""
    setup = """    mov.u32 %r9, smem;
    shl.b32 %r10, %me, 4;
    cvt.u64.u32 %q10, %r10;
    add.u64 %q10, %q10, %in;
    add.u32 %r10, %r10, %r9;
"""
    return build("\n".join([body] * 8), setup=setup, module=MODULE)


def cp_async_stream(per_group, bytes_):
    """256 threads, `per_group` copies of 16 bytes by each, two groups under way; addresses go round in `bytes_` of L2."""
    setup = """    mov.u32 %r9, smem;
    shl.b32 %r10, %me, 4;
    add.u32 %r10, %r10, %r9;
    mov.u32 %r12, %ntid.x;
    mad.lo.u32 %r13, %cta, %r12, %me;
    shl.b32 %r14, %r13, 4;
    mov.u32 %r15, %nctaid.x;
    mul.lo.u32 %r15, %r15, %r12;
    shl.b32 %r15, %r15, 4;
"""
    one = lambda n: f""" and.b32 %r16, %r14, {bytes_ - 1};
 cvt.u64.u32 %q12, %r16;
 add.u64 %q12, %q12, %in;
 cp.async.cg.shared.global [%r10+{4096 * n}], [%q12], 16;
 add.u32 %r14, %r14, %r15;"""
    body = "\n".join(one(n) for n in range(per_group)) + "\n cp.async.commit_group;\n cp.async.wait_group 2;"
    return build(body, setup=setup, after="    cp.async.wait_group 0;", module=MODULE)


def wait(bar, parity):
    return f"""WAIT{bar}:
 mbarrier.try_wait.parity.shared::cta.b64 %p2, [%r10+{8 * bar}], {parity};
 @!%p2 bra WAIT{bar};"""


def copy(size, slot, tensor):
    """Announces and starts one copy into a slot; %r14 is the offset of the source, or the first row of the box."""
    to = f" add.u32 %r12, %r9, {slot * size};"
    bar = f"[%r10+{8 * slot}]"
    arrive = f" mbarrier.arrive.expect_tx.shared::cta.b64 _, {bar}, {size};"
    if tensor:
        start = f""" cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes
 [%r12], [%q20, {{%r18, %r14}}], {bar};"""
    else:
        start = f""" cvt.u64.u32 %q12, %r14;
 add.u64 %q12, %q12, %in;
 cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r12], [%q12], {size}, {bar};"""
    return f"{arrive}\n{to}\n{start}"


def advance(bytes_, size, tensor):
    """The next source: `%r15` further, round in what there is. A row of a box is 128 bytes."""
    unit = 128 if tensor else 1
    return f" add.u32 %r14, %r14, %r15;\n and.b32 %r14, %r14, {bytes_ // unit - 1};"


def bulk(size, slots, bytes_, tensor):
    """One thread keeps `slots` copies of `size` bytes under way; a round is one turn of all slots."""
    unit = 128 if tensor else 1
    setup = BARRIERS + f"""    mov.u32 %r18, 0;
    mul.lo.u32 %r14, %cta, {size // unit};
    mov.u32 %r15, %nctaid.x;
    mul.lo.u32 %r15, %r15, {size // unit};
"""
    if tensor:
        setup += "    mov.b64 %q20, map0;\n    cvta.param.u64 %q20, %q20;\n"
    setup += "    @%p1 bra BEGUN;\n"
    for slot in range(slots):
        setup += copy(size, slot, tensor) + "\n" + advance(bytes_, size, tensor) + "\n"
    setup += "BEGUN:\n"
    body = " @%p1 bra OVER;\n"
    for slot in range(slots):
        body += wait(slot, "%r11") + "\n" + copy(size, slot, tensor) + "\n" + advance(bytes_, size, tensor) + "\n"
    body += "OVER:\n xor.b32 %r11, %r11, 1;"
    after = " @%p1 bra ENDED;\n"
    after += "\n".join(wait(slot, "%r11").replace("WAIT", "LAST") for slot in range(slots)) + "\nENDED:\n"
    return build(body, setup=setup, after=after, module=MODULE, maps=1 if tensor else 0)


def items(gpu):
    # What stays in L2; as rows of 64 bf16 for the copies by a map.
    size = (16 << 20) if not gpu.quick else 8 << 20
    at = gpu.zeros(size)
    yield ("cp.async of 16 bytes, waited for", "clocks",
           lambda: gpu.per_round(cp_async_latency(), source=at, shared=1 << 14) / 8)
    for grid in (1, gpu.sms):
        where = "one multiprocessor" if grid == 1 else "all"
        yield (f"cp.async of 256 threads, {where}", "bytes/clock",
               lambda g=grid: 4 * 256 * 16 / gpu.per_round(cp_async_stream(4, size), threads=256, grid=g, source=at, shared=1 << 14))

    def by_events():
        """The same of all multiprocessors, in bytes of a second: the clock on each says nothing about the others."""
        text, rounds = cp_async_stream(4, size), 4000 if not gpu.quick else 2
        function = gpu.function(text, 1 << 14)
        seconds = gpu.seconds(lambda: gpu.launch(function, gpu.sms, 256, 1 << 14, rounds, source=at))
        return 4 * 256 * 16 * rounds * gpu.sms / seconds / 1e12

    yield "cp.async of 256 threads, all, by events", "TB/s", by_events

    for tensor in (False, True):
        kind = "tensor copy" if tensor else "bulk copy"
        for bytes_ in (1024, 2048, 4096, 8192, 16384, 32768):
            def run(slots, grid, bytes_=bytes_, tensor=tensor):
                maps = (gpu.tensor_map(at, size // 128, 64, bytes_ // 128),) if tensor else ()
                text = bulk(bytes_, slots, size, tensor)
                return gpu.per_round(text, grid=grid, source=at, shared=slots * bytes_, maps=maps)

            yield (f"{kind} of {bytes_} bytes, waited for", "clocks",
                   lambda run=run: run(1, 1))
            slots = 6 if bytes_ == 32768 else 8
            yield (f"{kind} of {bytes_} bytes, {slots} under way, one multiprocessor", "bytes/clock",
                   lambda run=run, b=bytes_, s=slots: s * b / run(s, 1))
            yield (f"{kind} of {bytes_} bytes, {slots} under way, all", "bytes/clock",
                   lambda run=run, b=bytes_, s=slots: s * b / run(s, gpu.sms))
