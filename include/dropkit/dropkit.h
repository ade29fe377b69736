// dropkit: DropBlock and its family of structured dropout, as one framework-free C++20 core.
//
// Every method draws a bit per *unit* (an element, a channel, a sample, a block's seed, a hole), *spreads* units onto
// elements, and applies one affine map to kept and another to dropped elements:
//
//   ParseSpec("dropblock:block=7") -> Spec;   Sample(spec, p, key, view) -> Mask;   Apply(mask, pass, x) -> y
//
// Contracts, true of every backend and binding:
//  1. The pattern depends on (spec, p, key, channels, spatial sizes, global sample index) alone: not on the batch size,
//     threads, vector width, device, layout, dtype, alignment, or how a batch is split. Units shared over the batch use
//     index 0. y is independent of the split for normalize=none|asked|expected and over=sample|plane; for over=tensor
//     when `kept` and `total` are those of the whole batch.
//  2. The probability used is T / 2^32, T = round(p * 2^32); gains come from T or from the counts, never from p.
//  3. Bit 1 = keep, least significant first, in the memory order of x where that is dense with channels first or last
//     (else channels first). A mask may be coarse: it carries strides.
//  4. Sample and Apply do not synchronise with the host and, given scratch, do not allocate.
//  5. Kept: t = x * a, then t + b only if b != 0. Dropped: d if c == 0, else x * c, then + d. Each step is one f32
//     operation (f64 for f64 tensors), round to nearest even, never contracted; then one conversion to the dtype. A
//     dropped NaN or Inf becomes exactly the fill value. All dropped gives the fill value everywhere, never NaN. p = 0
//     gives y bitwise equal to x but for a NaN's payload. A p read from memory that is NaN or outside [0, 1] makes
//     every output NaN.
//  6. The backward pass is the same Apply on the same bits; it is linear, so it differentiates again.
//  7. Nothing here prints or aborts, and what returns a Status does not throw: a must-use Status names the argument,
//  its
//     value and the values allowed; then nothing has been written. Functions that return text or a list can run out of
//     memory (std::bad_alloc) and do nothing else.
//
// The draw is defined to the last bit in docs/draws.md. Functions are thread-safe unless they share an output or
// scratch.
#ifndef DROPKIT_DROPKIT_H_
#define DROPKIT_DROPKIT_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#if defined(_WIN32)
#define DROPKIT_API __declspec(dllexport)
#else
#define DROPKIT_API __attribute__((visibility("default")))
#endif

namespace dropkit {

// ---------------------------------------------------------------- Version and Status

// Version of docs/draws.md that this library draws by. Part of every full spec line.
inline constexpr int kDrawVersion = 1;

// The outcome of a call. Ok costs nothing; an error holds one sentence: argument, value, what is allowed.
class [[nodiscard]] Status {
 public:
  // kInvalid: an argument is wrong. kUnavailable: this machine or build cannot, such as memory. kInternal: a fault of
  // the library, or of the caller's parallel-for.
  enum class Code : uint8_t { kOk, kInvalid, kUnavailable, kInternal };
  Status() = default;
  static Status Invalid(std::string message) { return Status(Code::kInvalid, std::move(message)); }
  static Status Unavailable(std::string message) { return Status(Code::kUnavailable, std::move(message)); }
  static Status Internal(std::string message) { return Status(Code::kInternal, std::move(message)); }
  bool ok() const { return code_ == Code::kOk; }
  Code code() const { return code_; }
  const std::string& message() const { return message_; }

