// The memory and the arguments of one case's calls: tensors, mask, key, given bytes and scratch, each between fences,
// filled from the case alone, so that two of them are equal before the calls.
#ifndef DROPKIT_CLI_CHECK_CALL_H_
#define DROPKIT_CLI_CHECK_CALL_H_

#include <memory>
#include <string>
#include <vector>

#include "cli/check/case.h"
#include "cli/check/fenced.h"
#include "cli/check/target.h"
#include "dropkit/dropkit.h"

namespace dropkit::check {

// A mask's shape and the memory that its pointers point to.
struct MaskMemory {
  MaskMemory(const Spec& spec, const View& x, bool one_count);
  Mask mask;         // first: describing fills it
  Status described;  // when it is an error, the memory is a word of each
  Fenced bits, kept, threshold;
};

// Memory and what to call it.
struct NamedMemory {
  const char* name;
  Fenced* memory;
};

// All arguments of a verb.
struct Call {
  Spec spec;
  Probability p = 0.0f;
  Key key = nullptr;
  const uint8_t* bytes = nullptr;  // for Spread and Pack
  Pass pass = Pass::kForward;
  View x, y;
  Exec exec;
  Mask* mask = nullptr;
};

class Bench {
 public:
  // `target` must live as long as this.
  Bench(const Case& c, const Target& target);

  Call call;
  MaskMemory whole;
  std::vector<std::unique_ptr<MaskMemory>> parts;  // kSplit's

  // Gives the call scratch of its own, of the size asked for, when the case wants that or the target runs on a device.
  // After `whole` is described.
  Status GiveScratch();

  Fenced& output() { return in_place_ ? x_ : y_; }
  // Names the first buffer whose fences are broken or that was written although it is an input; empty if none.
  std::string Damage();
  // Names the first buffer of any kind that differs from what it was at the start or at the last Remember().
  std::string Written();
  void Remember();

  Fenced* scratch() { return scratch_.get(); }
  // One more count, for who adds up others.
  Fenced& sum() { return sum_; }
  // All memory that a call's pointers may point to.
  std::vector<NamedMemory> Memory();
  // What was written where nothing of the host's is; Damage() tells it.
  std::string damage_elsewhere;

 private:
  struct Named {
    const char* name;
    Fenced* memory;
    bool is_input;
    std::vector<uint8_t> before;
  };
  void Register(const char* name, Fenced* memory, bool is_input);

  bool in_place_;
  bool gives_scratch_;
  Fenced x_, y_, key_, p_, bytes_, sum_;
  std::unique_ptr<Fenced> scratch_;
  std::vector<Named> buffers_;
};

// The case's tensor in this order, and the elements of memory from the buffer's start to the last of its own.
struct Placed {
  View view;  // no data
  int64_t elements = 0, origin = 0;
};
Placed Place(const Case& c, const Order& order);

}  // namespace dropkit::check

#endif  // DROPKIT_CLI_CHECK_CALL_H_
