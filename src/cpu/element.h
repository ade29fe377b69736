// The arithmetic of one element: what its type computes in, and the conversions at both ends.
#ifndef DROPKIT_SRC_CPU_ELEMENT_H_
#define DROPKIT_SRC_CPU_ELEMENT_H_

#include "bits.h"

namespace dropkit::cpu {

template <typename T>
struct Arithmetic {  // f32 and f64 compute in themselves
  using Wide = T;
  static Wide Load(T value) { return value; }
  static T Store(Wide value) { return value; }
};
template <>
struct Arithmetic<Float16> {
  using Wide = float;
  static float Load(Float16 value) { return ToFloat(value); }
  static Float16 Store(float value) { return ToFloat16(value); }
};
template <>
struct Arithmetic<BFloat16> {
  using Wide = float;
  static float Load(BFloat16 value) { return ToFloat(value); }
  static BFloat16 Store(float value) { return ToBFloat16(value); }
};

}  // namespace dropkit::cpu

#endif  // DROPKIT_SRC_CPU_ELEMENT_H_
