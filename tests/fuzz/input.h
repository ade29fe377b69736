// What the fuzzers of file readers share: an input as a file in memory-backed storage, and a check that ends the run.
//
// Assumes Linux: the file is a memfd, reached by name through /proc. Writers rename, which /proc cannot do, so what
// they write goes to a directory of this process, removed at exit.
#ifndef DROPKIT_TESTS_FUZZ_INPUT_H_
#define DROPKIT_TESTS_FUZZ_INPUT_H_

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>

namespace dropkit::fuzz {

// libFuzzer keeps the input that ended the run.
inline void Require(bool condition, const std::string& what) {
  if (condition) return;
  std::fprintf(stderr, "fuzz: %s\n", what.c_str());
  std::abort();
}

// One file per process whose content is replaced by every input.
class InputFile {
 public:
  InputFile() : descriptor_(memfd_create("input", 0)) { Require(descriptor_ >= 0, "memfd_create failed"); }
  InputFile(const InputFile&) = delete;
  void Fill(const void* data, size_t size) {
    Require(ftruncate(descriptor_, 0) == 0 && pwrite(descriptor_, data, size, 0) == static_cast<ssize_t>(size),
            "the input could not be written");
  }
  std::string Path() const { return "/proc/self/fd/" + std::to_string(descriptor_); }

 private:
  int descriptor_;
};

class OutputDirectory {
 public:
  OutputDirectory() {
    std::string name = (std::filesystem::temp_directory_path() / "dropkit_fuzz_XXXXXX").string();
    Require(mkdtemp(name.data()) != nullptr, "mkdtemp failed");
    path_ = name;
  }
  OutputDirectory(const OutputDirectory&) = delete;
  ~OutputDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace dropkit::fuzz

#endif  // DROPKIT_TESTS_FUZZ_INPUT_H_
