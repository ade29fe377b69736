// The operators of dropkit in torch, library `dropkit`: schemas and CPU kernels. Python and dropkit::nn call these.
//
// Assumes LibTorch's stable ABI of 2.10 alone, so one file serves all releases from there. Shapes and errors are
// translated in views.cc; autograd is the callers' (nn.cc in C++); other devices register kernels of their own.
//
// A mask is two tensors: bits, int64 words with bit 1 = keep in the memory order of y, and counts, int64 {T, kept...}.
// Operators whose name starts with _ belong to the Python package (python/dropkit/torch/operators.py). Those of a mask
// are the same work with the least of torch around it: bits and counts are one tensor, see Packed.
// `channels_last` says that order. `drop` chooses it: it is `not y.is_contiguous()` of the y that it returned. To
// `sample` and `drop_` the caller says it, and says the same to `apply`. `key` is read by a forward `apply` with
// fill=noise alone. `total` is the number of elements that `kept` was counted over, where that is not x alone (several
// ranks). Operators that change x return nothing that shares its memory, as torch.compile asks.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <charconv>
#include <numeric>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "views.h"

namespace dropkit::torch_ops {
namespace {

using torch::headeronly::ScalarType;
using OptionalTensor = std::optional<Tensor>;

// torch's own threads, so that torch.set_num_threads holds here too.
Exec TorchExec() {
  Exec exec;
  exec.parallel_for.max_threads = static_cast<int>(torch::stable::get_num_threads());
  exec.parallel_for.run = [](void*, int64_t count, void (*task)(void*, int64_t), void* argument) {
    torch::stable::parallel_for(0, count, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) task(argument, i);
    });
  };
  return exec;
}

Layout LayoutFrom(bool channels_last) { return channels_last ? Layout::kChannelsLast : Layout::kChannelsFirst; }

Key KeyOf(const Tensor& key, const Tensor& x) {
  return static_cast<const uint64_t*>(Operand("key", key, x, ScalarType::Long, 2));
}

Probability ProbabilityOf(double p, const OptionalTensor& p_device, const Tensor& x) {
  if (!p_device) return Probability(static_cast<float>(p));
  return Probability(static_cast<const float*>(Operand("p_device", *p_device, x, ScalarType::Float, 1)));
}

struct MaskTensors {
  Mask mask;
  Tensor bits, counts;
};

// A mask over new tensors for the dense tensor of x's sizes in `layout`.
MaskTensors NewMask(const Tensor& x, const View& dense, const Spec& spec) {
  Mask mask;
  Check(Describe(spec, dense, &mask));
  Tensor bits = EmptyInt64(x, mask.num_words());
  Tensor counts = EmptyInt64(x, 1 + mask.num_kept);
  mask.bits = static_cast<uint64_t*>(bits.data_ptr());
  auto* count = static_cast<int64_t*>(counts.data_ptr());
  mask.threshold = reinterpret_cast<uint64_t*>(count);
  mask.kept = count + 1;
  return {mask, bits, counts};
}

// The same over given tensors.
Mask GivenMask(const Tensor& x, const View& dense, const Spec& spec, const Tensor& bits, const Tensor& counts,
               const OptionalTensor& key, std::optional<int64_t> total) {
  Mask mask;
  Check(Describe(spec, dense, &mask));
  if (total) {  // counted elsewhere too: one sum for all samples, or as many counts as here
    if (*total < 1 || counts.numel() < 2) {
      Check(Status::Invalid("total = " + std::to_string(*total) + " with " + std::to_string(counts.numel()) +
                            " counts; allowed: a total of 1 or more with T and at least one count"));
    }
    mask.total = *total;
    mask.num_kept = counts.numel() - 1;
  }
  mask.bits = static_cast<uint64_t*>(Operand("bits", bits, x, ScalarType::Long, mask.num_words()));
  auto* count = static_cast<int64_t*>(Operand("counts", counts, x, ScalarType::Long, 1 + mask.num_kept));
  mask.threshold = reinterpret_cast<uint64_t*>(count);
  mask.kept = count + 1;
  if (key) mask.key = KeyOf(*key, x);
  return mask;
}

View DenseViewOf(const Tensor& x, Layout layout, void* data, const Spec& spec, int64_t first_sample) {
  return ViewOf(x, DenseStrides(x, layout), data, spec, first_sample);
}

// x, or a contiguous copy where its dimensions could not be joined.
Tensor Viewable(const Tensor& x, const Spec& spec) { return Joinable(x, spec) ? x : torch::stable::contiguous(x); }

