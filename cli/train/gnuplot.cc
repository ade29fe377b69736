// The script and the answers go through unlinked temporary files, not pipes: gnuplot can neither block on a full pipe
// nor break one, so no signal has to be masked and nothing has to be polled but the end of the process.
#include "cli/train/gnuplot.h"

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <memory>
#include <regex>
#include <sstream>
#include <thread>

#include "cli/train/plot_axes.h"

namespace dropkit::cli {
namespace {

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using File = std::unique_ptr<std::FILE, CloseFile>;

struct Streams {
  File script{std::tmpfile()}, picture{std::tmpfile()}, messages{std::tmpfile()};
  bool open() const { return script && picture && messages; }
};

bool WriteScript(std::FILE* file, const std::string& script) {
  std::fwrite(script.data(), 1, script.size(), file);
  if (std::fflush(file) != 0 || std::ferror(file) != 0) return false;
  return lseek(fileno(file), 0, SEEK_SET) == 0;
}

std::string ReadAll(std::FILE* file) {
  std::string text;
  char part[4096];
  std::rewind(file);
  for (size_t count; (count = std::fread(part, 1, sizeof part, file)) > 0;) text.append(part, count);
  return text;
}

// Starts gnuplot in a process group of its own, so that what it starts ends with it; returns 0 or an errno.
int Start(const Streams& streams, pid_t* process) {
  posix_spawn_file_actions_t files;
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_init(&files);
  posix_spawnattr_init(&attributes);
  posix_spawn_file_actions_adddup2(&files, fileno(streams.script.get()), STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&files, fileno(streams.picture.get()), STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&files, fileno(streams.messages.get()), STDERR_FILENO);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
  posix_spawnattr_setpgroup(&attributes, 0);
  char program[] = "gnuplot", no_settings[] = "-d";
  char* arguments[] = {program, no_settings, nullptr};
  const int error = posix_spawnp(process, program, &files, &attributes, arguments, environ);
  posix_spawn_file_actions_destroy(&files);
  posix_spawnattr_destroy(&attributes);
  return error;
}

// Whether the process ended by itself in time; its group is gone either way.
bool WaitUntil(pid_t process, std::chrono::steady_clock::time_point deadline, int* status) {
  while (true) {
    const pid_t ended = waitpid(process, status, WNOHANG);
    if (ended == process || (ended < 0 && errno != EINTR)) return true;
    if (std::chrono::steady_clock::now() >= deadline) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  kill(-process, SIGKILL);
  while (waitpid(process, status, 0) < 0 && errno == EINTR) continue;
  return false;
}

// gnuplot's complaint is the last line that it wrote, after the offending line and a caret.
std::string LastLine(const std::string& text) {
  std::istringstream lines(text);
  std::string last;
  for (std::string line; std::getline(lines, line);) {
    const size_t start = line.find_first_not_of(" \t\r");
    if (start != std::string::npos) last = line.substr(start, 200);
  }
  return last;
}

std::string Ending(int status, const std::string& messages) {
  std::string text = WIFSIGNALED(status) ? "ended by signal " + std::to_string(WTERMSIG(status))
                                         : "exit code " + std::to_string(WEXITSTATUS(status));
  const std::string last = LastLine(messages);
  return last.empty() ? text : text + ": " + last;
}

// From a file of its own to an element of a page: no prologue, no titles (browsers show them as tips), and ids that no
// other picture has, since gnuplot gives the same ones to all. Its hollow markers are hairlines, whatever is asked.
std::string ForPage(const std::string& file, const std::string& name) {
  std::string svg = file.substr(file.find("<svg"));
  svg = std::regex_replace(svg, std::regex("<title>[^<]*</title>|<desc>[^<]*</desc>"), "");
  svg = std::regex_replace(svg, std::regex("(gpPt[0-9]+' stroke-width=)'[0-9.]+'"), "$1'0.32'");
  svg = std::regex_replace(svg, std::regex("( id=['\"])(?!" + name + "_)"), "$1" + name + "_");
  return std::regex_replace(svg, std::regex("(href=['\"]#|url\\(#)"), "$1" + name + "_");
}

}  // namespace

std::string QuoteForGnuplot(const std::string& text) {
  // Single quotes: nothing inside is special but they themselves, doubled.
  std::string quoted = "'";
  for (const char c : text) {
    quoted += static_cast<unsigned char>(c) < 32 || c == 127 ? '?' : c;
    if (c == '\'') quoted += c;
  }
  return quoted + "'";
}

GnuplotPicture RunGnuplot(const std::string& name, int width, int height, const std::string& commands,
                          std::chrono::milliseconds limit) {
  const auto deadline = std::chrono::steady_clock::now() + limit;
  const Streams streams;
  const std::string script = "set terminal svg size " + std::to_string(width) + "," + std::to_string(height) +
                             " dynamic noenhanced font 'sans-serif," + std::to_string(kFontSize) + "' name '" + name +
                             "'\nset encoding utf8\n" + commands;
  if (!streams.open() || !WriteScript(streams.script.get(), script)) {
    return {"", std::string("temporary files for gnuplot cannot be written: ") + std::strerror(errno)};
  }
  pid_t process = 0;
  const int error = Start(streams, &process);
  if (error == ENOENT) return {"", "gnuplot is not on PATH"};
  if (error != 0) return {"", std::string("gnuplot cannot be started: ") + std::strerror(error)};
  int status = 0;
  if (!WaitUntil(process, deadline, &status)) {
    return {"", "gnuplot did not end within " + std::to_string(limit.count()) + " ms and was stopped"};
  }
  const std::string picture = ReadAll(streams.picture.get());
  if (status != 0) return {"", "gnuplot failed: " + Ending(status, ReadAll(streams.messages.get()))};
  if (picture.find("<svg") == std::string::npos || picture.find("</svg>") == std::string::npos) {
    return {"", "gnuplot gave no whole picture"};
  }
  return {ForPage(picture, name), ""};
}

}  // namespace dropkit::cli
