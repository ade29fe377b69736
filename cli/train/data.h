// Labelled grey images in IDX files, the format of MNIST and of its successors: big-endian counts, then raw bytes.
// Assumes the four usual names in one directory, each plain or compressed by gzip. Files are not trusted: a truncated,
// foreign or inconsistent one is an error that names the file, before anything is trained.
// What a task makes of the images is in task.h.
#ifndef DROPKIT_CLI_TRAIN_DATA_H_
#define DROPKIT_CLI_TRAIN_DATA_H_

#include <cstdint>
#include <string>
#include <vector>

namespace dropkit::cli {

inline constexpr int kClasses = 10;
inline constexpr const char* kDefaultData = "/usr/share/datasets/fashion-mnist";

struct Images {
  int64_t count = 0, rows = 0, cols = 0;
  std::vector<uint8_t> pixels;  // count x rows x cols
  std::vector<uint8_t> labels;  // count
  int64_t image_size() const { return rows * cols; }
  const uint8_t* image(int64_t i) const { return pixels.data() + i * image_size(); }
};

struct Dataset {
  Images train, test;
};

// One IDX file of bytes with `rank` dimensions (3: images, 1: labels), plain or gzip. Returns its sizes. Throws
// std::runtime_error.
std::vector<int64_t> ReadIdx(const std::string& path, int rank, std::vector<uint8_t>* values);
// {train,t10k}-{images-idx3,labels-idx1}-ubyte[.gz] in `directory`; labels must be below kClasses. Throws
// std::runtime_error.
Dataset LoadDataset(const std::string& directory);
// CRC-32 of all pixels and labels: tells whether a checkpoint was made from the same data.
uint32_t Checksum(const Dataset& dataset);

}  // namespace dropkit::cli

#endif  // DROPKIT_CLI_TRAIN_DATA_H_
