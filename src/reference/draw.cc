// From key and Q to the lanes that fire: sections 1, 2, 5 and 6 of docs/draws.md.
//
// Assumes f64 arithmetic without contraction (-ffp-contract=off). What a lane drops is in sample.cc.
#include "reference/reference.h"

namespace dropkit::reference {
namespace {

constexpr double kTwo32 = 4294967296.0;
constexpr uint64_t kOne = uint64_t{1} << 32;
constexpr int64_t kGroup = 128, kTile = 512;

uint32_t Low(uint64_t v) { return static_cast<uint32_t>(v); }
uint32_t High(uint64_t v) { return static_cast<uint32_t>(v >> 32); }

// -512 ln(1 - delta)
double MarksATile(uint64_t digits, uint64_t rest) {
  const double delta = static_cast<double>(rest) / (kTwo32 - static_cast<double>(digits << 25));
  const double z = delta / (2.0 - delta);
  const double z2 = z * z;
  double series = 1.0 / 13.0;
  for (int k = 11; k >= 1; k -= 2) series = series * z2 + 1.0 / k;
  return 512.0 * ((2.0 * z) * series);
}

// exp(-mean)
double ExpOfMinus(double mean) {
  const double x = -(mean / 1024.0);
  double e = 1.0 / 720.0;
  for (double factorial : {120.0, 24.0, 6.0, 2.0, 1.0, 1.0}) e = e * x + 1.0 / factorial;
  for (int i = 0; i < 10; ++i) e = e * e;
  return e;
}

std::vector<uint32_t> PoissonThresholds(double mean) {
  std::vector<uint32_t> thresholds;
  double pmf = ExpOfMinus(mean);
  double cdf = pmf;
  for (int k = 0; k < 32; ++k) {
    const double threshold = cdf * kTwo32 + 0.5;
    if (threshold >= kTwo32) break;
    thresholds.push_back(static_cast<uint32_t>(threshold));
    pmf = (pmf * mean) / (k + 1);
    cdf = cdf + pmf;
  }
  return thresholds;
}

bool DigitOf(uint64_t digits, int j) { return (digits >> (7 - j)) & 1; }

void MarkDigits(const LanePlan& plan, KeyWords call_key, uint64_t sample, std::vector<bool>* marks) {
  int lowest = 7;
  while (!DigitOf(plan.digits, lowest)) --lowest;
  const int64_t lanes = static_cast<int64_t>(marks->size());
  for (int64_t group = 0; group * kGroup < lanes; ++group) {
    std::array<Words, 8> drawn;
    for (int j = 1; j <= lowest; ++j) {
      drawn[j] = Draw(call_key, static_cast<uint32_t>(j - 1), static_cast<uint32_t>(group), sample);
    }
    for (int64_t i = group * kGroup; i < (group + 1) * kGroup && i < lanes; ++i) {
      bool marked = false;
      for (int j = lowest; j >= 1; --j) {
        const bool r = (drawn[j][(i >> 5) & 3] >> (i & 31)) & 1;
        marked = DigitOf(plan.digits, j) ? (marked || r) : (marked && r);
      }
      if (marked) (*marks)[i] = true;
    }
  }
}

// Word `index` of the round's sequence of words.
uint32_t RoundWord(KeyWords call_key, int round, int64_t tile, uint64_t sample, int index) {
  return Draw(call_key, static_cast<uint32_t>(16 * round + index / 4), static_cast<uint32_t>(tile), sample)[index % 4];
}

void MarkOverlay(const LanePlan& plan, KeyWords call_key, uint64_t sample, std::vector<bool>* marks) {
  const int64_t lanes = static_cast<int64_t>(marks->size());
  for (int64_t tile = 0; tile * kTile < lanes; ++tile) {
    for (int round = 0; round < plan.rounds; ++round) {
      const uint32_t first = RoundWord(call_key, round, tile, sample, 0);
      int count = 0;
      for (uint32_t threshold : plan.thresholds) count += threshold <= first;
      for (int j = 1; j <= count; ++j) {
        const int64_t lane = tile * kTile + (RoundWord(call_key, round, tile, sample, j) >> 23);
        if (lane < lanes) (*marks)[lane] = true;
      }
    }
  }
}

}  // namespace

Words Philox(Words c, KeyWords k) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t left = uint64_t{0xCD9E8D57} * c[2];
    const uint64_t right = uint64_t{0xD2511F53} * c[0];
    c = {High(left) ^ c[1] ^ k[0], Low(left), High(right) ^ c[3] ^ k[1], Low(right)};
    k = {k[0] + 0x9E3779B9u, k[1] + 0xBB67AE85u};
  }
  return c;
}

KeyWords CallKey(Key key, Tag tag) {
  const uint64_t seed = key[0], offset = key[1];
  const Words words = Philox({Low(offset), High(offset), static_cast<uint32_t>(tag), 0}, {Low(seed), High(seed)});
  return {words[0], words[1]};
}

Words Draw(KeyWords call_key, uint32_t call, uint32_t tile, uint64_t sample) {
  return Philox({call, tile, Low(sample), High(sample)}, call_key);
}

LanePlan PlanLanes(uint64_t lane_threshold) {
  LanePlan plan{};
  plan.inverted = lane_threshold > kOne / 2;
  const uint64_t rare = plan.inverted ? kOne - lane_threshold : lane_threshold;
  plan.digits = rare < (uint64_t{1} << 27) ? 0 : rare >> 25;
  plan.rest = rare - (plan.digits << 25);
  if (plan.rest == 0) return plan;
  const double mean = MarksATile(plan.digits, plan.rest);
  plan.rounds = mean <= 8.0 ? 1 : 2;
  plan.thresholds = PoissonThresholds(mean / plan.rounds);
  return plan;
}

std::vector<bool> FiredLanes(uint64_t lane_threshold, int64_t lanes, Key key, uint64_t sample) {
  std::vector<bool> marks(static_cast<size_t>(lanes), lane_threshold == kOne);
  if (lane_threshold == 0 || lane_threshold == kOne) return marks;
  const LanePlan plan = PlanLanes(lane_threshold);
  if (plan.digits > 0) MarkDigits(plan, CallKey(key, Tag::kDigits), sample, &marks);
  if (plan.rest > 0) MarkOverlay(plan, CallKey(key, Tag::kOverlay), sample, &marks);
  if (plan.inverted) marks.flip();
  return marks;
}

}  // namespace dropkit::reference
