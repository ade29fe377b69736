// Greedy: every step is tried on the smallest failing case so far, round after round, until a round changes nothing. A
// step counts only if the case gets plainer by a measure that cannot fall for ever: two steps that undo each other
// would use up all runs.
#include "cli/check/shrink.h"

#include <algorithm>
#include <numeric>
#include <tuple>
#include <vector>

#include "cli/check/random_case.h"
#include "src/methods.h"

namespace dropkit::check {
namespace {

using Step = std::function<void(Case*)>;

template <typename Value>
Step Set(Value Case::*field, Value value) {
  return [=](Case* c) { c->*field = value; };
}

// A spec's field to its method's default.
template <typename Value>
Step Default(Value Spec::*field) {
  return [=](Case* c) { c->spec.*field = RowOf(c->spec.method).defaults.*field; };
}

void SetExtent(Case* c, int64_t side) {
  c->spec.extent_dims = 1;
  for (int64_t& extent : c->spec.extent) extent = side;
}

std::vector<Step> SizeSteps() {
  std::vector<Step> steps;
  for (int axis = 0; axis < kAxes; ++axis) {
    steps.push_back([=](Case* c) { c->sizes[axis] = std::min<int64_t>(1, c->sizes[axis]); });
    for (int part = 2; part <= 8; part *= 2) steps.push_back([=](Case* c) { c->sizes[axis] -= c->sizes[axis] / part; });
    steps.push_back([=](Case* c) { c->sizes[axis] -= c->sizes[axis] > 1; });
  }
  steps.push_back([](Case* c) {  // the last axis, when it is 1
    const int last = 1 + c->spatial_dims;
    if (last > 1 && c->sizes[last] == 1 && c->spec.extent_dims == 1) --c->spatial_dims;
  });
  return steps;
}

std::vector<Step> SpecSteps() {
  const auto has_block = [](const Case* c) { return HasBlock(c->spec); };
  std::vector<Step> steps = {
      Default(&Spec::share),          Default(&Spec::normalize), Default(&Spec::over),        Default(&Spec::fill),
      Default(&Spec::fill_value),     Default(&Spec::anchor),    Default(&Spec::gamma_scale), Default(&Spec::rate),
      Default(&Spec::region),         Default(&Spec::clip),      Default(&Spec::holes),       Set(&Case::p, 0.5f),
      Set(&Case::p_in_memory, false),
  };
  for (const int64_t side : {1, 2, 3}) {
    steps.push_back([=](Case* c) {
      if (has_block(c) && (c->spec.extent_dims > 1 || c->spec.extent[0] > side)) SetExtent(c, side);
    });
  }
  return steps;
}

std::vector<Step> CallSteps() {
  return {
      Set(&Case::runner, Runner::kPool),
      Set(&Case::threads, 1),
      Set(&Case::own_scratch, false),
      Set(&Case::one_count, false),
      Set(&Case::verb, Verb::kSample),
      Set(&Case::pass, Pass::kForward),
      Set(&Case::dtype, DType::kF32),
      Set(&Case::in_place, false),
      Set(&Case::x, Order()),
      Set(&Case::y, Order()),
      [](Case* c) { c->y = c->x, c->y.expanded = 0; },
      [](Case* c) { c->x.step = c->y.step = 1, c->x.pad = c->y.pad = 0; },
      [](Case* c) { c->x.flipped = c->y.flipped = c->x.expanded = 0; },
      [](Case* c) { c->x.offset = c->y.offset = 0; },
      Set(&Case::first_sample, int64_t{0}),
      [](Case* c) { c->first_sample /= 2; },
      [](Case* c) { c->key[0] = 0; },
      [](Case* c) { c->key[1] = 0; },
      [](Case* c) { c->key[0] %= 10; },
      Set(&Case::data, uint64_t{0}),
      [](Case* c) { c->cut = std::min<int64_t>(c->cut, 1); },
  };
}

std::vector<Step> AllSteps() {
  std::vector<Step> all = SizeSteps();
  for (const Step& step : CallSteps()) all.push_back(step);
  for (const Step& step : SpecSteps()) all.push_back(step);
  return all;
}

int64_t CostOf(const Order& order) {
  const bool moved = !std::is_sorted(order.axes, order.axes + kAxes);
  return moved + order.step - 1 + order.pad + order.flipped + order.expanded + order.offset;
}

// The numbers before the text: block=1 is plainer than the default, which no line shows.
bool IsPlainer(const Case& a, const Case& b) {
  const auto cost = [](const Case& c) {
    const auto sum = [](const int64_t* numbers, int count) {
      return std::accumulate(numbers, numbers + count, int64_t{0});
    };
    const int64_t extent = HasBlock(c.spec) ? sum(c.spec.extent, c.spec.extent_dims) : 0;
    return std::tuple(sum(c.sizes, kAxes), extent, CostOf(c.x) + CostOf(c.y), c.first_sample, c.key[0], c.key[1], c.cut,
                      Print(c).size());
  };
  return cost(a) < cost(b);
}

}  // namespace

Case Shrink(const Case& c, const std::function<bool(const Case&)>& fails, int most) {
  const std::vector<Step> steps = AllSteps();
  Case smallest = c;
  for (bool changed = true; changed;) {
    changed = false;
    for (const Step& step : steps) {
      Case smaller = smallest;
      step(&smaller);
      if (!MakeSound(&smaller) || !IsPlainer(smaller, smallest)) continue;
      if (most-- <= 0) return smallest;
      if (!fails(smaller)) continue;
      smallest = smaller;
      changed = true;
    }
  }
  return smallest;
}

}  // namespace dropkit::check
