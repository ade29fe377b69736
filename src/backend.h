// A backend runs the verbs on one kind of device. Adding one: a folder, a row in backends.cc, a CMake option; the
// existing tests cover it.
//
// The functions are called by drop.cc with arguments already validated: sizes, ranges and strides are sound, pointers
// are set, the mask is filled as by Describe, scratch holds at least `scratch_bytes` (exec.scratch is set), the mask
// has bits (but for finish_empty), and a host p is within [0, 1]. What remains theirs: a p read from device memory.
#ifndef DROPKIT_SRC_BACKEND_H_
#define DROPKIT_SRC_BACKEND_H_

#include "dropkit/dropkit.h"

namespace dropkit {

struct Backend {
  const char* name;
  const char* (*unavailable)();  // null when it can run, else the reason
  size_t (*scratch_bytes)(const Spec& spec, const View& x, const Exec& exec);
  Status (*sample)(const Spec& spec, Probability p, Key key, const View& x, const Exec& exec, Mask* mask);
  Status (*spread)(const Spec& spec, Probability p, const uint8_t* seeds, const View& x, const Exec& exec, Mask* mask);
  Status (*pack)(const Spec& spec, Probability p, const uint8_t* keep, const View& x, const Exec& exec, Mask* mask);
  void (*finish_empty)(Probability p, const Mask& mask);  // no bits: counts of zero, T as asked
  Status (*apply)(const Mask& mask, Pass pass, const View& x, const View& y, const Exec& exec);
};

// One definition each, in cpu/ and reference/.
extern const Backend kCpuBackend;
extern const Backend kReferenceBackend;

// finish_empty for memory that the host reads.
void FinishEmptyOnHost(Probability p, const Mask& mask);

// The backend that exec asks for; an error names the known ones.
Status FindBackend(const Exec& exec, const Backend** backend);

}  // namespace dropkit

#endif  // DROPKIT_SRC_BACKEND_H_
