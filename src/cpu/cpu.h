// The `cpu` backend's two halves. Plain, portable code.
#ifndef DROPKIT_SRC_CPU_CPU_H_
#define DROPKIT_SRC_CPU_CPU_H_

#include "bits.h"
#include "draw.h"
#include "dropkit/dropkit.h"
#include "exec.h"
#include "plan.h"
#include "rate.h"

namespace dropkit::cpu {

Status Sample(const Spec& spec, Probability p, Key key, const View& x, const Exec& exec, Mask* mask);
Status Spread(const Spec& spec, Probability p, const uint8_t* seeds, const View& x, const Exec& exec, Mask* mask);
Status Pack(const Spec& spec, Probability p, const uint8_t* keep, const View& x, const Exec& exec, Mask* mask);
Status Apply(const Mask& mask, Pass pass, const View& x, const View& y, const Exec& exec);

}  // namespace dropkit::cpu

#endif  // DROPKIT_SRC_CPU_CPU_H_
