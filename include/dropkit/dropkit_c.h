// dropkit for C and for every language that calls C: dropkit.h's structs as plain C structs, its functions one to one.
//
// C99, also valid C++. Needs the library alone, no framework; a C program that links the static library links the C++
// runtime too. What a mask is, and what every function promises, is said by the contracts at the top of dropkit.h; this
// header says how C hands things over:
//
//  - What to drop is a spec line, text such as "dropblock:block=7,rate=calibrated", ended by a 0 byte. Every function
//    that needs one takes the text: lines are parsed once and remembered, so a repeated line costs a look-up.
//  - A function returns DROPKIT_OK or another code below; dropkit_last_error() then says in one sentence which argument
//    was wrong, its value, and what is allowed. No function throws, aborts or prints. A null pointer is
//    DROPKIT_INVALID, with the argument's name, except where a comment allows null.
//  - Memory belongs to the caller. The library keeps no pointer after a call, and nothing needs to be freed; a mask
//  keeps
//    the address of its key, in plain sight.
//  - Fill structs with zeros first; then set the fields that matter. Every field has a fixed size and no struct has
//    holes; sizes below are those of machines with 64-bit pointers.
//  - Layouts and meanings stay as they are while DROPKIT_ABI does. A program that finds the library at run time
//  compares
//    dropkit_abi() with the DROPKIT_ABI that it was written for, once, as one compares SQLite's or zstd's version
//    number: a size field in every struct would have to be filled at every call and would guard against nothing more.
//
// Functions are thread-safe unless they share an output or scratch. Deliberately elsewhere: the tables of methods and
// presets (`dropkit methods`), and LibTorch's modules (nn.h).
#ifndef DROPKIT_DROPKIT_C_H_
#define DROPKIT_DROPKIT_C_H_

#include <stddef.h>
#include <stdint.h>

#ifndef DROPKIT_API
#if defined(_WIN32)
#define DROPKIT_API __declspec(dllexport)
#else
#define DROPKIT_API __attribute__((visibility("default")))
#endif
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define DROPKIT_ABI 1
// Bytes that hold every spec line that the library writes, with the 0 at its end.
#define DROPKIT_SPEC_BYTES 256

// result: what a function returns.
enum {
  DROPKIT_OK = 0,
  DROPKIT_INVALID = 1,      // an argument is wrong; nothing was written
  DROPKIT_UNAVAILABLE = 2,  // out of memory, or the backend cannot run here
  DROPKIT_INTERNAL = 3      // a mistake of the library
};
// dtype: of elements. f16 is IEEE binary16, bf16 the upper half of an f32.
enum { DROPKIT_F32 = 0, DROPKIT_F16 = 1, DROPKIT_BF16 = 2, DROPKIT_F64 = 3 };
// layout: of a dense view.
enum { DROPKIT_CHANNELS_FIRST = 0, DROPKIT_CHANNELS_LAST = 1 };
// pass: which maps are applied. Backward, x is the gradient of y, and dropped elements get 0.
enum { DROPKIT_FORWARD = 0, DROPKIT_BACKWARD = 1 };
// form: of a written spec line. Short has the keys that differ from the method's defaults; full has every key and the
// draw's version, and keeps its meaning for ever: files hold that one.
enum { DROPKIT_SHORT = 0, DROPKIT_FULL = 1 };

// ---------------------------------------------------------------- structs

// A tensor of samples x channels x spatial sizes in memory of the caller. Strides are in elements; inputs may have any,
// also 0 or negative; dense with channels first or last is fast. 104 bytes.
typedef struct dropkit_view {
  void* data;              // element (0, 0, ...); null where a function reads the shape only
  int64_t samples;         // 0 or more
  int64_t channels;        // 0 or more
  int64_t size[3];         // spatial sizes, 0 or more: W, or H, W, or D, H, W; from spatial_dims on they are 1
  int64_t sample_stride;   // from a sample to the next
  int64_t channel_stride;  // from a channel to the next
  int64_t stride[3];       // along each spatial axis
  int64_t first_sample;    // index of sample 0 in the global batch: 0 unless the batch is split
  int32_t dtype;           // DROPKIT_F32 ... DROPKIT_F64
  int32_t spatial_dims;    // 0 to 3
} dropkit_view;

// One piece of work, `index` of `count`.
typedef void (*dropkit_task)(void* argument, int64_t index);