 private:
  Status(Code code, std::string message) : code_(code), message_(std::move(message)) {}
  Code code_ = Code::kOk;
  std::string message_;
};

// ---------------------------------------------------------------- Spec: what to drop

// What is dropped; a row of the method table each.
enum class Method : uint8_t { kDropout, kSpatialDropout, kDropPath, kDropBlock, kCutout, kDropConnect };
enum class Share : uint8_t { kNone, kChannels, kBatch, kAll };       // which axes use one mask together
enum class Normalize : uint8_t { kKept, kExpected, kAsked, kNone };  // the law of the gain on kept elements
enum class Over : uint8_t { kTensor, kSample, kPlane };              // what `kept` is counted over
enum class Fill : uint8_t { kNumber, kNoise };                       // what dropped elements become
enum class Region : uint8_t { kValid, kWhole };                      // where a block may be centred
enum class Rate : uint8_t { kPaper, kCalibrated, kPlain, kRaw };     // how p becomes the seeds' probability
enum class Anchor : uint8_t { kBefore, kAfter };                     // even blocks, region=whole: the longer side
enum class Clip : uint8_t { kAxis, kSquare, kNone, kError };         // a block larger than the map

// A method and its static structure; p is not part of it. Plain data: copy freely. Made by ParseSpec; fields that the
// method does not use hold their defaults.
struct Spec {
  Method method = Method::kDropBlock;
  Share share = Share::kNone;
  Normalize normalize = Normalize::kKept;
  Over over = Over::kTensor;
  Fill fill = Fill::kNumber;
  double fill_value = 0.0;
  Region region = Region::kValid;
  Rate rate = Rate::kPaper;
  Anchor anchor = Anchor::kBefore;
  Clip clip = Clip::kAxis;
  double gamma_scale = 1.0;
  int extent_dims = 1;            // how many numbers block= or size= had; one number serves every axis
  int64_t extent[3] = {7, 7, 7};  // block= (dropblock) or size= (cutout), in elements, per axis
  int64_t holes = 1;
  bool operator==(const Spec&) const = default;
};

// Reads a spec line, METHOD[:KEY=VALUE,...] or PRESET[:KEY=VALUE,...], such as "dropblock:block=7,rate=calibrated".
// Errors name the key, its value and what is allowed, with the nearest known word for an unknown one. Memoised by text:
// a repeated line costs one hash look-up.
DROPKIT_API Status ParseSpec(std::string_view line, Spec* spec);
// Reads a case line, SPEC[@P]; without @P, p is the method's or preset's default.
DROPKIT_API Status ParseCase(std::string_view line, Spec* spec, float* p);
// The short form has the keys that differ from the method's defaults, the full form every key and the draw's version.
enum class SpecForm : uint8_t { kShort, kFull };
// The spec's line ("dropblock:...,draw=1" in full). Both forms parse back to an equal Spec; one that no line gives
// prints as "(invalid spec)". A released full line keeps its meaning for ever.
DROPKIT_API std::string PrintSpec(const Spec& spec, SpecForm form = SpecForm::kShort);

// What a binding must know of a method to choose the view: whether it has block or square sizes, which belong to axes.
DROPKIT_API bool HasBlock(const Spec& spec);
// Whether the method drops weights, so that the view is a weight.
DROPKIT_API bool DropsWeights(const Spec& spec);

// A row of the method table, for people and for bindings: what `dropkit methods` prints.
struct MethodInfo {
  std::string name, unit, spread, keys, paper, full_line;
  float default_p;
};
// Every method, in the order of enum Method.
DROPKIT_API std::vector<MethodInfo> Methods();
// A preset: a name for a spec that does what a paper, recipe or peer does.
struct PresetInfo {
  std::string name, full_line, source;
  float default_p;
};
// Every preset, in the order that `dropkit methods` prints.
DROPKIT_API std::vector<PresetInfo> Presets();

// ---------------------------------------------------------------- View, Key, Probability

// The type of an element: IEEE binary32, binary16, bfloat16, IEEE binary64.
enum class DType : uint8_t { kF32, kF16, kBF16, kF64 };
// Bytes of an element.
DROPKIT_API size_t SizeOf(DType dtype);
// "f32", "f16", "bf16" or "f64".
DROPKIT_API const char* Name(DType dtype);

// A tensor of `samples` x `channels` x spatial sizes, in memory that belongs to the caller. Strides are in elements,
// may be any (also 0 or negative for inputs), and need no order; channels first or last and dense are the fast cases.
// With method drop_connect the view is a weight: samples = 1 (or the batch, for per-sample weights), channels = its
// first dimension. Sizes may be 0; a sample holds at most 2^38 elements.
struct View {
  void* data = nullptr;
  DType dtype = DType::kF32;
  int spatial_dims = 2;  // 0 to 3
  int64_t samples = 0, channels = 0;
  int64_t size[3] = {1, 1, 1};  // axis order: D, H, W / H, W / W; unused ones stay 1
  int64_t sample_stride = 0, channel_stride = 0;
  int64_t stride[3] = {0, 0, 0};
  int64_t first_sample = 0;  // index of sample 0 in the global batch
};
// The memory order of a dense view: N, C, axes or N, axes, C.
enum class Layout : uint8_t { kChannelsFirst, kChannelsLast };
// A dense view in the given layout. `sizes` are the spatial sizes; more than 3 is reported by Sample or Apply.
DROPKIT_API View DenseView(void* data, DType dtype, int64_t samples, int64_t channels,
                           const std::vector<int64_t>& sizes, Layout layout = Layout::kChannelsFirst,
                           int64_t first_sample = 0);

// Two u64, {seed, offset}, in the memory of the device that runs.
using Key = const uint64_t*;

// The probability to drop: a host number, or one f32 in the running device's memory (read when the work runs, so that a
// schedule neither synchronises nor recompiles).
struct Probability {
  float value = 0.0f;
  const float* device = nullptr;                        // if not null, it decides and `value` is ignored
  Probability(float host_value) : value(host_value) {}  // NOLINT: a number is a probability
  explicit Probability(const float* device_value) : device(device_value) {}
};

// ---------------------------------------------------------------- Exec: where and how to run

// Runs task(argument, i) for i in [0, count), on at most max_threads threads; returns when all are done.
struct ParallelFor {
  int max_threads = 0;  // 1 or less: everything runs on the calling thread and `run` is not called
  void (*run)(void* context, int64_t count, void (*task)(void* argument, int64_t index), void* argument) = nullptr;
  void* context = nullptr;
};

// Where a call runs. The default is the first backend that works on host memory, on the library's own threads.
struct Exec {
  // Name in Backends(). Null: the environment's DROPKIT_BACKEND, else the first available, among those that work on
  // host memory; who has device memory names the backend ("cuda"), and then every pointer of the call is into it: data,
  // key, a device p, seeds, bits, threshold, kept, scratch.
  const char* backend = nullptr;
  void* stream = nullptr;  // device backends: the stream to launch on (a cudaStream_t), of the current device
  // At least ScratchBytes() bytes of the running device's memory, at an address that 64 divides, for this call alone
  // while it runs: on a stream, until its work is done. Null where that is 0, as it is on host memory.
  void* scratch = nullptr;
  size_t scratch_bytes = 0;
  ParallelFor parallel_for;  // run == null: the library's own pool, made on first use, anew in a forked child
  // Whether y's memory was just allocated, so that no cache has it: it is then worth storing around the caches at half
  // the size. Results are the same.
  bool fresh_output = false;
};
// Threads of the library's own pool, 0 to 1024; 0 (the start value) means one per core. Takes effect at the next call.
DROPKIT_API Status SetThreads(int threads);

// ---------------------------------------------------------------- Mask

// Which elements are kept. Plain data over memory of the caller: Describe() fills the shape, the caller points `bits`,
// `threshold` and `kept` at memory of the device that runs, Sample (or Spread, Pack) writes it. Gains are not sealed
// in: Apply derives them from the spec's law, T, kept and total, so counts may be summed over ranks in between (with
// one_count, or `kept` replaced by the sum and num_kept by 1, for over=tensor; and `total`).
struct Mask {
  Spec spec;
  // Shape of the tensor that it masks.
  int spatial_dims = 2;
  int64_t samples = 0, channels = 0;
  int64_t size[3] = {1, 1, 1};
  int64_t first_sample = 0;
  // Element (n, c, i, j, k) is bit n*sample_stride + c*channel_stride + i*stride[0] + ... ; 0 where shared.
  int64_t sample_stride = 0, channel_stride = 0;
  int64_t stride[3] = {0, 0, 0};
  int64_t num_bits = 0;
  uint64_t* bits = nullptr;       // num_words() words, bit i at word i / 64, position i % 64; bits past num_bits are 0
  uint64_t* threshold = nullptr;  // 1 word: T; kBadThreshold if p was NaN or outside [0, 1]
  // num_kept counts of kept elements: per sample; per (sample, channel) if over=plane; their sum alone if over=tensor
  // and one_count.
  int64_t* kept = nullptr;
  int64_t num_kept = 0;
  int64_t total = 0;       // elements in the tensor
  bool one_count = false;  // asked by the caller before Describe: with over=tensor nothing but the bits grows with N
  Key key = nullptr;  // the key it was drawn with, which fill=noise reads again; Spread and Pack leave it to the caller
  int64_t num_words() const { return (num_bits + 63) / 64; }
};
// What *threshold holds when p was NaN or outside [0, 1].
inline constexpr uint64_t kBadThreshold = ~uint64_t{0};

// Fills everything but the pointers and one_count. x's strides decide the memory order of the bits: channels last when
// x is dense so, else channels first.
DROPKIT_API Status Describe(const Spec& spec, const View& x, Mask* mask);
// Bytes of Exec::scratch that Sample, Spread, Pack, Apply and Drop need for this spec and view.
DROPKIT_API Status ScratchBytes(const Spec& spec, const View& x, const Exec& exec, size_t* bytes);

// A mask that owns host memory; grows, never shrinks. For callers on the CPU and for tests.
class DROPKIT_API MaskStorage {
 public:
  MaskStorage() = default;
  MaskStorage(const MaskStorage&) = delete;  // mask points into the object
  MaskStorage& operator=(const MaskStorage&) = delete;
  Status Reserve(const Spec& spec, const View& x);  // Describe, and allocate; if refused, the old mask stays
  Mask mask;

