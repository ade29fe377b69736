// Numbers as text on the command line and in what the program prints.
// Numbers inside a spec line are the library's concern.

#ifndef DROPKIT_CLI_NUMBER_H_
#define DROPKIT_CLI_NUMBER_H_

#include <cstdint>
#include <string>
#include <string_view>

namespace dropkit::cli {

// Reads a whole number from `smallest` to `largest`, digits only. Throws CLI::ValidationError, naming the argument, its
// text and what is allowed.
uint64_t ReadNumber(const char* argument, std::string_view text, uint64_t largest, uint64_t smallest = 0);

// An f32 by the fewest digits that read back to it.
std::string Print(float value);
// An f64 by at most so many digits, for people.
std::string Print(double value, int digits = 9);

}  // namespace dropkit::cli

#endif  // DROPKIT_CLI_NUMBER_H_
