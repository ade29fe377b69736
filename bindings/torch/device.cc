// See device.h.
//
// torch's current CUDA stream is a function of libtorch_cuda.so. A process that has CUDA tensors has loaded that
// library, so it is looked for there when the first one comes; linking it would load all of CUDA into C++ programs that
// run on the CPU, and would not load where torch has none.
#include "device.h"

#include <dlfcn.h>
#include <torch/csrc/stable/ops.h>

namespace dropkit::torch_ops {
namespace {

using CurrentStream = AOTITorchError (*)(int32_t device_index, void** stream);

CurrentStream FindCurrentStream() {
  const char* name = "aoti_torch_get_current_cuda_stream";
  void* found = dlsym(RTLD_DEFAULT, name);
  if (!found) {  // torch loads its libraries for itself alone
    void* library = dlopen("libtorch_cuda.so", RTLD_NOLOAD | RTLD_LAZY);
    if (library) found = dlsym(library, name);
  }
  return reinterpret_cast<CurrentStream>(found);
}

void* CurrentStreamOf(const Tensor& x) {
  static const CurrentStream current_stream = FindCurrentStream();
  if (!current_stream) {
    Check(Status::Unavailable("x is on " + DeviceName(x) +
                              ", and this process has no libtorch_cuda.so, whose streams dropkit runs on"));
  }
  void* stream = nullptr;
  STABLE_TORCH_ERROR_CODE_CHECK(current_stream(x.get_device_index(), &stream));
  return stream;
}

// The core says why a backend cannot run when it is asked for anything, here for the scratch of an empty tensor.
void CheckRuns(const Exec& exec) {
  size_t bytes = 0;
  const View nothing;
  Check(ScratchBytes(Spec{}, nothing, exec, &bytes));
}

void UseTorchThreads(Exec* exec) {
  exec->parallel_for.max_threads = static_cast<int>(torch::stable::get_num_threads());
  exec->parallel_for.run = [](void*, int64_t count, void (*task)(void*, int64_t), void* argument) {
    torch::stable::parallel_for(0, count, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) task(argument, i);
    });
  };
}

}  // namespace

std::string DeviceName(const Tensor& x) {
  if (x.is_cpu()) return "cpu";
  if (x.is_cuda()) return "cuda:" + std::to_string(x.get_device_index());
  return "another device";
}

bool OnOneDevice(const Tensor& a, const Tensor& b) {
  int32_t type_of_a = 0, type_of_b = 0;
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_get_device_type(a.get(), &type_of_a));
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_get_device_type(b.get(), &type_of_b));
  return type_of_a == type_of_b && a.get_device_index() == b.get_device_index();
}

OnDevice::OnDevice(const Tensor& x) : x_(x) {
  exec_.fresh_output = true;  // of every operator that does not write in place
  if (x.is_cpu()) {
    UseTorchThreads(&exec_);
    return;
  }
  if (!x.is_cuda()) Check(Status::Unavailable("x is on " + DeviceName(x) + "; allowed: cpu or cuda"));
  exec_.backend = "cuda";
  CheckRuns(exec_);
  exec_.stream = CurrentStreamOf(x);
  current_.emplace(x.get_device_index());
}

const Exec& OnDevice::ExecFor(const Spec& spec, const View& view) {
  if (!exec_.backend) return exec_;  // the CPU's scratch is the core's own
  size_t bytes = 0;
  Check(ScratchBytes(spec, view, exec_, &bytes));
  if (bytes > exec_.scratch_bytes) {
    scratch_.emplace(EmptyBytes(x_, static_cast<int64_t>(bytes)));
    exec_.scratch = scratch_->data_ptr();
    exec_.scratch_bytes = bytes;
  }
  return exec_;
}

}  // namespace dropkit::torch_ops
