// Kernels for nvcc, each with a feature that its PTX is wanted for. The answers are in cuda_cases.py.
#include <cooperative_groups.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>
#include <cuda_pipeline.h>
#include <mma.h>

#include <cassert>
#include <cstdio>

namespace cg = cooperative_groups;
using namespace nvcuda;

extern "C" __global__ void saxpy(float a, const float *__restrict__ x, float *y, int n) {
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) y[i] = a * x[i] + y[i];
}

// Warp shuffles, then shared memory.
extern "C" __global__ void reduce(const float *x, float *out, int n) {
    __shared__ float parts[32];
    float sum = 0;
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) sum += x[i];
    for (int d = 16; d > 0; d /= 2) sum += __shfl_down_sync(~0u, sum, d);
    if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = sum;
    __syncthreads();
    if (threadIdx.x < 32) {
        sum = threadIdx.x < blockDim.x / 32 ? parts[threadIdx.x] : 0.f;
        for (int d = 16; d > 0; d /= 2) sum += __shfl_xor_sync(~0u, sum, d);
        if (threadIdx.x == 0) atomicAdd(out, sum);
    }
}

extern "C" __global__ void transpose(const int *x, int *out, int rows, int columns) {
    __shared__ int tile[32][33];
    int c = blockIdx.x * 32 + threadIdx.x;
    for (int j = threadIdx.y; j < 32; j += 8) {
        int r = blockIdx.y * 32 + j;
        if (r < rows && c < columns) tile[j][threadIdx.x] = x[r * columns + c];
    }
    __syncthreads();
    int r = blockIdx.y * 32 + threadIdx.x;
    for (int j = threadIdx.y; j < 32; j += 8) {
        int c = blockIdx.x * 32 + j;
        if (r < rows && c < columns) out[c * rows + r] = tile[threadIdx.x][j];
    }
}

// Tiles through registers and shared memory, dynamic.
extern "C" __global__ void matmul(const float *a, const float *b, float *c, int m, int n, int k) {
    extern __shared__ float tiles[];
    float *left = tiles, *right = tiles + 16 * 16;
    int row = blockIdx.y * 16 + threadIdx.y, column = blockIdx.x * 16 + threadIdx.x;
    float sum = 0;
    for (int at = 0; at < k; at += 16) {
        left[threadIdx.y * 16 + threadIdx.x] = row < m && at + threadIdx.x < k ? a[row * k + at + threadIdx.x] : 0.f;
        right[threadIdx.y * 16 + threadIdx.x] = column < n && at + threadIdx.y < k ? b[(at + threadIdx.y) * n + column] : 0.f;
        __syncthreads();
#pragma unroll
        for (int i = 0; i < 16; i++) sum += left[threadIdx.y * 16 + i] * right[i * 16 + threadIdx.x];
        __syncthreads();
    }
    if (row < m && column < n) c[row * n + column] = sum;
}

// One warp, one 16x16 tile of wmma.
template <typename T, typename Acc, int M, int N, int K>
__device__ void tensor(const T *a, const T *b, Acc *c, int k) {
    wmma::fragment<wmma::matrix_a, M, N, K, T, wmma::row_major> left;
    wmma::fragment<wmma::matrix_b, M, N, K, T, wmma::col_major> right;
    wmma::fragment<wmma::accumulator, M, N, K, Acc> sum;
    wmma::fill_fragment(sum, Acc(0));
    for (int at = 0; at < k; at += K) {
        wmma::load_matrix_sync(left, a + at, k);
        wmma::load_matrix_sync(right, b + at, k);
        wmma::mma_sync(sum, left, right, sum);
    }
    for (int i = 0; i < sum.num_elements; i++) sum.x[i] = sum.x[i] + sum.x[i];
    wmma::store_matrix_sync(c, sum, N, wmma::mem_row_major);
}
extern "C" __global__ void wmma_f16(const half *a, const half *b, float *c, int k) { tensor<half, float, 16, 16, 16>(a, b, c, k); }
extern "C" __global__ void wmma_f16_wide(const half *a, const half *b, float *c, int k) { tensor<half, float, 8, 32, 16>(a, b, c, k); }
extern "C" __global__ void wmma_f16_tall(const half *a, const half *b, half *c, int k) { tensor<half, half, 32, 8, 16>(a, b, c, k); }
extern "C" __global__ void wmma_bf16(const __nv_bfloat16 *a, const __nv_bfloat16 *b, float *c, int k) { tensor<__nv_bfloat16, float, 16, 16, 16>(a, b, c, k); }
extern "C" __global__ void wmma_s8(const signed char *a, const signed char *b, int *c, int k) { tensor<signed char, int, 16, 16, 16>(a, b, c, k); }
extern "C" __global__ void wmma_f64(const double *a, const double *b, double *c, int k) { tensor<double, double, 8, 8, 4>(a, b, c, k); }

