// The coverage of cells by the formula of plan.h against counting it: every block, or square of cutout, is placed at
// every position of an axis and the cells that it covers are marked.
//
// Classes come in ascending order because rates and gains are sums in that order, to the last bit. That a plan's
// positions are right is the golden tests' matter.
#include "plan.h"

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

namespace dropkit {
namespace {

using Classes = std::vector<std::pair<int64_t, int64_t>>;  // coverage, number of cells

Classes Counted(const Axis& axis) {
  std::vector<int64_t> covering(static_cast<size_t>(axis.size), 0);
  for (int64_t position = 0; position < axis.positions; ++position) {
    for (int64_t i = 0; i < axis.block; ++i) {
      const int64_t cell = position - axis.before + i;
      if (cell >= 0 && cell < axis.size) ++covering[static_cast<size_t>(cell)];
    }
  }
  std::map<int64_t, int64_t> number;
  for (const int64_t coverage : covering) ++number[coverage];
  return Classes(number.begin(), number.end());
}

Classes Given(const CoverageAxis& axis) {
  Classes classes;
  for (int64_t i = 0; i < axis.count; ++i) classes.emplace_back(axis[i].coverage, axis[i].number);
  return classes;
}

// Every choice that moves or cuts a block.
std::vector<Spec> Specs() {
  std::vector<Spec> specs;
  for (const char* line : {"dropout", "cutout:size=1", "cutout:size=1,region=valid"}) {
    EXPECT_TRUE(ParseSpec(line, &specs.emplace_back()).ok()) << line;
  }
  for (const std::string region : {"valid", "whole", "whole,anchor=after"}) {
    for (const std::string clip : {"axis", "square", "none", "error"}) {
      const std::string line = "dropblock:block=1,rate=plain,region=" + region + ",clip=" + clip;
      EXPECT_TRUE(ParseSpec(line, &specs.emplace_back()).ok()) << line;
    }
  }
  return specs;
}

// Whether the sizes have a plan, of which then every axis is right.
bool CheckPlan(const Spec& spec, const View& x) {
  Plan plan;
  if (!MakePlan(spec, x, &plan).ok()) return false;
  const Coverage coverage = MakeCoverage(plan);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Given(coverage.axis[i]), Counted(plan.axis[i])) << "axis " << i;
  return true;
}

TEST(Plan, CoverageIsWhatPlacingEveryBlockCounts) {
  for (Spec spec : Specs()) {
    int64_t checked = 0;
    for (int64_t block = 1; block <= 25; ++block) {
      spec.extent[0] = spec.extent[1] = spec.extent[2] = block;
      for (int64_t size = 1; size <= 20; ++size) {
        // Other axes are shorter or longer by turns, for clip=square.
        const std::vector<int64_t> sizes = {size, 1 + size * 7 % 20, 1 + size * 13 % 20};
        for (int dims = 0; dims <= 3; ++dims) {
          SCOPED_TRACE(PrintSpec(spec) + " on " + std::to_string(size) + " in " + std::to_string(dims));
          checked += CheckPlan(spec, DenseView(nullptr, DType::kF32, 1, 1, {sizes.begin(), sizes.begin() + dims}));
        }
        if (HasFailure()) return;
      }
    }
    EXPECT_GT(checked, 25 * 20 / 2) << PrintSpec(spec);
  }
}

TEST(Plan, AnAxisWithoutCellsHasNoClasses) {
  Spec spec;
  ASSERT_TRUE(ParseSpec("dropblock:block=3,rate=calibrated", &spec).ok());
  Plan plan;
  ASSERT_TRUE(MakePlan(spec, DenseView(nullptr, DType::kF32, 1, 1, {0, 5}), &plan).ok());
  const Coverage coverage = MakeCoverage(plan);
  EXPECT_EQ(coverage.axis[0].count, 0);
  EXPECT_EQ(Given(coverage.axis[1]), Counted(plan.axis[1]));
}

}  // namespace
}  // namespace dropkit
