// Reads IDX files through zlib, which passes plain files through unchanged, and tells which format a directory has.
// A header's counts are not believed before the bytes have arrived: memory grows with what is read.
#include "cli/train/data.h"

#include <zlib.h>

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <memory>
#include <stdexcept>

#include "cli/train/cifar.h"

namespace dropkit::cli {
namespace {

constexpr int64_t kMaxBytes = int64_t{1} << 31;  // a file that claims more is foreign
constexpr int64_t kChunk = int64_t{1} << 20;
constexpr uint32_t kFashionMnist = 0xC7A95B27u;  // Checksum() of the 60000 + 10000 images that Debian packages
constexpr const char* kFashionNames[] = {"T-shirt/top", "trouser", "pullover", "dress", "coat",
                                         "sandal",      "shirt",   "sneaker",  "bag",   "ankle boot"};

struct Close {
  void operator()(gzFile_s* file) const { gzclose(file); }
};
using File = std::unique_ptr<gzFile_s, Close>;

[[noreturn]] void Refuse(const std::string& path, const std::string& why) {
  throw std::runtime_error(path + ": " + why);
}

// Why a read of zlib's came back short.
std::string ReadError(gzFile file) {
  int code = Z_OK;
  const char* text = gzerror(file, &code);
  if (code == Z_OK || code == Z_BUF_ERROR) return "the file ends too early";
  return std::string("damaged gzip data (") + text + ")";
}

std::vector<uint8_t> ReadExactly(const std::string& path, gzFile file, int64_t num_bytes) {
  std::vector<uint8_t> bytes;
  while (static_cast<int64_t>(bytes.size()) < num_bytes) {
    const auto have = static_cast<int64_t>(bytes.size());
    const int64_t want = std::min(kChunk, num_bytes - have);
    bytes.resize(have + want);
    const int got = gzread(file, bytes.data() + have, static_cast<unsigned>(want));
    if (got == want) continue;
    Refuse(path, ReadError(file) + ": " + std::to_string(have + std::max(got, 0)) + " of the " +
                     std::to_string(num_bytes) + " bytes that its header asks for");
  }
  return bytes;
}

uint32_t BigEndian(const uint8_t* bytes) {
  return uint32_t{bytes[0]} << 24 | uint32_t{bytes[1]} << 16 | uint32_t{bytes[2]} << 8 | bytes[3];
}

bool HasFile(const std::string& directory, const std::string& name) {
  std::error_code ignored;
  return std::filesystem::is_regular_file(std::filesystem::path(directory) / name, ignored);
}

// The file under its plain or its .gz name.
std::string Find(const std::string& directory, const std::string& name) {
  for (const char* ending : {"", ".gz"}) {
    if (HasFile(directory, name + ending)) return (std::filesystem::path(directory) / (name + ending)).string();
  }
  Refuse("data directory " + directory,
         "no file " + name +
             ", plain or .gz; looked for {train,t10k}-{images-idx3,labels-idx1}-ubyte[.gz], which Debian's "
             "package dataset-fashion-mnist puts in " +
             kDefaultData + ", and for the binary files of CIFAR-10 (data_batch_1.bin ...) and CIFAR-100 (train.bin)");
}

bool HasIdx(const std::string& directory) {
  const std::string name = "train-images-idx3-ubyte";
  return HasFile(directory, name) || HasFile(directory, name + ".gz");
}

Images LoadPart(const std::string& directory, const std::string& part) {
  const std::string images_path = Find(directory, part + "-images-idx3-ubyte");
  const std::string labels_path = Find(directory, part + "-labels-idx1-ubyte");
  Images images;
  const std::vector<int64_t> sizes = ReadIdx(images_path, 3, &images.pixels);
  const int64_t num_labels = ReadIdx(labels_path, 1, &images.labels)[0];
  if (sizes[0] != num_labels) {
    Refuse(labels_path,
           std::to_string(num_labels) + " labels for the " + std::to_string(sizes[0]) + " images of " + images_path);
  }
  images.count = sizes[0];
  images.rows = sizes[1];
  images.cols = sizes[2];
  return images;
}

// Training can only learn the labels that it has, so one that the test alone has is a mistake in the files.
int CountClasses(const std::string& directory, const Dataset& dataset) {
  const uint8_t largest = *std::max_element(dataset.train.labels.begin(), dataset.train.labels.end());
  const auto& tested = dataset.test.labels;
  const auto bad = std::find_if(tested.begin(), tested.end(), [&](uint8_t label) { return label > largest; });
  if (bad != tested.end()) {
    Refuse(Find(directory, "t10k-labels-idx1-ubyte"),
           "label " + std::to_string(*bad) + " of item " + std::to_string(bad - tested.begin()) +
               "; the training labels allow 0 to " + std::to_string(largest));
  }
  return largest + 1;
}

Dataset LoadIdx(const std::string& directory) {
  Dataset dataset;
  dataset.train = LoadPart(directory, "train");
  dataset.test = LoadPart(directory, "t10k");
  if (dataset.train.rows != dataset.test.rows || dataset.train.cols != dataset.test.cols) {
    Refuse("data directory " + directory, "training and test images differ in size");
  }
  dataset.classes = CountClasses(directory, dataset);
  if (Checksum(dataset) == kFashionMnist) dataset.class_names = {std::begin(kFashionNames), std::end(kFashionNames)};
  return dataset;
}

uint32_t Extend(uint32_t crc, const std::vector<uint8_t>& bytes) {
  return static_cast<uint32_t>(crc32_z(crc, bytes.data(), bytes.size()));
}

}  // namespace

std::vector<int64_t> ReadIdx(const std::string& path, int rank, std::vector<uint8_t>* values) {
  const File file(gzopen(path.c_str(), "rb"));
  if (!file) Refuse(path, "cannot be opened");
  const std::vector<uint8_t> header = ReadExactly(path, file.get(), 4 + 4 * rank);
  // Two zero bytes, the type (8: unsigned bytes), the number of dimensions.
  const uint32_t expected = 0x00000800u + static_cast<uint32_t>(rank), magic = BigEndian(header.data());
  if (magic != expected) {
    Refuse(path, "not an IDX file of bytes with " + std::to_string(rank) + " dimension(s): it starts with " +
                     std::to_string(magic) + " where " + std::to_string(expected) + " is needed");
  }
  std::vector<int64_t> sizes;
  int64_t num_bytes = 1;
  for (int axis = 0; axis < rank; ++axis) {
    sizes.push_back(BigEndian(header.data() + 4 + 4 * axis));
    if (sizes.back() == 0 || sizes.back() > kMaxBytes / num_bytes) {
      Refuse(path, "size " + std::to_string(sizes.back()) + " of dimension " + std::to_string(axis) +
                       "; sizes from 1 and at most " + std::to_string(kMaxBytes) + " bytes in all are allowed");
    }
    num_bytes *= sizes.back();
  }
  *values = ReadExactly(path, file.get(), num_bytes);
  uint8_t extra;
  const int got = gzread(file.get(), &extra, 1);  // makes zlib check the checksum, of which a part may be missing
  int code = Z_OK;
  gzerror(file.get(), &code);
  if (code != Z_OK) Refuse(path, ReadError(file.get()));
  if (got > 0) Refuse(path, "more than the " + std::to_string(num_bytes) + " bytes that its header asks for");
  return sizes;
}

Dataset LoadDataset(const std::string& directory) {
  std::vector<std::string> formats;
  if (HasIdx(directory)) formats.push_back("IDX");
  for (const CifarFormat& format : CifarFormats()) {
    const auto has = [&](const std::string& name) { return HasFile(directory, name); };
    if (has(format.test) || std::any_of(format.train.begin(), format.train.end(), has)) formats.push_back(format.name);
  }
  if (formats.size() > 1) {
    Refuse("data directory " + directory,
           "files of " + formats[0] + " and of " + formats[1] + "; a directory of one format is needed");
  }
  const auto load = [&] {
    for (const CifarFormat& format : CifarFormats()) {
      if (!formats.empty() && formats[0] == format.name) return LoadCifar(directory, format);
    }
    return LoadIdx(directory);
  };
  Dataset dataset = load();
  dataset.directory = directory;
  return dataset;
}

std::string Kind(int64_t channels, int64_t rows, int64_t cols) {
  return (channels == 1 ? "grey " : "colour ") + std::to_string(rows) + "x" + std::to_string(cols);
}

uint32_t Checksum(const Dataset& dataset) {
  uint32_t crc = 0;
  for (const Images* part : {&dataset.train, &dataset.test}) crc = Extend(Extend(crc, part->pixels), part->labels);
  return crc;
}

}  // namespace dropkit::cli
