// What memory the machine can give, so that an absurd request becomes a message. A system that overcommits grants any
// request and ends the program later, when it writes there.

#ifndef DROPKIT_CLI_MEMORY_H_
#define DROPKIT_CLI_MEMORY_H_

#include <cstdint>
#include <optional>

namespace dropkit::cli {

// Bytes that can be had without pushing something else out, where the system tells.
std::optional<uint64_t> FreeMemory();

// From here on what exceeds FreeMemory() fails as std::bad_alloc, at once. Where the system does not tell, nothing
// changes.
void LimitMemory();

}  // namespace dropkit::cli

#endif  // DROPKIT_CLI_MEMORY_H_
