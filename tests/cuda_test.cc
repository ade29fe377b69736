// The backend cuda on memory of its own: golden masks; every method, dtype, layout and call against the backend cpu, as
// it is and captured, where key and p are read from the device's memory at each replay; what it refuses. Random cases
// are `dropkit check`'s.
//
// On a card, else skipped by name. Compiled with DROPKIT_EMULATED_GRID it runs the same on the emulated grid.
#include <gtest/gtest.h>

#include <cstring>

#include "cli/bench/device_setup.h"
#include "golden_reader.h"

namespace dropkit {
namespace {

using bench::DeviceMemory;
using golden::MaskCase;

#ifdef DROPKIT_EMULATED_GRID
cli::Device* TheDevice() {
  static auto* device = cli::MakeHostDevice().release();
  return device;
}
constexpr const char* kWhyNone = "";
#else
cli::Device* TheDevice() { return cli::CudaDevice(); }
const std::string kWhyNone = "no GPU: skipped (" + cli::WhyNoCudaDevice() + ")";
#endif

class CudaTest : public testing::Test {
 protected:
  void SetUp() override {
    if (TheDevice() == nullptr) GTEST_SKIP() << kWhyNone;
  }
};

// A mask whose memory is the device's, and what is read back of it.
struct DeviceMask {
  DeviceMask(const Spec& spec, const View& x) : x(x) {
    EXPECT_TRUE(storage.Reserve(spec, x).ok());
    mask = storage.mask;
    bits = std::make_unique<DeviceMemory>(*TheDevice(), 8 * static_cast<size_t>(mask.num_words()));
    kept = std::make_unique<DeviceMemory>(*TheDevice(), 8 * static_cast<size_t>(mask.num_kept));
    threshold = std::make_unique<DeviceMemory>(*TheDevice(), 8);
    exec.backend = "cuda";
    exec.stream = TheDevice()->stream();
    EXPECT_TRUE(ScratchBytes(spec, x, exec, &exec.scratch_bytes).ok());
    scratch = std::make_unique<DeviceMemory>(*TheDevice(), exec.scratch_bytes);
    exec.scratch = scratch->as<void>();
    mask.bits = bits->as<uint64_t>();
    mask.kept = kept->as<int64_t>();
    mask.threshold = threshold->as<uint64_t>();
    // What was in the words before must not matter.
    const std::vector<uint8_t> before(bits->bytes(), 0xA5);
    bits->Write(before.data());
  }
  Status Draw(const Spec& spec, float p, const uint64_t* host_key) {
    DeviceMemory key(*TheDevice(), 16);
    key.Write(host_key);
    if (Status status = Sample(spec, p, key.as<uint64_t>(), x, exec, &mask); !status.ok()) return status;
    bits->Read(storage.mask.bits);
    kept->Read(storage.mask.kept);
    threshold->Read(storage.mask.threshold);
    return TheDevice()->Synchronise();
  }
  const View x;
  MaskStorage storage;
  Mask mask;
  Exec exec;
  std::unique_ptr<DeviceMemory> bits, kept, threshold, scratch;
};

TEST_F(CudaTest, GoldenMasks) {
  for (const MaskCase& c : golden::ReadMasks()) {
    SCOPED_TRACE(c.line.where() + " " + c.text);
    Spec spec;
    float p;
    ASSERT_TRUE(ParseCase(c.text, &spec, &p).ok());
    for (const Layout layout : {Layout::kChannelsFirst, Layout::kChannelsLast}) {
      DeviceMask drawn(spec, c.Shape(layout));
      const Status status = drawn.Draw(spec, p, c.key);
      ASSERT_TRUE(status.ok()) << status.message();
      const Mask& mask = drawn.storage.mask;
      EXPECT_EQ(c.Difference(golden::DenseKeep(mask)), "");
      EXPECT_EQ(*mask.threshold, c.threshold);
      EXPECT_EQ(std::vector<int64_t>(mask.kept, mask.kept + mask.num_kept), c.kept);
      if (mask.num_bits % 64 != 0) {
        EXPECT_EQ(mask.bits[mask.num_words() - 1] >> (mask.num_bits % 64), 0u) << "padding bits";
      }
    }
  }
}

TEST_F(CudaTest, EveryCallAsItIsAndCaptured) {
  const char* specs[] = {"dropout@0.17",
                         "spatial_dropout@0.4",
                         "drop_path@0.5",
                         "dropblock:block=3@0.2",
                         "dropblock:block=4x3,region=whole,rate=calibrated,share=batch,normalize=expected@0.3",
                         "dropblock:block=3,share=channels,over=plane,fill=0.5@0.2",
                         "cutout:size=4,holes=2@0.7",
                         "drop_connect:normalize=asked@0.3",
                         "dropout:over=sample,fill=noise@0.5"};
  for (const std::string spec : specs) {
    for (const std::string dtype : {"f32", "f16", "bf16", "f64"}) {
      for (const std::string rest : {" first forward", " last forward", " first in_place", " last backward",
                                     " first sample", " first recompute"}) {
        const bench::Case c = bench::ReadCase(spec + " 3,5,9,11 " + dtype + rest);
        bench::DeviceSetup setup(c, *TheDevice(), "cuda");
        ASSERT_NO_THROW(setup.Check()) << c.line;
      }
    }
  }
}

TEST_F(CudaTest, ScratchMustBeGivenAndSuffice) {
  Spec spec;
  ASSERT_TRUE(ParseSpec("dropblock:block=3", &spec).ok());
  DeviceMask drawn(spec, DenseView(nullptr, DType::kF32, 2, 3, {16, 16}));
  const uint64_t key[] = {1, 2};
  ASSERT_TRUE(drawn.Draw(spec, 0.1f, key).ok());
  const Exec good = drawn.exec;
  if (good.scratch_bytes == 0) GTEST_SKIP() << "this spec needs none";
  drawn.exec.scratch = nullptr;
  EXPECT_NE(drawn.Draw(spec, 0.1f, key).message().find("exec.scratch = null"), std::string::npos);
  drawn.exec = good;
  --drawn.exec.scratch_bytes;
  EXPECT_NE(drawn.Draw(spec, 0.1f, key).message().find("exec.scratch_bytes"), std::string::npos);
  drawn.exec = good;
  drawn.exec.scratch = static_cast<uint8_t*>(good.scratch) + 8;
  EXPECT_NE(drawn.Draw(spec, 0.1f, key).message().find("not aligned"), std::string::npos);
}

}  // namespace
}  // namespace dropkit
