// Attention for Hopper with a head dimension of 40, which no stock kernel knows: they compute with 64.
//
// `pack` brings keys and values into the order in which the matrix units read them, tile by tile. In `attend`, each
// program takes 64 queries for each of its warp groups, keeps them in registers and goes through the tiles of 128
// keys, which one thread fetches some tiles ahead. Of the head dimension, the matrix units see 48: behind the values
// lies a column of ones, so that the products also give the sum of the weights.
//
// Scores are shifted by a running reference instead of their exact maximum. The matrix units subtract it: column 40
// holds its negative in the queries and 1 in the keys. It is raised only when a weight would exceed 2^8; then the
// tile's scores are computed again. Weights are made in pairs in half precision, most of them by the special
// function unit, a part by a polynomial. The products of one half of a tile's weights with its values run while the
// other half is made.

// GROUPS, warp groups of a program, and STAGES, tiles in shared memory, are given to the compiler.

using u32 = unsigned int;
using u64 = unsigned long long;

constexpr int DIM = 40, KEYS = 128, CHUNKS = 5;  // a chunk: 8 columns, 16 bytes
constexpr int AHEAD = 6;        // tiles between a fetch and its use
constexpr int POLYNOMIALS = 2;  // of 8 pairs, those made by the polynomial
constexpr int THREADS = GROUPS * 128, QUERIES = GROUPS * 64;
constexpr int CHUNK_BYTES = KEYS * 16, TILE_BYTES = CHUNKS * CHUNK_BYTES;  // of keys or of values
constexpr int HALF_STAGE = TILE_BYTES + CHUNK_BYTES, STAGE_BYTES = 2 * HALF_STAGE;

__device__ __forceinline__ u32 shared_address(const void* p) { return (u32)__cvta_generic_to_shared(p); }

__device__ __forceinline__ void barrier_init(u32 barrier, u32 count) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(count) : "memory");
}

