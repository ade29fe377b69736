// Plain twins of the vector loops of lanes.cc and rows.cc, on the functions of draw.h and bits.h.
#include <array>
#include <bit>
#include <cstring>

#include "cpu/element.h"
#include "cpu/kernels.h"

namespace dropkit::cpu {
namespace {

void DrawDigits(const LaneLaw& law, CallKey key, uint32_t group, int64_t count, uint64_t sample, uint64_t* bits) {
  for (int64_t i = 0; i < count; ++i) DrawDigitGroup(law, key, group + static_cast<uint32_t>(i), sample, bits + 2 * i);
}

int64_t DrawMarks(const LaneLaw& law, CallKey key, uint32_t tile, int64_t count, uint64_t sample, uint32_t* marks) {
  uint32_t* end = marks;
  for (uint32_t i = 0; i < static_cast<uint32_t>(count); ++i) {
    ForEachMark(law, key, tile + i, sample, [&](uint32_t lane) { *end++ = i * kTileLanes + lane; });
  }
  return end - marks;
}

// Bit j of a word, for j = 0 ... 31: `word & kBit[j]` is what every vector unit has; a shift by a vector of counts is
// not.
constexpr std::array<uint32_t, 32> kBit = [] {
  std::array<uint32_t, 32> bit{};
  for (int j = 0; j < 32; ++j) bit[j] = uint32_t{1} << j;
  return bit;
}();

template <size_t kBytes>
struct WordOfBytes;
template <>
struct WordOfBytes<2> {
  using Type = uint16_t;
};
template <>
struct WordOfBytes<4> {
  using Type = uint32_t;
};
template <>
struct WordOfBytes<8> {
  using Type = uint64_t;
};

// At most 32 elements, by masks and not by branches, which random bits would make miss half the time.
template <typename T>
inline void SelectRun(const T* x, T* y, int64_t count, uint32_t word, typename Arithmetic<T>::Wide gain, T fill) {
  using Bits = typename WordOfBytes<sizeof(T)>::Type;
  const Bits fill_bits = std::bit_cast<Bits>(fill);
#if !defined(__clang__)
#pragma GCC ivdep  // y is x or apart from it, element by element
#endif
  for (int64_t j = 0; j < count; ++j) {
    const Bits kept = std::bit_cast<Bits>(Arithmetic<T>::Store(Arithmetic<T>::Load(x[j]) * gain));
    const Bits mask = static_cast<Bits>((word & kBit[j]) != 0 ? -1 : 0);
    y[j] = std::bit_cast<T>(static_cast<Bits>((kept & mask) | (fill_bits & static_cast<Bits>(~mask))));
  }
}

template <typename T>
void ApplyRow(const DenseRow& row) {
  using Wide = typename Arithmetic<T>::Wide;
  const auto gain = static_cast<Wide>(row.gain);
  const T fill = Arithmetic<T>::Store(static_cast<Wide>(row.fill));
  const T* x = static_cast<const T*>(row.x);
  T* y = static_cast<T*>(row.y);
  const auto word = [&](int64_t i, int64_t count) {
    return row.bits ? static_cast<uint32_t>(LoadBits(row.bits, row.bit + i, count)) : ~uint32_t{0};
  };
  int64_t i = 0;
  for (; i + 32 <= row.count; i += 32) SelectRun(x + i, y + i, 32, word(i, 32), gain, fill);
  if (i < row.count) SelectRun(x + i, y + i, row.count - i, word(i, row.count - i), gain, fill);
}

void Copy(const void* x, void* y, int64_t bytes, bool) { std::memcpy(y, x, static_cast<size_t>(bytes)); }

}  // namespace

void AddPortable(Kernels* kernels) {
  kernels->copy = Copy;
  kernels->draw_digits = DrawDigits;
  kernels->draw_marks = DrawMarks;
  kernels->apply[static_cast<int>(DType::kF32)] = ApplyRow<float>;
  kernels->apply[static_cast<int>(DType::kF16)] = ApplyRow<Float16>;
  kernels->apply[static_cast<int>(DType::kBF16)] = ApplyRow<BFloat16>;
  kernels->apply[static_cast<int>(DType::kF64)] = ApplyRow<double>;
}

}  // namespace dropkit::cpu
