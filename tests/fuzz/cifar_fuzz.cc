// Any bytes as a file of CIFAR's records. The first byte says how many label bytes a record has: '1' or '2'.
// What is accepted is whole records, and they are the file's; what is refused names the file.
#include <algorithm>
#include <stdexcept>

#include "cli/train/cifar.h"
#include "tests/fuzz/input.h"

namespace dropkit::fuzz {
namespace {

void CheckFile(int label_bytes, const uint8_t* data, size_t size) {
  static InputFile file;
  file.Fill(data, size);
  std::vector<uint8_t> values;
  try {
    const std::vector<int64_t> sizes = cli::ReadCifar(file.Path(), label_bytes, &values);
    constexpr int64_t kPixels = cli::kCifarChannels * cli::kCifarSide * cli::kCifarSide;
    Require(sizes.size() == 2 && sizes[0] > 0 && sizes[1] == label_bytes + kPixels, "another form of records");
    Require(sizes[0] * sizes[1] == static_cast<int64_t>(values.size()), "values and sizes disagree");
    Require(values.size() == size && std::equal(values.begin(), values.end(), data), "values are not the file's");
  } catch (const std::runtime_error& error) {
    Require(std::string(error.what()).rfind(file.Path() + ": ", 0) == 0, std::string("no file in: ") + error.what());
  }
}

}  // namespace
}  // namespace dropkit::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0 || (data[0] != '1' && data[0] != '2')) return -1;  // not worth keeping
  dropkit::fuzz::CheckFile(data[0] - '0', data + 1, size - 1);
  return 0;
}
