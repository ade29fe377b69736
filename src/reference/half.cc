// 16-bit floats, f16 and bf16, by the definition of rounding: a double holds every f32 and every quotient here exactly.
//
// Assumes the rounding mode is to nearest even, which std::nearbyint then follows.
#include <algorithm>
#include <cmath>
#include <limits>

#include "reference/reference.h"

namespace dropkit::reference {

uint16_t Encode(float value, HalfFormat format) {
  const uint32_t sign = std::signbit(value) ? 0x8000u : 0u;
  const int max_exponent = 1 - format.min_exponent;
  const uint32_t infinity = static_cast<uint32_t>(max_exponent - format.min_exponent + 2) << format.fraction_bits;
  if (std::isnan(value)) return static_cast<uint16_t>(sign | infinity | (1u << (format.fraction_bits - 1)));
  const double magnitude = std::fabs(static_cast<double>(value));
  if (std::isinf(magnitude)) return static_cast<uint16_t>(sign | infinity);
  const int exponent = magnitude == 0 ? format.min_exponent : std::max(std::ilogb(magnitude), format.min_exponent);
  // `steps` of the spacing of numbers with this exponent. A carry into the next exponent lands in its field, past the
  // largest number into infinity; a subnormal has steps below the hidden bit and so the exponent field 0.
  const double steps = std::nearbyint(std::ldexp(magnitude, format.fraction_bits - exponent));
  const uint32_t bits =
      (static_cast<uint32_t>(exponent - format.min_exponent) << format.fraction_bits) + static_cast<uint32_t>(steps);
  return static_cast<uint16_t>(sign | std::min(bits, infinity));
}

float Decode(uint16_t bits, HalfFormat format) {
  const float sign = (bits & 0x8000u) != 0 ? -1.0f : 1.0f;
  const int fraction = bits & ((1 << format.fraction_bits) - 1);
  const int exponent = (bits & 0x7FFF) >> format.fraction_bits;
  if (exponent == 2 - 2 * format.min_exponent + 1) {
    return std::copysign(
        fraction != 0 ? std::numeric_limits<float>::quiet_NaN() : std::numeric_limits<float>::infinity(), sign);
  }
  const int hidden = exponent > 0 ? 1 << format.fraction_bits : 0;
  const int scale = (exponent > 0 ? exponent - 1 : 0) + format.min_exponent - format.fraction_bits;
  return sign * std::ldexp(static_cast<float>(hidden + fraction), scale);
}

}  // namespace dropkit::reference
