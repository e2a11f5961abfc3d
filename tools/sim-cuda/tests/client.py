"""A client that this project did not write: NVIDIA's cuda-bindings, with sim-cuda as the only driver.

Loads PTX, launches, reads back, in the forms a program would use: both parameter forms, streams, events, memory pools,
libraries, graphs, tensor maps, two Hopper kernels (TMA and wgmma; a cluster with multicast), faults. Prints one line for each step;
anything unexpected is an exception and the exit status 1.
"""

import ctypes
import os
import pathlib
import sys

import numpy as np
from cuda.bindings import driver as cu

PTX = rb"""
.version 8.0
.target sm_90
.address_size 64
.visible .entry axpy(.param .u64 x, .param .u64 y, .param .f32 a, .param .u32 n) {
    .reg .b64 %rd<6>; .reg .b32 %r<8>; .reg .f32 %f<5>; .reg .pred %p<2>;
    ld.param.u64 %rd1, [x];
    ld.param.u64 %rd2, [y];
    ld.param.f32 %f1, [a];
    ld.param.u32 %r1, [n];
    mov.u32 %r2, %ctaid.x;
    mov.u32 %r3, %ntid.x;
    mov.u32 %r4, %tid.x;
    mad.lo.s32 %r5, %r2, %r3, %r4;
    setp.ge.u32 %p1, %r5, %r1;
    @%p1 ret;
    mul.wide.u32 %rd3, %r5, 4;
    add.s64 %rd4, %rd1, %rd3;
    add.s64 %rd5, %rd2, %rd3;
    ld.global.f32 %f2, [%rd4];
    ld.global.f32 %f3, [%rd5];
    fma.rn.f32 %f4, %f1, %f2, %f3;
    st.global.f32 [%rd5], %f4;
    ret;
}
.visible .entry race(.param .u64 y) {
    .reg .b64 %rd<2>; .reg .b32 %r<3>;
    .shared .align 4 .b8 cell[128];
    ld.param.u64 %rd1, [y];
    mov.u32 %r1, %tid.x;
    st.shared.u32 [cell], %r1;
    ld.shared.u32 %r2, [cell+64];
    st.global.u32 [%rd1], %r2;
    ret;
}
.visible .entry stray(.param .u64 y) {
    .reg .b64 %rd<2>;
    ld.param.u64 %rd1, [y];
    st.global.u32 [%rd1+1073741824], 1;
    ret;
}
.visible .entry words(.param .align 64 .b8 map[128], .param .u64 y) {
    .reg .b64 %rd<4>; .reg .b32 %r<2>;
    ld.param.u64 %rd1, [y];
    mov.u32 %r1, %tid.x;
    ld.param.u64 %rd2, [map];
    ld.param.u64 %rd3, [map+8];
    st.global.u64 [%rd1], %rd2;
    st.global.u64 [%rd1+8], %rd3;
    ret;
}
"""


def ok(answer):
    """The value of a call that has to succeed."""
    error, *values = answer
    if error != cu.CUresult.CUDA_SUCCESS:
        raise RuntimeError(f"{error!r}")
    return values[0] if len(values) == 1 else tuple(values)


def refused(answer, name):
    """Asserts that a call fails with an error."""
    error = answer[0]
    assert error == getattr(cu.CUresult, name), f"{error!r} instead of {name}"


def step(text):
    print(text, flush=True)


def start():
    ok(cu.cuInit(0))
    device = ok(cu.cuDeviceGet(0))
    name = ok(cu.cuDeviceGetName(64, device)).split(b"\0")[0].decode()
    attribute = cu.CUdevice_attribute
    major = ok(cu.cuDeviceGetAttribute(attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, device))
    context = ok(cu.cuDevicePrimaryCtxRetain(device))
    ok(cu.cuCtxSetCurrent(context))
    assert major == 9 and "ptx-sim" in name, (name, major)
    step(f"device: {name}, driver {ok(cu.cuDriverGetVersion())}")
    return device


def upload(values):
    address = ok(cu.cuMemAlloc(values.nbytes))
    ok(cu.cuMemcpyHtoD(address, values.ctypes.data, values.nbytes))
    return address


