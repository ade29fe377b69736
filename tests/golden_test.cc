// Every golden mask, through the public verbs, on every backend of this machine: every layout and dtype, 1, 2, 3 and 8
// threads, and the batch split unevenly by first_sample.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "bits.h"
#include "golden_reader.h"

namespace dropkit {
namespace {

using golden::DenseKeep;
using golden::MaskCase;

const std::vector<MaskCase>& Cases() {
  static const auto* cases = new std::vector<MaskCase>(golden::ReadMasks());
  return *cases;
}

struct Parsed {
  explicit Parsed(const MaskCase& c) {
    const Status status = ParseCase(c.text, &spec, &p);
    EXPECT_TRUE(status.ok()) << status.message();
  }
  Spec spec;
  float p = 0;
};

std::vector<const char*> BackendNames() {
  static const auto* infos = new std::vector<BackendInfo>(Backends());
  std::vector<const char*> names;
  for (const BackendInfo& info : *infos) {
    if (info.available && info.host_memory) names.push_back(info.name.c_str());
  }
  return names;
}

std::vector<uint8_t> Drawn(const Parsed& parsed, const MaskCase& c, const View& x, const Exec& exec,
                           MaskStorage* storage) {
  Status status = storage->Reserve(parsed.spec, x);
  EXPECT_TRUE(status.ok()) << status.message();
  // What was in the words before must not matter.
  std::fill_n(storage->mask.bits, storage->mask.num_words(), 0xA5A5A5A5A5A5A5A5u);
  status = Sample(parsed.spec, parsed.p, c.key, x, exec, &storage->mask);
  EXPECT_TRUE(status.ok()) << status.message();
  return DenseKeep(storage->mask);
}

TEST(GoldenTest, MasksCountsAndThresholds) {
  for (const MaskCase& c : Cases()) {
    SCOPED_TRACE(c.line.where() + " " + c.text);
    const Parsed parsed(c);
    for (const char* backend : BackendNames()) {
      for (const Layout layout : {Layout::kChannelsFirst, Layout::kChannelsLast}) {
        MaskStorage storage;
        Exec exec;
        exec.backend = backend;
        EXPECT_EQ(c.Difference(Drawn(parsed, c, c.Shape(layout), exec, &storage)), "") << backend;
        EXPECT_EQ(*storage.mask.threshold, c.threshold);
        EXPECT_EQ(std::vector<int64_t>(storage.mask.kept, storage.mask.kept + storage.mask.num_kept), c.kept);
        if (storage.mask.num_bits % 64 != 0) {
          EXPECT_EQ(storage.mask.bits[storage.mask.num_words() - 1] >> (storage.mask.num_bits % 64), 0u)
              << "padding bits";
        }
      }
    }
  }
}

TEST(GoldenTest, ThreadsChangeNothing) {
  for (const int threads : {1, 2, 3, 8}) {
    ASSERT_TRUE(SetThreads(threads).ok());
    for (const MaskCase& c : Cases()) {
      for (const Layout layout : {Layout::kChannelsFirst, Layout::kChannelsLast}) {
        MaskStorage storage;
        EXPECT_EQ(c.Difference(Drawn(Parsed(c), c, c.Shape(layout), Exec(), &storage)), "")
            << c.text << ", threads " << threads;
      }
    }
  }
  ASSERT_TRUE(SetThreads(0).ok());
}

// Large enough that a call is cut into many tasks: all thread counts and layouts against the reference.
TEST(GoldenTest, ManyTasksEqualTheReference) {
  for (const char* line :
       {"dropblock:block=7@0.1", "dropblock:block=4x3,region=whole,share=channels@0.3", "dropout@0.17",
        "dropout:share=channels@0.9", "cutout:size=9,holes=2,share=none@0.7", "spatial_dropout@0.4", "drop_path@0.5",
        "drop_connect@0.3", "dropblock:block=3,over=plane,share=batch@0.2"}) {
    const MaskCase& any = Cases().front();
    Spec spec;
    float p;
    ASSERT_TRUE(ParseCase(line, &spec, &p).ok());
    for (const std::vector<int64_t>& map : {std::vector<int64_t>{29, 31}, {7, 7}, {64}, {}}) {
      for (const Layout layout : {Layout::kChannelsFirst, Layout::kChannelsLast}) {
        if (line == std::string("dropblock:block=4x3,region=whole,share=channels@0.3") && map.size() != 2) continue;
        const View x = DenseView(nullptr, DType::kF32, 9, 67, map, layout, 3);
        MaskStorage reference, fast;
        Exec exec;
        exec.backend = "reference";
        ASSERT_TRUE(reference.Reserve(spec, x).ok() && fast.Reserve(spec, x).ok());
        ASSERT_TRUE(Sample(spec, p, any.key, x, exec, &reference.mask).ok());
        for (const int threads : {1, 2, 3, 8}) {
          ASSERT_TRUE(SetThreads(threads).ok());
          ASSERT_TRUE(Sample(spec, p, any.key, x, Exec(), &fast.mask).ok());
          ASSERT_EQ(DenseKeep(reference.mask), DenseKeep(fast.mask))
              << line << " map " << map.size() << " threads " << threads;
          ASSERT_TRUE(std::equal(fast.mask.kept, fast.mask.kept + fast.mask.num_kept, reference.mask.kept)) << line;
        }
      }
    }
  }
  ASSERT_TRUE(SetThreads(0).ok());
}

TEST(GoldenTest, SplitBatchIsTheSameBatch) {
  for (const MaskCase& c : Cases()) {
    SCOPED_TRACE(c.line.where() + " " + c.text);
    const Parsed parsed(c);
    for (const Layout layout : {Layout::kChannelsFirst, Layout::kChannelsLast}) {
      MaskStorage whole, front, back;
      const std::vector<uint8_t> all = Drawn(parsed, c, c.Part(0, 8, layout), Exec(), &whole);
      std::vector<uint8_t> parts = Drawn(parsed, c, c.Part(0, 5, layout), Exec(), &front);
      const std::vector<uint8_t> rest = Drawn(parsed, c, c.Part(5, 3, layout), Exec(), &back);
      parts.insert(parts.end(), rest.begin(), rest.end());
      ASSERT_EQ(all, parts);
      const size_t golden_size = DenseKeep(whole.mask).size() / 8 * std::min<int64_t>(8, c.shape.samples);
      if (c.shape.samples <= 8) {
        EXPECT_EQ(c.Difference(std::vector<uint8_t>(all.begin(), all.begin() + golden_size)), "");
      }
    }
  }
}

double ReadElement(const void* data, DType dtype, size_t i) {
  switch (dtype) {
    case DType::kF32:
      return static_cast<const float*>(data)[i];
    case DType::kF64:
      return static_cast<const double*>(data)[i];
    case DType::kF16:
      return ToFloat(static_cast<const Float16*>(data)[i]);
    case DType::kBF16:
      return ToFloat(static_cast<const BFloat16*>(data)[i]);
  }
  return 0;
}

// y of a tensor of ones shows mask and gain: every dtype, forward by Drop and backward by Apply.
TEST(GoldenTest, OutputsInEveryDType) {
  for (const MaskCase& c : Cases()) {
    SCOPED_TRACE(c.line.where() + " " + c.text);
    const Parsed parsed(c);
    if (parsed.spec.fill == Fill::kNoise) continue;  // apply_test has noise
    for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16, DType::kF64}) {
      View x = c.Shape(Layout::kChannelsFirst, dtype);
      MaskStorage storage;
      ASSERT_TRUE(storage.Reserve(parsed.spec, x).ok());
      const size_t count = static_cast<size_t>(storage.mask.total);
      std::vector<double> memory(count + 1), out(count + 1), back(count + 1);
      const uint16_t half = dtype == DType::kF16 ? 0x3C00 : 0x3F80;
      for (size_t i = 0; i < count; ++i) {
        if (dtype == DType::kF64) memory[i] = 1.0;
        if (dtype == DType::kF32) reinterpret_cast<float*>(memory.data())[i] = 1.0f;
        if (SizeOf(dtype) == 2) reinterpret_cast<uint16_t*>(memory.data())[i] = half;
      }
      x.data = memory.data();
      View y = x, dx = x;
      y.data = out.data();
      dx.data = back.data();
      ASSERT_TRUE(Drop(parsed.spec, parsed.p, c.key, Pass::kForward, x, y, Exec(), &storage.mask).ok());
      ASSERT_TRUE(Apply(storage.mask, Pass::kBackward, x, dx, Exec()).ok());
      const std::vector<uint8_t> keep = DenseKeep(storage.mask);
      const size_t planes = c.shape.samples * c.shape.channels, cells = planes ? count / planes : 1;
      for (size_t i = 0; i < count; ++i) {
        const size_t which = c.gains.size() == 1        ? 0
                             : c.gains.size() == planes ? i / cells
                                                        : i / (cells * c.shape.channels);
        double gain = c.gains[which];
        if (dtype != DType::kF64) gain = static_cast<float>(gain);
        if (dtype == DType::kF16) gain = ToFloat(ToFloat16(static_cast<float>(gain)));
        if (dtype == DType::kBF16) gain = ToFloat(ToBFloat16(static_cast<float>(gain)));
        double fill = parsed.spec.fill_value;
        if (dtype != DType::kF64) fill = static_cast<float>(fill);
        if (dtype == DType::kF16) fill = ToFloat(ToFloat16(static_cast<float>(fill)));
        if (dtype == DType::kBF16) fill = ToFloat(ToBFloat16(static_cast<float>(fill)));
        ASSERT_EQ(ReadElement(out.data(), dtype, i), keep[i] ? gain : fill) << Name(dtype) << " element " << i;
        ASSERT_EQ(ReadElement(back.data(), dtype, i), keep[i] ? gain : 0.0) << Name(dtype) << " element " << i;
      }
    }
  }
}

}  // namespace
}  // namespace dropkit
