// Any bytes as a checkpoint. An input that starts with '{' is text for people: the header up to the first newline, then
// the data, less a newline at the end; the length is put before it here and '@' in the header becomes the data's
// checksum, so that mutation gets past both. Any other input is the file itself. What is accepted is written, and reads
// back equal; what is refused names the file.
#include <zlib.h>

#include <algorithm>
#include <stdexcept>

#include "cli/train/checkpoint.h"
#include "tests/fuzz/input.h"

namespace dropkit::fuzz {
namespace {

bool Equal(const cli::Checkpoint& a, const cli::Checkpoint& b) {
  const auto same = [](const auto& left, const auto& right) {
    return left.first == right.first && left.second.dtype == right.second.dtype &&
           left.second.shape == right.second.shape && left.second.bytes == right.second.bytes;
  };
  return a.texts == b.texts && a.blobs.size() == b.blobs.size() &&
         std::equal(a.blobs.begin(), a.blobs.end(), b.blobs.begin(), same);
}

std::string FileOf(const std::string& input) {
  if (input.empty() || input[0] != '{') return input;
  const size_t newline = std::min(input.find('\n'), input.size());
  std::string header = input.substr(0, newline);
  std::string data = newline < input.size() ? input.substr(newline + 1) : "";
  if (data.ends_with('\n')) data.pop_back();
  if (const size_t at = header.find('@'); at != std::string::npos) {
    header.replace(at, 1, std::to_string(crc32_z(0, reinterpret_cast<const Bytef*>(data.data()), data.size())));
  }
  std::string file;
  for (int byte = 0; byte < 8; ++byte) file += static_cast<char>(header.size() >> (8 * byte));
  return file + header + data;
}

void CheckFile(const std::string& bytes) {
  static InputFile file;
  static const OutputDirectory directory;
  file.Fill(bytes.data(), bytes.size());
  cli::Checkpoint checkpoint;
  try {
    checkpoint = cli::ReadCheckpoint(file.Path());
  } catch (const std::runtime_error& error) {
    Require(std::string(error.what()).find(file.Path()) != std::string::npos, std::string("no file: ") + error.what());
    return;
  }
  const std::string copy = directory.path() / "copy.safetensors";
  cli::WriteCheckpoint(copy, checkpoint);
  Require(Equal(cli::ReadCheckpoint(copy), checkpoint), "written, then read as another checkpoint");
}

}  // namespace
}  // namespace dropkit::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  dropkit::fuzz::CheckFile(dropkit::fuzz::FileOf(std::string(reinterpret_cast<const char*>(data), size)));
  return 0;
}
