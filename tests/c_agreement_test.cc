// dropkit_c.h against dropkit.h: for cases over methods, shapes, dtypes and layouts every C function gives what its C++
// twin gives, number for number and byte for byte. Also that the C header stands alone in C++, before any other.
#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "dropkit/dropkit.h"
#include "dropkit/dropkit_c.h"

namespace dropkit {
namespace {

#define ASSERT_CODE_OK(call) ASSERT_EQ(call, DROPKIT_OK) << dropkit_last_error()
#define ASSERT_STATUS_OK(call)                      \
  do {                                              \
    const Status status_ = (call);                  \
    ASSERT_TRUE(status_.ok()) << status_.message(); \
  } while (false)

constexpr uint64_t kKey[2] = {77, 5};

struct Case {
  const char* line;
  std::vector<int64_t> sizes;
  DType dtype;
  Layout layout;
};

// Every line meets every dtype, layout and number of spatial sizes that it takes.
std::vector<Case> Cases() {
  const std::vector<std::vector<int64_t>> shapes = {{}, {17}, {8, 13}, {3, 5, 7}};
  std::vector<Case> cases;
  for (const char* line : {"dropout@0.5", "dropout:share=all,over=plane@0.1", "spatial_dropout:over=sample@0.3",
                           "drop_path@0.2", "dropblock:block=3,rate=calibrated,normalize=expected@0.2", "torchvision",
                           "dropblock:block=4,region=whole,anchor=after,fill=noise@0.1",
                           "cutout:size=3,holes=2,fill=0.5", "drop_connect@0.5"}) {
    for (const std::vector<int64_t>& sizes : shapes) {
      for (int dtype = 0; dtype < 4; ++dtype) {
        for (Layout layout : {Layout::kChannelsFirst, Layout::kChannelsLast}) {
          cases.push_back({line, sizes, static_cast<DType>(dtype), layout});
        }
      }
    }
  }
  return cases;
}

// A mask of the C header with memory of its own.
struct CMask {
  dropkit_mask mask = {};
  std::vector<uint64_t> bits;
  std::vector<int64_t> kept;
  uint64_t threshold = 0;
  int32_t Reserve(const char* spec, const dropkit_view& x) {
    const int32_t code = dropkit_describe(spec, &x, &mask);
    bits.assign(static_cast<size_t>(mask.num_words), ~uint64_t{0});
    kept.assign(static_cast<size_t>(mask.num_kept), -1);
    mask.bits = bits.data();
    mask.kept = kept.data();
    mask.threshold = &threshold;
    return code;
  }
};

void ExpectSameMask(const CMask& c, const Mask& cc) {
  Spec spec;
  ASSERT_STATUS_OK(ParseSpec(c.mask.spec, &spec));
  EXPECT_EQ(spec, cc.spec);
  EXPECT_EQ(c.mask.num_bits, cc.num_bits);
  EXPECT_EQ(c.mask.num_words, cc.num_words());
  EXPECT_EQ(c.mask.num_kept, cc.num_kept);
  EXPECT_EQ(c.mask.total, cc.total);
  EXPECT_EQ(c.mask.samples, cc.samples);
  EXPECT_EQ(c.mask.channels, cc.channels);
  EXPECT_EQ(c.mask.first_sample, cc.first_sample);
  EXPECT_EQ(c.mask.sample_stride, cc.sample_stride);
  EXPECT_EQ(c.mask.channel_stride, cc.channel_stride);
  EXPECT_EQ(c.mask.spatial_dims, cc.spatial_dims);
  EXPECT_EQ(c.mask.key, cc.key);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(c.mask.size[i], cc.size[i]);
    EXPECT_EQ(c.mask.stride[i], cc.stride[i]);
  }
  EXPECT_EQ(c.bits, std::vector<uint64_t>(cc.bits, cc.bits + cc.num_words()));
  EXPECT_EQ(c.kept, std::vector<int64_t>(cc.kept, cc.kept + cc.num_kept));
  EXPECT_EQ(c.threshold, *cc.threshold);
}

void ExpectSameView(const dropkit_view& c, const View& cc) {
  EXPECT_EQ(c.data, cc.data);
  EXPECT_EQ(c.samples, cc.samples);
  EXPECT_EQ(c.channels, cc.channels);
  EXPECT_EQ(c.sample_stride, cc.sample_stride);
  EXPECT_EQ(c.channel_stride, cc.channel_stride);
  EXPECT_EQ(c.dtype, static_cast<int>(cc.dtype));
  EXPECT_EQ(c.spatial_dims, cc.spatial_dims);
  EXPECT_EQ(c.first_sample, 0);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(c.size[i], cc.size[i]);
    EXPECT_EQ(c.stride[i], cc.stride[i]);
  }
}

