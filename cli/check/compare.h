// What differs between a run on the target and one on the reference, in words.
#ifndef DROPKIT_CLI_CHECK_COMPARE_H_
#define DROPKIT_CLI_CHECK_COMPARE_H_

#include <string>

#include "cli/check/call.h"

namespace dropkit::check {

// The first difference of T, bits, counts, y and the memory around them, with both values; empty if there is none.
// Values are equal bit for bit, or both NaN.
std::string Difference(const Case& c, Bench* ours, Bench* reference);

// Every field of a mask.
bool SameStruct(const Mask& a, const Mask& b);

}  // namespace dropkit::check

#endif  // DROPKIT_CLI_CHECK_COMPARE_H_
