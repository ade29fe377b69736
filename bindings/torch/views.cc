// Shapes, strides, dtypes and errors between LibTorch's stable ABI and the core. See views.h for the rules.
//
// Tensors are made by aoti_torch_empty_strided, at half the cost of torch::stable::empty, which goes through the
// dispatcher with boxed arguments.
#include "views.h"

#include <stdexcept>
#include <string>

#include "device.h"

namespace dropkit::torch_ops {
namespace {

using torch::headeronly::ScalarType;

struct Dim {
  int64_t size, stride;
};

DType DTypeOf(const Tensor& x) {
  switch (x.scalar_type()) {
    case ScalarType::Float:
      return DType::kF32;
    case ScalarType::Half:
      return DType::kF16;
    case ScalarType::BFloat16:
      return DType::kBF16;
    case ScalarType::Double:
      return DType::kF64;
    default:
      Check(Status::Invalid(std::string("x: dtype ") + torch::headeronly::toString(x.scalar_type()) +
                            "; allowed: Float, Half, BFloat16, Double"));
      return DType::kF32;
  }
}

bool IsOneWeight(const Spec& spec) { return DropsWeights(spec) && spec.share == Share::kBatch; }

// N, C and the map, as many dimensions as there are.
std::vector<Dim> RolesOf(const Tensor& x, const std::vector<int64_t>& strides, const Spec& spec) {
  std::vector<Dim> dims;
  if (x.dim() == 0 || IsOneWeight(spec)) dims.push_back({1, 0});
  const auto sizes = x.sizes();
  for (int64_t i = 0; i < x.dim(); ++i) dims.push_back({sizes[i], strides[i]});
  if (dims.size() == 1) dims.push_back({1, 0});
  return dims;
}

// Joins the last dimensions until five are left; false if two of them are not one evenly strided run.
bool Join(std::vector<Dim>* dims) {
  while (dims->size() > 5) {
    const Dim inner = dims->back();
    dims->pop_back();
    Dim& outer = dims->back();
    if (outer.size > 1 && inner.size > 1 && outer.stride != inner.stride * inner.size) return false;
    outer = {outer.size * inner.size, inner.size > 1 ? inner.stride : outer.stride};
  }
  return true;
}

// An empty tensor's strides mean nothing, and differ between x and y.
std::vector<int64_t> StridesOf(const Tensor& x) {
  if (x.numel() == 0) return DenseStrides(x, Layout::kChannelsFirst);
  const auto strides = x.strides();
  return std::vector<int64_t>(strides.begin(), strides.end());
}

}  // namespace

void Check(const Status& status) {
  if (!status.ok()) throw std::runtime_error(status.message());
}

Spec SpecOf(std::string_view line) {
  Spec spec;
  Check(ParseSpec(line, &spec));
  return spec;
}

Layout LayoutOf(const Tensor& x) {
  if (x.dim() < 3 || x.dim() > 5 || x.is_contiguous()) return Layout::kChannelsFirst;
  const auto sizes = x.sizes();
  const auto strides = x.strides();
  int64_t span = 1;  // each dimension, from C outwards, must step over all that lies within it
  for (int64_t i = 0; i < x.dim(); ++i) {
    const int64_t dim = i == 0 ? 1 : (i == x.dim() - 1 ? 0 : x.dim() - i);
    if (sizes[dim] == 1) continue;
    if (strides[dim] < span) return Layout::kChannelsFirst;
    span = strides[dim] * sizes[dim];
  }
  return Layout::kChannelsLast;
}

std::vector<int64_t> DenseStrides(const Tensor& x, Layout layout) {
  const auto sizes = x.sizes();
  std::vector<int64_t> strides(sizes.size());
  const bool last = layout == Layout::kChannelsLast && x.dim() > 2;
  int64_t span = 1;
  const auto place = [&](int64_t dim) {
    strides[dim] = span;
    span *= sizes[dim] > 1 ? sizes[dim] : 1;
  };
  if (last) place(1);
  for (int64_t dim = x.dim() - 1; dim >= 0; --dim) {
    if (!(last && dim == 1)) place(dim);
  }
  return strides;
}

bool HasStrides(const Tensor& x, const std::vector<int64_t>& strides) {
  const auto sizes = x.sizes();
  const auto own = x.strides();
  for (size_t i = 0; i < strides.size(); ++i) {
    if (sizes[i] > 1 && own[i] != strides[i]) return false;
  }
  return true;
}

bool Joinable(const Tensor& x, const Spec& spec) {
  std::vector<Dim> dims = RolesOf(x, StridesOf(x), spec);
  return HasBlock(spec) || Join(&dims);
}

View ViewOf(const Tensor& x, const std::vector<int64_t>& strides, void* data, const Spec& spec, int64_t first_sample) {
  std::vector<Dim> dims = RolesOf(x, strides, spec);
  if (!HasBlock(spec) && !Join(&dims)) Check(Status::Internal("x: its strides do not fit three map dimensions"));
  View view;
  view.data = data;
  view.dtype = DTypeOf(x);
  view.first_sample = first_sample;
  view.samples = dims[0].size;
  view.sample_stride = dims[0].stride;
  view.channels = dims[1].size;
  view.channel_stride = dims[1].stride;
  view.spatial_dims = static_cast<int>(dims.size()) - 2;
  for (size_t i = 2; i < dims.size() && i < 5; ++i) {
    view.size[i - 2] = dims[i].size;
    view.stride[i - 2] = dims[i].stride;
  }
  return view;
}

View ViewOf(const Tensor& x, const Spec& spec, int64_t first_sample) {
  return ViewOf(x, StridesOf(x), x.data_ptr(), spec, first_sample);
}

namespace {

Tensor Empty(const Tensor& x, int64_t dims, const int64_t* sizes, const int64_t* strides, int32_t dtype) {
  int32_t device_type = 0;
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_get_device_type(x.get(), &device_type));
  AtenTensorHandle handle = nullptr;
  STABLE_TORCH_ERROR_CODE_CHECK(
      aoti_torch_empty_strided(dims, sizes, strides, dtype, device_type, x.get_device_index(), &handle));
  return Tensor(handle);
}

}  // namespace

Tensor EmptyLike(const Tensor& x, Layout layout) {
  int32_t dtype = 0;
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_get_dtype(x.get(), &dtype));
  return Empty(x, x.dim(), x.sizes().data(), DenseStrides(x, layout).data(), dtype);
}

Tensor EmptyInt64(const Tensor& x, int64_t length) {
  const int64_t stride = 1;
  return Empty(x, 1, &length, &stride, aoti_torch_dtype_int64());
}

Tensor EmptyBytes(const Tensor& x, int64_t length) {
  const int64_t stride = 1;
  return Empty(x, 1, &length, &stride, aoti_torch_dtype_uint8());
}

void* Operand(const char* name, const Tensor& operand, const Tensor& x, ScalarType dtype, int64_t length) {
  if (operand.scalar_type() != dtype || operand.numel() != length || !operand.is_contiguous() ||
      !OnOneDevice(operand, x)) {
    Check(Status::Invalid(std::string(name) + ": " + torch::headeronly::toString(operand.scalar_type()) + " with " +
                          std::to_string(operand.numel()) + " values on " + DeviceName(operand) +
                          "; allowed: contiguous " + torch::headeronly::toString(dtype) + " with " +
                          std::to_string(length) + " values on x's device, " + DeviceName(x)));
  }
  return operand.data_ptr();
}

}  // namespace dropkit::torch_ops
