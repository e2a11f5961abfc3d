// Kernels over CUDA's own device libraries: CUB, libcu++, cooperative groups, clusters. The answers are in cuda_cases.py.
#include <cooperative_groups.h>
#include <cooperative_groups/memcpy_async.h>
#include <cooperative_groups/reduce.h>
#include <cub/block/block_radix_sort.cuh>
#include <cub/block/block_reduce.cuh>
#include <cub/block/block_scan.cuh>
#include <cub/warp/warp_reduce.cuh>
#include <cuda/atomic>
#include <cuda/barrier>
#include <cuda/pipeline>
#include <cuda/std/complex>

namespace cg = cooperative_groups;

extern "C" __global__ void block_scan(const int *x, int *out) {
    using Scan = cub::BlockScan<int, 128>;
    __shared__ typename Scan::TempStorage storage;
    int v[4];
    for (int i = 0; i < 4; i++) v[i] = x[threadIdx.x * 4 + i];
    Scan(storage).ExclusiveSum(v, v);
    for (int i = 0; i < 4; i++) out[threadIdx.x * 4 + i] = v[i];
}

extern "C" __global__ void radix_sort(const unsigned *x, unsigned *out) {
    using Sort = cub::BlockRadixSort<unsigned, 64, 4>;
    __shared__ typename Sort::TempStorage storage;
    unsigned v[4];
    for (int i = 0; i < 4; i++) v[i] = x[threadIdx.x * 4 + i];
    Sort(storage).Sort(v);
    for (int i = 0; i < 4; i++) out[threadIdx.x * 4 + i] = v[i];
}

extern "C" __global__ void block_reduce(const float *x, float *out, int n) {
    using Reduce = cub::BlockReduce<float, 256>;
    __shared__ typename Reduce::TempStorage storage;
    float v = 0;
    for (int i = threadIdx.x; i < n; i += 256) v = fmaxf(v, fabsf(x[i]));
    float most = Reduce(storage).Reduce(v, [](float a, float b) { return a > b ? a : b; });
    if (threadIdx.x == 0) *out = most;
}

// Copies that signal a barrier of libcu++.
extern "C" __global__ void barrier_copy(const int *x, int *out) {
    __shared__ int tile[256];
    __shared__ cuda::barrier<cuda::thread_scope_block> bar;
    auto block = cg::this_thread_block();
    if (block.thread_rank() == 0) init(&bar, block.size());
    block.sync();
    cuda::memcpy_async(block, tile, x + blockIdx.x * 256, cuda::aligned_size_t<16>(sizeof(tile)), bar);
    bar.arrive_and_wait();
    out[blockIdx.x * 256 + threadIdx.x] = tile[255 - threadIdx.x];
}

// Two stages through a pipeline shared by the block.
extern "C" __global__ void staged(const int *x, int *out, int tiles) {
    __shared__ int stage[2][128];
    __shared__ cuda::pipeline_shared_state<cuda::thread_scope_block, 2> state;
    auto block = cg::this_thread_block();
    auto pipe = cuda::make_pipeline(block, &state);
    int sum = 0;
    for (int fetch = 0, t = 0; t < tiles; t++) {
        for (; fetch < tiles && fetch < t + 2; fetch++) {
            pipe.producer_acquire();
            cuda::memcpy_async(block, stage[fetch % 2], x + fetch * 128, sizeof(stage[0]), pipe);
            pipe.producer_commit();
        }
        pipe.consumer_wait();
        sum += stage[t % 2][threadIdx.x ^ 3];
        pipe.consumer_release();
    }
    out[threadIdx.x] = sum;
}

// A lock, and message passing by acquire and release.
extern "C" __global__ void messages(int *data, int *flag, int *out) {
    cuda::atomic_ref<int, cuda::thread_scope_device> ready(*flag);
    if (blockIdx.x == 0) {
        data[threadIdx.x] = threadIdx.x * 7;
        __syncthreads();
        if (threadIdx.x == 0) ready.store(1, cuda::memory_order_release);
    } else {
        if (threadIdx.x == 0)
            while (ready.load(cuda::memory_order_acquire) == 0) {}
        __syncthreads();
        out[threadIdx.x] = data[threadIdx.x ^ 1] + 1;
    }
}