def download(address, like):
    out = np.empty_like(like)
    ok(cu.cuMemcpyDtoH(out.ctypes.data, address, out.nbytes))
    return out


def axpy_args(x, y, a, n):
    return ((int(x), int(y), a, n), (ctypes.c_uint64, ctypes.c_uint64, ctypes.c_float, ctypes.c_uint32))


def config(grid, block, shared, cluster):
    """A launch with clusters."""
    out = cu.CUlaunchConfig()
    out.gridDimX, out.gridDimY, out.gridDimZ = grid
    out.blockDimX, out.blockDimY, out.blockDimZ = block
    out.sharedMemBytes = shared
    attribute = cu.CUlaunchAttribute()
    attribute.id = cu.CUlaunchAttributeID.CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION
    extent = attribute.value.clusterDim
    extent.x, extent.y, extent.z = cluster
    out.attrs, out.numAttrs = [attribute], 1
    return out


def launches(module):
    n = 1000
    x, y = np.arange(n, dtype=np.float32), np.ones(n, dtype=np.float32)
    dx, dy = upload(x), upload(y)
    axpy = ok(cu.cuModuleGetFunction(module, b"axpy"))
    grid = (n + 127) // 128
    ok(cu.cuLaunchKernel(axpy, grid, 1, 1, 128, 1, 1, 0, 0, axpy_args(dx, dy, 3.0, n), 0))
    np.testing.assert_array_equal(download(dy, y), 3 * x + y)
    refused(cu.cuLaunchKernel(axpy, grid, 1, 1, 2048, 1, 1, 0, 0, axpy_args(dx, dy, 3.0, n), 0), "CUDA_ERROR_INVALID_VALUE")
    step("launch: kernelParams")

    ok(cu.cuLaunchKernelEx(config((grid, 1, 1), (128, 1, 1), 0, (1, 1, 1)), axpy, axpy_args(dx, dy, 1.0, n), 0))
    np.testing.assert_array_equal(download(dy, y), 4 * x + y)
    odd = config((grid, 1, 1), (128, 1, 1), 0, (3, 1, 1))
    refused(cu.cuLaunchKernelEx(odd, axpy, axpy_args(dx, dy, 1.0, n), 0), "CUDA_ERROR_INVALID_CLUSTER_SIZE")
    step("launch: cuLaunchKernelEx")

    library = ok(cu.cuLibraryLoadData(PTX, [], [], 0, [], [], 0))
    kernel = ok(cu.cuLibraryGetKernel(library, b"axpy"))
    function = ok(cu.cuKernelGetFunction(kernel))
    ok(cu.cuLaunchKernel(function, grid, 1, 1, 128, 1, 1, 0, 0, axpy_args(dx, dy, 1.0, n), 0))
    np.testing.assert_array_equal(download(dy, y), 5 * x + y)
    ok(cu.cuLibraryUnload(library))
    ok(cu.cuMemFree(dx))
    ok(cu.cuMemFree(dy))
    step("launch: from a library")


