"""PTX for one measurement, and the driver that runs it.

A measurement is a loop between two readings of the multiprocessor's clock. What stands around the loop costs the same for
every number of rounds, so that two runs of different length give the cost of a round alone:

    rounds 32:  t = start + 32 r        rounds 96:  t = start + 96 r        r = (t96 - t32) / 64

`build` writes the kernel, `Gpu` loads it through NVIDIA's driver (cuda-bindings) and gives clocks back.
"""

import ctypes

import numpy as np
from cuda.bindings import driver as cu

HEAD = """.version {version}
.target sm_90a
.address_size 64
{module}
.visible .entry k(.param .u64 in, .param .u64 out, .param .u32 rounds, .param .u32 zero{more})
{limits}{{
    .reg .b64 %in, %out, %t0, %t1, %q<64>;
    .reg .b32 %n, %i, %zero, %me, %warp, %lane, %cta, %sink, %r<320>;
    .reg .b16 %h<64>;
    .reg .f32 %f<320>;
    .reg .f64 %g<32>;
    .reg .pred %more, %p<16>;
    ld.param.u64 %in, [in];
    ld.param.u64 %out, [out];
    ld.param.u32 %n, [rounds];
    ld.param.u32 %zero, [zero];
    mov.u32 %me, %tid.x;
    mov.u32 %cta, %ctaid.x;
    shr.u32 %warp, %me, 5;
    and.b32 %lane, %me, 31;
    mov.u32 %sink, 0;
{setup}
    bar.sync 0;
    mov.u32 %i, 0;
    mov.u64 %t0, %clock64;
ROUND:
{body}
    add.u32 %i, %i, 1;
    setp.lt.u32 %more, %i, %n;
    @%more bra ROUND;
{after}
    mov.u64 %t1, %clock64;
{sink}
    // The results keep what made them alive; nobody reads them.
    mul.wide.u32 %q0, %me, 4;
    add.u64 %q0, %q0, %out;
    st.global.u32 [%q0+{results}], %sink;
    setp.ne.u32 %p0, %lane, 0;
    @%p0 ret;
    mov.u32 %r0, %ntid.x;
    shr.u32 %r0, %r0, 5;
    mad.lo.u32 %r0, %r0, %cta, %warp;
    mul.wide.u32 %q0, %r0, 16;
    add.u64 %q0, %q0, %out;
    st.global.v2.u64 [%q0], {{%t0, %t1}};
    ret;
}}
"""

# Where the results of threads lie behind the clocks of warps.
RESULTS = 1 << 18
OUT_BYTES = RESULTS + (1 << 16)


def build(body, setup="", after="", sink=(), module="", threads=None, maps=0, version="8.0"):
    """The text of a kernel. `sink` names 32-bit registers (or f32) that depend on what the body did."""
    more = "".join(f", .param .align 64 .b8 map{n}[128]" for n in range(maps))
    keep = []
    for name in sink:
        if name.startswith("%f"):
            keep.append(f"    mov.b32 %r319, {name};\n    xor.b32 %sink, %sink, %r319;")
        else:
            keep.append(f"    xor.b32 %sink, %sink, {name};")
    return HEAD.format(
        version=version,
        module=module,
        more=more,
        limits=f".maxntid {threads}, 1, 1\n.minnctapersm 1\n" if threads else "",
        setup=setup,
        body=body,
        after=after,
        sink="\n".join(keep),
        results=RESULTS,
    )


def ok(answer):
    """The value of a call that has to succeed."""
    error, *values = answer
    if error != cu.CUresult.CUDA_SUCCESS:
        raise RuntimeError(f"{error!r}")
    return values[0] if len(values) == 1 else tuple(values)


