// The bar is redrawn in place by a carriage return; lines are plain, for logs.
#include "cli/train/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace dropkit::cli {
namespace {

constexpr int kBarWidth = 24;

std::string Minutes(double seconds) {
  char text[32];
  const auto whole = static_cast<int64_t>(std::llround(seconds));
  std::snprintf(text, sizeof text, "%lld:%02lld", static_cast<long long>(whole / 60),
                static_cast<long long>(whole % 60));
  return text;
}

int TerminalWidth() {
  winsize size{};
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col : 80;
}

}  // namespace

Progress::Progress(int64_t total_epochs)
    : terminal_(isatty(STDERR_FILENO) == 1), total_(total_epochs), start_(Clock::now()), drawn_at_(start_) {}

void Progress::Begin(const std::string& run, int epochs) {
  total_ -= epochs_ - seen_;  // a run that failed leaves epochs undone
  run_ = run;
  epochs_ = epochs;
  seen_ = 0;
  last_.clear();
}

void Progress::Skip(int epochs) {
  seen_ += epochs;
  total_ -= epochs;
}

std::string Progress::TimeLeft(double done) const {
  if (done <= 0) return "-:--";
  const double elapsed = std::chrono::duration<double>(Clock::now() - start_).count();
  return Minutes(std::max(0.0, static_cast<double>(total_) - done) * elapsed / done);
}

void Progress::Draw(int epoch, double fraction) {
  const double done = static_cast<double>(done_) + fraction;
  const double share = total_ > 0 ? std::fmin(1.0, done / static_cast<double>(total_)) : 1.0;
  const int filled = static_cast<int>(share * kBarWidth);
  const std::string bar = std::string(filled, '#') + std::string(kBarWidth - filled, '.');
  char percent[16], epochs[48];
  std::snprintf(percent, sizeof percent, "] %3.0f%%  ", 100 * share);
  std::snprintf(epochs, sizeof epochs, " epoch %d/%d", epoch + 1, epochs_);
  const std::string line = "[" + bar + percent + TimeLeft(done) + " left  " + run_ + epochs + last_;
  // A line that wraps could not be taken back.
  std::fprintf(stderr, "\r\033[K%s", line.substr(0, static_cast<size_t>(TerminalWidth() - 1)).c_str());
  std::fflush(stderr);
  drawn_ = true;
  drawn_at_ = Clock::now();
}

void Progress::Step(int epoch, double fraction) {
  if (terminal_ && Clock::now() - drawn_at_ > std::chrono::milliseconds(100)) Draw(epoch, fraction);
}

void Progress::Epoch(int epoch, double train_percent, double seconds) {
  ++done_;
  ++seen_;
  char text[64];
  std::snprintf(text, sizeof text, ", train %.1f%%, %.2f s", train_percent, seconds);
  last_ = text;
  if (terminal_) return Draw(epoch, 0);
  std::fprintf(stderr, "%s epoch %d/%d%s, %s left\n", run_.c_str(), epoch + 1, epochs_, text,
               TimeLeft(static_cast<double>(done_)).c_str());
}

void Progress::Say(const std::string& line) {
  Finish();
  std::fprintf(stderr, "%s\n", line.c_str());
}

void Progress::Finish() {
  if (drawn_) std::fprintf(stderr, "\r\033[K");
  drawn_ = false;
}

}  // namespace dropkit::cli