__device__ __forceinline__ void barrier_arrive(u32 barrier) {
  asm volatile("mbarrier.arrive.release.cta.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}

__device__ __forceinline__ void barrier_wait(u32 barrier, u32 parity) {
  asm volatile(
      "{\n.reg .pred done;\n"
      "again: mbarrier.try_wait.parity.acquire.cta.shared::cta.b64 done, [%0], %1;\n"
      "@done bra.uni over;\nbra.uni again;\nover:\n}" ::"r"(barrier), "r"(parity) : "memory");
}

// A matrix in shared memory without swizzle: blocks of 8 rows of 16 bytes.
__device__ __forceinline__ u64 matrix(u32 address, u32 leading, u32 stride) {
  return (u64)((address & 0x3FFFF) >> 4) | (u64)(leading >> 4) << 16 | (u64)(stride >> 4) << 32;
}

#define F4(a, i) "+f"(a[i]), "+f"(a[i + 1]), "+f"(a[i + 2]), "+f"(a[i + 3])
#define F8(a, i) F4(a, i), F4(a, i + 4)
#define F24(a) F8(a, 0), F8(a, 8), F8(a, 16)
#define F64(a) F24(a), F8(a, 24), F8(a, 32), F8(a, 40), F8(a, 48), F8(a, 56)

__device__ __forceinline__ void products_begin() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ __forceinline__ void products_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }

// Wait for the products under way; their results are given so that nothing reads them earlier.
__device__ __forceinline__ void wait_products(float (&s)[64]) {
  asm volatile("wgmma.wait_group.sync.aligned 0;" : F64(s)::"memory");
}

__device__ __forceinline__ void wait_products(float (&o)[24]) {
  asm volatile("wgmma.wait_group.sync.aligned 0;" : F24(o)::"memory");
}

// scores (64 queries x 128 keys) (+)= 16 columns of queries x keys
__device__ __forceinline__ void score(float (&s)[64], const u32* q, u64 keys, int add) {
  asm volatile(
      "{\n.reg .pred add;\nsetp.ne.b32 add, %69, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n128k16.f32.f16.f16 "
      "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,"
      "%29,%30,%31,%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,%48,%49,%50,%51,%52,%53,%54,%55,"
      "%56,%57,%58,%59,%60,%61,%62,%63}, {%64,%65,%66,%67}, %68, add, 1, 1, 0;\n}"
      : F64(s)
      : "r"(q[0]), "r"(q[1]), "r"(q[2]), "r"(q[3]), "l"(keys), "r"(add));
}

// out (64 queries x 48 columns) += weights of 16 keys x values
__device__ __forceinline__ void weigh(float (&o)[24], const u32* p, u64 values) {
  asm volatile(
      "wgmma.mma_async.sync.aligned.m64n48k16.f32.f16.f16 "
      "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23}, "
      "{%24,%25,%26,%27}, %28, 1, 1, 1, 1;"
      : F24(o)
      : "r"(p[0]), "r"(p[1]), "r"(p[2]), "r"(p[3]), "l"(values));
}

__device__ __forceinline__ float exponential(float x) {
  asm("ex2.approx.ftz.f32 %0, %0;" : "+f"(x));
  return x;
}

__device__ __forceinline__ u32 pair(float low, float high) {
  u32 packed;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  return packed;
}

__device__ __forceinline__ u32 larger(u32 a, u32 b) {
  asm("max.f16x2 %0, %0, %1;" : "+r"(a) : "r"(b));
  return a;
}

__device__ __forceinline__ u32 times_plus(u32 a, u32 b, u32 c) {
  asm("fma.rn.f16x2 %0, %0, %1, %2;" : "+r"(a) : "r"(b), "r"(c));
  return a;
}

__device__ __forceinline__ u32 plus(u32 a, u32 b) {
  asm("add.rn.f16x2 %0, %0, %1;" : "+r"(a) : "r"(b));
  return a;
}

__device__ __forceinline__ u32 exponentials(u32 x) {
  asm("ex2.approx.f16x2 %0, %0;" : "+r"(x));
  return x;
}

// 2^x of two halves without the special function unit: 2^n by its bits, 2^(x-n) by a polynomial.
__device__ __forceinline__ u32 exponentials_by_polynomial(u32 x) {
  constexpr u32 FLOOR = 0xCB80CB80, SHIFT = 0x660F660F, UNSHIFT = 0xE60FE60F;  // -15, 1551, -1551
  x = larger(x, FLOOR);
  u32 n = plus(x, SHIFT);  // its lowest bits: exponent of 2^n
  u32 scale = (n << 10) & 0x7C007C00;
  u32 negative;
  asm("sub.rn.f16x2 %0, %1, %2;" : "=r"(negative) : "r"(x), "r"(plus(n, UNSHIFT)));
  u32 y = times_plus(negative, 0x2B192B19, 0x33C133C1);  // 0.05545, 0.24237
  y = times_plus(y, negative, 0x398C398C);               // 0.69319
  y = times_plus(y, negative, 0x3C003C00);
  asm("mul.rn.f16x2 %0, %0, %1;" : "+r"(y) : "r"(scale));
  return y;
}

__device__ __forceinline__ void compute_scores(float (&s)[64], const u32 (&q)[12], u32 stage) {
  products_begin();
#pragma unroll
  for (int k = 0; k < 3; k++) score(s, q + 4 * k, matrix(stage + 2 * k * CHUNK_BYTES, CHUNK_BYTES, 128), k);
  products_commit();
  wait_products(s);
}

// Products of one half of a tile's weights and its values.
__device__ __forceinline__ void start_output(float (&o)[24], const u32 (&p)[32], u32 stage, int part) {
  products_begin();
#pragma unroll
  for (int k = part * 4; k < part * 4 + 4; k++)
    weigh(o, p + 4 * k, matrix(stage + HALF_STAGE + k * 256, 128, CHUNK_BYTES));
  products_commit();
}

// Scores as pairs; of keys that do not exist, minus infinity. `most` becomes the largest, of this thread's two rows.
__device__ __forceinline__ void packed(u32 (&p)[32], u32 (&most)[2], const float (&s)[64], int count) {
  most[0] = most[1] = 0xFC00FC00;
#pragma unroll
  for (int i = 0; i < 32; i++) {
    p[i] = pair(s[2 * i], s[2 * i + 1]);
    most[i % 2] = larger(most[i % 2], p[i]);
  }
  if (count < KEYS) {
    most[0] = most[1] = 0xFC00FC00;
#pragma unroll
    for (int i = 0; i < 32; i++) {
      int key = i / 2 * 8 + threadIdx.x % 4 * 2;
      if (key >= count) p[i] = p[i] & 0xFFFF0000 | 0xFC00;
      if (key + 1 >= count) p[i] = p[i] & 0xFFFF | 0xFC000000;
      most[i % 2] = larger(most[i % 2], p[i]);
    }
  }
}

// One half of a tile's weights.
__device__ __forceinline__ void to_weights(u32 (&p)[32], int part) {
#pragma unroll
  for (int i = part * 16; i < part * 16 + 16; i++)
    p[i] = i % 8 < POLYNOMIALS ? exponentials_by_polynomial(p[i]) : exponentials(p[i]);
}

// The larger half of a pair.
__device__ __forceinline__ float top(u32 x) {
  float low, high;
  asm("{\n.reg .b16 a, b;\nmov.b32 {a, b}, %2;\ncvt.f32.f16 %0, a;\ncvt.f32.f16 %1, b;\n}"
      : "=f"(low), "=f"(high) : "r"(x));
  return fmaxf(low, high);
}

// Whether any of a warp group's threads says so.
__device__ __forceinline__ bool any_in_group(bool mine, int group) {
  int any;
  asm volatile(
      "{\n.reg .pred p, q;\nsetp.ne.s32 p, %1, 0;\nbarrier.cta.red.or.pred q, %2, 128, p;\nselp.s32 %0, 1, 0, q;\n}"
      : "=r"(any) : "r"((int)mine), "r"(group + 1) : "memory");
  return any;
}

// Raise the references, which lie in q[10] and q[11], to the largest scores, and shrink what was summed up so far.
__device__ __forceinline__ void raise(u32 (&q)[12], float (&o)[24], const u32 (&most)[2], bool first) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int half = 0; half < 2; half++) {
    float more = top(most[half]);
    more = fmaxf(more, __shfl_xor_sync(~0u, more, 1));
    more = fmaxf(more, __shfl_xor_sync(~0u, more, 2));
    u32& negative = q[10 + half];  // in the first lane of four; its upper half is zero
    float old = -top(__shfl_sync(~0u, negative, lane & ~3) | 0xFC000000);
    negative = pair(-(first ? more : old + fmaxf(more, 0)), 0);
    float shrink = first ? 0 : exponential(old + top(negative | 0xFC000000));
    if (lane % 4) negative = 0;
#pragma unroll
    for (int i = 0; i < 12; i++) o[i / 2 * 4 + half * 2 + i % 2] *= shrink;
  }
}

