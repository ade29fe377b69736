// The numbers of every step, nested like the tensors, for programs and for tests that compute them again.

#include <cmath>
#include <nlohmann/json.hpp>
#include <type_traits>

#include "cli/explain_formula.h"
#include "cli/explain_show.h"
#include "cli/number.h"

namespace dropkit::cli {
namespace {

using Json = nlohmann::ordered_json;

// JSON has no number for an infinity, which a fill may be.
template <typename T>
Json ValueOf(T value) {
  if constexpr (std::is_floating_point_v<T>) {
    if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  }
  return value;
}

// `values`, row-major of `shape`, as arrays in arrays.
template <typename T>
Json Nested(const std::vector<T>& values, const std::vector<int64_t>& shape, size_t axis, size_t* next) {
  Json list = Json::array();
  for (int64_t i = 0; i < shape[axis]; ++i) {
    if (axis + 1 < shape.size())
      list.push_back(Nested(values, shape, axis + 1, next));
    else
      list.push_back(ValueOf(values[(*next)++]));
  }
  return list;
}
template <typename T>
Json Nested(const std::vector<T>& values, const std::vector<int64_t>& shape) {
  size_t next = 0;
  return Nested(values, shape, 0, &next);
}

Json FiredUnits(const Numbers& numbers) {
  Json units = Json::array();
  for (const FiredUnit& unit : numbers.fired) {
    const std::array<int64_t, 3> at = IndexOnAxes(numbers.axes, unit.position);
    units.push_back({{"sample", unit.sample},
                     {"channel", unit.channel},
                     {"position", std::vector<int64_t>(at.begin(), at.begin() + numbers.spatial_dims())}});
  }
  return units;
}

Json Groups(const Numbers& numbers) {
  Json groups = Json::array();
  for (const KeptGroup& group : numbers.groups) groups.push_back({{"kept", group.kept}, {"total", group.total}});
  return groups;
}

template <typename T>
std::vector<T> PerAxis(const Numbers& numbers, T (*value)(const reference::Axis&)) {
  std::vector<T> values;
  for (int a = 0; a < numbers.spatial_dims(); ++a) values.push_back(value(numbers.axes[a]));
  return values;
}

}  // namespace

void PrintNumbersJson(const Numbers& numbers, std::ostream& out) {
  const auto per_axis = [&](int64_t (*value)(const reference::Axis&)) { return PerAxis<int64_t>(numbers, value); };
  Json page = {{"spec", PrintSpec(numbers.spec, SpecForm::kFull)},
               {"p", std::strtod(Print(numbers.p).c_str(), nullptr)},
               {"shape", numbers.shape},
               {"seed", numbers.key[0]},
               {"T", numbers.rates.threshold},
               {"Q", numbers.rates.lane_threshold},
               {"gamma", numbers.rates.gamma},
               {"expected_drop", numbers.rates.expected_drop},
               {"block", per_axis([](const reference::Axis& axis) { return axis.block; })},
               {"positions", per_axis([](const reference::Axis& axis) { return axis.positions; })},
               {"before", per_axis([](const reference::Axis& axis) { return axis.before; })},
               {"unit_samples", numbers.unit_samples},
               {"unit_channels", numbers.unit_channels}};
  page["x"] = Nested(numbers.x, numbers.shape);
  page["fired"] = FiredUnits(numbers);
  page["covering"] = Nested(numbers.covering, numbers.shape);
  page["mask"] = Nested(numbers.keep, numbers.shape);
  page["counts"] = Groups(numbers);
  page["gains"] = numbers.gains;
  page["y"] = Nested(numbers.y, numbers.shape);
  out << page.dump() << "\n";
}

}  // namespace dropkit::cli