class Gpu:
    """The first device, its primary context, and buffers for input and output."""

    def __init__(self, quick=False):
        self.quick = quick
        ok(cu.cuInit(0))
        device = ok(cu.cuDeviceGet(0))
        ok(cu.cuCtxSetCurrent(ok(cu.cuDevicePrimaryCtxRetain(device))))
        self.name = ok(cu.cuDeviceGetName(64, device)).split(b"\0")[0].decode()
        attribute = cu.CUdevice_attribute
        self.sms = ok(cu.cuDeviceGetAttribute(attribute.CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, device))
        self.out = ok(cu.cuMemAlloc(OUT_BYTES))

    def room(self, bytes_):
        return ok(cu.cuMemAlloc(bytes_))

    def upload(self, values):
        address = self.room(values.nbytes)
        ok(cu.cuMemcpyHtoD(address, values.ctypes.data, values.nbytes))
        return address

    def function(self, text, shared=0):
        """The kernel of a module; the driver's own words when it does not load it."""
        log = bytearray(1 << 14)
        option = cu.CUjit_option
        error, module = cu.cuModuleLoadDataEx(
            text.encode() + b"\0",
            2,
            [option.CU_JIT_ERROR_LOG_BUFFER, option.CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES],
            [log, len(log)],
        )
        if error != cu.CUresult.CUDA_SUCCESS:
            raise RuntimeError(f"{error!r}: {bytes(log).split(bytes(1))[0].decode(errors='replace')}")
        function = ok(cu.cuModuleGetFunction(module, b"k"))
        if shared > 48 << 10:
            limit = cu.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
            ok(cu.cuFuncSetAttribute(function, limit, shared))
        return function

    def launch(self, function, grid, threads, shared, rounds, source=0, maps=(), cluster=1):
        values = (int(source), int(self.out), rounds, 0, *maps)
        types = (ctypes.c_uint64, ctypes.c_uint64, ctypes.c_uint32, ctypes.c_uint32, *(None for _ in maps))
        if cluster == 1:
            ok(cu.cuLaunchKernel(function, grid, 1, 1, threads, 1, 1, shared, 0, (values, types), 0))
            return
        config = cu.CUlaunchConfig()
        config.gridDimX, config.gridDimY, config.gridDimZ = grid, 1, 1
        config.blockDimX, config.blockDimY, config.blockDimZ = threads, 1, 1
        config.sharedMemBytes = shared
        attribute = cu.CUlaunchAttribute()
        attribute.id = cu.CUlaunchAttributeID.CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION
        extent = attribute.value.clusterDim
        extent.x, extent.y, extent.z = cluster, 1, 1
        config.attrs, config.numAttrs = [attribute], 1
        ok(cu.cuLaunchKernelEx(config, function, (values, types), 0))

    def elapsed(self, grid, threads):
        """Clocks of each CTA, from the first warp's start to the last warp's end."""
        ok(cu.cuCtxSynchronize())
        warps = threads // 32
        out = np.empty((grid, warps, 2), np.uint64)
        ok(cu.cuMemcpyDtoH(out.ctypes.data, self.out, out.nbytes))
        return (out[:, :, 1].max(axis=1) - out[:, :, 0].min(axis=1)).astype(np.float64)

    def per_round(self, text, threads=32, grid=1, shared=0, rounds=(32, 96), before=None, **launch):
        """Clocks of one round of the loop: the median CTA, the best of some tries."""
        function = self.function(text, shared)
        few, many = (1, 2) if self.quick else rounds
        total = {}
        for count in (few, many):
            # The first run of each length fetches the code.
            tries = []
            for attempt in range(1 if self.quick else 4):
                if before:
                    before()
                self.launch(function, grid, threads, shared, count, **launch)
                tries.append(float(np.median(self.elapsed(grid, threads))))
            total[count] = min(tries[1:] or tries)
        return (total[many] - total[few]) / (many - few)

    def seconds(self, enqueue, repeat=3):
        """Seconds on the device of what `enqueue` puts into the default stream, the best of some."""
        best = float("inf")
        for _ in range(1 if self.quick else repeat):
            before, after = ok(cu.cuEventCreate(0)), ok(cu.cuEventCreate(0))
            ok(cu.cuEventRecord(before, 0))
            enqueue()
            ok(cu.cuEventRecord(after, 0))
            ok(cu.cuEventSynchronize(after))
            best = min(best, ok(cu.cuEventElapsedTime(before, after)) / 1e3)
        return best


def tensor_map(address, rows, columns, box_rows):
    """The map of a row-major bf16 matrix, boxes of 64 columns under the 128-byte swizzle."""
    return ok(
        cu.cuTensorMapEncodeTiled(
            cu.CUtensorMapDataType.CU_TENSOR_MAP_DATA_TYPE_BFLOAT16,
            2,
            address,
            [cu.cuuint64_t(columns), cu.cuuint64_t(rows)],
            [cu.cuuint64_t(columns * 2)],
            [cu.cuuint32_t(64), cu.cuuint32_t(box_rows)],
            [cu.cuuint32_t(1), cu.cuuint32_t(1)],
            cu.CUtensorMapInterleave.CU_TENSOR_MAP_INTERLEAVE_NONE,
            cu.CUtensorMapSwizzle.CU_TENSOR_MAP_SWIZZLE_128B,
            cu.CUtensorMapL2promotion.CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
            cu.CUtensorMapFloatOOBfill.CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE,
        )
    )