// Copies that run ahead, two stages.
extern "C" __global__ void pipeline(const float4 *x, float4 *out, int tiles) {
    __shared__ float4 stage[2][64];
    const float4 *from = x + blockIdx.x * tiles * 64;
    __pipeline_memcpy_async(&stage[0][threadIdx.x], from + threadIdx.x, 16);
    __pipeline_commit();
    float4 sum = {0, 0, 0, 0};
    for (int t = 0; t < tiles; t++) {
        if (t + 1 < tiles) __pipeline_memcpy_async(&stage[(t + 1) & 1][threadIdx.x], from + (t + 1) * 64 + threadIdx.x, 16);
        __pipeline_commit();
        __pipeline_wait_prior(1);
        __syncthreads();
        float4 v = stage[t & 1][threadIdx.x ^ 1];
        sum.x += v.x; sum.y += v.y; sum.z += v.z; sum.w += v.w;
        __syncthreads();
    }
    out[blockIdx.x * 64 + threadIdx.x] = sum;
}

// An array in local memory, indexed at run time.
extern "C" __global__ void local_array(const int *x, int *out) {
    int v[16];
    for (int i = 0; i < 16; i++) v[i] = x[threadIdx.x * 16 + i];
    for (int i = 1; i < 16; i++)
        for (int j = i; j > 0 && v[j - 1] > v[j]; j--) { int t = v[j]; v[j] = v[j - 1]; v[j - 1] = t; }
    int s = 0;
    for (int i = 0; i < 16; i++) s = s * 31 + v[v[i] & 15];
    out[threadIdx.x] = s;
}

// Pointers to functions, in a table; a function that is not inlined; a virtual call.
__device__ __noinline__ int twice(int x) { return 2 * x; }
__device__ __noinline__ int square(int x) { return x * x; }
__device__ __noinline__ int negate(int x) { return -x; }
typedef int (*Function)(int);
__device__ Function table[3] = {twice, square, negate};
struct Shape { __device__ virtual int area(int) const { return 1; } };
struct Rectangle : Shape { int w; __device__ Rectangle(int w) : w(w) {} __device__ int area(int h) const override { return w * h; } };
extern "C" __global__ void pointers(const int *x, int *out, int n) {
    int i = threadIdx.x;
    if (i >= n) return;
    int v = table[x[i] % 3](x[i]);
    Rectangle r(v);
    Shape plain;
    const Shape *s = i % 2 ? static_cast<const Shape *>(&r) : &plain;
    out[i] = v + s->area(3);
}

// A dense switch.
extern "C" __global__ void choose(const int *x, float *out) {
    int i = threadIdx.x;
    float v = i;
    switch (x[i]) {
        case 0: v = sinf(v); break;
        case 1: v = sqrtf(v); break;
        case 2: v = v * v + 1; break;
        case 3: v = -v; break;
        case 4: v = expf(-v); break;
        case 5: v = v / 3; break;
        case 6: v = fmodf(v, 2.5f); break;
        case 7: v = cbrtf(v); break;
        default: v = 0;
    }
    out[i] = v;
}