std::tuple<Tensor, Tensor> SampleCpu(const Tensor& x, std::string_view line, const Tensor& key, double p,
                                     const OptionalTensor& p_device, int64_t first_sample, bool channels_last) {
  const Spec spec = SpecOf(line);
  const View dense = DenseViewOf(x, LayoutFrom(channels_last), x.data_ptr(), spec, first_sample);
  MaskTensors made = NewMask(x, dense, spec);
  Check(Sample(spec, ProbabilityOf(p, p_device, x), KeyOf(key, x), dense, TorchExec(), &made.mask));
  return {made.bits, made.counts};
}

// As SampleCpu, but which units fire is given, as the core's Spread takes it.
std::tuple<Tensor, Tensor> SpreadCpu(const Tensor& x, std::string_view line, const Tensor& seeds, double p,
                                     bool channels_last) {
  const Spec spec = SpecOf(line);
  const View dense = DenseViewOf(x, LayoutFrom(channels_last), x.data_ptr(), spec, 0);
  RateInfo info;
  Check(Rates(spec, static_cast<float>(p), dense, &info));
  const bool shared = spec.share == Share::kBatch || spec.share == Share::kAll;
  const void* fired = Operand("seeds", seeds, x, ScalarType::Byte, info.lanes * (shared ? 1 : dense.samples));
  MaskTensors made = NewMask(x, dense, spec);
  Check(Spread(spec, static_cast<float>(p), static_cast<const uint8_t*>(fired), dense, TorchExec(), &made.mask));
  return {made.bits, made.counts};
}

// Draws `mask`, whose pointers are set, and writes y, a tensor of x's sizes that may be x.
void DropWith(const Tensor& x, const Tensor& y, Layout layout, const Spec& spec, const Tensor& key, Probability p,
              int64_t first_sample, Mask* mask) {
  const Exec exec = TorchExec();
  const View from = ViewOf(x, spec, first_sample), to = ViewOf(y, spec, first_sample);
  if (HasStrides(x, DenseStrides(x, layout))) {
    Check(Drop(spec, p, KeyOf(key, x), Pass::kForward, from, to, exec, mask));
  } else {  // the mask is in y's order, which Drop would take from x
    Check(Sample(spec, p, KeyOf(key, x), DenseViewOf(x, layout, from.data, spec, first_sample), exec, mask));
    Check(Apply(*mask, Pass::kForward, from, to, exec));
  }
}

std::tuple<Tensor, Tensor> DropInto(const Tensor& x, const Tensor& y, Layout layout, const Spec& spec,
                                    const Tensor& key, Probability p, int64_t first_sample) {
  MaskTensors made = NewMask(x, DenseViewOf(x, layout, x.data_ptr(), spec, first_sample), spec);
  DropWith(x, y, layout, spec, key, p, first_sample, &made.mask);
  return {made.bits, made.counts};
}

std::tuple<Tensor, Tensor, Tensor> DropCpu(const Tensor& x, std::string_view line, const Tensor& key, double p,
                                           const OptionalTensor& p_device, int64_t first_sample) {
  const Spec spec = SpecOf(line);
  const Probability probability = ProbabilityOf(p, p_device, x);
  const Layout layout = LayoutOf(x);
  const Tensor y = EmptyLike(x, layout);
  auto [bits, counts] = DropInto(Viewable(x, spec), y, layout, spec, key, probability, first_sample);
  return {y, bits, counts};
}

std::tuple<Tensor, Tensor> DropInPlaceCpu(Tensor x, std::string_view line, const Tensor& key, double p,
                                          const OptionalTensor& p_device, int64_t first_sample, bool channels_last) {
  const Spec spec = SpecOf(line);
  const Tensor y = Viewable(x, spec);
  auto mask = DropInto(y, y, LayoutFrom(channels_last), spec, key, ProbabilityOf(p, p_device, x), first_sample);
  if (y.data_ptr() != x.data_ptr()) torch::stable::copy_(x, y);
  return mask;
}

void ApplyInto(const Tensor& x, const Tensor& y, const Tensor& bits, const Tensor& counts, const Spec& spec,
               const OptionalTensor& key, bool channels_last, bool backward, int64_t first_sample,
               std::optional<int64_t> total) {
  const View dense = DenseViewOf(x, LayoutFrom(channels_last), x.data_ptr(), spec, first_sample);
  const Mask mask = GivenMask(x, dense, spec, bits, counts, key, total);
  const Pass pass = backward ? Pass::kBackward : Pass::kForward;
  Check(Apply(mask, pass, ViewOf(x, spec, first_sample), ViewOf(y, spec, first_sample), TorchExec()));
}

Tensor ApplyCpu(const Tensor& x, const Tensor& bits, const Tensor& counts, std::string_view line, bool channels_last,
                bool backward, const OptionalTensor& key, int64_t first_sample, std::optional<int64_t> total) {
  const Spec spec = SpecOf(line);
  const Tensor y = EmptyLike(x, LayoutFrom(channels_last));
  ApplyInto(Viewable(x, spec), y, bits, counts, spec, key, channels_last, backward, first_sample, total);
  return y;
}

