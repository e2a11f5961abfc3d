// Kernels for clang's NVPTX backend, with neither CUDA's headers nor its library: builtins and address spaces only.
#define GLOBAL __attribute__((address_space(1)))
#define SHARED __attribute__((address_space(3)))
#define KERNEL __attribute__((nvptx_kernel))
typedef _Float16 half;
typedef float float4 __attribute__((ext_vector_type(4)));
typedef half half2 __attribute__((ext_vector_type(2)));

static int thread(void) { return __nvvm_read_ptx_sreg_tid_x(); }
static int block(void) { return __nvvm_read_ptx_sreg_ctaid_x(); }
static int threads(void) { return __nvvm_read_ptx_sreg_ntid_x(); }

static SHARED float tile[256];
static GLOBAL const int steps[4] = {1, 10, 100, 1000};
GLOBAL const int *GLOBAL const where[2] = {steps + 1, steps + 3};

// A bitonic sort in shared memory.
KERNEL void sort(const float *in, float *out) {
    int i = thread();
    tile[i] = in[block() * 256 + i];
    for (int k = 2; k <= 256; k *= 2)
        for (int j = k / 2; j > 0; j /= 2) {
            __syncthreads();
            int other = i ^ j;
            if (other > i) {
                float a = tile[i], b = tile[other];
                if ((a > b) == ((i & k) == 0)) {
                    tile[i] = b;
                    tile[other] = a;
                }
            }
        }
    __syncthreads();
    out[block() * 256 + i] = tile[i];
}

KERNEL void vectors(const float4 *x, const half2 *h, float4 *out, int n) {
    int i = block() * threads() + thread();
    if (i >= n) return;
    half2 v = h[i] * h[i] + (half2)(half)0.25f;
    out[i] = x[i] * (float)v.x + x[i].wzyx * (float)v.y;
}

// Variable-length arguments of a struct by value, and a function that stays one.
struct pair { long a; int b; short c; };
__attribute__((noinline)) static struct pair mix(struct pair p, struct pair q, int k) {
    struct pair r = {p.a * k + q.a, p.b ^ q.b, (short)(p.c - q.c)};
    return r;
}
KERNEL void pairs(const struct pair *x, struct pair *out) {
    int i = thread();
    out[i] = mix(x[i], x[i ^ 1], i);
}

KERNEL void tables(const int *x, int *out) {
    int i = thread();
    out[i] = steps[x[i] & 3] + where[x[i] & 1][0];
}

// Integers of every width, and all that may go wrong with their signs.
KERNEL void widths(const long *x, const int *y, long *out) {
    int i = thread();
    signed char c = (signed char)x[i];
    unsigned short s = (unsigned short)(x[i] >> 8);
    unsigned u = (unsigned)y[i] | 1;
    __int128 wide = (__int128)x[i] * x[i];
    long r = c * 3 - s + (long)(u % 7u) + (x[i] / (long)u) + (long)(wide >> 64);
    r ^= __builtin_popcountl(x[i]) + __builtin_clzl(x[i] | 1) + __builtin_ctz(u) + (long)__builtin_bswap32(u);
    out[i] = r + (x[i] > y[i] ? x[i] % 1000 : -(long)u);
}

// Divergence: loops of different lengths, breaks, a switch.
KERNEL void collatz(const int *x, int *out) {
    int i = thread();
    long v = x[i];
    int steps = 0;
    for (;;) {
        if (v <= 1) break;
        if (steps > 300) { steps = -1; break; }
        switch (v % 4) {
            case 0: v /= 4; steps += 2; continue;
            case 2: v /= 2; break;
            default: v = 3 * v + 1;
        }
        steps++;
    }
    out[i] = steps;
}

KERNEL void count(const int *x, int *bins, int n) {
    for (int i = block() * threads() + thread(); i < n; i += threads() * (int)__nvvm_read_ptx_sreg_nctaid_x())
        __nvvm_atom_add_gen_i(&bins[x[i] & 15], 1);
}

// Local memory: a stack that is indexed at run time.
KERNEL void nested(const int *x, int *out) {
    int stack[20], top = 0, i = thread(), sum = 0;
    stack[top++] = x[i];
    while (top > 0) {
        int v = stack[--top];
        sum += v;
        if (v > 3) {
            stack[top++] = v / 2;
            stack[top++] = v / 3;
        }
    }
    out[i] = sum;
}