extern "C" __global__ void doubles(const double *x, double *out, int n) {
    int i = threadIdx.x;
    if (i < n) out[i] = sin(x[i]) + exp(x[i]) / (1 + x[i] * x[i]) + sqrt(fabs(x[i])) + pow(fabs(x[i]) + 0.5, 1.5) + __drcp_ru(x[i] + 10);
}

extern "C" __global__ void halves(const half2 *x, const half2 *y, half2 *out, const __nv_bfloat162 *u, __nv_bfloat162 *w) {
    int i = threadIdx.x;
    half2 v = __hfma2(x[i], y[i], __float2half2_rn(0.5f));
    v = __hmax2(v, __hneg2(y[i]));
    out[i] = __hadd2(h2exp2(v), __hmul2(x[i], x[i]));
    w[i] = __hfma2(u[i], u[i], __float2bfloat162_rn(1.f));
}

// Integers: wide products, bits, byte dots, warp votes and matches.
extern "C" __global__ void bits(const unsigned *x, unsigned *out) {
    unsigned i = threadIdx.x, v = x[i];
    unsigned r = __popc(v) + __clz(v) * 100 + __ffs(v) * 10000 + (__brev(v) >> 3);
    r ^= __byte_perm(v, ~v, 0x3715) + __funnelshift_l(v, v * 3, i) + __umulhi(v, 0x9e3779b9u);
    int dot;
    asm("dp4a.s32.s32 %0, %1, %2, %3;" : "=r"(dot) : "r"(v), "r"(0x01020304), "r"(7));
    r += dot + __usad(v, i, 5) + __vadd2(v, 0x00010002);
    r += __ballot_sync(~0u, v & 1) + __match_any_sync(~0u, v & 3) * 7;
    unsigned long long wide = (unsigned long long)v * v + i;
    r += (unsigned)(wide % 1000003u) + (unsigned)(wide / 17u);
    r += __reduce_add_sync(~0u, v & 15);
    out[i] = r;
}

extern "C" __global__ void atomics(const int *x, int *out, float *sums, unsigned long long *wide, double *d, half2 *h) {
    int v = x[blockIdx.x * blockDim.x + threadIdx.x];
    atomicAdd(&out[0], v);
    atomicMax(&out[1], v);
    atomicMin(&out[2], v);
    atomicXor(&out[3], v);
    atomicInc((unsigned *)&out[4], 6);
    atomicAdd(&sums[v & 7], 0.5f);
    atomicAdd(wide, (unsigned long long)v * 1000000007ull);
    atomicAdd(d, v * 0.25);
    atomicAdd(h, __floats2half2_rn(1.f, 2.f));
    // A maximum of floats by compare and swap.
    int *at = (int *)&sums[8], old = *at, seen;
    do { seen = old; old = atomicCAS(at, seen, __float_as_int(fmaxf(__int_as_float(seen), (float)v))); } while (old != seen);
}

// The last block to arrive adds up what all have left (threadFenceReduction).
__device__ unsigned arrived;
extern "C" __global__ void last_block(const float *x, volatile float *parts, float *out) {
    __shared__ bool last;
    float sum = x[blockIdx.x * 32 + threadIdx.x];
    for (int d = 16; d > 0; d /= 2) sum += __shfl_xor_sync(~0u, sum, d);
    if (threadIdx.x == 0) {
        parts[blockIdx.x] = sum;
        __threadfence();
        last = atomicAdd(&arrived, 1) == gridDim.x - 1;
    }
    __syncthreads();
    if (last && threadIdx.x == 0) {
        float all = 0;
        for (int i = 0; i < gridDim.x; i++) all += parts[i];
        *out = all;
    }
}

