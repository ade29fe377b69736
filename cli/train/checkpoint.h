// A file of named tensors and named texts, in the safetensors format: it opens in any tool that knows that.
// Knows nothing of torch or of training; what a run keeps in it is in trainer.cc. Files are not trusted: a truncated,
// damaged or foreign one is an error that names the file. A CRC-32 of the tensors' data guards them against silent
// damage.
#ifndef DROPKIT_CLI_TRAIN_CHECKPOINT_H_
#define DROPKIT_CLI_TRAIN_CHECKPOINT_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace dropkit::cli {

struct Blob {
  std::string dtype;  // F32, I64 or U8
  std::vector<int64_t> shape;
  std::vector<uint8_t> bytes;  // little-endian, row-major
};

struct Checkpoint {
  std::map<std::string, std::string> texts;
  std::map<std::string, Blob> blobs;
};

// Both throw std::runtime_error. The write replaces the file at once or not at all.
void WriteCheckpoint(const std::string& path, const Checkpoint& checkpoint);
Checkpoint ReadCheckpoint(const std::string& path);

}  // namespace dropkit::cli

#endif  // DROPKIT_CLI_TRAIN_CHECKPOINT_H_
