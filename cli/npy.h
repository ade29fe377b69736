// Writes NumPy's .npy files, format 1.0, boolean and C-ordered: what a mask needs and nothing else.

#ifndef DROPKIT_CLI_NPY_H_
#define DROPKIT_CLI_NPY_H_

#include <cstdint>
#include <string>
#include <vector>

namespace dropkit::cli {

// The bytes before the data: magic, version and a dictionary padded so that the data starts at a multiple of 64.
std::string NpyHeader(const std::vector<int64_t>& shape);

// One byte an element, 0 or 1, in row-major order. Throws std::runtime_error if the file cannot be written.
void WriteNpy(const std::string& path, const std::vector<uint8_t>& values, const std::vector<int64_t>& shape);

}  // namespace dropkit::cli

#endif  // DROPKIT_CLI_NPY_H_