// Where and how to run. Functions take null for all defaults, which is this struct with every field 0. 56 bytes.
typedef struct dropkit_exec {
  // A name that dropkit_backend_name() gives. Null: the environment's DROPKIT_BACKEND, else the first available, among
  // those on host memory. One on a device's ("cuda") is named, and then every pointer of the call is into its memory.
  const char* backend;
  void* stream;  // device backends: the stream to launch on
  // At least dropkit_scratch_bytes() bytes of the running device's memory at an address that 64 divides, for this call
  // alone while it runs: on a stream, until its work is done. Null where that is 0, as it is on host memory.
  void* scratch;
  size_t scratch_bytes;
  // Calls task(argument, i) once for every i from 0 to count - 1, in any order, on at most max_threads threads, and
  // returns when all are done. Must not throw or jump out. Null: the library's own threads.
  void (*parallel_for)(void* context, int64_t count, dropkit_task task, void* argument);
  void* context;        // handed to parallel_for
  int32_t max_threads;  // of parallel_for; 1 or less runs everything on the calling thread without it
  int32_t reserved;     // 0
} dropkit_exec;

// Which elements are kept, 1 bit each. dropkit_describe() fills all but the four pointers; the caller points `bits`,
// `threshold` and `kept` at memory for what the numbers say; the functions that draw fill that memory and everything
// else. Gains are not part of a mask: dropkit_apply() derives them from the spec, *threshold, kept and total, so that
// counts may be summed over ranks in between: with over=tensor replace kept[0] by the sum, num_kept by 1 and total.
// 416 bytes.
typedef struct dropkit_mask {
  char spec[DROPKIT_SPEC_BYTES];  // the line as given; its full form if that is longer than 255 bytes
  uint64_t* bits;                 // num_words words; bit i is at word i / 64, position i % 64; 1 = kept
  uint64_t* threshold;            // 1 word: p as a multiple of 2^-32; all ones if a p in memory was bad
  int64_t* kept;  // num_kept counts of kept elements, per sample, or per (sample, channel) if over=plane
  // What it was drawn with, set by dropkit_sample() and dropkit_drop(); dropkit_apply() reads it again if fill=noise,
  // so for a mask that was not drawn the caller sets it.
  const uint64_t* key;
  int64_t num_bits;
  int64_t num_words;  // num_bits / 64, rounded up; for allocation, and read by no function
  int64_t num_kept;
  int64_t total;  // elements of the tensor
  // Shape of the tensor, as in dropkit_view.
  int64_t samples;
  int64_t channels;
  int64_t size[3];
  int64_t first_sample;
  // Element (n, c, i, j, k) is bit n*sample_stride + c*channel_stride + i*stride[0] + j*stride[1] + k*stride[2]. A
  // stride is 0 on an axis that shares its bits.
  int64_t sample_stride;
  int64_t channel_stride;
  int64_t stride[3];
  int32_t spatial_dims;
  int32_t reserved;  // 0
} dropkit_mask;

// The affine maps of a pass: kept y = a x + b, dropped y = c x + d. 32 bytes.
typedef struct dropkit_gain {
  double a, b, c, d;
} dropkit_gain;

// What a spec will do at a p and shape. 112 bytes.
typedef struct dropkit_rate_info {
  uint64_t threshold;       // p as a multiple of 2^-32
  uint64_t lane_threshold;  // probability of a unit (an element, a seed, a hole ...) to fire, as a multiple of 2^-32
  double gamma;             // the same as a number from 0 to 1
  double expected_drop;     // exact expected fraction of dropped elements, 0 to 1
  int64_t lanes;            // units in a sample
  int64_t block[3];         // block or hole, in elements, after clipping
  int64_t positions[3];     // positions of a seed or centre on each axis
  int64_t before[3];        // elements of the block before its position
} dropkit_rate_info;

// ---------------------------------------------------------------- what this library is

DROPKIT_API int32_t dropkit_abi(void);             // DROPKIT_ABI of the library, not of the header
DROPKIT_API int32_t dropkit_draw_version(void);    // version of docs/draws.md that masks are drawn by
DROPKIT_API const char* dropkit_version(void);     // such as "0.1.0"
DROPKIT_API const char* dropkit_build_info(void);  // one line: version, draw version, compiler, backends on and off
// What the calling thread's last failed call said, at most 2047 bytes; "" if none failed. Valid until the thread's next
// failed call; a call that succeeds leaves it.
DROPKIT_API const char* dropkit_last_error(void);
// Backends are counted from 0; the first available one is the default. Null past the last.
DROPKIT_API const char* dropkit_backend_name(int32_t index);
// Why that backend cannot run here; null if it can.
DROPKIT_API const char* dropkit_backend_unavailable(int32_t index);
// Threads of the library's own pool, 0 to 1024; 0, the start value, means one per core. Takes effect at the next call.
DROPKIT_API int32_t dropkit_set_threads(int32_t threads);

