// Every check of an argument that does not concern a spec line, with its message. Nothing is written before they
// passed.
#ifndef DROPKIT_SRC_VALIDATE_H_
#define DROPKIT_SRC_VALIDATE_H_

#include <array>

#include "dropkit/dropkit.h"

namespace dropkit {

inline constexpr int64_t kMostElementsOfSample = int64_t{1} << 38;  // lanes stay within 32-bit tile numbers

// Shape, dtype, strides and sizes; data too when `data_is_used`. `name` is the argument's.
Status ValidateView(const char* name, const View& x, bool data_is_used);
// y can take the result of x: same shape and dtype, no axis of stride 0, not x's memory in another order or
// moved by some bytes. (Views with gaps may share a range of memory without sharing an element; they are believed.)
Status ValidateOutput(const View& x, const View& y);
Status ValidateProbability(Probability p);
Status ValidatePass(Pass pass);
// The pointers of a mask that is about to be written or read.
Status ValidateMaskPointers(const Mask& mask);
// A mask that is about to be read: its spec and pointers are sound, it is one for x's shape, its strides stay within
// num_bits.
Status ValidateMask(const Mask& mask, const View& x);
// Whether a mask has the sum over samples alone, as its caller asked.
inline bool HasOneCount(const Mask& mask) { return mask.one_count && mask.spec.over == Over::kTensor; }
// The shape that a mask says it has.
View ShapeOf(const Mask& mask);

// Sizes and strides of the five axes: sample, channel, and the three of the map.
using FiveAxes = std::array<int64_t, 5>;
FiveAxes SizesOf(const View& x);
FiveAxes StridesOf(const View& x);
FiveAxes StridesOf(const Mask& mask);

int64_t CellsOf(const View& x);
int64_t ElementsOf(const View& x);

}  // namespace dropkit

#endif  // DROPKIT_SRC_VALIDATE_H_
