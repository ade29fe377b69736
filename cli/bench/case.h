// One line of bench/cases.txt: what to run, on what, and the memory for it.
#ifndef DROPKIT_CLI_BENCH_CASE_H_
#define DROPKIT_CLI_BENCH_CASE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "dropkit/dropkit.h"

namespace dropkit::bench {

enum class Task { kForward, kInPlace, kSample, kBackward, kRecompute };

struct Case {
  std::string line;  // as it is printed, and read back
  Spec spec;
  float p = 0;
  std::vector<int64_t> shape;
  DType dtype = DType::kF32;
  Layout layout = Layout::kChannelsFirst;
  Task task = Task::kForward;
};

// CASE SHAPE DTYPE LAYOUT PASS, parted by blanks. Throws CLI::ValidationError, naming the word and what is allowed.
Case ReadCase(std::string_view line);
// The cases of a file; empty lines and lines that start with # are left out. Throws std::runtime_error.
std::vector<Case> ReadCases(const std::string& path);

// A case in memory: x, y and the mask, touched and filled.
class Setup {
 public:
  Setup(const Case& c, const Exec& exec);  // throws std::bad_alloc and std::runtime_error
  // Compares a forward call of the first and the last sample with the reference backend's, bit for bit: mask, counts
  // and outputs. Throws std::runtime_error.
  void Check();
  // One call of the case, under a key of its own.
  void Run();
  // y = x by the same threads.
  enum class Yardstick { kCopy, kStreaming, kLibc };
  void Copy(Yardstick yardstick);
  int64_t bytes() const { return bytes_; }  // of the tensor

 private:
  void CheckSample(int64_t n, const Mask& whole);

  struct Release {
    void operator()(void* memory) const;
  };
  using Memory = std::unique_ptr<uint8_t, Release>;
  static Memory Allocate(int64_t bytes);

  const Case& case_;
  const Exec exec_;
  int64_t bytes_;
  Memory x_memory_, y_memory_;
  View x_, y_;
  MaskStorage storage_;
  uint64_t key_[2] = {2026, 0};
};

}  // namespace dropkit::bench

#endif  // DROPKIT_CLI_BENCH_CASE_H_
