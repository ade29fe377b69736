// CIFAR-10 and CIFAR-100 as their authors distribute them in binary: records of one or two label bytes and 3072 bytes
// of a 32x32 image, all red, then all green, then all blue. Any number of records a file, so that smaller sets of the
// same form work too. The plain .bin files are read, not the archive that they come in. Files are not trusted: see
// data.h.
#ifndef DROPKIT_CLI_TRAIN_CIFAR_H_
#define DROPKIT_CLI_TRAIN_CIFAR_H_

#include <cstdint>
#include <string>
#include <vector>

#include "cli/train/data.h"

namespace dropkit::cli {

inline constexpr int kCifarSide = 32, kCifarChannels = 3;

struct CifarFormat {
  std::string name;
  int label_bytes;  // the last of them is the label; CIFAR-100's first is a coarser one, which is not looked at
  int classes;      // where the names are not there to be counted
  std::string names;
  std::vector<std::string> train;
  std::string test;
};
const std::vector<CifarFormat>& CifarFormats();

// All records of one file, as they are. Returns {records, bytes a record}. Throws std::runtime_error.
std::vector<int64_t> ReadCifar(const std::string& path, int label_bytes, std::vector<uint8_t>* values);
// All files of the format must be in `directory`, but for the names. Throws std::runtime_error.
Dataset LoadCifar(const std::string& directory, const CifarFormat& format);

}  // namespace dropkit::cli

#endif  // DROPKIT_CLI_TRAIN_CIFAR_H_
