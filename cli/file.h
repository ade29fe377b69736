// Writes a file so that its name never holds half of it: to a temporary name beside it, then a rename.
// Assumes that nobody else writes the same name in the same process at the same time.

#ifndef DROPKIT_CLI_FILE_H_
#define DROPKIT_CLI_FILE_H_

#include <cstdio>
#include <functional>
#include <string>

namespace dropkit::cli {

// Calls `write` with the open file; a name that exists and is no regular file (a pipe, /dev/null) is written straight.
// Throws std::runtime_error with the path and the reason, and then leaves the old file as it was; what `write` throws
// passes through likewise. `write` need not check stdio's errors: they are found when the file is closed.
void ReplaceFile(const std::string& path, const std::function<void(std::FILE*)>& write);
// Writes `text` likewise.
void ReplaceFile(const std::string& path, const std::string& text);
// Whether a second ReplaceFile() takes the place of the first: a pipe gets both.
bool IsReplaced(const std::string& path);
// Throws what ReplaceFile() would throw if nothing can be written there; for before long work. Changes nothing.
void TryReplaceFile(const std::string& path);

}  // namespace dropkit::cli

#endif  // DROPKIT_CLI_FILE_H_