void ApplyInPlaceCpu(Tensor x, const Tensor& bits, const Tensor& counts, std::string_view line, bool channels_last,
                     bool backward, const OptionalTensor& key, int64_t first_sample, std::optional<int64_t> total) {
  const Spec spec = SpecOf(line);
  const Tensor y = Viewable(x, spec);
  ApplyInto(y, y, bits, counts, spec, key, channels_last, backward, first_sample, total);
  if (y.data_ptr() != x.data_ptr()) torch::stable::copy_(x, y);
}

// bits and counts in one int64 tensor, which costs one allocation and one saved tensor less: {T, kept...} padded to
// whole cache lines, then the words. over=tensor has one count, the sum over samples: nothing in it depends on the
// batch.
struct Packed {
  static constexpr int64_t kLine = 8;  // words
  Mask mask;
  int64_t header = 0;
  explicit Packed(const Spec& spec, const View& dense) {
    Check(Describe(spec, dense, &mask));
    if (spec.over == Over::kTensor) mask.num_kept = 1;
    header = (1 + mask.num_kept + kLine - 1) / kLine * kLine;
  }
  int64_t length() const { return header + mask.num_words(); }
  void Point(void* data) {
    auto* words = static_cast<int64_t*>(data);
    mask.threshold = reinterpret_cast<uint64_t*>(words);
    mask.kept = words + 1;
    mask.bits = reinterpret_cast<uint64_t*>(words + header);
  }
};

// Into `packed`, whose one count of over=tensor becomes the sum of those that the core writes.
template <typename Draw>
void DrawPacked(const Draw& draw, Packed* packed) {
  Mask mask = packed->mask;
  static thread_local std::vector<int64_t> kept;
  if (mask.spec.over == Over::kTensor) {
    kept.resize(static_cast<size_t>(mask.samples));
    mask.kept = kept.data();
  }
  draw(&mask);
  if (mask.spec.over == Over::kTensor) *packed->mask.kept = std::accumulate(kept.begin(), kept.end(), int64_t{0});
}

Tensor DropIntoPacked(const Tensor& x, const Tensor& y, Layout layout, const Spec& spec, const Tensor& key,
                      Probability p, int64_t first_sample) {
  const View dense = DenseViewOf(x, layout, x.data_ptr(), spec, first_sample);
  Packed packed(spec, dense);
  Tensor words = EmptyInt64(x, packed.length());
  packed.Point(words.data_ptr());
  std::fill_n(static_cast<int64_t*>(words.data_ptr()), packed.header, int64_t{0});
  DrawPacked([&](Mask* mask) { DropWith(x, y, layout, spec, key, p, first_sample, mask); }, &packed);
  return words;
}

std::tuple<Tensor, Tensor> DropPackedCpu(const Tensor& x, std::string_view line, const Tensor& key, double p,
                                         const OptionalTensor& p_device, int64_t first_sample) {
  const Spec spec = SpecOf(line);
  const Layout layout = LayoutOf(x);
  const Tensor y = EmptyLike(x, layout);
  return {y, DropIntoPacked(Viewable(x, spec), y, layout, spec, key, ProbabilityOf(p, p_device, x), first_sample)};
}

Tensor DropPackedInPlaceCpu(Tensor x, std::string_view line, const Tensor& key, double p,
                            const OptionalTensor& p_device, int64_t first_sample, bool channels_last) {
  const Spec spec = SpecOf(line);
  const Tensor y = Viewable(x, spec);
  Tensor words =
      DropIntoPacked(y, y, LayoutFrom(channels_last), spec, key, ProbabilityOf(p, p_device, x), first_sample);
  if (y.data_ptr() != x.data_ptr()) torch::stable::copy_(x, y);
  return words;
}

Tensor GradientCpu(const Tensor& grad, const Tensor& words, std::string_view line, bool channels_last) {
  const Spec spec = SpecOf(line);
  const Tensor dx = EmptyLike(grad, LayoutFrom(channels_last));
  const Tensor from = Viewable(grad, spec);
  Packed packed(spec, DenseViewOf(grad, LayoutFrom(channels_last), grad.data_ptr(), spec, 0));
  packed.Point(Operand("mask", words, grad, ScalarType::Long, packed.length()));
  Check(Apply(packed.mask, Pass::kBackward, ViewOf(from, spec, 0), ViewOf(dx, spec, 0), TorchExec()));
  return dx;
}

Tensor DropForgettingCpu(const Tensor& x, std::string_view line, const Tensor& key, double p,
                         const OptionalTensor& p_device, int64_t first_sample) {
  return std::get<0>(DropPackedCpu(x, line, key, p, p_device, first_sample));
}

// ---- what Python must know of specs

