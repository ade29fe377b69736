// Spec lines: what parses, what prints, and the sentence that every bad line gets.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <set>
#include <thread>

#include "dropkit/dropkit.h"
#include "methods.h"

namespace dropkit {
namespace {

Spec Parsed(const std::string& line) {
  Spec spec;
  const Status status = ParseSpec(line, &spec);
  EXPECT_TRUE(status.ok()) << line << ": " << status.message();
  return spec;
}

std::string Refusal(const std::string& line) {
  Spec spec;
  spec.holes = 77;
  const Status status = ParseSpec(line, &spec);
  EXPECT_FALSE(status.ok()) << line;
  EXPECT_EQ(spec.holes, 77) << "a refused line must leave the spec alone";
  return status.message();
}

#define EXPECT_SAYS(text, word) EXPECT_NE(std::string(text).find(word), std::string::npos) << text

// Parsed and printed before main.
const std::string kBeforeMain = [] {
  Spec spec;
  return ParseSpec("dropblock:share=batch", &spec).ok() ? PrintSpec(spec) : std::string("refused");
}();

TEST(SpecTest, WorksBeforeMain) { EXPECT_EQ(kBeforeMain, "dropblock:share=batch"); }

TEST(SpecTest, WorksInAForkedChildWhileTheParentParses) {
  std::atomic<bool> stop{false};
  std::thread parser([&] {
    Spec spec;
    for (int i = 1; !stop; ++i) EXPECT_TRUE(ParseSpec("cutout:size=" + std::to_string(i % 9999 + 1), &spec).ok());
  });
  for (int i = 0; i < 50; ++i) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      alarm(20);  // a hang is a failure
      Spec spec;
      _exit(ParseSpec("dropout:fill=" + std::to_string(i), &spec).ok() ? 0 : 1);
    }
    int status = -1;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  }
  stop = true;
  parser.join();
}

TEST(SpecTest, DefaultsOfEveryMethod) {
  EXPECT_EQ(PrintSpec(Parsed("dropblock"), SpecForm::kFull),
            "dropblock:block=7,region=valid,rate=paper,gamma_scale=1,anchor=before,clip=axis,share=none,normalize=kept,"
            "over=tensor,fill=0,draw=1");
  EXPECT_EQ(PrintSpec(Parsed("dropout"), SpecForm::kFull),
            "dropout:share=none,normalize=expected,over=tensor,fill=0,draw=1");
  EXPECT_EQ(PrintSpec(Parsed("cutout"), SpecForm::kFull),
            "cutout:size=16,holes=1,region=whole,share=channels,normalize=none,over=tensor,fill=0,draw=1");
  EXPECT_EQ(PrintSpec(Parsed("drop_connect"), SpecForm::kFull),
            "drop_connect:share=batch,normalize=expected,over=tensor,fill=0,draw=1");
}

TEST(SpecTest, ShortFormHoldsWhatDiffers) {
  EXPECT_EQ(PrintSpec(Parsed("dropblock:block=7")), "dropblock");
  EXPECT_EQ(PrintSpec(Parsed("dropblock:rate=calibrated,block=3x5")), "dropblock:block=3x5,rate=calibrated");
  EXPECT_EQ(PrintSpec(Parsed("cutout:size=8,holes=2")), "cutout:size=8,holes=2");
  EXPECT_EQ(PrintSpec(Parsed("timm")), "dropblock:region=whole,share=channels");
}

TEST(SpecTest, BothFormsParseBack) {
  for (const char* line : {"dropblock:block=2x3x4,region=whole,anchor=after,clip=none,rate=raw,gamma_scale=0.1,share="
                           "all,normalize=asked,over=plane",
                           "dropout:fill=-0.25", "dropout:fill=1e-30", "dropout:fill=noise",
                           "cutout:size=10,region=valid,holes=3,fill=0.5", "drop_path:share=batch",
                           "spatial_dropout:normalize=kept,over=sample", "miguelvr:block=6", "recipe-a"}) {
    const Spec spec = Parsed(line);
    EXPECT_EQ(Parsed(PrintSpec(spec)), spec) << line;
    EXPECT_EQ(Parsed(PrintSpec(spec, SpecForm::kFull)), spec) << line;
  }
}

TEST(SpecTest, FullLinesOfTheTablesParseBack) {
  for (const MethodInfo& info : Methods())
    EXPECT_EQ(PrintSpec(Parsed(info.full_line), SpecForm::kFull), info.full_line);
  std::set<std::string> names;
  for (const PresetInfo& info : Presets()) {
    EXPECT_EQ(Parsed(info.full_line), Parsed(info.name)) << info.name;
    names.insert(info.name);
  }
  for (const char* name :
       {"paper", "recipe-a", "recipe-b", "torchvision", "timm", "miguelvr", "mmdet", "keras-cv", "dragon"}) {
    EXPECT_TRUE(names.count(name)) << name;
  }
}

