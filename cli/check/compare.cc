// Equal memory is the common case, so everything is compared whole first; places and values are looked for only then.
#include "cli/check/compare.h"

#include <cmath>
#include <cstdio>
#include <cstring>
#include <numeric>

#include "src/bits.h"

namespace dropkit::check {
namespace {

double Decode(DType dtype, const uint8_t* at) {
  uint64_t bits = 0;
  std::memcpy(&bits, at, SizeOf(dtype));
  switch (dtype) {
    case DType::kF64:
      return std::bit_cast<double>(bits);
    case DType::kF32:
      return FloatOfBits(static_cast<uint32_t>(bits));
    case DType::kF16:
      return ToFloat(Float16{static_cast<uint16_t>(bits)});
    case DType::kBF16:
      return ToFloat(BFloat16{static_cast<uint16_t>(bits)});
  }
  return 0;
}

// "1.5 (0x3fc00000)"
std::string ValueText(DType dtype, const uint8_t* at) {
  uint64_t bits = 0;
  std::memcpy(&bits, at, SizeOf(dtype));
  char text[64];
  std::snprintf(text, sizeof(text), "%.9g (0x%0*llx)", Decode(dtype, at), static_cast<int>(2 * SizeOf(dtype)),
                static_cast<unsigned long long>(bits));
  return text;
}

struct Index {
  int64_t at[kAxes];
};

// Calls body(index, place) for each element in row-major order, place in elements from the buffer's start, until it
// returns false.
template <typename Body>
void ForEachElement(const Case& c, const Order& order, Body body) {
  const Placed placed = Place(c, order);
  const View& v = placed.view;
  Index i;
  auto& [n, ch, a, b, k] = i.at;
  for (n = 0; n < c.sizes[0]; ++n)
    for (ch = 0; ch < c.sizes[1]; ++ch)
      for (a = 0; a < c.sizes[2]; ++a)
        for (b = 0; b < c.sizes[3]; ++b)
          for (k = 0; k < c.sizes[4]; ++k) {
            const int64_t place = placed.origin + n * v.sample_stride + ch * v.channel_stride + a * v.stride[0] +
                                  b * v.stride[1] + k * v.stride[2];
            if (!body(i, place)) return;
          }
}

std::string IndexText(const Case& c, const Index& index) {
  std::string text = std::to_string(index.at[0]);
  for (int i = 1; i < 2 + c.spatial_dims; ++i) text += "," + std::to_string(index.at[i]);
  return text;
}

std::string Both(const std::string& what, const std::string& ours, const std::string& reference) {
  return what + ": " + ours + ", reference " + reference;
}

// y's memory whole, but NaNs of elements are equal whatever their payload.
std::string OutputDifference(const Case& c, Fenced* ours, Fenced* reference) {
  if (std::memcmp(ours->data(), reference->data(), ours->bytes()) == 0) return "";
  const size_t width = SizeOf(c.dtype);
  std::vector<bool> is_element(ours->bytes() / width);
  std::string found;
  ForEachElement(c, c.in_place ? c.x : c.y, [&](const Index& index, int64_t place) {
    is_element[place] = true;
    const uint8_t* a = ours->data() + place * width;
    const uint8_t* b = reference->data() + place * width;
    const bool same =
        std::memcmp(a, b, width) == 0 || (std::isnan(Decode(c.dtype, a)) && std::isnan(Decode(c.dtype, b)));
    if (!same) found = Both("y[" + IndexText(c, index) + "]", ValueText(c.dtype, a), ValueText(c.dtype, b));
    return same;
  });
  if (!found.empty()) return found;
  for (size_t i = 0; i < is_element.size(); ++i) {
    if (!is_element[i] && std::memcmp(ours->data() + i * width, reference->data() + i * width, width) != 0)
      return "memory between y's elements was written, at element " + std::to_string(i) + " of the buffer";
  }
  return "";
}

bool KeptAt(const Mask& mask, const Index& i, int64_t first_sample) {
  return GetBit(mask.bits, (i.at[0] - first_sample) * mask.sample_stride + i.at[1] * mask.channel_stride +
                               i.at[2] * mask.stride[0] + i.at[3] * mask.stride[1] + i.at[4] * mask.stride[2]);
}

// Element by element: parts have other memory orders and coarseness than the whole.
std::string PartBits(const Case& c, const Bench& ours, const Mask& reference) {
  std::string found;
  ForEachElement(c, Order(), [&](const Index& index, int64_t) {
    const bool second = index.at[0] >= c.cut;
    const bool kept = KeptAt(ours.parts[second]->mask, index, second ? c.cut : 0);
    const bool expected = KeptAt(reference, index, 0);
    if (kept != expected)
      found = Both("keep[" + IndexText(c, index) + "]", std::to_string(kept), std::to_string(expected));
    return kept == expected;
  });
  return found;
}

// Bits past the last are 0, and Unpack tells the same as the bits.
std::string WholeBits(const Case& c, const Mask& ours, const Mask& reference) {
  const size_t bytes = 8 * static_cast<size_t>(ours.num_words());
  if (bytes == 0) return "";
  if (std::memcmp(ours.bits, reference.bits, bytes) != 0) {
    int64_t bit = 0;
    while (GetBit(ours.bits, bit) == GetBit(reference.bits, bit)) ++bit;
    return Both("mask bit " + std::to_string(bit) + " of " + std::to_string(ours.num_bits),
                std::to_string(GetBit(ours.bits, bit)), std::to_string(GetBit(reference.bits, bit)));
  }
  std::vector<uint8_t> keep(static_cast<size_t>(c.Elements()));
  if (Status status = Unpack(ours, keep.data()); !status.ok()) return "Unpack: " + status.message();
  std::string found;
  size_t next = 0;
  ForEachElement(c, Order(), [&](const Index& index, int64_t) {
    const int unpacked = keep[next++], bit = KeptAt(ours, index, 0);
    if (unpacked != bit)
      found = "Unpack[" + IndexText(c, index) + "]: " + std::to_string(unpacked) + ", bit " + std::to_string(bit);
    return unpacked == bit;
  });
  return found;
}

// The reference's mask has all counts.
std::string CountDifference(const Mask& ours, const Mask& reference) {
  if (ours.one_count) {
    const int64_t sum = std::accumulate(reference.kept, reference.kept + reference.num_kept, int64_t{0});
    return *ours.kept == sum ? "" : Both("the one count", std::to_string(*ours.kept), std::to_string(sum));
  }
  for (int64_t i = 0; i < reference.num_kept; ++i) {
    if (ours.kept[i] != reference.kept[i])
      return Both("kept[" + std::to_string(i) + "]", std::to_string(ours.kept[i]), std::to_string(reference.kept[i]));
  }
  return "";
}

}  // namespace

std::string Difference(const Case& c, Bench* ours, Bench* reference) {
  const std::string damage = ours->Damage();
  if (!damage.empty()) return damage;
  const Mask& mask = ours->whole.mask;
  const Mask& expected = reference->whole.mask;
  if (*mask.threshold != *expected.threshold)
    return Both("T", std::to_string(*mask.threshold), std::to_string(*expected.threshold));
  std::string found = ours->parts.empty() ? WholeBits(c, mask, expected) : PartBits(c, *ours, expected);
  if (found.empty()) found = CountDifference(mask, expected);
  if (found.empty()) found = OutputDifference(c, &ours->output(), &reference->output());
  return found;
}

bool SameStruct(const Mask& a, const Mask& b) {
  const auto arrays = [](const int64_t* left, const int64_t* right) { return std::equal(left, left + 3, right); };
  return a.spec == b.spec && a.spatial_dims == b.spatial_dims && a.samples == b.samples && a.channels == b.channels &&
         arrays(a.size, b.size) && a.first_sample == b.first_sample && a.sample_stride == b.sample_stride &&
         a.channel_stride == b.channel_stride && arrays(a.stride, b.stride) && a.num_bits == b.num_bits &&
         a.bits == b.bits && a.threshold == b.threshold && a.kept == b.kept && a.num_kept == b.num_kept &&
         a.total == b.total && a.one_count == b.one_count && a.key == b.key;
}

}  // namespace dropkit::check
