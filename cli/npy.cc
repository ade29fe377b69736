// Format: NumPy enhancement proposal 1, "A Simple File Format for NumPy Arrays".

#include "cli/npy.h"

#include <cstdio>

#include "cli/file.h"

namespace dropkit::cli {

std::string NpyHeader(const std::vector<int64_t>& shape) {
  std::string sizes;
  for (int64_t size : shape) sizes += std::to_string(size) + ", ";
  std::string text = "{'descr': '|b1', 'fortran_order': False, 'shape': (" + sizes + "), }";
  constexpr size_t kBefore = 10, kAlign = 64;  // magic 6, version 2, length 2
  text.append(kAlign - 1 - (kBefore + text.size()) % kAlign, ' ');
  text += '\n';
  const std::string length{static_cast<char>(text.size() & 0xff), static_cast<char>(text.size() >> 8)};
  return std::string("\x93NUMPY\x01\x00", 8) + length + text;
}

void WriteNpy(const std::string& path, const std::vector<uint8_t>& values, const std::vector<int64_t>& shape) {
  ReplaceFile(path, [&](std::FILE* file) {
    const std::string header = NpyHeader(shape);
    std::fwrite(header.data(), 1, header.size(), file);
    if (!values.empty()) std::fwrite(values.data(), 1, values.size(), file);
  });
}

}  // namespace dropkit::cli
