// Draws one mask and prints it: with_LIBRARY CASE N,C[,SPATIAL] SEED OFFSET FIRST_SAMPLE.
//
// The first line is the library's version, the second the mask's bits in hexadecimal, as in the lines of
// tests/golden/masks.txt: dense, channels first, 8 elements a byte, least significant first, 1 = kept.
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "dropkit/dropkit.h"

namespace {

std::vector<int64_t> ReadNumbers(const char* text) {
  std::vector<int64_t> numbers;
  for (char* end = nullptr;; text = end + 1) {
    numbers.push_back(std::strtoll(text, &end, 10));
    if (*end != ',') return numbers;
  }
}

dropkit::Status Draw(const char* case_line, const dropkit::View& x, dropkit::Key key, dropkit::MaskStorage* storage) {
  dropkit::Spec spec;
  float p = 0;
  dropkit::Status status = dropkit::ParseCase(case_line, &spec, &p);
  if (status.ok()) status = storage->Reserve(spec, x);
  if (status.ok()) status = dropkit::Sample(spec, p, key, x, dropkit::Exec{}, &storage->mask);
  return status;
}

void PrintBits(const std::vector<uint8_t>& keep) {
  for (size_t i = 0; i < keep.size(); i += 8) {
    unsigned byte = 0;
    for (size_t j = i; j < keep.size() && j < i + 8; ++j) byte |= unsigned{keep[j]} << (j - i);
    std::printf("%02x", byte);
  }
  std::printf("\n");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 6) return 2;
  const std::vector<int64_t> shape = ReadNumbers(argv[2]);
  const uint64_t key[2] = {std::strtoull(argv[3], nullptr, 10), std::strtoull(argv[4], nullptr, 10)};
  const dropkit::View x =
      dropkit::DenseView(nullptr, dropkit::DType::kF32, shape[0], shape[1], {shape.begin() + 2, shape.end()},
                         dropkit::Layout::kChannelsFirst, std::strtoll(argv[5], nullptr, 10));
  dropkit::MaskStorage storage;
  dropkit::Status status = Draw(argv[1], x, key, &storage);
  size_t elements = 1;
  for (int64_t size : shape) elements *= static_cast<size_t>(size);
  std::vector<uint8_t> keep(elements);
  if (status.ok()) status = dropkit::Unpack(storage.mask, keep.data());
  if (!status.ok()) {
    std::fprintf(stderr, "%s\n", status.message().c_str());
    return 1;
  }
  std::printf("%s\n", dropkit::Version());
  PrintBits(keep);
}
