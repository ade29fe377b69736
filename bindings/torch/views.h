// Torch tensors as the core sees them: the one place where shapes, strides, dtypes and errors are translated.
//
// Assumes LibTorch's stable ABI alone. Which operators exist is in ops.cc; what the core does with a view is its own.
//
// Dimensions are N, C, then the map. A tensor of one dimension is N samples of one channel, of none one sample. Under
// drop_connect with share=batch the tensor is one weight, so all its dimensions follow N. Methods without a geometry
// take any number of dimensions: the last ones are joined until three are left for the map.
#ifndef DROPKIT_BINDINGS_TORCH_VIEWS_H_
#define DROPKIT_BINDINGS_TORCH_VIEWS_H_

#include <torch/csrc/stable/tensor.h>

#include <cstdint>
#include <string_view>
#include <vector>

#include "dropkit/dropkit.h"

#ifndef STABLE_TORCH_ERROR_CODE_CHECK  // LibTorch 2.10 and 2.11 have it by this name only
#define STABLE_TORCH_ERROR_CODE_CHECK TORCH_ERROR_CODE_CHECK
#endif

namespace dropkit::torch_ops {

using torch::stable::Tensor;

// Throws std::runtime_error with the status's message alone; torch makes it a RuntimeError in Python.
void Check(const Status& status);

Spec SpecOf(std::string_view line);

// Channels last if x is in that order and not contiguous, with one to three map dimensions; else channels first.
Layout LayoutOf(const Tensor& x);
// Strides of a dense tensor of these sizes.
std::vector<int64_t> DenseStrides(const Tensor& x, Layout layout);
bool HasStrides(const Tensor& x, const std::vector<int64_t>& strides);

// x as a view of `data`, x's dtype and sizes, and these strides. Throws if dimensions must be joined and are not evenly
// strided: see Joinable.
View ViewOf(const Tensor& x, const std::vector<int64_t>& strides, void* data, const Spec& spec, int64_t first_sample);
View ViewOf(const Tensor& x, const Spec& spec, int64_t first_sample);
bool Joinable(const Tensor& x, const Spec& spec);

// New tensors on x's device.
Tensor EmptyLike(const Tensor& x, Layout layout);
Tensor EmptyInt64(const Tensor& x, int64_t length);
Tensor EmptyBytes(const Tensor& x, int64_t length);

// Memory of an operand that has `length` values of a type (by torch's name) in a row on x's device; throws, naming it.
void* Operand(const char* name, const Tensor& operand, const Tensor& x, torch::headeronly::ScalarType dtype,
              int64_t length);

}  // namespace dropkit::torch_ops

#endif  // DROPKIT_BINDINGS_TORCH_VIEWS_H_
