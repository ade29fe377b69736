// Where the operators run: on the CPU with torch's threads, on CUDA on the current stream of x's device.
//
// Assumes LibTorch's stable ABI alone, and no CUDA when this is compiled, linked or loaded: one library serves every
// build of torch. Kernels are the core's backends; that CUDA tensors come here at all is ops.cc's and packed.cc's.
#ifndef DROPKIT_BINDINGS_TORCH_DEVICE_H_
#define DROPKIT_BINDINGS_TORCH_DEVICE_H_

#include <torch/csrc/stable/accelerator.h>

#include <optional>
#include <string>

#include "views.h"

namespace dropkit::torch_ops {

// "cpu" or "cuda:0", for messages.
std::string DeviceName(const Tensor& x);
bool OnOneDevice(const Tensor& a, const Tensor& b);

// x's device for the length of an operator: while this lives it is the current one. Throws where dropkit cannot run
// there, before anything was allocated or written. Nothing here waits for a device.
class OnDevice {
 public:
  explicit OnDevice(const Tensor& x);
  OnDevice(const OnDevice&) = delete;

  // How a verb of the core runs there on this view. Scratch in device memory is torch's and lives as long as this: the
  // allocator gives it to later work on the same stream, so what was launched may still be using it by then.
  const Exec& ExecFor(const Spec& spec, const View& view);

 private:
  const Tensor x_;
  Exec exec_;
  std::optional<torch::stable::accelerator::DeviceGuard> current_;
  std::optional<Tensor> scratch_;
};

}  // namespace dropkit::torch_ops

#endif  // DROPKIT_BINDINGS_TORCH_DEVICE_H_
