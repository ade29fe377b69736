// Any bytes as an IDX file. The first byte says how: '1' or '3' dimensions of a file as it is (plain, or gzip with all
// its checksums), 'g' for three dimensions of a file that is first compressed here, so that mutation gets past gzip.
// What is accepted has as many values as its sizes say, and they are the file's; what is refused names the file.
#include <zlib.h>

#include <algorithm>
#include <stdexcept>

#include "cli/train/data.h"
#include "tests/fuzz/input.h"

namespace dropkit::fuzz {
namespace {

using Bytes = std::vector<uint8_t>;

Bytes Gzip(const Bytes& plain) {
  z_stream stream{};
  constexpr int kGzip = 15 + 16;
  Require(deflateInit2(&stream, 1, Z_DEFLATED, kGzip, 8, Z_DEFAULT_STRATEGY) == Z_OK, "deflateInit2 failed");
  Bytes packed(deflateBound(&stream, plain.size()));
  stream.next_in = const_cast<Bytef*>(plain.data());
  stream.avail_in = static_cast<uInt>(plain.size());
  stream.next_out = packed.data();
  stream.avail_out = static_cast<uInt>(packed.size());
  Require(deflate(&stream, Z_FINISH) == Z_STREAM_END, "deflate failed");
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  return packed;
}

// `content` is what a reader of plain files sees; empty where only zlib knows.
void CheckAccepted(const std::vector<int64_t>& sizes, int rank, const Bytes& values, const Bytes& content) {
  Require(sizes.size() == static_cast<size_t>(rank), "another number of sizes");
  int64_t product = 1;
  for (const int64_t size : sizes) product *= size;
  Require(product == static_cast<int64_t>(values.size()), "values and sizes disagree");
  if (content.empty()) return;
  const size_t header = 4 + 4 * static_cast<size_t>(rank);
  Require(
      content.size() == header + values.size() && std::equal(values.begin(), values.end(), content.begin() + header),
      "values are not the file's");
}

void CheckFile(char mode, const Bytes& bytes) {
  static InputFile file;
  const bool packed = mode == 'g', is_gzip = bytes.size() > 1 && bytes[0] == 0x1f && bytes[1] == 0x8b;
  const Bytes stored = packed ? Gzip(bytes) : bytes;
  file.Fill(stored.data(), stored.size());
  const int rank = mode == '1' ? 1 : 3;
  Bytes values;
  try {
    const std::vector<int64_t> sizes = cli::ReadIdx(file.Path(), rank, &values);
    CheckAccepted(sizes, rank, values, !packed && is_gzip ? Bytes() : bytes);
  } catch (const std::runtime_error& error) {
    Require(std::string(error.what()).rfind(file.Path() + ": ", 0) == 0, std::string("no file in: ") + error.what());
  }
}

}  // namespace
}  // namespace dropkit::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const char mode = static_cast<char>(data[0]);
  if (mode != '1' && mode != '3' && mode != 'g') return -1;  // not worth keeping
  dropkit::fuzz::CheckFile(mode, {data + 1, data + size});
  return 0;
}
