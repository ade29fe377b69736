// The operators of dropkit in torch, library `dropkit`: schemas and kernels. Python and dropkit::nn call these.
//
// Assumes LibTorch's stable ABI of 2.10 alone, so one file serves all releases from there. Shapes and errors are
// translated in views.cc; autograd is the callers' (nn.cc in C++). The same functions serve the CPU and CUDA: device.cc
// decides by x where they run. On devices they neither wait nor read memory, and allocate by torch alone, so a CUDA
// graph can capture them.
//
// A mask is two tensors: bits, int64 words with bit 1 = keep in the memory order of y, and counts, int64 {T, kept...}.
// Further operators are in packed.cc, whose masks are one tensor, and in spec_texts.cc, which has no tensors; those
// whose name starts with _ belong to the Python package. `channels_last` says that order. `drop` chooses it: it is `not
// y.is_contiguous()` of the y that it returned. To `sample` and `drop_` the caller says it, and says the same to
// `apply`. `key` is read by a forward `apply` with fill=noise alone. `total` is the number of elements that `kept` was
// counted over, where that is not x alone (several ranks); without it, over=tensor may have the sum over x's samples in
// place of their counts. Operators that change x return nothing that shares its memory, as torch.compile asks.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "draws.h"

namespace dropkit::torch_ops {
namespace {

using torch::headeronly::ScalarType;

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
  PointMask(bits.data_ptr(), counts.data_ptr(), &mask);
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
  } else if (spec.over == Over::kTensor && counts.numel() == 2) {
    mask.num_kept = 1;  // the sum over x's samples
  }
  PointMask(Operand("bits", bits, x, ScalarType::Long, mask.num_words()),
            Operand("counts", counts, x, ScalarType::Long, 1 + mask.num_kept), &mask);
  if (key) mask.key = KeyOf(*key, x);
  return mask;
}

std::tuple<Tensor, Tensor> SampleOp(const Tensor& x, std::string_view line, const Tensor& key, double p,
                                    const OptionalTensor& p_device, int64_t first_sample, bool channels_last) {
  OnDevice device(x);
  const Draw draw(x, line, key, p, p_device, first_sample);
  const View dense = DenseViewOf(x, LayoutFrom(channels_last), draw.spec, first_sample);
  MaskTensors made = NewMask(x, dense, draw.spec);
  Check(Sample(draw.spec, draw.p, draw.key, dense, device.ExecFor(draw.spec, dense), &made.mask));
  return {made.bits, made.counts};
}

// As SampleOp, but which units fire is given, as the core's Spread takes it.
std::tuple<Tensor, Tensor> SpreadOp(const Tensor& x, std::string_view line, const Tensor& seeds, double p,
                                    bool channels_last) {
  OnDevice device(x);
  const Spec spec = SpecOf(line);
  const View dense = DenseViewOf(x, LayoutFrom(channels_last), spec, 0);
  RateInfo info;
  Check(Rates(spec, static_cast<float>(p), dense, &info));
  const bool shared = spec.share == Share::kBatch || spec.share == Share::kAll;
  const void* fired = Operand("seeds", seeds, x, ScalarType::Byte, info.lanes * (shared ? 1 : dense.samples));
  MaskTensors made = NewMask(x, dense, spec);
  Check(Spread(spec, static_cast<float>(p), static_cast<const uint8_t*>(fired), dense, device.ExecFor(spec, dense),
               &made.mask));
  return {made.bits, made.counts};
}

std::tuple<Tensor, Tensor> DropInto(const Draw& draw, const Tensor& x, const Tensor& y, Layout layout,
                                    OnDevice* device) {
  MaskTensors made = NewMask(x, DenseViewOf(x, layout, draw.spec, draw.first_sample), draw.spec);
  DropWith(draw, x, y, layout, device, &made.mask);
  return {made.bits, made.counts};
}

std::tuple<Tensor, Tensor, Tensor> DropOp(const Tensor& x, std::string_view line, const Tensor& key, double p,
                                          const OptionalTensor& p_device, int64_t first_sample) {
  OnDevice device(x);
  const Draw draw(x, line, key, p, p_device, first_sample);
  const Layout layout = LayoutOf(x);
  const Tensor y = EmptyLike(x, layout);
  auto [bits, counts] = DropInto(draw, Viewable(x, draw.spec), y, layout, &device);
  return {y, bits, counts};
}

std::tuple<Tensor, Tensor> DropInPlaceOp(Tensor x, std::string_view line, const Tensor& key, double p,
                                         const OptionalTensor& p_device, int64_t first_sample, bool channels_last) {
  OnDevice device(x);
  const Draw draw(x, line, key, p, p_device, first_sample);
  const Tensor y = Viewable(x, draw.spec);
  auto mask = DropInto(draw, y, y, LayoutFrom(channels_last), &device);
  CopyBack(y, x);
  return mask;
}

void ApplyInto(const Tensor& x, const Tensor& y, const Tensor& bits, const Tensor& counts, const Spec& spec,
               const OptionalTensor& key, bool channels_last, bool backward, int64_t first_sample,
               std::optional<int64_t> total, OnDevice* device) {
  const View dense = DenseViewOf(x, LayoutFrom(channels_last), spec, first_sample);
  const Mask mask = GivenMask(x, dense, spec, bits, counts, key, total);
  const Pass pass = backward ? Pass::kBackward : Pass::kForward;
  const View from = ViewOf(x, spec, first_sample);
  Check(Apply(mask, pass, from, ViewOf(y, spec, first_sample), device->ExecFor(spec, from)));
}

Tensor ApplyOp(const Tensor& x, const Tensor& bits, const Tensor& counts, std::string_view line, bool channels_last,
               bool backward, const OptionalTensor& key, int64_t first_sample, std::optional<int64_t> total) {
  OnDevice device(x);
  const Spec spec = SpecOf(line);
  const Tensor y = EmptyLike(x, LayoutFrom(channels_last));
  ApplyInto(Viewable(x, spec), y, bits, counts, spec, key, channels_last, backward, first_sample, total, &device);
  return y;
}

void ApplyInPlaceOp(Tensor x, const Tensor& bits, const Tensor& counts, std::string_view line, bool channels_last,
                    bool backward, const OptionalTensor& key, int64_t first_sample, std::optional<int64_t> total) {
  OnDevice device(x);
  const Spec spec = SpecOf(line);
  const Tensor y = Viewable(x, spec);
  ApplyInto(y, y, bits, counts, spec, key, channels_last, backward, first_sample, total, &device);
  CopyBack(y, x);
}

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
}

void Implement(auto& m) {
  m.impl("sample", TORCH_BOX(&SampleOp));
  m.impl("spread", TORCH_BOX(&SpreadOp));
  m.impl("drop", TORCH_BOX(&DropOp));
  m.impl("drop_", TORCH_BOX(&DropInPlaceOp));
  m.impl("apply", TORCH_BOX(&ApplyOp));
  m.impl("apply_", TORCH_BOX(&ApplyInPlaceOp));
}

STABLE_TORCH_LIBRARY_IMPL(dropkit, CPU, m) { Implement(m); }
STABLE_TORCH_LIBRARY_IMPL(dropkit, CUDA, m) { Implement(m); }

}  // namespace
}  // namespace dropkit::torch_ops

// The draw's version of these operators. A program that links this library calls it, so the linker keeps the library
// and two versions cannot meet unnoticed.
extern "C" DROPKIT_API int dropkit_torch_draw_version() { return dropkit::kDrawVersion; }
