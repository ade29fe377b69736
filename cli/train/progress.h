// Progress on stderr: a bar with the time left where stderr is a terminal, else one line an epoch.
// Time left counts all epochs of the job alike, from the pace so far.
#ifndef DROPKIT_CLI_TRAIN_PROGRESS_H_
#define DROPKIT_CLI_TRAIN_PROGRESS_H_

#include <chrono>
#include <cstdint>
#include <string>

namespace dropkit::cli {

class Progress {
 public:
  explicit Progress(int64_t total_epochs);
  ~Progress() { Finish(); }
  void Finish();                                   // takes the bar away
  void Begin(const std::string& run, int epochs);  // what follows is this run's; the one before it is over
  void Skip(int epochs);                           // this many epochs of the run need not be trained
  void Step(int epoch, double fraction);           // within an epoch, 0-based; the bar moves ten times a second
  void Epoch(int epoch, double train_percent, double seconds);
  void Say(const std::string& line);  // a message that stays

 private:
  std::string TimeLeft(double done) const;
  void Draw(int epoch, double fraction);

  using Clock = std::chrono::steady_clock;
  bool terminal_;
  bool drawn_ = false;
  int64_t total_, done_ = 0;
  std::string run_, last_;
  int epochs_ = 0, seen_ = 0;  // of the run: in all, trained or skipped
  Clock::time_point start_, drawn_at_;
};

}  // namespace dropkit::cli

#endif  // DROPKIT_CLI_TRAIN_PROGRESS_H_
