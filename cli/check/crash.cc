// A handler may call write() and little else, so the text is ready before the case runs.
#include "cli/check/crash.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <string>

namespace dropkit::check {
namespace {

constexpr int kSignals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};

char text[1024];
size_t length = 0;

void Say(const char* words, size_t count) {
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, words, count);
}

void PrintAndEnd(int number) {
  static constexpr char kIn[] = "dropkit check: crashed in the case\n  ";
  static constexpr char kBefore[] = "dropkit check: crashed before the first case\n";
  if (length > 0) Say(kIn, sizeof(kIn) - 1);
  if (length == 0) Say(kBefore, sizeof(kBefore) - 1);
  Say(text, length);
  signal(number, SIG_DFL);
  raise(number);
}

}  // namespace

void NameCase(const Case& c) {
  const std::string line = Print(c) + "\n";
  length = std::min(line.size(), sizeof(text));
  std::memcpy(text, line.data(), length);
}

CrashReport::CrashReport() {
  for (const int number : kSignals) {
    struct sigaction current;
    if (sigaction(number, nullptr, &current) != 0 || current.sa_handler != SIG_DFL) continue;
    signal(number, PrintAndEnd);
    signals_.push_back(number);
  }
}

CrashReport::~CrashReport() {
  for (const int number : signals_) signal(number, SIG_DFL);
}

}  // namespace dropkit::check
