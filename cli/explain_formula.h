// The formulas of `dropkit explain`: from p to gamma, the expected dropped fraction, the gain; each as a value and as
// lines of text with the numbers put in. Computed from docs/draws.md's formulas by plain loops over cells and
// positions, so that they can be held against the library's numbers.

#ifndef DROPKIT_CLI_EXPLAIN_FORMULA_H_
#define DROPKIT_CLI_EXPLAIN_FORMULA_H_

#include <string>
#include <vector>

#include "cli/explain_numbers.h"

namespace dropkit::cli {

using Lines = std::vector<std::string>;

// The probability that a unit fires, before it is rounded to steps of 2^-32; may exceed 1. For rate=calibrated, which
// has no closed form, the library's.
double GammaOf(const Numbers& numbers);
double ExpectedDropOf(const Numbers& numbers);
std::vector<double> GainsOf(const Numbers& numbers);

Lines GammaLines(const Numbers& numbers);
Lines RoundingLines(const Numbers& numbers);
Lines ExpectedLines(const Numbers& numbers);
Lines KeptLines(const Numbers& numbers);
Lines GainLines(const Numbers& numbers);

// 0.0308642: six digits.
std::string Six(double value);
// "3x3", or "1" without spatial dimensions.
std::string BlockText(const Numbers& numbers);
std::string MapText(const Numbers& numbers);
// "sample 0, channel 2" of a count over planes, "sample 0" over samples, "" over the tensor.
std::string GroupName(const Numbers& numbers, size_t group);

}  // namespace dropkit::cli

#endif  // DROPKIT_CLI_EXPLAIN_FORMULA_H_