void ExpectSameRates(const Spec& spec, const char* line, float p, const View& cc_x, const dropkit_view& c_x) {
  RateInfo cc;
  dropkit_rate_info c;
  ASSERT_STATUS_OK(Rates(spec, p, cc_x, &cc));
  ASSERT_CODE_OK(dropkit_rates(line, p, &c_x, &c));
  EXPECT_EQ(c.threshold, cc.threshold);
  EXPECT_EQ(c.lane_threshold, cc.lane_threshold);
  EXPECT_EQ(c.gamma, cc.gamma);
  EXPECT_EQ(c.expected_drop, cc.expected_drop);
  EXPECT_EQ(c.lanes, cc.lanes);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(c.block[i], cc.block[i]);
    EXPECT_EQ(c.positions[i], cc.positions[i]);
    EXPECT_EQ(c.before[i], cc.before[i]);
  }
}

void ExpectSameGain(const CMask& c, const Mask& cc, DType dtype) {
  Gain gain;
  dropkit_gain c_gain;
  for (const Pass pass : {Pass::kForward, Pass::kBackward}) {
    ASSERT_STATUS_OK(GainOf(cc, pass, 1, 2, dtype, &gain));
    ASSERT_CODE_OK(dropkit_gain_of(&c.mask, static_cast<int>(pass), 1, 2, static_cast<int>(dtype), &c_gain));
    EXPECT_EQ(c_gain.a, gain.a);
    EXPECT_EQ(c_gain.b, gain.b);
    EXPECT_EQ(c_gain.c, gain.c);
    EXPECT_EQ(c_gain.d, gain.d);
  }
}

void ExpectAgreement(const Case& each) {
  constexpr int64_t kSamples = 3, kChannels = 4, kFirst = 9;
  std::vector<uint8_t> in(8 * kSamples * kChannels * 105), out(in.size(), 1), c_out(in.size(), 2);
  for (size_t i = 0; i < in.size(); ++i) in[i] = static_cast<uint8_t>(i * 37 % 61);

  Spec spec;
  float p, c_p;
  char text[DROPKIT_SPEC_BYTES];
  ASSERT_STATUS_OK(ParseCase(each.line, &spec, &p));
  for (const SpecForm form : {SpecForm::kShort, SpecForm::kFull}) {
    ASSERT_CODE_OK(dropkit_parse_case(each.line, static_cast<int>(form), text, sizeof(text), &c_p));
    EXPECT_EQ(text, PrintSpec(spec, form));
    EXPECT_EQ(c_p, p);
  }

  View x = DenseView(in.data(), each.dtype, kSamples, kChannels, each.sizes, each.layout);
  dropkit_view c_x;
  ASSERT_CODE_OK(dropkit_dense_view(in.data(), static_cast<int>(each.dtype), kSamples, kChannels, each.sizes.data(),
                                    static_cast<int>(each.sizes.size()), static_cast<int>(each.layout), &c_x));
  ExpectSameView(c_x, x);
  x.first_sample = c_x.first_sample = kFirst;

  size_t bytes = 1, c_bytes = 2;
  ASSERT_STATUS_OK(ScratchBytes(spec, x, Exec(), &bytes));
  ASSERT_CODE_OK(dropkit_scratch_bytes(text, &c_x, nullptr, &c_bytes));
  EXPECT_EQ(c_bytes, bytes);
  ExpectSameRates(spec, text, p, x, c_x);

  View y = x;
  y.data = out.data();
  dropkit_view c_y = c_x;
  c_y.data = c_out.data();
  MaskStorage storage;
  CMask c_mask;
  ASSERT_STATUS_OK(storage.Reserve(spec, x));
  ASSERT_CODE_OK(c_mask.Reserve(text, c_x));
  ASSERT_STATUS_OK(Drop(spec, p, kKey, Pass::kForward, x, y, Exec(), &storage.mask));
  ASSERT_CODE_OK(dropkit_drop(text, p, nullptr, kKey, DROPKIT_FORWARD, &c_x, &c_y, nullptr, &c_mask.mask));
  ExpectSameMask(c_mask, storage.mask);
  ExpectSameGain(c_mask, storage.mask, each.dtype);
  const size_t used = SizeOf(each.dtype) * static_cast<size_t>(storage.mask.total);
  EXPECT_EQ(std::memcmp(out.data(), c_out.data(), used), 0);

  for (const Pass pass : {Pass::kForward, Pass::kBackward}) {
    std::fill(c_out.begin(), c_out.end(), 3);
    ASSERT_STATUS_OK(Apply(storage.mask, pass, x, y, Exec()));
    ASSERT_CODE_OK(dropkit_apply(&c_mask.mask, static_cast<int>(pass), &c_x, &c_y, nullptr));
    EXPECT_EQ(std::memcmp(out.data(), c_out.data(), used), 0);
  }
}