// Divide by the sum of weights, which stands in column 40, and store columns 0 to 39.
__device__ __forceinline__ void store(const float (&o)[24], u32* out, int row, int tokens, int row_words) {
  int lane = threadIdx.x % 32;
#pragma unroll
  for (int half = 0; half < 2; half++) {
    float scale = 1.0f / __shfl_sync(~0u, o[20 + 2 * half], lane & ~3);
    if (row + 8 * half < tokens) {
#pragma unroll
      for (int c = 0; c < CHUNKS; c++)
        out[(long long)(row + 8 * half) * row_words + c * 4 + lane % 4] =
            pair(o[4 * c + 2 * half] * scale, o[4 * c + 2 * half + 1] * scale);
    }
  }
}

// Keys and values (rows, tokens, heads, 40) float16 into (rows, heads, tiles, keys or values, chunks, 128 tokens, 8).
// Rows are batch_chunks of 16 bytes apart, tokens token_chunks. Tokens that do not exist become zero.
extern "C" __global__ void __launch_bounds__(256)
pack(const uint4* key, const uint4* value, uint4* out, int batch_chunks, int token_chunks, int heads, int tokens) {
  const long long batch = blockIdx.y / heads, head = blockIdx.y % heads;
  out += (long long)(blockIdx.y * gridDim.x + blockIdx.x) * (2 * KEYS * CHUNKS);
#pragma unroll
  for (int i = threadIdx.x; i < 2 * KEYS * CHUNKS; i += 256) {
    int chunk = i / KEYS % CHUNKS, token = blockIdx.x * KEYS + i % KEYS;
    const uint4* from = (i < KEYS * CHUNKS ? key : value) + batch * batch_chunks + head * CHUNKS + chunk;
    out[i] = token < tokens ? from[(long long)token * token_chunks] : make_uint4(0, 0, 0, 0);
  }
}

