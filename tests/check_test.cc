// `dropkit check` itself: that it finds faults. Backends broken on purpose, each in one way, must be caught within a
// number of cases, with a shrunk reproducer that reads back and fails again; a sound one must not. Also the text form
// of cases, and that the summary counts what it says.
#include "cli/check/check.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>

#include "cli/check/fenced.h"
#include "cli/check/random_case.h"
#include "cli/check/shrink.h"
#include "cli/check/spoil.h"

namespace dropkit::check {
namespace {

constexpr uint64_t kSeed = 2018;

// Caught, and by the reproducer too; returns what was said.
Mismatch Caught(const Target& target, int64_t cases) {
  const Report report = Check(target, kSeed, {.seconds = 300, .cases = cases});
  EXPECT_TRUE(report.mismatch) << "not caught in " << cases << " cases";
  if (!report.mismatch) return {};
  Case c;
  const Status status = ReadCase(report.mismatch->reproducer, &c);
  EXPECT_TRUE(status.ok()) << status.message();
  const Report again = CheckOne(target, c);
  EXPECT_TRUE(again.mismatch) << report.mismatch->reproducer << " does not reproduce";
  EXPECT_FALSE(CheckOne(Target{.backend = "cpu"}, c).mismatch) << report.mismatch->reproducer;
  EXPECT_LE(report.mismatch->reproducer.size(), report.mismatch->drawn.size());
  if (again.mismatch) {
    EXPECT_EQ(again.mismatch->what, report.mismatch->what);
  }
  return *report.mismatch;
}

TEST(CheckTest, ASoundBackendPasses) {
  const Report report = Check(Target{.backend = "cpu"}, kSeed, {.seconds = 300, .cases = 3000});
  EXPECT_FALSE(report.mismatch) << report.mismatch->what << "\n" << report.mismatch->reproducer;
  const Tally& tally = report.tally;
  EXPECT_EQ(tally.cases, 3000);
  EXPECT_EQ(tally.trusted + tally.exact + tally.refused, tally.cases);
  EXPECT_GT(tally.trusted, 2000);
  EXPECT_GT(tally.exact, 50);
  EXPECT_GT(tally.refused, 50);
  EXPECT_EQ(tally.methods.size(), Methods().size());
  EXPECT_EQ(tally.dtypes.size(), 4u);
  EXPECT_EQ(tally.verbs.size(), 5u);
  EXPECT_EQ(tally.passes.size(), 2u);
  EXPECT_GT(tally.stayed, 0);
  EXPECT_GT(tally.drawn_again, tally.stayed);
}

TEST(CheckTest, OneSeedIsOneRun) {
  const Target target{.backend = "cpu"};
  const Extent extent{.seconds = 300, .cases = 200};
  EXPECT_EQ(Check(target, 5, extent).tally.elements, Check(target, 5, extent).tally.elements);
  EXPECT_NE(Check(target, 5, extent).tally.elements, Check(target, 6, extent).tally.elements);
}

TEST(CheckTest, AFlippedBitOfTheMask) {
  Target target{.backend = "cpu"};
  target.sample = [](const Spec& spec, Probability p, Key key, const View& x, const Exec& exec, Mask* mask) {
    const Status status = Sample(spec, p, key, x, exec, mask);
    if (status.ok() && mask->num_bits > 200) mask->bits[3] ^= 2;
    return status;
  };
  const std::string what = Caught(target, 300).what;
  EXPECT_NE(what.find("bit 193 of"), std::string::npos) << what;
}

TEST(CheckTest, FirstSampleIgnored) {
  Target target{.backend = "cpu"};
  target.sample = [](const Spec& spec, Probability p, Key key, const View& x, const Exec& exec, Mask* mask) {
    View moved = x;
    if (moved.first_sample > 0) moved.first_sample = 0;
    return Sample(spec, p, key, moved, exec, mask);
  };
  const Mismatch mismatch = Caught(target, 300);
  EXPECT_TRUE(mismatch.reproducer.find("first=") != std::string::npos ||
              mismatch.reproducer.find("verb=split") != std::string::npos)
      << mismatch.reproducer;
}

TEST(CheckTest, PQuantisedToEightBits) {
  Target target{.backend = "cpu"};
  target.sample = [](const Spec& spec, Probability p, Key key, const View& x, const Exec& exec, Mask* mask) {
    const float asked = p.device ? *p.device : p.value;
    if (!(asked >= 0.0f && asked <= 1.0f)) return Sample(spec, p, key, x, exec, mask);
    return Sample(spec, std::round(asked * 256.0f) / 256.0f, key, x, exec, mask);
  };
  EXPECT_EQ(Caught(target, 100).what.substr(0, 2), "T:");
}

// One word past the mask's end, and one element before y's start.
TEST(CheckTest, WritesBesideTheBuffers) {
  Target target{.backend = "cpu"};
  target.sample = [](const Spec& spec, Probability p, Key key, const View& x, const Exec& exec, Mask* mask) {
    const Status status = Sample(spec, p, key, x, exec, mask);
    ASAN_UNPOISON_MEMORY_REGION(mask->bits + mask->num_words(), 8);
    if (status.ok() && mask->num_bits > 0) mask->bits[mask->num_words()] = 0;
    return status;
  };
  EXPECT_EQ(Caught(target, 100).what, "memory beside mask.bits was written");
  target = Target{.backend = "cpu"};
  target.apply = [](const Mask& mask, Pass pass, const View& x, const View& y, const Exec& exec) {
    const Status status = Apply(mask, pass, x, y, exec);
    auto* before = static_cast<uint8_t*>(y.data) - SizeOf(y.dtype);
    ASAN_UNPOISON_MEMORY_REGION(before, SizeOf(y.dtype));
    if (status.ok() && y.data && y.sample_stride > 0) std::memset(before, 1, SizeOf(y.dtype));
    return status;
  };
  EXPECT_FALSE(Caught(target, 100).what.empty());
}

TEST(CheckTest, InputsAreWritten) {
  Target target{.backend = "cpu"};
  target.apply = [](const Mask& mask, Pass pass, const View& x, const View& y, const Exec& exec) {
    const Status status = Apply(mask, pass, x, y, exec);
    if (status.ok() && x.data && x.data != y.data) *static_cast<uint8_t*>(x.data) ^= 1;
    return status;
  };
  EXPECT_EQ(Caught(target, 100).what, "x, an input, was written");
}

// The last bit of one element in some hundred calls.
TEST(CheckTest, TheLastBitOfOneElement) {
  Target target{.backend = "cpu"};
  target.apply = [](const Mask& mask, Pass pass, const View& x, const View& y, const Exec& exec) {
    const Status status = Apply(mask, pass, x, y, exec);
    if (status.ok() && mask.total > 500 && y.dtype == DType::kF64) *static_cast<uint8_t*>(y.data) ^= 1;
    return status;
  };
  const std::string what = Caught(target, 600).what;
  EXPECT_EQ(what.substr(0, 2), "y[") << what;
  EXPECT_NE(what.find(", reference "), std::string::npos) << what;
}

// Forward's fill in the backward pass: only fills other than 0 tell the two apart.
TEST(CheckTest, BackwardIsForward) {
  Target target{.backend = "cpu"};
  target.apply = [](const Mask& mask, Pass pass, const View& x, const View& y, const Exec& exec) {
    return Apply(mask, pass == Pass::kBackward ? Pass::kForward : pass, x, y, exec);
  };
  const Mismatch mismatch = Caught(target, 300);
  EXPECT_NE(mismatch.reproducer.find("fill="), std::string::npos) << mismatch.reproducer;
  EXPECT_NE(mismatch.reproducer.find("pass=backward"), std::string::npos) << mismatch.reproducer;
}

// Counts of a part where those of the whole batch are given.
TEST(CheckTest, SummedCountsIgnored) {
  Target target{.backend = "cpu"};
  target.apply = [](const Mask& mask, Pass pass, const View& x, const View& y, const Exec& exec) {
    Mask part = mask;
    if (mask.num_kept == 1 && mask.samples > 1) part.total = mask.samples * mask.channels;
    return Apply(part, pass, x, y, exec);
  };
  EXPECT_NE(Caught(target, 2000).reproducer.find("verb=split"), std::string::npos);
}

TEST(CheckTest, DropThatIsNotSampleAndApply) {
  Target target{.backend = "cpu"};
  target.drop = [](const Spec& spec, Probability p, Key key, Pass pass, const View& x, const View& y, const Exec& exec,
                   Mask* mask) {
    Spec other = spec;
    if (spec.normalize == Normalize::kAsked) other.normalize = Normalize::kExpected;
    return Drop(other, p, key, pass, x, y, exec, mask);
  };
  EXPECT_NE(Caught(target, 2000).reproducer.find("verb=drop"), std::string::npos);
}

TEST(CheckTest, CountsOffByOne) {
  Target target{.backend = "cpu"};
  target.spread = [](const Spec& spec, Probability p, const uint8_t* seeds, const View& x, const Exec& exec,
                     Mask* mask) {
    const Status status = Spread(spec, p, seeds, x, exec, mask);
    if (status.ok() && mask->total > 0 && spec.over == Over::kPlane) --mask->kept[mask->num_kept - 1];
    return status;
  };
  const Mismatch mismatch = Caught(target, 1000);
  EXPECT_EQ(mismatch.what.substr(0, 5), "kept[") << mismatch.what;
  EXPECT_NE(mismatch.reproducer.find("over=plane"), std::string::npos) << mismatch.reproducer;
}

// Tasks that share a word, or run twice, show where the caller's parallel-for runs them in another order.
TEST(CheckTest, TasksSkippedByTheBackend) {
  Target target{.backend = "cpu"};
  target.apply = [](const Mask& mask, Pass pass, const View& x, const View& y, const Exec& exec) {
    Exec skipping = exec;
    if (exec.parallel_for.run) {
      skipping.parallel_for.run = [](void*, int64_t count, void (*task)(void*, int64_t), void* argument) {
        for (int64_t i = 0; i + 1 < count; ++i) task(argument, i);
      };
    }
    return Apply(mask, pass, x, y, skipping);
  };
  EXPECT_NE(Caught(target, 10000).reproducer.find("run="), std::string::npos);
}

// A bad call that is taken, and one that is refused only after something was written.
TEST(CheckTest, BadCallsTakenOrRefusedTooLate) {
  Target target{.backend = "cpu"};
  target.apply = [](const Mask& mask, Pass pass, const View& x, const View& y, const Exec& exec) {
    if (mask.num_bits > 0 && !mask.kept) return Status();
    return Apply(mask, pass, x, y, exec);
  };
  EXPECT_NE(Caught(target, 10000).what.find("not refused: apply.mask.kept.null"), std::string::npos);
  target = Target{.backend = "cpu"};
  target.sample = [](const Spec& spec, Probability p, Key key, const View& x, const Exec& exec, Mask* mask) {
    if (!key && mask && mask->kept) mask->kept[0] = 0;
    return Sample(spec, p, key, x, exec, mask);
  };
  EXPECT_NE(Caught(target, 10000).what.find("mask.kept was written: key.null"), std::string::npos);
}

// A fault in one place of a large tensor shrinks to a case that a person can read.
TEST(CheckTest, ReproducersAreSmall) {
  Target target{.backend = "cpu"};
  target.sample = [](const Spec& spec, Probability p, Key key, const View& x, const Exec& exec, Mask* mask) {
    const Status status = Sample(spec, p, key, x, exec, mask);
    if (status.ok() && mask->num_bits > 64 && x.channels >= 3) mask->bits[0] ^= 1;
    return status;
  };
  Case c;
  ASSERT_TRUE(ReadCase(Caught(target, 300).reproducer, &c).ok());
  EXPECT_LE(c.Elements(), 80);
  EXPECT_EQ(c.sizes[1] >= 3 && c.verb != Verb::kDrop, true);
}

// A smaller case may be the one that hangs.
TEST(CheckDeathTest, TheCaseAsDrawnIsSaidBeforeItIsMadeSmaller) {
  static int mismatches;
  mismatches = 0;
  Target target{.backend = "cpu"};
  target.apply = [](const Mask& mask, Pass pass, const View& x, const View& y, const Exec& exec) {
    const Status status = Apply(mask, pass, x, y, exec);
    if (!status.ok() || y.dtype != DType::kF64 || mask.total < 100) return status;
    if (++mismatches > 1) std::_Exit(3);
    *static_cast<uint8_t*>(y.data) ^= 1;
    return status;
  };
  EXPECT_EXIT(Check(target, kSeed, {.seconds = 300, .cases = 300}), testing::ExitedWithCode(3),
              "MISMATCH y\\[.*as drawn.* dtype=f64 ");
}

// Moving y's order to the default and to x's undo each other where neither matters; a budget would hide that.
TEST(CheckTest, ShrinkingComesToAnEnd) {
  Case c;
  ASSERT_TRUE(ReadCase("dropblock:block=5 verb=split shape=9,8,7,6 x=02341/2/1/0/0/3 y=43210/3/0/1/0/2 cut=4 "
                       "first=1234 seed=99 threads=3 run=threads",
                       &c)
                  .ok());
  int runs = 0;
  const Case small = Shrink(
      c,
      [&](const Case& tried) {
        ++runs;
        return tried.x.axes[1] == 2 && tried.sizes[1] >= 3;
      },
      100000);
  EXPECT_LT(runs, 1000);
  EXPECT_EQ(Print(small), "dropblock:block=1 shape=1,3 x=02341");
}

TEST(CheckTest, CasesReadBack) {
  for (uint64_t number = 0; number < 20000; ++number) {
    const Case c = RandomCase(number);
    const std::string line = Print(c);
    Case read;
    const Status status = ReadCase(line, &read);
    ASSERT_TRUE(status.ok()) << line << "\n" << status.message();
    ASSERT_EQ(Print(read), line);
    ASSERT_EQ(read.x, c.x);
    ASSERT_TRUE(read.spec == c.spec) << line;
  }
}

TEST(CheckTest, BadLinesAreErrors) {
  Case c;
  const auto message = [&](const char* line) { return ReadCase(line, &c).message(); };
  EXPECT_NE(message("").find("empty"), std::string::npos);
  EXPECT_NE(message("dropblok").find("dropblok"), std::string::npos);
  EXPECT_NE(message("dropout shap=1,2").find("did you mean 'shape'?"), std::string::npos);
  EXPECT_NE(message("dropout shape").find("shape"), std::string::npos);
  for (const char* line : {"dropout shape=1",
                           "dropout shape=1,2,3,4,5,6",
                           "dropout shape=1,x",
                           "dropout shape=99999999,99999",
                           "dropout shape=16777216,16777216,16777216",
                           "dropout shape=16777216,16777216,16777216,16777216,0",
                           "dropout x=01233",
                           "dropout x=0123",
                           "dropout x=01234/0/0/0/0/0",
                           "dropout x=01234/1/0/0",
                           "dropout y=01234/1/0/0/1/0",
                           "dropout p=a",
                           "dropout dtype=f8",
                           "dropout threads=0",
                           "dropout onein=0",
                           "dropout spoilt=nothing",
                           "dropblock verb=pack",
                           "dropout p=2",
                           "dropout p=nan",
                           "dropout inplace=yes x=01234/1/0/0/1/0"}) {
    EXPECT_NE(message(line).find("allowed"), std::string::npos) << line << ": " << message(line);
  }
}

// Lines that the drawing and the shrinking of cases cannot give: they would end in a mismatch that is none.
TEST(CheckTest, LinesThatContradictThemselvesAreErrors) {
  Case c;
  for (const char* line :
       {"dropout shape=2,2 cut=5 verb=split", "dropout shape=2,2 cut=1", "dropout shape=2,2 spoilt=pass",
        "dropout shape=2,2 spoilt=y.overlaps", "dropout shape=2,2 spoilt=apply.mask.key.null",
        "dropout shape=2,2 verb=spread spoilt=key.null", "dropout shape=2,0 spoilt=mask.bits.null",
        "dropout shape=2,2 verb=split spoilt=key.null", "dropout p=nan memory=yes shape=2,2 spoilt=key.null",
        "dropblock verb=pack shape=2,2 spoilt=bytes.null", "dropout shape=2,2 onein=7", "dropout shape=2,2 run=threads",
        "dropout shape=2,2 inplace=yes y=02341"}) {
    const std::string message = ReadCase(line, &c).message();
    EXPECT_NE(message.find("allowed"), std::string::npos) << line << ": " << message;
  }
  EXPECT_NE(ReadCase("dropout shape=2,2 cut=5 verb=split", &c).message().find("cut=2"), std::string::npos);
}

// Each row of the table is refused by the library, at least in one random case; none is a row that fits nothing.
TEST(CheckTest, EverySpoilIsTriedAndRefused) {
  for (const Spoil& row : Spoils()) {
    int tried = 0;
    for (uint64_t number = 1; tried < 5 && number < 5000; ++number) {
      Case c = RandomCase(number);
      c.spoilt = row.name;
      c.p_in_memory = false;
      if (!MakeSound(&c) || !(c.p >= 0.0f)) continue;
      const Report report = CheckOne(Target{.backend = "cpu"}, c);
      ASSERT_FALSE(report.mismatch) << report.mismatch->what << "\n" << Print(c);
      ++tried;
    }
    EXPECT_EQ(tried, 5) << row.name;
  }
}

TEST(CheckTest, EveryBackendOfThisBuildIsChecked) {
  Target target;
  for (const BackendInfo& info : Backends()) EXPECT_EQ(MakeTarget(info, &target), info.available) << info.name;
  EXPECT_FALSE(MakeTarget({.name = "tpu", .available = true, .why = "", .host_memory = false}, &target));
}

}  // namespace
}  // namespace dropkit::check
