// A case of `dropkit check`: one call or a few on one tensor, with everything that could matter to the result or must
// not. Plain data, printed as one line that reads back to the same case: that line is the reproducer.
// Assumes nothing of the backend. Drawing cases is random_case.h's, running them run_case.h's.
#ifndef DROPKIT_CLI_CHECK_CASE_H_
#define DROPKIT_CLI_CHECK_CASE_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "dropkit/dropkit.h"

namespace dropkit::check {

enum class Verb : uint8_t { kSample, kDrop, kSpread, kPack, kSplit };  // all but kDrop apply after; kSplit in two parts
enum class Runner : uint8_t { kPool, kReversed, kThreads };            // the library's pool, or a caller's parallel-for

inline constexpr int kAxes = 5;  // sample, channel, and the map's three

// How a tensor lies in memory.
struct Order {
  int axes[kAxes] = {0, 1, 2, 3, 4};  // outermost first
  int64_t step = 1;                   // elements from one to the next on the innermost axis
  int64_t pad = 0;                    // elements left free after each run of an axis
  uint32_t flipped = 0;               // bit a: axis a runs backwards
  uint32_t expanded = 0;              // bit a: axis a has stride 0 (x only)
  int64_t offset = 0;                 // elements that lie before the first, after an address that 64 divides
  bool operator==(const Order&) const = default;
};

struct Case {
  Verb verb = Verb::kSample;
  Pass pass = Pass::kForward;
  Spec spec;
  float p = 0.5f;
  bool p_in_memory = false;
  DType dtype = DType::kF32;
  int spatial_dims = 2;
  int64_t sizes[kAxes] = {1, 1, 1, 1, 1};  // samples, channels, and the map's; unused ones are 1
  int64_t first_sample = 0;
  uint64_t key[2] = {0, 0};
  Order x, y;
  bool in_place = false;  // y is x's memory, in x's order
  Runner runner = Runner::kPool;
  int threads = 1;
  bool own_scratch = false;
  bool one_count = false;  // with over=tensor: the mask has the sum of its counts alone
  int64_t cut = 0;         // kSplit: samples of the first part
  uint64_t data = 0;       // seed of the values, and of the bytes given to Spread and Pack
  int64_t one_in = 3;      // of those bytes, one in so many is not 0 (Spread) or is 0 (Pack)
  std::string spoilt;      // a row of spoil.h: what is wrong with the call, which must be refused then
  int64_t Elements() const { return sizes[0] * sizes[1] * sizes[2] * sizes[3] * sizes[4]; }
};

// Fields that have their default are left out.
std::string Print(const Case& c);
// An error names the word and what is allowed. Reads what Print prints.
Status ReadCase(std::string_view line, Case* c);

std::string Name(Verb verb);

}  // namespace dropkit::check

#endif  // DROPKIT_CLI_CHECK_CASE_H_