// query: (rows, tokens, heads, 40) float16, rows batch_chunks of 16 bytes apart, tokens token_chunks. own: its keys and
// values from `pack`; bank: one row of them for all, of bank_tokens tokens. out: contiguous, from own and bank keys;
// out_own: from own keys only, or null. factor: of the scores, for 2^score.
extern "C" __global__ void __launch_bounds__(THREADS, 1)
attend(const char* query, const char* own, const char* bank, char* out, char* out_own, int batch_chunks,
       int token_chunks, int heads, int tokens, int bank_tokens, float factor) {
  extern __shared__ __align__(1024) char memory[];
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, group = threadIdx.x / 128;
  const int batch = blockIdx.y / heads, head = blockIdx.y % heads;
  const u32 base = shared_address(memory), there = base + STAGES * STAGE_BYTES, free = there + 8 * STAGES;
  const int own_tiles = (tokens + KEYS - 1) / KEYS, tiles = own_tiles + (bank_tokens + KEYS - 1) / KEYS;
  own += (long long)blockIdx.y * own_tiles * (2 * TILE_BYTES);
  bank += (long long)head * (tiles - own_tiles) * (2 * TILE_BYTES);

  if (threadIdx.x < STAGES) {
    barrier_init(there + 8 * threadIdx.x, 1);
    barrier_init(free + 8 * threadIdx.x, GROUPS * 4);
  }
  // Columns 40 to 47 of keys and values: a one and zeros.
  for (int i = threadIdx.x; i < STAGES * 2 * KEYS; i += THREADS) {
    u32 place = base + i / KEYS * HALF_STAGE + TILE_BYTES + i % KEYS * 16;
    asm volatile("st.shared.v4.b32 [%0], {%1, %2, %2, %2};" ::"r"(place), "r"(0x3C00), "r"(0) : "memory");
  }
  asm volatile("fence.mbarrier_init.release.cluster;\nfence.proxy.async.shared::cta;" ::: "memory");
  __syncthreads();

  auto fetch = [&](int tile) {
    if (threadIdx.x || tile >= tiles) return;
    const u32 stage = base + tile % STAGES * STAGE_BYTES, barrier = there + 8 * (tile % STAGES);
    const char* from = tile < own_tiles ? own + (long long)tile * (2 * TILE_BYTES)
                                        : bank + (long long)(tile - own_tiles) * (2 * TILE_BYTES);
    if (tile >= STAGES) barrier_wait(free + 8 * (tile % STAGES), (tile / STAGES - 1) & 1);
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(2 * TILE_BYTES)
                 : "memory");
#pragma unroll
    for (int part = 0; part < 2; part++)
      asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(
                       stage + part * HALF_STAGE),
                   "l"(from + part * TILE_BYTES), "r"(TILE_BYTES), "r"(barrier)
                   : "memory");
  };
  for (int tile = 0; tile < AHEAD; tile++) fetch(tile);

  // Queries in the matrix units' order.
  const int row = blockIdx.x * QUERIES + group * 64 + warp % 4 * 16 + lane / 4;
  query += (batch * (long long)batch_chunks + head * CHUNKS) * 16;
  u32 q[12];
#pragma unroll
  for (int i = 0; i < 12; i++) {
    int at = row + i % 2 * 8, column = i / 4 * 16 + i / 2 % 2 * 8 + lane % 4 * 2;
    u32 both = column < DIM && at < tokens ? *(const u32*)(query + (long long)at * token_chunks * 16 + column * 2) : 0;
    float low, high;
    asm("{\n.reg .b16 a, b;\nmov.b32 {a, b}, %2;\ncvt.f32.f16 %0, a;\ncvt.f32.f16 %1, b;\n}"
        : "=f"(low), "=f"(high) : "r"(both));
    q[i] = pair(low * factor, high * factor);
  }

  float o[24];
#pragma unroll
  for (int i = 0; i < 24; i++) o[i] = 0;

  for (int tile = 0; tile < tiles; tile++) {
    const u32 stage = base + tile % STAGES * STAGE_BYTES;
    const int count = tile < own_tiles ? tokens - tile * KEYS : bank_tokens - (tile - own_tiles) * KEYS;
    float s[64];
    u32 p[32], most[2];
    barrier_wait(there + 8 * (tile % STAGES), tile / STAGES & 1);
    compute_scores(s, q, stage);
    packed(p, most, s, count);
    to_weights(p, 0);
    if (any_in_group(tile == 0 || top(larger(most[0], most[1])) > 8, group)) {
      raise(q, o, most, tile == 0);
      compute_scores(s, q, stage);
      packed(p, most, s, count);
      to_weights(p, 0);
    }
    start_output(o, p, stage, 0);
    to_weights(p, 1);
    start_output(o, p, stage, 1);
    fetch(tile + AHEAD);
    wait_products(o);
    if (lane == 0) barrier_arrive(free + 8 * (tile % STAGES));
    if (tile == own_tiles - 1 && out_own)
      store(o, (u32*)(out_own + ((long long)batch * tokens * heads + head) * DIM * 2), row, tokens, heads * DIM / 2);
  }
  store(o, (u32*)(out + ((long long)batch * tokens * heads + head) * DIM * 2), row, tokens, heads * DIM / 2);
}
