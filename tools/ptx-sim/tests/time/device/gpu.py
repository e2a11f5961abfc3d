"""A device: kernels through NVIDIA's driver, by cuda-bindings."""

import ctypes

import numpy as np
from cuda.bindings import driver as cu

from kernel import OUT_BYTES


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

    def zeros(self, bytes_):
        address = self.room(bytes_)
        ok(cu.cuMemsetD8(address, 0, bytes_))
        return address

    def evict(self, address, bytes_):
        """Writes so many bytes, more than L2 holds, so that nothing else is left in it."""
        ok(cu.cuMemsetD8(address, 1, bytes_))

    def free(self, address):
        ok(cu.cuMemFree(address))

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

    def tensor_map(self, address, rows, columns, box_rows):
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
