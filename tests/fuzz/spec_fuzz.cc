// Any text as a case line. What is accepted prints in both forms and parses back to the same spec, and describes a
// tensor or says why not; what is refused gets a message. Values of the parsed keys are spec_test.cc's matter.
#include <cstring>

#include "dropkit/dropkit.h"
#include "tests/fuzz/input.h"

namespace dropkit::fuzz {
namespace {

void CheckPrinting(const Spec& spec) {
  for (const SpecForm form : {SpecForm::kShort, SpecForm::kFull}) {
    const std::string line = PrintSpec(spec, form);
    Spec again;
    const Status status = ParseSpec(line, &again);
    Require(status.ok(), "printed, then refused: " + line + ": " + status.message());
    Require(again == spec, "printed, then read as another spec: " + line);
    Require(PrintSpec(again, form) == line, "printed in two ways: " + line);
  }
}

// Geometry and rates of small tensors of every rank: numbers in range, or a message.
void CheckRates(const Spec& spec, float p) {
  for (const std::vector<int64_t>& map : {std::vector<int64_t>{}, {9}, {7, 5}, {3, 4, 5}}) {
    const View x = DenseView(nullptr, DType::kF32, 2, 3, map);
    RateInfo rates;
    const Status status = Rates(spec, p, x, &rates);
    if (!status.ok()) {
      Require(!status.message().empty() && status.code() == Status::Code::kInvalid, "rates refused without a reason");
      continue;
    }
    Require(rates.expected_drop >= 0 && rates.expected_drop <= 1, "expected drop outside [0, 1]");
    Require(rates.gamma >= 0 && rates.gamma <= 1, "gamma outside [0, 1]");
  }
}

void CheckLine(std::string_view line) {
  Spec spec, untouched;
  float p = -1;
  const Status status = ParseCase(line, &spec, &p);
  if (!status.ok()) {
    Require(!status.message().empty(), "refused without a message");
    Require(status.code() == Status::Code::kInvalid, "refused as if it were not the line's fault");
    Require(spec == untouched && p == -1, "refused, but written");
    return;
  }
  Require(p >= 0 && p <= 1, "p outside [0, 1]");
  CheckPrinting(spec);
  CheckRates(spec, p);
}

}  // namespace
}  // namespace dropkit::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size > 0 && data[size - 1] == '\n') --size;  // kept inputs are text files
  dropkit::fuzz::CheckLine({reinterpret_cast<const char*>(data), size});
  return 0;
}
