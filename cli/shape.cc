// Sizes of zero are read like others: an empty tensor is a tensor.

#include "cli/shape.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <limits>

#include "cli/number.h"

namespace dropkit::cli {

std::vector<int64_t> ReadShape(std::string_view text) {
  constexpr auto kLargest = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
  std::vector<int64_t> sizes;
  int64_t elements = 1;
  bool overflow = false;
  for (size_t start = 0; start <= text.size();) {
    const size_t comma = std::min(text.find(',', start), text.size());
    sizes.push_back(static_cast<int64_t>(ReadNumber("--shape", text.substr(start, comma - start), kLargest)));
    overflow |= sizes.back() != 0 && __builtin_mul_overflow(elements, sizes.back(), &elements);
    start = comma + 1;
  }
  if (sizes.size() < 2 || sizes.size() > 5)
    throw CLI::ValidationError("--shape", "'" + std::string(text) + "' has " + std::to_string(sizes.size()) +
                                              " sizes; allowed are N,C and 0 to 3 spatial sizes: N,C  N,C,W  N,C,H,W  "
                                              "N,C,D,H,W");
  if (overflow)
    throw CLI::ValidationError("--shape", "'" + std::string(text) + "' has too many elements; at most " +
                                              std::to_string(kLargest) + " are allowed");
  return sizes;
}

View ViewOf(const std::vector<int64_t>& shape, DType dtype, Layout layout, void* data) {
  return DenseView(data, dtype, shape[0], shape[1], {shape.begin() + 2, shape.end()}, layout);
}

std::string ShapeText(const std::vector<int64_t>& shape) {
  std::string text;
  for (const int64_t size : shape) text += (text.empty() ? "" : ",") + std::to_string(size);
  return text;
}

}  // namespace dropkit::cli
