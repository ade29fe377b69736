// Labelled images from the two kinds of directory that people have: IDX files, the format of MNIST and of its
// successors, here; and CIFAR-10's and CIFAR-100's binary files, in cifar.h. Files are not trusted: a truncated,
// foreign or inconsistent one is an error that names the file, before anything is trained. What a task makes of the
// images is in task.h.
#ifndef DROPKIT_CLI_TRAIN_DATA_H_
#define DROPKIT_CLI_TRAIN_DATA_H_

#include <cstdint>
#include <string>
#include <vector>

namespace dropkit::cli {

inline constexpr const char* kDefaultData = "/usr/share/datasets/fashion-mnist";

struct Images {
  int64_t count = 0, rows = 0, cols = 0, channels = 1;  // 1: grey; 3: red, green, blue
  std::vector<uint8_t> pixels;                          // count x rows x cols x channels
  std::vector<uint8_t> labels;                          // count
  int64_t image_size() const { return rows * cols * channels; }
  const uint8_t* image(int64_t i) const { return pixels.data() + i * image_size(); }
};

struct Dataset {
  Images train, test;
  int classes = 0;                       // labels are below it
  std::vector<std::string> class_names;  // one a class, or none at all
  std::string directory;                 // where it was found
};

// One IDX file of bytes with `rank` dimensions (3: images, 1: labels), plain or gzip. Returns its sizes. Throws
// std::runtime_error.
std::vector<int64_t> ReadIdx(const std::string& path, int rank, std::vector<uint8_t>* values);
// What `directory` holds: {train,t10k}-{images-idx3,labels-idx1}-ubyte[.gz], or what cifar.h takes; not both. IDX files
// say nothing of classes: there are as many as the largest training label tells, counted from 0. Fashion-MNIST is known
// by its checksum and gets its classes' names. Throws std::runtime_error.
Dataset LoadDataset(const std::string& directory);
// "grey 28x28", "colour 32x32": what a task asks of images, in words.
std::string Kind(int64_t channels, int64_t rows, int64_t cols);
// CRC-32 of all pixels and labels: tells whether a checkpoint was made from the same data.
uint32_t Checksum(const Dataset& dataset);

}  // namespace dropkit::cli

#endif  // DROPKIT_CLI_TRAIN_DATA_H_
