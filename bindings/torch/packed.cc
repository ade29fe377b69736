// Operators of the Python package for plain eager calls: drop and its gradient with the least of torch around them.
//
// Assumes that drop and apply (ops.cc) are registered; these do the same work. A mask is one tensor here, and nothing
// registers a gradient for them: python/dropkit/torch/paths.py has the autograd functions.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <string_view>
#include <tuple>

#include "draws.h"

namespace dropkit::torch_ops {
namespace {

using torch::headeronly::ScalarType;

// bits and counts in one int64 tensor, which costs one allocation and one saved tensor less: {T, kept...} padded to
// whole cache lines, then the words. over=tensor has one count, the sum over samples: nothing in it depends on the
// batch.
struct Packed {
  static constexpr int64_t kLine = 8;  // words
  Mask mask;
  int64_t header = 0;
  explicit Packed(const Spec& spec, const View& dense) {
    mask.one_count = true;
    Check(Describe(spec, dense, &mask));
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

Tensor DropIntoPacked(const Tensor& x, const Tensor& y, Layout layout, const Spec& spec, const Tensor& key,
                      Probability p, int64_t first_sample) {
  const View dense = DenseViewOf(x, layout, x.data_ptr(), spec, first_sample);
  Packed packed(spec, dense);
  Tensor words = EmptyInt64(x, packed.length());
  packed.Point(words.data_ptr());
  std::fill_n(static_cast<int64_t*>(words.data_ptr()), packed.header, int64_t{0});
  DropWith(x, y, layout, spec, key, p, first_sample, &packed.mask);
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

STABLE_TORCH_LIBRARY_FRAGMENT(dropkit, m) {
  m.def("drop_recompute(Tensor x, " DROPKIT_DRAWS ") -> Tensor");
  m.def("_drop(Tensor x, " DROPKIT_DRAWS ") -> (Tensor y, Tensor mask)");
  m.def("_drop_(Tensor(a!) x, " DROPKIT_DRAWS ", bool channels_last=False) -> Tensor");
  m.def("_gradient(Tensor grad, Tensor mask, str spec, bool channels_last) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(dropkit, CPU, m) {
  m.impl("drop_recompute", TORCH_BOX(&DropForgettingCpu));
  m.impl("_drop", TORCH_BOX(&DropPackedCpu));
  m.impl("_drop_", TORCH_BOX(&DropPackedInPlaceCpu));
  m.impl("_gradient", TORCH_BOX(&GradientCpu));
}

}  // namespace
}  // namespace dropkit::torch_ops