extern "C" __global__ void groups(const int *x, int *out) {
    cg::thread_block block = cg::this_thread_block();
    auto tile = cg::tiled_partition<8>(block);
    int v = x[block.thread_rank()];
    for (int d = tile.size() / 2; d > 0; d /= 2) v += tile.shfl_down(v, d);
    v = tile.shfl(v, 0);
    if (x[block.thread_rank()] & 1) {
        auto active = cg::coalesced_threads();
        v += 1000 * active.size() + active.thread_rank();
    }
    out[block.thread_rank()] = v;
}

// What the barrier learns of all threads.
extern "C" __global__ void votes(const int *x, int *out) {
    int v = x[threadIdx.x];
    int n = __syncthreads_count(v > 3), all = __syncthreads_and(v >= 0), any = __syncthreads_or(v > 8);
    out[threadIdx.x] = n * 100 + all * 10 + any;
}

__constant__ float weights[5] = {0.1f, 0.2f, 0.4f, 0.2f, 0.1f};
extern "C" __global__ void stencil(const float *x, float *out, int n) {
    __shared__ float tile[128 + 4];
    int i = blockIdx.x * 128 + threadIdx.x;
    auto at = [&](int j) { return j >= 0 && j < n ? x[j] : 0.f; };
    tile[threadIdx.x + 2] = at(i);
    if (threadIdx.x < 2) {
        tile[threadIdx.x] = at(i - 2);
        tile[threadIdx.x + 130] = at(i + 128);
    }
    __syncthreads();
    float sum = 0;
    for (int j = 0; j < 5; j++) sum += weights[j] * tile[threadIdx.x + j];
    if (i < n) out[i] = sum;
}

struct Particle { float3 position; float mass; double energy; char kind; };
extern "C" __global__ void structs(Particle p, const Particle *in, Particle *out) {
    Particle q = in[threadIdx.x];
    q.position.x += p.position.y;
    q.mass *= p.mass;
    q.energy -= p.energy;
    q.kind ^= p.kind;
    out[threadIdx.x] = q;
}

extern "C" __global__ void talk(const int *x) {
    if (threadIdx.x < 2) printf("%d of %s: %5.2f %c %llu%%\n", x[threadIdx.x], "two", threadIdx.x * 1.5, 'a' + threadIdx.x, 1ull << 40);
}

extern "C" __global__ void insist(const int *x) { assert(x[threadIdx.x] < 5 && "small"); }

// e4m3, and both roundings of float to half.
extern "C" __global__ void eighths(const float *x, unsigned char *out, half *h) {
    int i = threadIdx.x;
    out[i] = __nv_cvt_float_to_fp8(x[i], __NV_SATFINITE, __NV_E4M3);
    h[2 * i] = __float2half_rz(x[i]);
    h[2 * i + 1] = __float2half_ru(x[i]);
}

// Named barriers: one warp makes, one takes.
extern "C" __global__ void producer_consumer(const int *x, int *out, int rounds) {
    __shared__ int slot[2][32];
    int lane = threadIdx.x % 32;
    if (threadIdx.x < 32) {
        for (int r = 0; r < rounds; r++) {
            if (r >= 2) asm volatile("bar.sync %0, 64;" ::"r"(3 + (r & 1)) : "memory");
            slot[r & 1][lane] = x[r * 32 + lane] * 3;
            asm volatile("bar.arrive %0, 64;" ::"r"(1 + (r & 1)) : "memory");
        }
    } else {
        for (int r = 0; r < rounds; r++) {
            asm volatile("bar.sync %0, 64;" ::"r"(1 + (r & 1)) : "memory");
            out[r * 32 + lane] = slot[r & 1][31 - lane];
            if (r + 2 < rounds) asm volatile("bar.arrive %0, 64;" ::"r"(3 + (r & 1)) : "memory");
        }
    }
}

