// A backend runs the verbs on one kind of device. Adding one: a folder, a row in backends.cc, a CMake option; the
// existing tests cover it.
//
// The functions are called by drop.cc with arguments already validated: sizes, ranges and strides are sound, pointers
// are set, the mask is filled as by Describe, exec.scratch holds at least `scratch_bytes`, the mask
// has bits (but for finish_empty), and a host p is within [0, 1]. What remains theirs: a p read from device memory.
//
// Where `host_memory` is false, every pointer of a call is into the device's memory and the host never follows one.
#ifndef DROPKIT_SRC_BACKEND_H_
#define DROPKIT_SRC_BACKEND_H_

#include "dropkit/dropkit.h"

namespace dropkit {

struct Backend {
  const char* name;
  bool host_memory;              // else a call must name it: nobody's host memory is handed to a device
  const char* (*unavailable)();  // null when it can run, else the reason
  size_t (*scratch_bytes)(const Spec& spec, const View& x, const Exec& exec);
  Status (*sample)(const Spec& spec, Probability p, Key key, const View& x, const Exec& exec, Mask* mask);
  Status (*spread)(const Spec& spec, Probability p, const uint8_t* seeds, const View& x, const Exec& exec, Mask* mask);
  Status (*pack)(const Spec& spec, Probability p, const uint8_t* keep, const View& x, const Exec& exec, Mask* mask);
  Status (*finish_empty)(Probability p, const Mask& mask, const Exec& exec);  // no bits: counts of zero, T as asked
  Status (*apply)(const Mask& mask, Pass pass, const View& x, const View& y, const Exec& exec);
  // Both at once, equal to them bit for bit. Null: sample, then apply.
  Status (*drop)(const Spec& spec, Probability p, Key key, Pass pass, const View& x, const View& y, const Exec& exec,
                 Mask* mask);
};

// One definition each, in cpu/, reference/ and cuda/ (off.cc in a build without CUDA).
extern const Backend kCpuBackend;
extern const Backend kReferenceBackend;
extern const Backend kCudaBackend;

// finish_empty for memory that the host reads.
Status FinishEmptyOnHost(Probability p, const Mask& mask, const Exec& exec);

// That exec has the scratch that a backend needs.
Status ValidateScratch(const Backend& backend, size_t needed, const Exec& exec);

// The backend that exec names; else one on host memory. An error names the known ones.
Status FindBackend(const Exec& exec, const Backend** backend);

}  // namespace dropkit

#endif  // DROPKIT_SRC_BACKEND_H_
