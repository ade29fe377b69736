// POSIX stdio and std::filesystem; the temporary name holds the process id, so that two programs may write one file.

#include "cli/file.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <stdexcept>

namespace dropkit::cli {
namespace {

[[noreturn]] void Fail(const std::string& path, int error) {
  throw std::runtime_error("cannot write '" + path + "': " + std::strerror(error));
}

// `path` is what messages name; `name` is what is opened.
void WriteStraight(const std::string& path, const std::string& name, const std::function<void(std::FILE*)>& write) {
  std::FILE* file = std::fopen(name.c_str(), "wb");
  if (file == nullptr) Fail(path, errno);
  errno = 0;  // what `write` could not write tells its reason here
  try {
    write(file);
  } catch (...) {
    std::fclose(file);
    throw;
  }
  const bool bad = std::fflush(file) != 0 || std::ferror(file) != 0;
  const int error = errno != 0 ? errno : EIO;
  if (std::fclose(file) != 0) Fail(path, errno);
  if (bad) Fail(path, error);
}

}  // namespace

void ReplaceFile(const std::string& path, const std::function<void(std::FILE*)>& write) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  if (fs::exists(path, ignored) && !fs::is_regular_file(path, ignored)) return WriteStraight(path, path, write);
  // A link stays a link: what it points to is replaced.
  const std::string target = fs::is_symlink(path, ignored) ? fs::weakly_canonical(path).string() : path;
  const std::string temporary = target + ".tmp" + std::to_string(getpid());
  try {
    WriteStraight(path, temporary, write);
    if (std::rename(temporary.c_str(), target.c_str()) != 0) Fail(path, errno);
  } catch (...) {
    std::remove(temporary.c_str());
    throw;
  }
}

}  // namespace dropkit::cli
