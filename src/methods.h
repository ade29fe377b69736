// THE table of methods: one row each. A method is a unit (what one drawn bit stands for), a spread (which elements that
// bit reaches) and defaults; everything else in the library reads these rows. Presets are names for spec lines.
#ifndef DROPKIT_SRC_METHODS_H_
#define DROPKIT_SRC_METHODS_H_

#include <cmath>
#include <string>
#include <vector>

#include "dropkit/dropkit.h"

namespace dropkit {

enum class Unit : uint8_t { kElement, kChannel, kSample, kSeed, kHole, kWeight };  // a weight is an element of a weight

// Keys of a spec line, in the order of its printed form. spec.cc has a row for each.
enum KeyBit : uint32_t {
  kKeyExtent = 1 << 0,  // block= or size=
  kKeyHoles = 1 << 1,
  kKeyRegion = 1 << 2,
  kKeyRate = 1 << 3,
  kKeyGammaScale = 1 << 4,
  kKeyAnchor = 1 << 5,
  kKeyClip = 1 << 6,
  kKeyShare = 1 << 7,
  kKeyNormalize = 1 << 8,
  kKeyOver = 1 << 9,
  kKeyFill = 1 << 10,
};
inline constexpr uint32_t kKeysOfAll = kKeyShare | kKeyNormalize | kKeyOver | kKeyFill;

struct MethodRow {
  Method method;
  const char* name;
  Unit unit;
  const char* unit_text;
  const char* spread_text;
  uint32_t keys;        // which keys a spec line of this method may have
  bool channel_shares;  // share=channels and =all have a meaning
  Spec defaults;
  float default_p;
  const char* paper;
};
const MethodRow& RowOf(Method method);
const std::vector<MethodRow>& MethodTable();

struct PresetRow {
  const char* name;
  const char* line;
  float default_p;
  const char* source;
};
const std::vector<PresetRow>& PresetTable();

// Block sizes: at most 2^20 a side keeps every product of three within 64 bits.
inline bool IsExtent(int64_t side) { return side >= 1 && side <= (int64_t{1} << 20); }
inline bool IsHoles(int64_t holes) { return holes >= 1 && holes <= 65535; }
inline bool IsGammaScale(double scale) { return scale >= 0.0 && std::isfinite(scale); }
inline bool IsFill(double value) { return !std::isnan(value); }

// block= or size= as a spec line has it: 7, 3x5.
std::string ExtentText(const Spec& spec);

// Checks that hold for every spec, however it was made: ranges, and keys that contradict each other.
Status ValidateSpec(const Spec& spec);

}  // namespace dropkit

#endif  // DROPKIT_SRC_METHODS_H_