// The shortest text that reads back as this number.
std::string Shortest(float number) {
  char text[32];
  return std::string(text, std::to_chars(text, text + sizeof text, number).ptr);
}

// A case line as (full spec line, p, whether a mask has bits of its own per sample, channel and element).
std::tuple<std::string, std::string, bool, bool, bool> ReadCase(std::string_view line) {
  Spec spec;
  float p = 0;
  Check(ParseCase(line, &spec, &p));
  Spec small = spec;  // which axes have bits does not depend on sizes, which must fit here
  small.extent_dims = 1;
  for (int64_t& side : small.extent) side = 1;
  Mask mask;
  Check(Describe(small, DenseView(nullptr, DType::kF32, 2, 2, {2}), &mask));
  return {PrintSpec(spec, SpecForm::kFull), Shortest(p), mask.sample_stride != 0, mask.channel_stride != 0,
          mask.stride[0] != 0};
}

// A line for each method and preset: kind, name, full spec line, default p, paper or source, separated by tabs.
std::string ListSpecs() {
  std::ostringstream text;
  for (const MethodInfo& row : Methods()) {
    text << "method\t" << row.name << '\t' << row.full_line << '\t' << Shortest(row.default_p) << '\t' << row.paper
         << '\n';
  }
  for (const PresetInfo& row : Presets()) {
    text << "preset\t" << row.name << '\t' << row.full_line << '\t' << Shortest(row.default_p) << '\t' << row.source
         << '\n';
  }
  return text.str();
}

std::string Build() { return BuildInfo(); }

#define DROPKIT_DRAWS "str spec, Tensor key, float p, Tensor? p_device=None, int first_sample=0"
#define DROPKIT_APPLIES                                                                                             \
  "Tensor bits, Tensor counts, str spec, bool channels_last, bool backward, Tensor? key=None, int first_sample=0, " \
  "int? total=None"

STABLE_TORCH_LIBRARY(dropkit, m) {
  m.def("sample(Tensor x, " DROPKIT_DRAWS ", bool channels_last=False) -> (Tensor bits, Tensor counts)");
  m.def("spread(Tensor x, str spec, Tensor seeds, float p, bool channels_last=False) -> (Tensor bits, Tensor counts)");
  m.def("drop(Tensor x, " DROPKIT_DRAWS ") -> (Tensor y, Tensor bits, Tensor counts)");
  m.def("drop_(Tensor(a!) x, " DROPKIT_DRAWS ", bool channels_last=False) -> (Tensor bits, Tensor counts)");
  m.def("apply(Tensor x, " DROPKIT_APPLIES ") -> Tensor");
  m.def("apply_(Tensor(a!) x, " DROPKIT_APPLIES ") -> ()");
  m.def("drop_recompute(Tensor x, " DROPKIT_DRAWS ") -> Tensor");
  m.def("_drop(Tensor x, " DROPKIT_DRAWS ") -> (Tensor y, Tensor mask)");
  m.def("_drop_(Tensor(a!) x, " DROPKIT_DRAWS ", bool channels_last=False) -> Tensor");
  m.def("_gradient(Tensor grad, Tensor mask, str spec, bool channels_last) -> Tensor");
  m.def("_read(str case) -> (str, str, bool, bool, bool)");
  m.def("_list() -> str");
  m.def("_build() -> str");
}

STABLE_TORCH_LIBRARY_IMPL(dropkit, CPU, m) {
  m.impl("sample", TORCH_BOX(&SampleCpu));
  m.impl("spread", TORCH_BOX(&SpreadCpu));
  m.impl("drop", TORCH_BOX(&DropCpu));
  m.impl("drop_", TORCH_BOX(&DropInPlaceCpu));
  m.impl("apply", TORCH_BOX(&ApplyCpu));
  m.impl("apply_", TORCH_BOX(&ApplyInPlaceCpu));
  m.impl("drop_recompute", TORCH_BOX(&DropForgettingCpu));
  m.impl("_drop", TORCH_BOX(&DropPackedCpu));
  m.impl("_drop_", TORCH_BOX(&DropPackedInPlaceCpu));
  m.impl("_gradient", TORCH_BOX(&GradientCpu));
}

STABLE_TORCH_LIBRARY_IMPL(dropkit, CompositeExplicitAutograd, m) {
  m.impl("_read", TORCH_BOX(&ReadCase));
  m.impl("_list", TORCH_BOX(&ListSpecs));
  m.impl("_build", TORCH_BOX(&Build));
}

}  // namespace
}  // namespace dropkit::torch_ops

// The draw's version of these operators. A program that links this library calls it, so the linker keeps the library
// and two versions cannot meet unnoticed.
extern "C" DROPKIT_API int dropkit_torch_draw_version() { return dropkit::kDrawVersion; }
