// See draws.h.
#include "draws.h"

#include <torch/csrc/stable/ops.h>

namespace dropkit::torch_ops {

using torch::headeronly::ScalarType;

namespace {

Probability ProbabilityOf(double p, const OptionalTensor& p_device, const Tensor& x) {
  if (!p_device) return Probability(static_cast<float>(p));
  return Probability(static_cast<const float*>(Operand("p_device", *p_device, x, ScalarType::Float, 1)));
}

}  // namespace

Key KeyOf(const Tensor& key, const Tensor& x) {
  return static_cast<const uint64_t*>(Operand("key", key, x, ScalarType::Long, 2));
}

Draw::Draw(const Tensor& x, std::string_view line, const Tensor& key, double p, const OptionalTensor& p_device,
           int64_t first_sample)
    : spec(SpecOf(line)), key(KeyOf(key, x)), p(ProbabilityOf(p, p_device, x)), first_sample(first_sample) {}

View DenseViewOf(const Tensor& x, Layout layout, const Spec& spec, int64_t first_sample) {
  return ViewOf(x, DenseStrides(x, layout), x.data_ptr(), spec, first_sample);
}

Tensor Viewable(const Tensor& x, const Spec& spec) { return Joinable(x, spec) ? x : torch::stable::contiguous(x); }

void CopyBack(const Tensor& viewable, Tensor x) {
  if (viewable.data_ptr() != x.data_ptr()) torch::stable::copy_(x, viewable);
}

void PointMask(void* bits, void* counts, Mask* mask) {
  mask->bits = static_cast<uint64_t*>(bits);
  mask->threshold = static_cast<uint64_t*>(counts);
  mask->kept = static_cast<int64_t*>(counts) + 1;
}

void DropWith(const Draw& draw, const Tensor& x, const Tensor& y, Layout layout, OnDevice* device, Mask* mask) {
  const Spec& spec = draw.spec;
  const View from = ViewOf(x, spec, draw.first_sample), to = ViewOf(y, spec, draw.first_sample);
  if (HasStrides(x, DenseStrides(x, layout))) {
    Check(Drop(spec, draw.p, draw.key, Pass::kForward, from, to, device->ExecFor(spec, from), mask));
  } else {  // the mask is in y's order, which Drop would take from x
    const View dense = DenseViewOf(x, layout, spec, draw.first_sample);
    Check(Sample(spec, draw.p, draw.key, dense, device->ExecFor(spec, dense), mask));
    Check(Apply(*mask, Pass::kForward, from, to, device->ExecFor(spec, from)));
  }
}

}  // namespace dropkit::torch_ops
