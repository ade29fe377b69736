// Reads CIFAR's binary files; pixels change from a plane a channel to channels innermost, the order of Images.
// The format has no header: a file is foreign when its size is no whole number of records or a label is too large.
#include "cli/train/cifar.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <stdexcept>

namespace dropkit::cli {
namespace {

constexpr int64_t kPlane = kCifarSide * kCifarSide;
constexpr int64_t kImageBytes = kCifarChannels * kPlane;
constexpr int64_t kMaxBytes = int64_t{1} << 31;  // a larger file is foreign
constexpr int64_t kChunk = int64_t{1} << 20;
constexpr size_t kMaxClasses = 256;  // labels are bytes
constexpr size_t kMaxName = 64;

[[noreturn]] void Refuse(const std::string& path, const std::string& why) {
  throw std::runtime_error(path + ": " + why);
}

std::string PathOf(const std::string& directory, const std::string& name) {
  return (std::filesystem::path(directory) / name).string();
}

std::vector<uint8_t> ReadAll(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) Refuse(path, "cannot be opened");
  std::vector<uint8_t> bytes;
  while (file) {
    const size_t have = bytes.size();
    bytes.resize(have + kChunk);
    file.read(reinterpret_cast<char*>(bytes.data() + have), kChunk);
    bytes.resize(have + file.gcount());
    if (static_cast<int64_t>(bytes.size()) > kMaxBytes) {
      Refuse(path, "more than " + std::to_string(kMaxBytes) + " bytes, which no file of CIFAR's has");
    }
  }
  if (file.bad()) Refuse(path, "cannot be read");
  return bytes;
}

bool IsName(const std::string& line) {
  return line.size() <= kMaxName && std::all_of(line.begin(), line.end(), [](char c) { return c >= ' ' && c <= '~'; });
}

// One name a line; blank lines are not names.
std::vector<std::string> ReadNames(const std::string& path) {
  const std::vector<uint8_t> bytes = ReadAll(path);
  std::vector<std::string> names;
  for (auto start = bytes.begin(), end = start; start != bytes.end(); start = end == bytes.end() ? end : end + 1) {
    end = std::find(start, bytes.end(), '\n');
    std::string line(start, end);
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (line.empty()) continue;
    if (!IsName(line) || names.size() == kMaxClasses) {
      Refuse(path, "line " + std::to_string(names.size() + 1) + ": not a list of class names; at most " +
                       std::to_string(kMaxClasses) + " lines of at most " + std::to_string(kMaxName) +
                       " printable ASCII characters are allowed");
    }
    names.push_back(line);
  }
  if (names.empty()) Refuse(path, "holds no class names; one a line is expected");
  return names;
}

void AppendImage(const uint8_t* planes, std::vector<uint8_t>* pixels) {
  for (int64_t pixel = 0; pixel < kPlane; ++pixel) {
    for (int64_t channel = 0; channel < kCifarChannels; ++channel) {
      pixels->push_back(planes[channel * kPlane + pixel]);
    }
  }
}

void AppendFile(const std::string& path, const CifarFormat& format, int classes, Images* images) {
  std::vector<uint8_t> values;
  const std::vector<int64_t> sizes = ReadCifar(path, format.label_bytes, &values);
  images->pixels.reserve(images->pixels.size() + sizes[0] * kImageBytes);
  for (int64_t i = 0; i < sizes[0]; ++i) {
    const uint8_t* image = values.data() + i * sizes[1] + format.label_bytes;
    const uint8_t label = image[-1];
    if (label >= classes) {
      Refuse(path, "label " + std::to_string(label) + " of record " + std::to_string(i) + "; labels from 0 to " +
                       std::to_string(classes - 1) + " are allowed in " + format.name);
    }
    images->labels.push_back(label);
    AppendImage(image, &images->pixels);
  }
  images->count += sizes[0];
}

Images LoadPart(const std::string& directory, const CifarFormat& format, const std::vector<std::string>& files,
                int classes) {
  Images images{0, kCifarSide, kCifarSide, kCifarChannels, {}, {}};
  for (const std::string& file : files) AppendFile(PathOf(directory, file), format, classes, &images);
  return images;
}

void CheckFiles(const std::string& directory, const CifarFormat& format) {
  std::vector<std::string> files = format.train;
  files.push_back(format.test);
  for (const std::string& file : files) {
    std::error_code ignored;
    if (std::filesystem::is_regular_file(PathOf(directory, file), ignored)) continue;
    Refuse("data directory " + directory, "no file " + file + "; " + format.name + " needs " + format.train[0] +
                                              (format.train.size() > 1 ? " to " + format.train.back() : "") + " and " +
                                              format.test);
  }
}

}  // namespace

const std::vector<CifarFormat>& CifarFormats() {
  static const std::vector<CifarFormat> formats = {
      {"CIFAR-10",
       1,
       10,
       "batches.meta.txt",
       {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"},
       "test_batch.bin"},
      {"CIFAR-100", 2, 100, "fine_label_names.txt", {"train.bin"}, "test.bin"}};
  return formats;
}

std::vector<int64_t> ReadCifar(const std::string& path, int label_bytes, std::vector<uint8_t>* values) {
  const int64_t record = label_bytes + kImageBytes;
  *values = ReadAll(path);
  const auto size = static_cast<int64_t>(values->size());
  if (size == 0 || size % record != 0) {
    Refuse(path, "truncated, or not a file of CIFAR's: " + std::to_string(size) + " bytes, where records of " +
                     std::to_string(record) + " bytes are expected, at least one");
  }
  return {size / record, record};
}

Dataset LoadCifar(const std::string& directory, const CifarFormat& format) {
  CheckFiles(directory, format);
  Dataset dataset;
  const std::string names = PathOf(directory, format.names);
  std::error_code ignored;
  if (std::filesystem::is_regular_file(names, ignored)) dataset.class_names = ReadNames(names);
  dataset.classes = dataset.class_names.empty() ? format.classes : static_cast<int>(dataset.class_names.size());
  dataset.train = LoadPart(directory, format, format.train, dataset.classes);
  dataset.test = LoadPart(directory, format, {format.test}, dataset.classes);
  return dataset;
}

}  // namespace dropkit::cli
