// THE table of what can be wrong with a call. Each row spoils one argument of a sound call; the library must refuse it
// with an error and write nothing.
#ifndef DROPKIT_CLI_CHECK_SPOIL_H_
#define DROPKIT_CLI_CHECK_SPOIL_H_

#include <string>
#include <vector>

#include "cli/check/call.h"

namespace dropkit::check {

// Which call is spoilt: the verb that writes the mask (Sample, Spread, Pack, or Drop), or Apply on a sound mask.
enum class Stage : uint8_t { kVerb, kApply };

struct Spoil {
  const char* name;
  Stage stage;
  bool (*fits)(const Case& c);  // whether it makes this case's call wrong
  void (*spoil)(Call* call);
};
const std::vector<Spoil>& Spoils();
// Null if there is none of this name.
const Spoil* FindSpoil(const std::string& name);

}  // namespace dropkit::check

#endif  // DROPKIT_CLI_CHECK_SPOIL_H_
