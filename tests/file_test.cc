// Files that cannot be written: under a limit on their size, on a device that is always full, by a writer that throws.
// The message names the file and the reason, the old file is as it was, and no temporary one is left. A checkpoint that
// there is no memory to read is not called damaged. A disk that is full for real is test_limits.py's matter.
#include "cli/file.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <new>
#include <stdexcept>

#include "cli/train/checkpoint.h"

namespace dropkit::cli {
namespace {

namespace fs = std::filesystem;

// While it lives, no file of this process grows past `bytes`.
class SizeLimit {
 public:
  explicit SizeLimit(rlim_t bytes) : old_handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    getrlimit(RLIMIT_FSIZE, &old_);
    const rlimit limit = {bytes, old_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  SizeLimit(const SizeLimit&) = delete;
  ~SizeLimit() {
    setrlimit(RLIMIT_FSIZE, &old_);
    std::signal(SIGXFSZ, old_handler_);
  }

 private:
  rlimit old_;
  void (*const old_handler_)(int);
};

class FileTest : public testing::Test {
 protected:
  void SetUp() override {
    const std::string test = testing::UnitTest::GetInstance()->current_test_info()->name();
    directory_ = fs::temp_directory_path() / ("dropkit_file_" + test + std::to_string(getpid()));
    fs::create_directories(directory_);
    path_ = directory_ / "result";
  }
  void TearDown() override { fs::remove_all(directory_); }

  static void Write(const std::string& path, size_t bytes) {
    ReplaceFile(path, [bytes](std::FILE* file) {
      const std::string text(bytes, 'x');
      std::fwrite(text.data(), 1, text.size(), file);
    });
  }

  // The message of what `call` throws; empty if it does not.
  template <typename Call>
  static std::string Error(Call call) {
    try {
      call();
    } catch (const std::runtime_error& error) {
      return error.what();
    }
    return "";
  }

  std::string Content() const {
    std::ifstream file(path_, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  }

  void ExpectOnly(const std::string& content) const {
    EXPECT_EQ(Content(), content);
    EXPECT_EQ(std::distance(fs::directory_iterator(directory_), fs::directory_iterator()), 1) << "files beside it";
  }

  fs::path directory_, path_;
};

Checkpoint Large(uint8_t value) {
  Checkpoint checkpoint;
  checkpoint.texts["task"] = "scenes";
  checkpoint.blobs["w"] = {"U8", {1 << 20}, std::vector<uint8_t>(1 << 20, value)};
  return checkpoint;
}

TEST_F(FileTest, ASizeLimitLeavesTheOldFile) {
  Write(path_, 5);
  for (const size_t bytes : {size_t{1001}, size_t{100000}, size_t{10000000}}) {  // within stdio's buffer and past it
    const SizeLimit limit(1000);
    EXPECT_EQ(Error([&] { Write(path_, bytes); }), "cannot write '" + path_.string() + "': File too large") << bytes;
  }
  ExpectOnly("xxxxx");
  Write(path_, 6);
  ExpectOnly("xxxxxx");
}

TEST_F(FileTest, AFullDeviceIsSaidToBeFull) {
  if (!fs::exists("/dev/full")) GTEST_SKIP() << "no /dev/full";
  for (const size_t bytes : {size_t{1}, size_t{100000}, size_t{10000000}}) {
    EXPECT_EQ(Error([&] { Write("/dev/full", bytes); }), "cannot write '/dev/full': No space left on device") << bytes;
  }
}

TEST_F(FileTest, ATrialWritesNothing) {
  TryReplaceFile(path_);
  EXPECT_TRUE(fs::is_empty(directory_));
  Write(path_, 5);
  TryReplaceFile(path_);
  ExpectOnly("xxxxx");
  const std::string absent = directory_ / "absent" / "file", directory = directory_;
  EXPECT_EQ(Error([&] { TryReplaceFile(absent); }), "cannot write '" + absent + "': No such file or directory");
  EXPECT_EQ(Error([&] { TryReplaceFile(directory); }), "cannot write '" + directory + "': Is a directory");
  const std::string pipe = directory_ / "pipe";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  TryReplaceFile(pipe);  // returns although nobody reads
}

TEST_F(FileTest, AWriterThatThrowsLeavesTheOldFile) {
  Write(path_, 5);
  const auto give_up = [](std::FILE* file) {
    std::fputs("half of it", file);
    throw std::runtime_error("gave up");
  };
  EXPECT_EQ(Error([&] { ReplaceFile(path_, give_up); }), "gave up");
  EXPECT_THROW(ReplaceFile(path_, [](std::FILE*) { throw std::bad_alloc(); }), std::bad_alloc);
  ExpectOnly("xxxxx");
}

TEST_F(FileTest, AWriterThatThrowsBecauseOfTheDiskSaysWhatTheDiskSays) {
  Write(path_, 5);
  const SizeLimit limit(1000);
  const auto notice = [](std::FILE* file) {
    const std::string text(100000, 'x');
    if (std::fwrite(text.data(), 1, text.size(), file) != text.size()) throw std::runtime_error("library: write error");
  };
  EXPECT_EQ(Error([&] { ReplaceFile(path_, notice); }), "cannot write '" + path_.string() + "': File too large");
  ExpectOnly("xxxxx");
}

TEST_F(FileTest, ACheckpointIsReplacedAtOnceOrNotAtAll) {
  WriteCheckpoint(path_, Large(1));
  const std::string before = Content();
  {
    const SizeLimit limit(1 << 19);
    EXPECT_EQ(Error([&] { WriteCheckpoint(path_, Large(2)); }),
              "cannot write '" + path_.string() + "': File too large");
  }
  ExpectOnly(before);
  EXPECT_EQ(ReadCheckpoint(path_).blobs.at("w").bytes[7], 1);
  WriteCheckpoint(path_, Large(2));
  EXPECT_EQ(ReadCheckpoint(path_).blobs.at("w").bytes[7], 2);
}

TEST_F(FileTest, ALinkStaysALink) {
  fs::create_directory(directory_ / "other");
  fs::create_symlink("other/target", path_);
  for (const size_t bytes : {5, 6}) {  // first it points to nothing
    Write(path_, bytes);
    EXPECT_TRUE(fs::is_symlink(path_));
    EXPECT_EQ(fs::file_size(directory_ / "other" / "target"), bytes);
  }
}

TEST_F(FileTest, ALinkToNowhereNamesTheFile) {
  fs::create_symlink(directory_ / "absent" / "file", path_);
  EXPECT_NE(Error([&] { Write(path_, 5); }).find("cannot write '" + path_.string() + "': No such file"),
            std::string::npos);
}

}  // namespace
}  // namespace dropkit::cli
