// Draws cases: every key of a spec, sizes around the boundaries of words, groups, tiles and tasks, any order of memory.
#ifndef DROPKIT_CLI_CHECK_RANDOM_CASE_H_
#define DROPKIT_CLI_CHECK_RANDOM_CASE_H_

#include "cli/check/case.h"

namespace dropkit::check {

// A function of its arguments alone. Most cases are small, since the reference is slow; `large` ones, and one in some
// hundred of the others, span many tiles and tasks and run on several threads.
Case RandomCase(uint64_t number, bool large = false);

// The same case with another key and other data.
Case DrawAgain(const Case& c);

// What must hold for a case to make sense, by changing it: parts within the batch, Pack for dropout alone, a spoilt
// call that the spoil fits. Shrinking uses it too. False if the case cannot be saved.
bool MakeSound(Case* c);

}  // namespace dropkit::check

#endif  // DROPKIT_CLI_CHECK_RANDOM_CASE_H_
