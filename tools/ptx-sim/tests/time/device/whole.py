"""The whole device: launches, CTAs, and the bandwidth of L2 and of memory, timed by the device's events."""

import ctypes

from gpu import cu, ok

EMPTY = """.version 8.0
.target sm_90a
.address_size 64
.visible .entry k(.param .u64 in, .param .u64 out, .param .u32 rounds, .param .u32 zero) { ret; }
"""
TYPES = (ctypes.c_uint64, ctypes.c_uint64, ctypes.c_uint32, ctypes.c_uint32)
MiB = 1 << 20


def stream(read, write, per_thread=8):
    """Every thread moves so many times 16 bytes, a whole grid apart."""
    setup = """    mov.u32 %r12, %ntid.x;
    mad.lo.u32 %r13, %cta, %r12, %me;
    mul.wide.u32 %q10, %r13, 16;
    mov.u32 %r15, %nctaid.x;
    mul.lo.u32 %r15, %r15, %r12;
    mul.wide.u32 %q13, %r15, 16;
    add.u64 %q11, %q10, %in;
"""
    lines = []
    for n in range(per_thread):
        lines.append(f" ld.volatile.global.v4.u32 {{%r{20 + 4 * n}, %r{21 + 4 * n}, %r{22 + 4 * n}, %r{23 + 4 * n}}}, [%q11];" if read else "")
        lines.append(" add.u64 %q11, %q11, %q13;")
    setup_store = " add.u64 %q12, %q10, %q30;"
    for n in range(per_thread):
        if write:
            lines.append(f" st.global.v4.u32 [%q12], {{%r{20 + 4 * n}, %r{21 + 4 * n}, %r{22 + 4 * n}, %r{23 + 4 * n}}};")
            lines.append(" add.u64 %q12, %q12, %q13;")
    if not read:
        setup += "".join(f"    mov.u32 %r{20 + n}, %zero;\n" for n in range(4 * per_thread))
    sink = [f"%r{20 + n}" for n in range(4 * per_thread)] if read and not write else []
    return setup, setup_store, "\n".join(lines), sink


PLAIN = """.version 8.0
.target sm_90a
.address_size 64
.visible .entry k(.param .u64 in, .param .u64 out, .param .u32 rounds, .param .u32 zero, .param .u64 to) {{
    .reg .b64 %in, %out, %q<32>;
    .reg .b32 %zero, %me, %cta, %sink, %n, %i, %r<80>;
    .reg .pred %p<4>;
    ld.param.u64 %in, [in];
    ld.param.u64 %out, [out];
    ld.param.u32 %zero, [zero];
    ld.param.u32 %n, [rounds];
    ld.param.u64 %q30, [to];
    mov.u32 %me, %tid.x;
    mov.u32 %cta, %ctaid.x;
    mov.u32 %sink, 0;
    mov.u32 %i, 0;
{setup}
AGAIN:
    add.u64 %q11, %q10, %in;
{store}
{body}
{sink}
    add.u32 %i, %i, 1;
    setp.lt.u32 %p1, %i, %n;
    @%p1 bra AGAIN;
    setp.ne.u32 %p0, %sink, 12345;
    @%p0 ret;
    st.global.u32 [%out], %sink;
    ret;
}}
"""


def plain(read, write):
    setup, store, body, sink = stream(read, write)
    xor = "\n".join(f"    xor.b32 %sink, %sink, {name};" for name in sink)
    return PLAIN.format(setup=setup, store=store, body=body, sink=xor)


def bandwidth(gpu, read, write, bytes_, rounds):
    """Bytes a second that are read and written, `bytes_` of each."""
    source, to = gpu.room(bytes_), gpu.room(bytes_)
    ok(cu.cuMemsetD8(source, 0, bytes_))
    ok(cu.cuMemsetD8(to, 0, bytes_))
    function = gpu.function(plain(read, write))
    threads = 512
    grid = bytes_ // (16 * 8 * threads)
    values = (int(source), int(gpu.out), rounds, 0, int(to))
    parameters = (values, (*TYPES, ctypes.c_uint64))
    enqueue = lambda: ok(cu.cuLaunchKernel(function, grid, 1, 1, threads, 1, 1, 0, 0, parameters, 0))
    seconds = gpu.seconds(enqueue, repeat=5)
    for address in (source, to):
        ok(cu.cuMemFree(address))
    return bytes_ * rounds * (int(read) + int(write)) / seconds / 1e12


def items(gpu):
    def from_host(launches):
        function = gpu.function(EMPTY)
        enqueue = lambda: [gpu.launch(function, 1, 32, 0, 1) for _ in range(launches)]
        enqueue()
        return gpu.seconds(enqueue) / launches * 1e6

    yield "empty kernel of one CTA, from this program", "µs", lambda: from_host(2000 if not gpu.quick else 4)

    def alone():
        """One launch between two events, as a benchmark has it."""
        function = gpu.function(EMPTY)
        return min(gpu.seconds(lambda: gpu.launch(function, 1, 32, 0, 1), repeat=20) for _ in range(3)) * 1e6

    yield "empty kernel of one CTA between two events", "µs", alone

    def recorded(grid, threads, shared, launches=100 if not gpu.quick else 2):
        """Microseconds of one launch of a graph that has many: no host stands between them."""
        stream_ = ok(cu.cuStreamCreate(cu.CUstream_flags.CU_STREAM_NON_BLOCKING))
        function = gpu.function(EMPTY, shared)
        parameters = ((0, int(gpu.out), 1, 0), TYPES)
        ok(cu.cuStreamBeginCapture(stream_, cu.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL))
        for _ in range(launches):
            ok(cu.cuLaunchKernel(function, grid, 1, 1, threads, 1, 1, shared, stream_, parameters, 0))
        graph = ok(cu.cuGraphInstantiate(ok(cu.cuStreamEndCapture(stream_)), 0))
        ok(cu.cuGraphLaunch(graph, 0))
        return gpu.seconds(lambda: ok(cu.cuGraphLaunch(graph, 0))) / launches * 1e6

    yield "empty kernel of one CTA, recorded", "µs", lambda: recorded(1, 32, 0)
    # One CTA after the other on each multiprocessor where shared memory has room for one.
    waves = (1, 2, 4, 16, 64) if not gpu.quick else (1, 2)
    for threads, shared in ((128, 0), (128, 200 << 10), (384, 200 << 10), (1024, 0)):
        what = f"{threads} threads" + (f", {shared >> 10} KiB" if shared else "")
        for many in waves:
            yield (f"empty kernel of {many} x {gpu.sms} CTAs of {what}, recorded", "µs",
                   lambda w=many, t=threads, s=shared: recorded(w * gpu.sms, t, s))

    large = 1024 * MiB if not gpu.quick else MiB
    for name, read, write in (("read", True, False), ("written", False, True), ("copied", True, True)):
        yield f"memory, {name}", "TB/s", lambda r=read, w=write: bandwidth(gpu, r, w, large, 1)
    for size in (8, 24):
        some = size * MiB if not gpu.quick else MiB
        for name, read, write in (("read", True, False), ("written", False, True), ("copied", True, True)):
            if write and read and size == 24:
                continue
            yield (f"L2, {size} MiB {name}", "TB/s",
                   lambda r=read, w=write, s=some: bandwidth(gpu, r, w, s, 16 if not gpu.quick else 1))