// ---------------------------------------------------------------- specs and shapes

// Reads a case line, SPEC[@P] such as "dropblock:block=7@0.1" or "paper": writes its spec in the form asked for, and P,
// or the default p of the method or preset where the line has none. DROPKIT_SPEC_BYTES are always enough for the spec;
// fewer are an error if the text does not fit.
DROPKIT_API int32_t dropkit_parse_case(const char* line, int32_t form, char* spec, size_t spec_bytes, float* p);
// Fills a view that is dense in the given layout, with first_sample 0. `data` may be null; `sizes` has spatial_dims
// sizes and may be null if that is 0.
DROPKIT_API int32_t dropkit_dense_view(void* data, int32_t dtype, int64_t samples, int64_t channels,
                                       const int64_t* sizes, int32_t spatial_dims, int32_t layout, dropkit_view* view);
// Fills everything of the mask but its four pointers. The strides of x decide the order of the bits: channels last if x
// is dense so, else channels first.
DROPKIT_API int32_t dropkit_describe(const char* spec, const dropkit_view* x, dropkit_mask* mask);
// Bytes of scratch that any function with an exec needs for this spec and view.
DROPKIT_API int32_t dropkit_scratch_bytes(const char* spec, const dropkit_view* x, const dropkit_exec* exec,
                                          size_t* bytes);
// What the spec will do: probabilities and expected drop.
DROPKIT_API int32_t dropkit_rates(const char* spec, float p, const dropkit_view* x, dropkit_rate_info* info);

// ---------------------------------------------------------------- the verbs

// In all of them: p is the probability to drop, 0 to 1; device_p is null, or the address of one f32 in the memory of
// the device that runs, which then decides (p is ignored; a bad value there makes every output NaN). key is two words,
// seed and offset, in that memory too. mask->bits, threshold and kept must be set; its other fields are outputs.

// Draws. x gives shape, layout and first_sample; its data is not read.
DROPKIT_API int32_t dropkit_sample(const char* spec, float p, const float* device_p, const uint64_t* key,
                                   const dropkit_view* x, const dropkit_exec* exec, dropkit_mask* mask);
// y = the maps of the pass on x, of the same shape and dtype. y is x itself (same data and strides) or does not overlap
// it, and has no stride 0 on an axis longer than 1.
DROPKIT_API int32_t dropkit_apply(const dropkit_mask* mask, int32_t pass, const dropkit_view* x, const dropkit_view* y,
                                  const dropkit_exec* exec);
// dropkit_sample and dropkit_apply, equal to them bit for bit. With DROPKIT_BACKWARD the gradient from key and p alone.
DROPKIT_API int32_t dropkit_drop(const char* spec, float p, const float* device_p, const uint64_t* key, int32_t pass,
                                 const dropkit_view* x, const dropkit_view* y, const dropkit_exec* exec,
                                 dropkit_mask* mask);
// As dropkit_sample, but which units fire is given: one byte each, 0 or not, dense as [samples][channels][positions]: 1
// sample if shared over the batch, 1 channel if shared over channels or if units span channels; positions are those of
// docs/draws.md, section 4 (cutout: of its centre).
DROPKIT_API int32_t dropkit_spread(const char* spec, float p, const float* device_p, const uint8_t* seeds,
                                   const dropkit_view* x, const dropkit_exec* exec, dropkit_mask* mask);
// A mask of the caller's own: one byte an element, 0 = dropped, dense as [samples][channels][spatial]. The spec gives
// the law of the gain; it is a dropout line with share=none.
DROPKIT_API int32_t dropkit_pack(const char* spec, float p, const float* device_p, const uint8_t* keep,
                                 const dropkit_view* x, const dropkit_exec* exec, dropkit_mask* mask);
// The reverse, for a mask in host memory: one byte an element, 1 = kept, dense as [samples][channels][spatial]
// whatever the mask's own order and coarseness.
DROPKIT_API int32_t dropkit_unpack(const dropkit_mask* mask, uint8_t* keep);
// The maps that dropkit_apply uses for sample n, channel c of a mask in host memory, on elements of dtype. All NaN
// for a p that was bad in memory; d of fill=noise is a draw an element, and 0 here.
DROPKIT_API int32_t dropkit_gain_of(const dropkit_mask* mask, int32_t pass, int64_t n, int64_t c, int32_t dtype,
                                    dropkit_gain* gain);

#ifdef __cplusplus
}
#endif

#endif  // DROPKIT_DROPKIT_C_H_