 private:
  std::vector<uint64_t> words_;
  std::vector<int64_t> kept_;
  uint64_t threshold_ = 0;
};

// ---------------------------------------------------------------- The verbs

// kForward applies gain and fill; kBackward the gain alone, on a gradient.
enum class Pass : uint8_t { kForward, kBackward };

// Draws. `x` gives shape, layout and first_sample (its data is not read). mask's pointers must be set; the rest is
// filled as by Describe. Draws only under `key`: one field, plus centres for cutout.
DROPKIT_API Status Sample(const Spec& spec, Probability p, Key key, const View& x, const Exec& exec, Mask* mask);
// y = the affine maps of the pass on x. y has x's sizes and dtype, any strides without a 0, and is x itself (same data
// and strides) or does not overlap it. One read, one write. Draws nothing but fill=noise's values. kBackward: dropped
// elements get 0.
DROPKIT_API Status Apply(const Mask& mask, Pass pass, const View& x, const View& y, const Exec& exec);
// Sample and Apply: equal to them bit for bit. With kBackward, the gradient from the key and p alone (recompute).
DROPKIT_API Status Drop(const Spec& spec, Probability p, Key key, Pass pass, const View& x, const View& y,
                        const Exec& exec, Mask* mask);
// As Sample, but which units fire is given: one byte each, 0 or not, dense and row-major as
// [samples][channels][positions] (1 sample if shared over the batch, 1 channel if shared over channels or the unit has
// none; positions as in docs/draws.md, section 4; for cutout the positions of its centre). p gives T for the gain laws
// that use it; a bad p in memory leaves the bits as given and makes Apply's outputs NaN.
DROPKIT_API Status Spread(const Spec& spec, Probability p, const uint8_t* seeds, const View& x, const Exec& exec,
                          Mask* mask);
// A mask of the caller's own: one byte an element, 0 = dropped, dense as [samples][channels][spatial]. spec gives the
// gain law; its share must be none and its unit the element (dropout).
DROPKIT_API Status Pack(const Spec& spec, Probability p, const uint8_t* keep, const View& x, const Exec& exec,
                        Mask* mask);
// The reverse, on the host: one byte an element, 1 = kept, dense as [samples][channels][spatial], whatever the mask's
// own order and coarseness.
DROPKIT_API Status Unpack(const Mask& mask, uint8_t* keep);

// ---------------------------------------------------------------- What a spec will do, on the host

// The two affine maps of a pass.
struct Gain {
  double a = 1, b = 0, c = 0, d = 0;  // kept y = a x + b, dropped y = c x + d
};
// The maps that Apply uses for sample n, channel c of a mask in host memory. NaNs for a p that was bad in memory; d of
// fill=noise is a draw an element, and 0 here.
DROPKIT_API Status GainOf(const Mask& mask, Pass pass, int64_t n, int64_t c, DType dtype, Gain* gain);

// What a spec and p come to on a map: docs/draws.md, sections 3, 4 and 7.
struct RateInfo {
  uint64_t threshold;       // T, of 2^32
  uint64_t lane_threshold;  // Q, of 2^32: the probability of a unit to fire
  double gamma;             // Q / 2^32
  double expected_drop;     // exact expected dropped fraction for Q
  int64_t lanes;            // units a sample
  int64_t block[3];         // block or hole after clipping
  int64_t positions[3];     // positions of a seed or centre on each axis
  int64_t before[3];        // elements of the block before its position
};
// Fills `info` for the sizes of x; x's data is not read and nothing is drawn.
DROPKIT_API Status Rates(const Spec& spec, float p, const View& x, RateInfo* info);

// ---------------------------------------------------------------- What this build is

// A row of the list of backends.
struct BackendInfo {
  std::string name;
  bool available;
  std::string why;   // if not available: the reason
  bool host_memory;  // else it works on a device's, and a call must name it in Exec
};
// Every backend that this build knows; of those on host memory the first available runs a call that names none.
DROPKIT_API std::vector<BackendInfo> Backends();
// One line: version, draw version, compiler, backends on and off.
DROPKIT_API std::string BuildInfo();
// The library's version, such as "0.1.0".
DROPKIT_API const char* Version();

}  // namespace dropkit

#endif  // DROPKIT_DROPKIT_H_