def streams_and_graphs(module):
    n = 512
    x, y = np.full(n, 2, np.float32), np.zeros(n, np.float32)
    axpy = ok(cu.cuModuleGetFunction(module, b"axpy"))
    stream = ok(cu.cuStreamCreate(cu.CUstream_flags.CU_STREAM_NON_BLOCKING))
    before, after = ok(cu.cuEventCreate(0)), ok(cu.cuEventCreate(0))
    dx = ok(cu.cuMemAllocAsync(x.nbytes, stream))
    dy = ok(cu.cuMemAllocAsync(y.nbytes, stream))
    ok(cu.cuMemcpyHtoDAsync(dx, x.ctypes.data, x.nbytes, stream))
    ok(cu.cuMemsetD32Async(dy, 0, n, stream))
    ok(cu.cuEventRecord(before, stream))
    ok(cu.cuLaunchKernel(axpy, 4, 1, 1, 128, 1, 1, 0, stream, axpy_args(dx, dy, 1.0, n), 0))
    ok(cu.cuEventRecord(after, stream))
    ok(cu.cuStreamSynchronize(stream))
    assert ok(cu.cuEventElapsedTime(before, after)) > 0
    np.testing.assert_array_equal(download(dy, y), x)
    step("streams, events, pools")

    ok(cu.cuStreamBeginCapture(stream, cu.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL))
    for _ in range(3):
        ok(cu.cuLaunchKernel(axpy, 4, 1, 1, 128, 1, 1, 0, stream, axpy_args(dx, dy, 1.0, n), 0))
    graph = ok(cu.cuStreamEndCapture(stream))
    executable = ok(cu.cuGraphInstantiate(graph, 0))
    np.testing.assert_array_equal(download(dy, y), x)
    ok(cu.cuGraphLaunch(executable, stream))
    ok(cu.cuGraphLaunch(executable, stream))
    ok(cu.cuStreamSynchronize(stream))
    np.testing.assert_array_equal(download(dy, y), 7 * x)
    ok(cu.cuGraphExecDestroy(executable))
    ok(cu.cuGraphDestroy(graph))
    for address in (dx, dy):
        ok(cu.cuMemFreeAsync(address, stream))
    ok(cu.cuEventDestroy(before))
    ok(cu.cuEventDestroy(after))
    ok(cu.cuStreamDestroy(stream))
    step("graphs")


def encode(address, rows, columns, box, swizzle="128B"):
    """A map of a row-major matrix of bf16, rows of the box of 64 elements."""
    return cu.cuTensorMapEncodeTiled(
        cu.CUtensorMapDataType.CU_TENSOR_MAP_DATA_TYPE_BFLOAT16,
        2,
        address,
        [cu.cuuint64_t(columns), cu.cuuint64_t(rows)],
        [cu.cuuint64_t(columns * 2)],
        [cu.cuuint32_t(64), cu.cuuint32_t(box)],
        [cu.cuuint32_t(1), cu.cuuint32_t(1)],
        cu.CUtensorMapInterleave.CU_TENSOR_MAP_INTERLEAVE_NONE,
        getattr(cu.CUtensorMapSwizzle, f"CU_TENSOR_MAP_SWIZZLE_{swizzle}"),
        cu.CUtensorMapL2promotion.CU_TENSOR_MAP_L2_PROMOTION_NONE,
        cu.CUtensorMapFloatOOBfill.CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE,
    )


def tensor_maps(module):
    address = upload(np.zeros(64 * 32, np.uint16))
    tensor_map = ok(encode(address, 32, 64, 8))
    refused(encode(address, 32, 64, 300), "CUDA_ERROR_INVALID_VALUE")
    words = ok(cu.cuModuleGetFunction(module, b"words"))
    out = upload(np.zeros(2, np.uint64))
    args = ((tensor_map, int(out)), (None, ctypes.c_uint64))
    ok(cu.cuLaunchKernel(words, 1, 1, 1, 1, 1, 1, 0, 0, args, 0))
    opaque = [int(w) for w in tensor_map.opaque[:2]]
    assert [int(w) for w in download(out, np.zeros(2, np.uint64))] == opaque, opaque
    step("tensor maps: encoded, refused, passed by value")


def bf16(values):
    """Small integers as bf16, which holds them exactly: the upper half of an f32."""
    return (values.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)


def hopper_kernel(name):
    folder = pathlib.Path(__file__).resolve().parents[2] / "ptx-sim" / "tests" / "kernels"
    return ok(cu.cuModuleLoadData((folder / f"{name}.ptx").read_bytes()))