// A chain of carries, as big numbers are added.
extern "C" __global__ void big_sum(const unsigned *x, const unsigned *y, unsigned *out) {
    const unsigned *a = x + threadIdx.x * 4, *b = y + threadIdx.x * 4;
    unsigned *c = out + threadIdx.x * 4;
    asm("add.cc.u32 %0, %4, %8; addc.cc.u32 %1, %5, %9; addc.cc.u32 %2, %6, %10; addc.u32 %3, %7, %11;"
        : "=r"(c[0]), "=r"(c[1]), "=r"(c[2]), "=r"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "r"(b[2]), "r"(b[3]));
}

// Functions that call themselves, to a depth that differs from thread to thread.
__device__ __noinline__ int fibonacci(int n) { return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2); }

__device__ __noinline__ int queens(int n, int row, unsigned columns, unsigned falling, unsigned rising) {
    if (row == n) return 1;
    int found = 0;
    for (int c = 0; c < n; c++) {
        unsigned column = 1u << c, down = 1u << (row + c), up = 1u << (row - c + n);
        if ((columns & column) == 0 && (falling & down) == 0 && (rising & up) == 0)
            found += queens(n, row + 1, columns | column, falling | down, rising | up);
    }
    return found;
}

__device__ bool is_odd(int n);
__device__ __noinline__ bool is_even(int n) { return n == 0 || is_odd(n - 1); }
__device__ __noinline__ bool is_odd(int n) { return n != 0 && is_even(n - 1); }

extern "C" __global__ void recursive(const int *x, int *out) {
    int i = threadIdx.x, n = x[i];
    out[i] = fibonacci(n) + 1000 * queens(n % 7, 0, 0, 0, 0) + (is_even(n) ? 1000000 : 0);
}

__device__ void quicksort(int *v, int n) {
    if (n < 2) return;
    int pivot = v[n / 2], lo = 0, hi = n - 1;
    while (lo <= hi) {
        while (v[lo] < pivot) lo++;
        while (v[hi] > pivot) hi--;
        if (lo <= hi) { int t = v[lo]; v[lo++] = v[hi]; v[hi--] = t; }
    }
    quicksort(v, hi + 1);
    quicksort(v + lo, n - lo);
}

extern "C" __global__ void sort_rows(const int *x, int *out) {
    int v[20];
    for (int j = 0; j < 20; j++) v[j] = x[20 * threadIdx.x + j];
    quicksort(v, 20);
    for (int j = 0; j < 20; j++) out[20 * threadIdx.x + j] = v[j];
}

// Each frame holds what it has chosen so far: the permutations of n numbers, as a sum that depends on their order.
__device__ __noinline__ int permutations(int n, int used, int length, const int *before) {
    int chosen[6];
    for (int j = 0; j < length; j++) chosen[j] = before[j];
    if (length == n) {
        int value = 0;
        for (int j = 0; j < n; j++) value = 7 * value + chosen[j];
        return value % 1009;
    }
    int sum = 0;
    for (int j = 0; j < n; j++) {
        if (used >> j & 1) continue;
        chosen[length] = j;
        sum += permutations(n, used | 1 << j, length + 1, chosen);
    }
    return sum;
}

extern "C" __global__ void permute(const int *x, int *out) {
    out[threadIdx.x] = permutations(x[threadIdx.x], 0, 0, nullptr);
}

// An expression whose nodes evaluate their children: recursion through virtual calls.
struct Expression {
    __device__ virtual int value(int depth) const = 0;
};
struct Leaf : Expression {
    int number;
    __device__ int value(int depth) const override { return number + depth; }
};
struct Pair : Expression {
    const Expression *left, *right;
    __device__ int value(int depth) const override { return 3 * left->value(depth + 1) - right->value(depth + 1); }
};

extern "C" __global__ void expressions(const int *x, int *out) {
    int i = threadIdx.x, levels = x[i];
    Leaf leaf;
    leaf.number = i;
    Pair pairs[5];
    const Expression *below = &leaf;
    for (int l = 0; l < levels; l++) {
        pairs[l].left = below;
        pairs[l].right = l % 2 ? below : &leaf;
        below = &pairs[l];
    }
    out[i] = below->value(0);
}
