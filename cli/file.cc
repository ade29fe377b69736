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

int Reason() { return errno != 0 ? errno : EIO; }

// `path` is what messages name; `name` is what is opened.
void WriteStraight(const std::string& path, const std::string& name, const std::function<void(std::FILE*)>& write) {
  std::FILE* file = std::fopen(name.c_str(), "wb");
  if (file == nullptr) Fail(path, errno);
  errno = 0;
  try {
    write(file);
  } catch (...) {
    const int error = std::ferror(file) != 0 ? Reason() : 0;
    std::fclose(file);
    if (error != 0) Fail(path, error);  // says more than what the writer made of it
    throw;
  }
  // The first failure is the one to tell: after it, closing may find nothing left to do.
  int error = std::ferror(file) != 0 ? Reason() : 0;
  if (error == 0 && std::fflush(file) != 0) error = Reason();
  if (std::fclose(file) != 0 && error == 0) error = Reason();
  if (error != 0) Fail(path, error);
}

// Where a chain of links ends, whether or not a file is there yet.
std::filesystem::path EndOfLinks(std::filesystem::path path) {
  std::error_code ignored;
  constexpr int kMostLinks = 40;  // Linux's own limit
  for (int i = 0; i < kMostLinks && std::filesystem::is_symlink(path, ignored); ++i) {
    path = path.parent_path() / std::filesystem::read_symlink(path, ignored);
  }
  return path;
}

std::string TemporaryName(const std::string& target) { return target + ".tmp" + std::to_string(getpid()); }

}  // namespace

bool IsReplaced(const std::string& path) {
  std::error_code ignored;
  return !std::filesystem::exists(path, ignored) || std::filesystem::is_regular_file(path, ignored);
}

void ReplaceFile(const std::string& path, const std::function<void(std::FILE*)>& write) {
  if (!IsReplaced(path)) return WriteStraight(path, path, write);
  // A link stays a link: what it points to is replaced.
  const std::string target = EndOfLinks(path).string();
  const std::string temporary = TemporaryName(target);
  try {
    WriteStraight(path, temporary, write);
    if (std::rename(temporary.c_str(), target.c_str()) != 0) Fail(path, errno);
  } catch (...) {
    std::remove(temporary.c_str());
    throw;
  }
}

void ReplaceFile(const std::string& path, const std::string& text) {
  ReplaceFile(path, [&](std::FILE* file) { std::fwrite(text.data(), 1, text.size(), file); });
}

void TryReplaceFile(const std::string& path) {
  if (IsReplaced(path)) {
    const std::string temporary = TemporaryName(EndOfLinks(path).string());
    WriteStraight(path, temporary, [](std::FILE*) {});
    std::remove(temporary.c_str());
  } else if (std::filesystem::is_directory(path)) {
    Fail(path, EISDIR);
  } else if (access(path.c_str(), W_OK) != 0) {  // opening a pipe would wait for its reader
    Fail(path, errno);
  }
}

}  // namespace dropkit::cli
