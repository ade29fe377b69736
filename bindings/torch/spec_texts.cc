// Operators without tensors, for the Python package: what it must know of specs, and of this build.
//
// Texts and numbers only, so that Python needs no other way into the library. python/dropkit/torch/specs.py reads them.
#include <torch/csrc/stable/library.h>

#include <charconv>
#include <sstream>
#include <string>
#include <string_view>
#include <tuple>

#include "views.h"

namespace dropkit::torch_ops {
namespace {

// The shortest text that reads back as this number.
std::string Shortest(float number) {
  char text[32];
  return std::string(text, std::to_chars(text, text + sizeof text, number).ptr);
}

// A case line as (full spec line, p, whether a mask has bits of its own per sample, channel and element).
std::tuple<std::string, std::string, bool, bool, bool> ReadCase(std::string_view line) {
  Spec spec;
  float p = 0;
  Check(ParseCase(line, &spec, &p));
  Spec small = spec;  // which axes have bits does not depend on sizes, which must fit here
  small.extent_dims = 1;
  for (int64_t& side : small.extent) side = 1;
  Mask mask;
  Check(Describe(small, DenseView(nullptr, DType::kF32, 2, 2, {2}), &mask));
  return {PrintSpec(spec, SpecForm::kFull), Shortest(p), mask.sample_stride != 0, mask.channel_stride != 0,
          mask.stride[0] != 0};
}

// A line for each method and preset: kind, name, full spec line, default p, paper or source, separated by tabs.
std::string ListSpecs() {
  std::ostringstream text;
  for (const MethodInfo& row : Methods()) {
    text << "method\t" << row.name << '\t' << row.full_line << '\t' << Shortest(row.default_p) << '\t' << row.paper
         << '\n';
  }
  for (const PresetInfo& row : Presets()) {
    text << "preset\t" << row.name << '\t' << row.full_line << '\t' << Shortest(row.default_p) << '\t' << row.source
         << '\n';
  }
  return text.str();
}

std::string Build() { return BuildInfo(); }

STABLE_TORCH_LIBRARY_FRAGMENT(dropkit, m) {
  m.def("_read(str case) -> (str, str, bool, bool, bool)");
  m.def("_list() -> str");
  m.def("_build() -> str");
}

STABLE_TORCH_LIBRARY_IMPL(dropkit, CompositeExplicitAutograd, m) {
  m.impl("_read", TORCH_BOX(&ReadCase));
  m.impl("_list", TORCH_BOX(&ListSpecs));
  m.impl("_build", TORCH_BOX(&Build));
}

}  // namespace
}  // namespace dropkit::torch_ops