extern "C" __global__ void group_reduce(const int *x, int *out) {
    auto block = cg::this_thread_block();
    auto tile = cg::tiled_partition<16>(block);
    int most = cg::reduce(tile, x[block.thread_rank()], cg::greater<int>());
    int sum = cg::reduce(tile, x[block.thread_rank()], cg::plus<int>());
    out[block.thread_rank()] = most * 1000 + sum;
}

extern "C" __global__ void complex_power(const float2 *x, float2 *out) {
    cuda::std::complex<float> z(x[threadIdx.x].x, x[threadIdx.x].y), w(1, 0);
    for (int i = 0; i < 5; i++) w = w * z + z / (w + cuda::std::complex<float>(2, 0));
    out[threadIdx.x] = {w.real(), w.imag()};
}

extern "C" __global__ void special_functions(const float *x, float *out) {
    float v = x[threadIdx.x];
    float r = erff(v) + erfcf(v) + lgammaf(v + 3) + tgammaf(v + 2.5f) + log1pf(v * v) + expm1f(v * 0.1f) + atan2f(v, 2) + sinhf(v * 0.5f);
    r += rsqrtf(v * v + 1) + hypotf(v, 3) + nearbyintf(v * 10) + truncf(v) + fmodf(v, 0.7f) + ldexpf(v, 3) + __fdividef(v, 3) + asinf(v * 0.1f) + j0f(v);
    out[threadIdx.x] = r + tanf(v * 0.3f) + powf(fabsf(v) + 0.1f, 1.7f) + cospif(v) + normcdff(v) + acoshf(fabsf(v) + 1);
}

#if __CUDA_ARCH__ >= 900
// Two blocks of a cluster exchange halves through each other's shared memory.
extern "C" __global__ void __cluster_dims__(2, 1, 1) exchange(const int *x, int *out) {
    __shared__ int mine[64];
    auto cluster = cg::this_cluster();
    mine[threadIdx.x] = x[blockIdx.x * 64 + threadIdx.x];
    cluster.sync();
    int *theirs = cluster.map_shared_rank(mine, cluster.block_rank() ^ 1);
    out[blockIdx.x * 64 + threadIdx.x] = theirs[63 - threadIdx.x] + cluster.num_blocks();
    cluster.sync();
}

// A bulk copy that signals an mbarrier, and one back.
#include <cuda/ptx>
extern "C" __global__ void bulk(const int *x, int *out) {
    __shared__ alignas(128) int tile[256];
    __shared__ cuda::std::uint64_t bar;
    if (threadIdx.x == 0) {
        cuda::ptx::mbarrier_init(&bar, 1);
        cuda::ptx::fence_mbarrier_init(cuda::ptx::sem_release, cuda::ptx::scope_cluster);
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        cuda::ptx::cp_async_bulk(cuda::ptx::space_cluster, cuda::ptx::space_global, tile, x + blockIdx.x * 256, sizeof(tile), &bar);
        cuda::ptx::mbarrier_arrive_expect_tx(cuda::ptx::sem_release, cuda::ptx::scope_cta, cuda::ptx::space_shared, &bar, sizeof(tile));
    }
    while (!cuda::ptx::mbarrier_try_wait_parity(&bar, 0)) {}
    tile[threadIdx.x] *= 3;
    cuda::ptx::fence_proxy_async(cuda::ptx::space_shared);
    __syncthreads();
    if (threadIdx.x == 0) {
        cuda::ptx::cp_async_bulk(cuda::ptx::space_global, cuda::ptx::space_shared, out + blockIdx.x * 256, tile, sizeof(tile));
        cuda::ptx::cp_async_bulk_commit_group();
        cuda::ptx::cp_async_bulk_wait_group_read(cuda::ptx::n32_t<0>());
    }
}
#endif
