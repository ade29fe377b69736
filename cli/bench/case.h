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

enum class Call { kForward, kInPlace, kSample, kBackward, kRecompute };

struct Case {
  std::string line;  // its words as given
  std::string full;  // the same with every key of the spec, as in all result files
  Spec spec;
  float p = 0;
  std::vector<int64_t> shape;
  DType dtype = DType::kF32;
  Layout layout = Layout::kChannelsFirst;
  Call call = Call::kForward;
};

// CASE SHAPE DTYPE LAYOUT PASS, parted by blanks. Throws CLI::ValidationError, naming the word and what is allowed.
Case ReadCase(std::string_view line);
// The cases of a file; empty lines and lines that start with # are left out. Throws std::runtime_error.
std::vector<Case> ReadCases(const std::string& path);

// Small numbers of both signs, no two alike nearby, into whole elements.
void Fill(DType dtype, uint8_t* memory, int64_t bytes);

// A case in memory: x, y and the mask, touched and filled.
class Setup {
 public:
  Setup(const Case& c, const Exec& exec);  // throws std::bad_alloc and std::runtime_error
  // Makes one call of the case and compares its first and its last sample with the reference backend's, bit for bit:
  // mask, counts and outputs. Throws std::runtime_error.
  void Check();
  // One call of the case; what draws has a key of its own.
  void Run();
  // Whether the last mask kept everything or nothing, so that there was little to do.
  bool is_trivial() const;
  // y = x by the same threads.
  enum class Yardstick { kCopy, kStreaming, kLibc };
  void Copy(Yardstick yardstick);
  int64_t bytes() const { return bytes_; }  // of the tensor

 private:
  void CheckSample(int64_t n, const uint8_t* x_before);

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