TEST(SpecTest, MethodRowsAreInTheEnumsOrder) {
  for (size_t i = 0; i < MethodTable().size(); ++i) EXPECT_EQ(static_cast<size_t>(MethodTable()[i].method), i);
}

TEST(SpecTest, ExtentPerAxis) {
  const Spec spec = Parsed("dropblock:block=3x5");
  EXPECT_EQ(spec.extent_dims, 2);
  EXPECT_EQ(spec.extent[0], 3);
  EXPECT_EQ(spec.extent[1], 5);
  EXPECT_EQ(Parsed("dropblock:block=4").extent[2], 4);
}

TEST(SpecTest, UnknownWordsSuggestTheNearest) {
  EXPECT_SAYS(Refusal("dropblok"), "did you mean 'dropblock'?");
  EXPECT_SAYS(Refusal("dropblock:blok=7"), "did you mean 'block'?");
  EXPECT_SAYS(Refusal("dropblock:blok=7"), "'blok'");
  EXPECT_SAYS(Refusal(""), "unknown method");
  EXPECT_SAYS(Refusal("dropout:block=7"), "keys of dropout: share, normalize, over, fill");
}

TEST(SpecTest, BadValuesNameWhatIsAllowed) {
  EXPECT_SAYS(Refusal("dropblock:rate=fast"), "allowed: paper, calibrated, plain, raw");
  EXPECT_SAYS(Refusal("dropblock:block=0"), "block=0; allowed: a whole number from 1 to 2^20");
  for (const char* bad :
       {"block=-3", "block=", "block=7.5", "block=3x", "block=x3", "block=1x2x3x4", "block=99999999999999999999",
        "gamma_scale=-1", "gamma_scale=inf", "gamma_scale=nan", "fill=nan", "fill=x", "share=some",
        "normalize=", "over=batch", "region=centre", "anchor=left", "clip=yes"}) {
    EXPECT_SAYS(Refusal(std::string("dropblock:") + bad), "allowed:") << bad;
  }
  EXPECT_SAYS(Refusal("cutout:holes=0"), "allowed: a whole number from 1 to 65535");
  EXPECT_SAYS(Refusal("dropblock:block"), "is not KEY=VALUE");
  EXPECT_SAYS(Refusal("dropblock:"), "is not KEY=VALUE");
  EXPECT_SAYS(Refusal("dropblock:block=7,"), "is not KEY=VALUE");
  EXPECT_SAYS(Refusal("dropblock:draw=2"), "draws by version 1");
}

TEST(SpecTest, RepeatedAndContradictoryKeys) {
  EXPECT_SAYS(Refusal("dropblock:block=7,block=7"), "'block' is given twice");
  EXPECT_SAYS(Refusal("dropblock:draw=1,draw=1"), "'draw' is given twice");
  EXPECT_SAYS(Refusal("dropblock:rate=calibrated,gamma_scale=2"), "contradicts");
  EXPECT_SAYS(Refusal("dropblock:anchor=after"), "contradicts region=valid");
  EXPECT_SAYS(Refusal("drop_path:share=channels"), "allowed: none, batch");
  EXPECT_SAYS(Refusal("spatial_dropout:share=all"), "allowed: none, batch");
}

TEST(SpecTest, CasesGiveP) {
  Spec spec;
  float p = -1;
  ASSERT_TRUE(ParseCase("dropblock:block=7@0.1", &spec, &p).ok());
  EXPECT_EQ(p, 0.1f);
  ASSERT_TRUE(ParseCase("torchvision", &spec, &p).ok());
  EXPECT_EQ(p, 0.5f);
  ASSERT_TRUE(ParseCase("cutout:size=4", &spec, &p).ok());
  EXPECT_EQ(p, 1.0f);
  for (const char* line :
       {"dropout@1.5", "dropout@-0.1", "dropout@nan", "dropout@", "dropout@0.1x", "dropout@0.1@0.2", "dropout@1e99"}) {
    p = -1;
    EXPECT_FALSE(ParseCase(line, &spec, &p).ok()) << line;
    EXPECT_EQ(p, -1) << line;
  }
  const Status status = ParseCase("dropout@1.5", &spec, &p);
  EXPECT_SAYS(status.message(), "1.5");
  EXPECT_SAYS(status.message(), "allowed: a number from 0 to 1");
}

TEST(SpecTest, MemoAnswersTheSameAfterManyLines) {
  const Spec first = Parsed("dropblock:block=5");
  for (int i = 1; i < 10000; ++i) Parsed("cutout:size=" + std::to_string(i));
  EXPECT_EQ(Parsed("dropblock:block=5"), first);
}

TEST(SpecTest, HandMadeSpecsAreChecked) {
  Spec spec = Parsed("dropblock");
  spec.extent[1] = 0;
  EXPECT_FALSE(ValidateSpec(spec).ok());
  spec = Parsed("dropblock");
  spec.method = static_cast<Method>(99);
  EXPECT_FALSE(ValidateSpec(spec).ok());
  EXPECT_EQ(PrintSpec(spec), "(invalid spec)");
}

}  // namespace
}  // namespace dropkit
