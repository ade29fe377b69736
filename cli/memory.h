// What memory the machine, or the container in it, can give, so that an absurd request becomes a message. A system that
// overcommits grants any request and ends the program later, when it writes there.

#ifndef DROPKIT_CLI_MEMORY_H_
#define DROPKIT_CLI_MEMORY_H_

#include <cstdint>
#include <optional>
#include <string>

namespace dropkit::cli {

// Bytes that can be had without pushing something else out, where the system tells: of the machine, or less where a
// control group has a limit. `root` stands before every path that is read.
std::optional<uint64_t> FreeMemory(const std::string& root = "");

// From here on what exceeds FreeMemory() fails as std::bad_alloc, at once. Where the system does not tell, nothing
// changes.
void LimitMemory();

}  // namespace dropkit::cli

#endif  // DROPKIT_CLI_MEMORY_H_