def hopper():
    """C = A B^T by the simulator's own Hopper kernels, at sizes that hang over the tiles' edges."""
    m, n, k = 200, 72, 136
    random = np.random.default_rng(1)
    a, b = random.integers(-1, 2, (m, k)), random.integers(-1, 2, (n, k))
    product = (a @ b.T).astype(np.float32)
    da, db = upload(bf16(a)), upload(bf16(b))
    tiles = -(-k // 64)

    gemm = ok(cu.cuModuleGetFunction(hopper_kernel("gemm_tma"), b"gemm"))
    dc = upload(np.zeros((m, n), np.uint16))
    maps = [ok(encode(*where)) for where in ((da, m, k, 128), (db, n, k, 64), (dc, m, n, 64))]
    args = ((*maps, tiles), (None, None, None, ctypes.c_uint32))
    launch = (gemm, -(-n // 64), -(-m // 128), 1, 384, 1, 1, 90112, 0, args, 0)
    refused(cu.cuLaunchKernel(*launch), "CUDA_ERROR_INVALID_VALUE")
    limit = cu.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
    ok(cu.cuFuncSetAttribute(gemm, limit, 90112))
    ok(cu.cuLaunchKernel(*launch))
    ok(cu.cuCtxSynchronize())
    np.testing.assert_array_equal(download(dc, np.zeros((m, n), np.uint16)), bf16(product))
    step("Hopper: TMA, mbarriers, wgmma, TMA store")

    gemm = ok(cu.cuModuleGetFunction(hopper_kernel("gemm_cluster"), b"gemm_cluster"))
    ok(cu.cuFuncSetAttribute(gemm, limit, 49152))
    dc = upload(np.zeros((m, n), np.float32))
    args = (
        (ok(encode(da, m, k, 64)), ok(encode(db, n, k, 32)), int(dc), m, n, tiles),
        (None, None, ctypes.c_uint64, ctypes.c_uint32, ctypes.c_uint32, ctypes.c_uint32),
    )
    grid = (-(-m // 128) * 2, -(-n // 64), 1)
    ok(cu.cuLaunchKernelEx(config(grid, (160, 1, 1), 49152, (2, 1, 1)), gemm, args, 0))
    ok(cu.cuCtxSynchronize())
    np.testing.assert_array_equal(download(dc, product), product)
    step("Hopper: a cluster of two with multicast")


def refusals(module):
    refused(cu.cuModuleLoadData(b"\x7fELF and so on\0"), "CUDA_ERROR_NO_BINARY_FOR_GPU")
    refused(cu.cuModuleLoadData(b".version 8.0 soup"), "CUDA_ERROR_INVALID_PTX")
    refused(cu.cuModuleGetFunction(module, b"nobody"), "CUDA_ERROR_NOT_FOUND")
    refused(cu.cuTexObjectGetResourceDesc(cu.CUtexObject(1)), "CUDA_ERROR_NOT_SUPPORTED")
    refused(cu.cuMemFree(12345), "CUDA_ERROR_INVALID_VALUE")
    step("refusals")


def faults(module, device):
    """Last, because a fault is for good."""
    out = upload(np.zeros(1, np.uint32))
    name = b"race" if os.environ.get("SIM_CUDA_CHECK") else b"stray"
    bad = ok(cu.cuModuleGetFunction(module, name))
    ok(cu.cuLaunchKernel(bad, 1, 1, 1, 64, 1, 1, 0, 0, ((int(out),), (ctypes.c_uint64,)), 0))
    expected = "CUDA_ERROR_LAUNCH_FAILED" if name == b"race" else "CUDA_ERROR_ILLEGAL_ADDRESS"
    refused(cu.cuCtxSynchronize(), expected)
    refused(cu.cuMemAlloc(4), expected)
    ok(cu.cuDevicePrimaryCtxReset(device))
    step(f"faults: {name.decode()}")


def call_at_exit():
    """The process calls the driver when its own statics are gone, as some clients' destructors do."""
    library = ctypes.CDLL("libcuda.so.1")
    libc = ctypes.CDLL(None)
    for late in (library.cuCtxSynchronize, library.cuMemFree_v2, library.cuInit):
        assert libc.__cxa_atexit(ctypes.cast(late, ctypes.c_void_p), None, None) == 0


def main():
    call_at_exit()
    device = start()
    module = ok(cu.cuModuleLoadData(PTX))
    launches(module)
    streams_and_graphs(module)
    tensor_maps(module)
    hopper()
    refusals(module)
    faults(module, device)
    step("done")


if __name__ == "__main__":
    sys.exit(main())
