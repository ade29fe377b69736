// The distribution of cases: what is likely to break code is likelier here than in life. Nothing is parsed, so that
// hours of it do not fill the memory of specs by text.
#include "cli/check/random_case.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "cli/check/random.h"
#include "cli/check/spoil.h"
#include "src/methods.h"

namespace dropkit::check {
namespace {

// ---------------------------------------------------------------- the spec

void DrawExtent(Random& random, int spatial_dims, Spec* spec) {
  static constexpr int64_t kUsual[] = {1, 2, 2, 3, 3, 3, 4, 5, 6, 7};
  static constexpr int64_t kAny[] = {8, 9, 11, 15, 63, 64, 65, 1 << 20};
  const bool per_axis = spatial_dims > 1 && random.OneIn(3);
  spec->extent_dims = per_axis ? spatial_dims : 1;
  for (int i = 0; i < 3; ++i)
    spec->extent[i] = i < spec->extent_dims ? (random.OneIn(10) ? random.Of(kAny) : random.Of(kUsual))
                                            : spec->extent[spec->extent_dims - 1];
}

void DrawBlockKeys(Random& random, int spatial_dims, Spec* spec) {
  static constexpr double kScales[] = {0.1, 0.25, 0.5, 0.5, 0.9, 1.3, 1.3, 2.0, 0.0, 1000.0};
  DrawExtent(random, spatial_dims, spec);
  spec->region = random.OneIn(2) ? Region::kValid : Region::kWhole;
  if (spec->method == Method::kCutout) {
    spec->holes = random.OneIn(20) ? random.Within(6, 700) : random.Within(1, 5);
    return;
  }
  spec->rate = static_cast<Rate>(random.Within(0, 3));
  if (spec->rate != Rate::kCalibrated && random.OneIn(3)) spec->gamma_scale = random.Of(kScales);
  if (spec->region == Region::kWhole && random.OneIn(2)) spec->anchor = Anchor::kAfter;
  // A block that does not fit is refused by clip=error and mostly by clip=none: fewer of these.
  spec->clip = random.OneIn(8) ? static_cast<Clip>(random.Within(2, 3)) : static_cast<Clip>(random.Within(0, 1));
}

// Every row of the table, and dropblock, which has the most keys, three times.
const MethodRow& DrawMethod(Random& random) {
  const std::vector<MethodRow>& rows = MethodTable();
  const int64_t block = static_cast<int64_t>(Method::kDropBlock);
  const int64_t drawn = random.Within(0, static_cast<int64_t>(rows.size()) + 1);
  const int64_t repeated = std::clamp<int64_t>(drawn - block, 0, 2);
  return rows[drawn - repeated];
}

Spec DrawSpec(Random& random, int spatial_dims) {
  static constexpr double kFills[] = {0.0, 0.0, -0.0, 1.7, -0.3, -1e-40, 1e10, 65520.0, INFINITY};
  const MethodRow& row = DrawMethod(random);
  Spec spec = row.defaults;
  const Share shares[] = {Share::kNone, Share::kBatch, Share::kChannels, Share::kAll};
  spec.share = shares[random.Within(0, row.channel_shares ? 3 : 1)];
  spec.normalize = static_cast<Normalize>(random.Within(0, 3));
  spec.over = static_cast<Over>(random.Within(0, 2));
  spec.fill_value = random.Of(kFills);
  if (random.OneIn(5)) {
    spec.fill = Fill::kNoise;
    spec.fill_value = 0.0;
  }
  if (HasBlock(spec)) DrawBlockKeys(random, spatial_dims, &spec);
  return spec;
}

// Around the law's own boundaries: 2^-5, where digits begin, 2^-6, where a second round does, 1/2, where it inverts.
float DrawProbability(Random& random, bool in_memory) {
  static constexpr float kUsual[] = {0.05f, 0.1f, 0.2f, 0.3f, 0.5f, 0.7f};
  static constexpr float kEdges[] = {1e-9f, 0x1p-32f, 0x1p-33f, 0x1p-149f, 1e-4f, 0x1p-6f, 0x1p-5f, 0.5f, 0.75f};
  static constexpr float kBad[] = {NAN, -0.5f, 1.5f, -0x1p-149f, INFINITY};
  if (in_memory && random.OneIn(25)) return random.Of(kBad);
  const int64_t kind = random.Within(0, 39);
  if (kind == 0) return 0.0f;
  if (kind == 1) return 1.0f;
  if (kind == 2) return std::nextafter(1.0f, 0.0f);
  if (kind < 6) {
    const float edge = random.Of(kEdges);
    return std::nextafter(edge, edge + static_cast<float>(random.Within(-1, 1)));
  }
  if (kind < 16) return static_cast<float>(random.Within(0, 1 << 24)) * 0x1p-24f;
  return random.Of(kUsual);
}

// ---------------------------------------------------------------- the tensor

// Halves the largest size until at most `most` elements are left.
void Limit(int64_t most, Case* c) {
  while (c->Elements() > most) *std::max_element(c->sizes, c->sizes + kAxes) /= 2;
}

void DrawSizes(Random& random, bool large, Case* c) {
  static constexpr int64_t kSmall[] = {1, 1, 2, 3, 4, 5, 7, 8, 9, 13, 16, 17, 31, 32, 33};
  static constexpr int64_t kEdges[] = {63, 64, 65, 127, 128, 129, 511, 512, 513, 1023, 1025};
  c->spatial_dims = static_cast<int>(random.Within(0, 3));
  c->sizes[0] = random.OneIn(4) ? random.Within(6, 40) : random.Within(1, 5);
  for (int i = 1; i < 2 + c->spatial_dims; ++i) c->sizes[i] = random.Of(kSmall);
  if (random.OneIn(4)) c->sizes[random.Within(0, 1 + c->spatial_dims)] = random.Of(kEdges);
  if (random.OneIn(400) || large) {
    for (int i = 1; i < 2 + c->spatial_dims; ++i) c->sizes[i] = c->sizes[i] * 8 + random.Within(0, 7);
    c->sizes[random.Within(0, 1 + c->spatial_dims)] *= 37;
    Limit(200000, c);
    c->threads = static_cast<int>(random.Within(2, 4));
  } else {
    Limit(random.OneIn(20) ? 8000 : 1200, c);
  }
  if (random.OneIn(60)) c->sizes[random.Within(0, 1 + c->spatial_dims)] = 0;
}

Order DrawOrder(Random& random, bool may_expand) {
  static constexpr int kLast[kAxes] = {0, 2, 3, 4, 1};
  Order order;
  if (random.OneIn(3)) std::copy(kLast, kLast + kAxes, order.axes);
  if (random.OneIn(3)) order.offset = random.Within(0, 15);
  if (!random.OneIn(3)) return order;
  if (random.OneIn(2)) {
    for (int i = kAxes - 1; i > 0; --i) std::swap(order.axes[i], order.axes[random.Within(0, i)]);
  }
  if (random.OneIn(2)) order.step = random.Within(1, 3);
  if (random.OneIn(2)) order.pad = random.Within(1, 3);
  if (random.OneIn(3)) order.flipped = static_cast<uint32_t>(random.Within(1, 31));
  if (may_expand && random.OneIn(3)) order.expanded = static_cast<uint32_t>(random.Within(1, 31));
  return order;
}

void DrawMemory(Random& random, Case* c) {
  c->x = DrawOrder(random, true);
  c->in_place = c->x.expanded == 0 && random.OneIn(4);
  if (c->in_place) return;
  c->y = DrawOrder(random, false);
  if (random.OneIn(2) && c->x.expanded == 0) c->y = c->x;
}

// ---------------------------------------------------------------- the call

void DrawRun(Random& random, Case* c) {
  const bool large = c->threads > 1;
  if (!large && random.OneIn(4)) c->threads = static_cast<int>(random.Within(2, 4));
  if (c->threads > 1 && random.OneIn(2))
    c->runner = random.OneIn(large ? 2 : 10) ? Runner::kThreads : Runner::kReversed;
  c->own_scratch = random.OneIn(3);
}

void DrawKey(Random& random, Case* c) {
  c->key[0] = random.OneIn(8) ? static_cast<uint64_t>(random.Within(0, 3)) : random.Word();
  c->key[1] = random.OneIn(2) ? static_cast<uint64_t>(random.Within(0, 5)) : random.Word();
  c->data = random.Word() >> 32;
}

void DrawSpoil(Random& random, Case* c) {
  const std::vector<Spoil>& rows = Spoils();
  c->spoilt = rows[random.Within(0, static_cast<int64_t>(rows.size()) - 1)].name;
  if (!MakeSound(c)) c->spoilt.clear();
}

}  // namespace

bool MakeSound(Case* c) {
  const bool packs = c->spec.method == Method::kDropout && c->spec.share == Share::kNone;
  if (c->verb == Verb::kPack && !packs) c->verb = Verb::kSpread;
  c->cut = c->verb == Verb::kSplit ? std::min(c->cut, c->sizes[0]) : 0;
  if (c->verb != Verb::kSpread && c->verb != Verb::kPack) c->one_in = Case().one_in;
  if (c->in_place) c->y = Order();
  if (c->spec.over != Over::kTensor) c->one_count = false;
  if (c->threads == 1) c->runner = Runner::kPool;
  const bool bad_p = !(c->p >= 0.0f && c->p <= 1.0f);
  if (c->spoilt.empty()) return c->p_in_memory || !bad_p;
  const bool splits = c->verb == Verb::kSplit;  // its parts would each be a call of their own
  return !splits && !bad_p && c->Elements() > 0 && FindSpoil(c->spoilt)->fits(*c);
}

Case RandomCase(uint64_t number, bool large) {
  static constexpr Verb kVerbs[] = {Verb::kSample, Verb::kSample, Verb::kDrop, Verb::kDrop,
                                    Verb::kSpread, Verb::kPack,   Verb::kSplit};
  static constexpr int64_t kOneIn[] = {2, 3, 3, 10, 40};
  Random random(number);
  Case c;
  DrawSizes(random, large, &c);
  c.spec = DrawSpec(random, c.spatial_dims);
  c.verb = random.Of(kVerbs);
  if (c.verb == Verb::kPack) {
    c.spec.share = Share::kNone;
    if (c.spec.method != Method::kDropout) c.spec = RowOf(Method::kDropout).defaults;
  }
  c.pass = random.OneIn(3) ? Pass::kBackward : Pass::kForward;
  c.dtype = static_cast<DType>(random.Within(0, 3));
  c.p_in_memory = random.OneIn(4);
  c.p = DrawProbability(random, c.p_in_memory);
  if (random.OneIn(2)) c.first_sample = random.OneIn(2) ? random.Within(0, 9) : random.Within(0, int64_t{1} << 40);
  DrawMemory(random, &c);
  DrawRun(random, &c);
  DrawKey(random, &c);
  c.one_in = random.Of(kOneIn);
  c.cut = random.Within(0, c.sizes[0]);
  if (random.OneIn(12) && !c.p_in_memory) DrawSpoil(random, &c);
  c.one_count = random.OneIn(3);
  MakeSound(&c);
  return c;
}

Case DrawAgain(const Case& c) {
  Case again = c;
  Random random(c.key[0] ^ (c.data << 20));
  DrawKey(random, &again);
  return again;
}

}  // namespace dropkit::check
