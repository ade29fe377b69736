// The readers of IDX and of CIFAR's files on tiny files, and every way in which a file can be wrong.
// Files are made here, in a directory of the test's own; what the tasks make of the data is tested by test_train.py.
#include "cli/train/data.h"

#include <gtest/gtest.h>
#include <unistd.h>
#include <zlib.h>

#include <filesystem>
#include <fstream>
#include <stdexcept>

#include "cli/train/cifar.h"

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
}

TEST_F(DataTest, TrainingLabelsTellTheClasses) {
  WriteDataset();
  EXPECT_EQ(LoadDataset(directory_.string()).classes, 10);
  EXPECT_TRUE(LoadDataset(directory_.string()).class_names.empty());
  Write("train-labels-idx1-ubyte", Header(1, {2}) + Bytes{255, 0});
  EXPECT_EQ(LoadDataset(directory_.string()).classes, 256);
  Write("train-labels-idx1-ubyte", Header(1, {2}) + Bytes{2, 0});
  ExpectError("t10k-labels-idx1-ubyte.gz", "label 3 of item 0; the training labels allow 0 to 2");
}

TEST_F(DataTest, FashionMnistHasTenNamedClasses) {
  if (!fs::exists(kDefaultData)) GTEST_SKIP() << "needs dataset-fashion-mnist";
  const Dataset dataset = LoadDataset(kDefaultData);
  EXPECT_EQ(dataset.train.count, 60000);
  EXPECT_EQ(dataset.classes, 10);
  ASSERT_EQ(dataset.class_names.size(), 10u);
  EXPECT_EQ(dataset.class_names[dataset.train.labels[0]], "ankle boot");
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

// Record `seed`: label bytes, then planes whose values tell channel, row and column.
Bytes Record(const Bytes& labels, int seed) {
  Bytes bytes = labels;
  for (int channel = 0; channel < 3; ++channel) {
    for (int pixel = 0; pixel < 1024; ++pixel) bytes.push_back(static_cast<uint8_t>(85 * channel + seed + pixel % 61));
  }
  return bytes;
}

class CifarTest : public DataTest {
 protected:
  // Batch k has k records, of labels k, k + 1 ...
  void WriteCifar10() const {
    for (int batch = 1; batch <= 5; ++batch) {
      Bytes bytes;
      for (int i = 0; i < batch; ++i) bytes = bytes + Record({static_cast<uint8_t>(batch + i)}, batch + i);
      Write("data_batch_" + std::to_string(batch) + ".bin", bytes);
    }
    Write("test_batch.bin", Record({9}, 3) + Record({0}, 4));
  }
  void WriteCifar100() const {
    Write("train.bin", Record({19, 99}, 1) + Record({200, 0}, 2));
    Write("test.bin", Record({0, 42}, 3));
  }
};

TEST_F(CifarTest, ReadsTheBatchesInOrder) {
  WriteCifar10();
  const Dataset dataset = LoadDataset(directory_.string());
  EXPECT_EQ(dataset.classes, 10);
  EXPECT_TRUE(dataset.class_names.empty());
  EXPECT_EQ(dataset.train.count, 15);
  EXPECT_EQ(dataset.train.channels, 3);
  EXPECT_EQ(dataset.train.rows, 32);
  EXPECT_EQ(dataset.train.cols, 32);
  EXPECT_EQ(dataset.train.labels, (Bytes{1, 2, 3, 3, 4, 5, 4, 5, 6, 7, 5, 6, 7, 8, 9}));
  EXPECT_EQ(dataset.test.labels, (Bytes{9, 0}));
  ASSERT_EQ(dataset.train.pixels.size(), size_t{15 * 3072});
  // Channels come innermost: the second image's red, green and blue at row 1, column 2, which is pixel 34.
  const uint8_t* pixel = dataset.train.image(1) + 34 * 3;
  EXPECT_EQ((Bytes{pixel[0], pixel[1], pixel[2]}), (Bytes{2 + 34, 85 + 2 + 34, 170 + 2 + 34}));
}

TEST_F(CifarTest, ReadsTheFineLabels) {
  WriteCifar100();
  const Dataset dataset = LoadDataset(directory_.string());
  EXPECT_EQ(dataset.classes, 100);
  EXPECT_EQ(dataset.train.labels, (Bytes{99, 0}));
  EXPECT_EQ(dataset.test.labels, (Bytes{42}));
  EXPECT_EQ(dataset.test.image(0)[3071], 170 + 3 + 1023 % 61);
}

TEST_F(CifarTest, NamesAreUsedAndCountedWhereTheyAreThere) {
  WriteCifar10();
  std::string names;
  for (int i = 0; i < 10; ++i) names += "class " + std::to_string(i) + (i % 2 == 0 ? "\n" : "\r\n");
  names += "\n";  // as the authors' file ends
  Write("batches.meta.txt", Bytes(names.begin(), names.end()));
  const Dataset dataset = LoadDataset(directory_.string());
  EXPECT_EQ(dataset.classes, 10);
  ASSERT_EQ(dataset.class_names.size(), 10u);
  EXPECT_EQ(dataset.class_names[9], "class 9");
  Write("batches.meta.txt", {'a', '\n', 'b'});
  ExpectError("data_batch_2.bin", "label 2 of record 0; labels from 0 to 1");
  Write("batches.meta.txt", {'\n'});
  ExpectError("batches.meta.txt", "no class names");
  Write("batches.meta.txt", {'a', 7, '\n'});
  ExpectError("batches.meta.txt", "printable ASCII");
  Write("batches.meta.txt", Bytes(65, 'a'));
  ExpectError("batches.meta.txt", "at most 64");
  Bytes many;
  for (int i = 0; i < 257; ++i) many = many + Bytes{'a', '\n'};
  Write("batches.meta.txt", many);
  ExpectError("batches.meta.txt", "at most 256 lines");
}

TEST_F(CifarTest, DamagedFiles) {
  WriteCifar10();
  const std::vector<Bytes> wrong = {{}, {1, 2, 3}, Bytes(3072, 0), Bytes(3074, 0), Bytes(3073 * 2 - 1, 0)};
  for (const Bytes& bytes : wrong) {
    Write("data_batch_4.bin", bytes);
    ExpectError("data_batch_4.bin", std::to_string(bytes.size()) + " bytes, where records of 3073 bytes are expected");
  }
  Write("data_batch_4.bin", Record({10}, 1));
  ExpectError("data_batch_4.bin", "label 10 of record 0; labels from 0 to 9 are allowed in CIFAR-10");
  WriteCifar10();
  Write("test_batch.bin", Bytes(3072, 0));
  ExpectError("test_batch.bin", "truncated");
}

TEST_F(CifarTest, DamagedHundred) {
  WriteCifar100();
  Write("train.bin", Record({1, 2}, 1) + Record({1, 100}, 1));
  ExpectError("train.bin", "label 100 of record 1; labels from 0 to 99 are allowed in CIFAR-100");
  Write("train.bin", Record({1}, 1));  // a record of CIFAR-10's
  ExpectError("train.bin", "records of 3074 bytes");
}

TEST_F(CifarTest, MissingFilesAreNamed) {
  WriteCifar10();
  fs::remove(Path("data_batch_3.bin"));
  ExpectError("data directory " + directory_.string(), "no file data_batch_3.bin; CIFAR-10 needs data_batch_1.bin to");
  WriteCifar10();
  fs::remove(Path("data_batch_1.bin"));
  ExpectError(directory_.string(), "no file data_batch_1.bin");
  fs::remove_all(directory_);
  fs::create_directories(directory_);
  WriteCifar100();
  fs::remove(Path("test.bin"));
  fs::create_directory(Path("test.bin"));
  ExpectError(directory_.string(), "no file test.bin; CIFAR-100 needs train.bin and test.bin");
}

TEST_F(CifarTest, OneDirectoryHasOneFormat) {
  WriteCifar10();
  WriteCifar100();
  ExpectError(directory_.string(), "files of CIFAR-10 and of CIFAR-100");
  WriteDataset();
  ExpectError(directory_.string(), "files of IDX and of CIFAR-10");
}

TEST_F(CifarTest, WhatIsNoFileIsAnError) {
  Bytes values;
  EXPECT_THROW(ReadCifar(Path("absent"), 1, &values), std::runtime_error);
  EXPECT_THROW(ReadCifar(directory_.string(), 1, &values), std::runtime_error);
}

}  // namespace
}  // namespace dropkit::cli