TEST(CAgreement, EveryFunctionGivesWhatItsTwinGives) {
  int compared = 0;
  for (const Case& each : Cases()) {
    Spec spec;
    float p;
    Mask mask;
    ASSERT_STATUS_OK(ParseCase(each.line, &spec, &p));
    if (!Describe(spec, DenseView(nullptr, each.dtype, 3, 4, each.sizes, each.layout), &mask).ok()) continue;
    SCOPED_TRACE(std::string(each.line) + ", " + std::to_string(each.sizes.size()) + " sizes, " + Name(each.dtype) +
                 (each.layout == Layout::kChannelsLast ? ", channels last" : ""));
    ExpectAgreement(each);
    if (HasFatalFailure() || HasNonfatalFailure()) return;
    ++compared;
  }
  EXPECT_GE(compared, 280);
}

// Every method and preset passes through the C functions' text.
TEST(CAgreement, EveryLineIsReadAlike) {
  char text[DROPKIT_SPEC_BYTES];
  float p;
  for (const MethodInfo& method : Methods()) {
    ASSERT_CODE_OK(dropkit_parse_case(method.name.c_str(), DROPKIT_FULL, text, sizeof(text), &p));
    EXPECT_EQ(text, method.full_line);
    EXPECT_EQ(p, method.default_p);
  }
  for (const PresetInfo& preset : Presets()) {
    ASSERT_CODE_OK(dropkit_parse_case(preset.name.c_str(), DROPKIT_FULL, text, sizeof(text), &p));
    EXPECT_EQ(text, preset.full_line);
    EXPECT_EQ(p, preset.default_p);
  }
}

// DROPKIT_SPEC_BYTES hold every line that can be printed: here every key and every number is at its longest, but for
// rate=calibrated, which allows no gamma_scale; its five letters more would fit too.
TEST(CAgreement, TheLongestLineFits) {
  const std::string line =
      "dropblock:block=1048576x1048576x1048576,region=valid,rate=paper,gamma_scale=2.2250738585072014e-308,"
      "anchor=before,clip=square,share=channels,normalize=expected,over=sample,fill=-2.2250738585072014e-308,draw=1";
  char text[DROPKIT_SPEC_BYTES];
  float p;
  ASSERT_CODE_OK(dropkit_parse_case(line.c_str(), DROPKIT_FULL, text, sizeof(text), &p));
  EXPECT_EQ(text, line);
  EXPECT_LT(line.size() + 5, sizeof(text));
}

TEST(CAgreement, SentencesAreThoseOfTheStatus) {
  Spec spec;
  float p;
  char text[DROPKIT_SPEC_BYTES];
  for (const char* line : {"dropblok", "dropblock:block=0", "dropout@2", "dropout:shar=none", "cutout:size=3,size=3"}) {
    const Status status = ParseCase(line, &spec, &p);
    EXPECT_EQ(dropkit_parse_case(line, DROPKIT_SHORT, text, sizeof(text), &p), static_cast<int>(status.code()));
    EXPECT_EQ(dropkit_last_error(), status.message());
  }
  const std::vector<BackendInfo> backends = Backends();
  for (size_t i = 0; i < backends.size(); ++i) {
    EXPECT_EQ(dropkit_backend_name(static_cast<int>(i)), backends[i].name);
    EXPECT_EQ(dropkit_backend_unavailable(static_cast<int>(i)) == nullptr, backends[i].available);
  }
  EXPECT_EQ(dropkit_build_info(), BuildInfo());
  EXPECT_STREQ(dropkit_version(), Version());
}

TEST(CAgreement, EachThreadHasItsOwnSentence) {
  ASSERT_EQ(dropkit_set_threads(-1), DROPKIT_INVALID);
  const std::string mine = dropkit_last_error();
  std::string before = "unset", after;
  std::thread other([&] {
    before = dropkit_last_error();
    if (dropkit_set_threads(-9) != DROPKIT_OK) after = dropkit_last_error();
  });
  other.join();
  EXPECT_EQ(before, "");
  EXPECT_NE(after.find("-9"), std::string::npos);
  EXPECT_EQ(dropkit_last_error(), mine);
}

// What a C++ program's callback throws ends as a code.
TEST(CAgreement, NothingThrowsAcrossTheBoundary) {
  std::vector<float> in(64 * 64 * 64);
  const int64_t sizes[2] = {64, 64};
  dropkit_view x;
  ASSERT_CODE_OK(dropkit_dense_view(in.data(), DROPKIT_F32, 4, 16, sizes, 2, DROPKIT_CHANNELS_FIRST, &x));
  CMask mask;
  ASSERT_CODE_OK(mask.Reserve("dropblock:block=5", x));
  dropkit_exec exec = {};
  exec.max_threads = 4;
  exec.parallel_for = [](void*, int64_t, dropkit_task, void*) { throw 42; };
  EXPECT_EQ(dropkit_sample("dropblock:block=5", 0.1f, nullptr, kKey, &x, &exec, &mask.mask), DROPKIT_INTERNAL);
  EXPECT_STREQ(dropkit_last_error(), "unexpected: something that is no std::exception was thrown");
}

}  // namespace
}  // namespace dropkit
