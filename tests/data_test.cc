// The IDX reader on tiny files: plain and gzip, and every way in which a file can be wrong.
// Files are made here, in a directory of the test's own; what the tasks make of the data is tested by test_train.py.
#include "cli/train/data.h"

#include <gtest/gtest.h>
#include <unistd.h>
#include <zlib.h>

#include <filesystem>
#include <fstream>
#include <stdexcept>

namespace dropkit::cli {
namespace {

namespace fs = std::filesystem;
using Bytes = std::vector<uint8_t>;

Bytes Header(uint8_t rank, const std::vector<uint32_t>& sizes) {
  Bytes bytes = {0, 0, 8, rank};
  for (const uint32_t size : sizes) {
    for (const int shift : {24, 16, 8, 0}) bytes.push_back(static_cast<uint8_t>(size >> shift));
  }
  return bytes;
}

Bytes operator+(Bytes a, const Bytes& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

class DataTest : public testing::Test {
 protected:
  void SetUp() override {
    const std::string test = testing::UnitTest::GetInstance()->current_test_info()->name();
    directory_ = fs::temp_directory_path() / ("dropkit_data_" + test + std::to_string(getpid()));
    fs::create_directories(directory_);
  }
  void TearDown() override { fs::remove_all(directory_); }

  std::string Path(const std::string& name) const { return (directory_ / name).string(); }

  void Write(const std::string& name, const Bytes& bytes) const {
    std::ofstream file(Path(name), std::ios::binary);
    file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  }

  void WriteGzip(const std::string& name, const Bytes& bytes) const {
    gzFile file = gzopen(Path(name).c_str(), "wb");
    ASSERT_NE(file, nullptr);
    ASSERT_EQ(gzwrite(file, bytes.data(), static_cast<unsigned>(bytes.size())), static_cast<int>(bytes.size()));
    ASSERT_EQ(gzclose(file), Z_OK);
  }

  // Two training images of 2x3 pixels and one test image.
  void WriteDataset() const {
    Write("train-images-idx3-ubyte", Header(3, {2, 2, 3}) + Bytes{0, 1, 2, 3, 4, 5, 10, 11, 12, 13, 14, 255});
    Write("train-labels-idx1-ubyte", Header(1, {2}) + Bytes{9, 0});
    WriteGzip("t10k-images-idx3-ubyte.gz", Header(3, {1, 2, 3}) + Bytes{7, 7, 7, 7, 7, 8});
    WriteGzip("t10k-labels-idx1-ubyte.gz", Header(1, {1}) + Bytes{3});
  }

  // The message of the error that loading gives; empty if there is none.
  std::string Error() const {
    try {
      LoadDataset(directory_.string());
    } catch (const std::runtime_error& error) {
      return error.what();
    }
    return "";
  }

  void ExpectError(const std::string& file, const std::string& what) const {
    const std::string message = Error();
    EXPECT_NE(message.find(file), std::string::npos) << message;
    EXPECT_NE(message.find(what), std::string::npos) << message;
  }

  fs::path directory_;
};

TEST_F(DataTest, ReadsPlainAndGzip) {
  WriteDataset();
  const Dataset dataset = LoadDataset(directory_.string());
  EXPECT_EQ(dataset.train.count, 2);
  EXPECT_EQ(dataset.train.rows, 2);
  EXPECT_EQ(dataset.train.cols, 3);
  EXPECT_EQ(dataset.train.labels, (Bytes{9, 0}));
  EXPECT_EQ(dataset.train.image(1)[5], 255);
  EXPECT_EQ(dataset.test.count, 1);
  EXPECT_EQ(dataset.test.pixels, (Bytes{7, 7, 7, 7, 7, 8}));
}

TEST_F(DataTest, ChecksumSeesEveryPart) {
  WriteDataset();
  const Dataset dataset = LoadDataset(directory_.string());
  Dataset other = dataset;
  EXPECT_EQ(Checksum(dataset), Checksum(other));
  other.test.labels[0] ^= 1;
  EXPECT_NE(Checksum(dataset), Checksum(other));
  other = dataset;
  other.train.pixels[0] ^= 1;
  EXPECT_NE(Checksum(dataset), Checksum(other));
}

TEST_F(DataTest, MissingFileNamesWhatWasLookedFor) {
  WriteDataset();
  fs::remove(Path("t10k-labels-idx1-ubyte.gz"));
  ExpectError("t10k-labels-idx1-ubyte", "dataset-fashion-mnist");
  fs::remove_all(directory_);
  ExpectError(directory_.string(), "train-images-idx3-ubyte");
}

TEST_F(DataTest, TruncatedPlainFile) {
  WriteDataset();
  Write("train-images-idx3-ubyte", Header(3, {2, 2, 3}) + Bytes{0, 1, 2});
  ExpectError("train-images-idx3-ubyte", "ends too early: 3 of the 12 bytes");
  Write("train-images-idx3-ubyte", {0, 0, 8});
  ExpectError("train-images-idx3-ubyte", "ends too early");
  Write("train-images-idx3-ubyte", {});
  ExpectError("train-images-idx3-ubyte", "ends too early");
}

TEST_F(DataTest, TruncatedGzip) {
  WriteDataset();
  const std::string path = Path("t10k-images-idx3-ubyte.gz");
  for (uintmax_t size = fs::file_size(path) - 1; size > 10; --size) {  // 10 bytes: gzip's own header
    fs::resize_file(path, size);
    ExpectError("t10k-images-idx3-ubyte.gz", "");
    EXPECT_NE(Error(), "") << "with " << size << " bytes";
  }
}

TEST_F(DataTest, DamagedGzip) {
  WriteDataset();
  const std::string path = Path("t10k-images-idx3-ubyte.gz");
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  file.seekp(static_cast<std::streamoff>(fs::file_size(path)) - 6);  // within the checksum
  file.put('\x55');
  file.close();
  ExpectError("t10k-images-idx3-ubyte.gz", "damaged gzip data");
}

TEST_F(DataTest, ForeignFiles) {
  WriteDataset();
  Write("train-images-idx3-ubyte", Header(1, {12}) + Bytes(12, 0));  // labels where images belong
  ExpectError("train-images-idx3-ubyte", "not an IDX file of bytes with 3 dimension(s)");
  Bytes floats = Header(3, {2, 2, 3}) + Bytes(48, 0);
  floats[2] = 0x0D;  // IDX of 32-bit floats
  Write("train-images-idx3-ubyte", floats);
  ExpectError("train-images-idx3-ubyte", "not an IDX file of bytes");
  const std::string text = "<html>not found, sorry</html>";
  Write("train-images-idx3-ubyte", Bytes(text.begin(), text.end()));
  ExpectError("train-images-idx3-ubyte", "not an IDX file of bytes");
}

TEST_F(DataTest, WrongCounts) {
  WriteDataset();
  Write("train-labels-idx1-ubyte", Header(1, {3}) + Bytes{9, 0, 1});
  ExpectError("train-labels-idx1-ubyte", "3 labels for the 2 images");
  Write("train-labels-idx1-ubyte", Header(1, {2}) + Bytes{9, 0, 1});
  ExpectError("train-labels-idx1-ubyte", "more than the 2 bytes");
  Write("train-labels-idx1-ubyte", Header(1, {0}));
  ExpectError("train-labels-idx1-ubyte", "size 0 of dimension 0");
  Write("train-labels-idx1-ubyte", Header(1, {2}) + Bytes{9, 10});
  ExpectError("train-labels-idx1-ubyte", "label 10 of item 1");
}

TEST_F(DataTest, HugeCountsAreNotBelieved) {
  WriteDataset();
  Write("train-images-idx3-ubyte", Header(3, {0xFFFFFFFFu, 0xFFFFFFFFu, 0xFFFFFFFFu}) + Bytes(12, 0));
  ExpectError("train-images-idx3-ubyte", "at most 2147483648 bytes");
  // Within the limit, memory grows with what is there, not with what is claimed.
  Write("train-images-idx3-ubyte", Header(3, {2000000000u, 1, 1}) + Bytes(12, 0));
  ExpectError("train-images-idx3-ubyte", "12 of the 2000000000 bytes");
}

TEST_F(DataTest, PartsOfDifferentSize) {
  WriteDataset();
  WriteGzip("t10k-images-idx3-ubyte.gz", Header(3, {1, 3, 2}) + Bytes(6, 0));
  ExpectError("data directory", "differ in size");
}

}  // namespace
}  // namespace dropkit::cli
