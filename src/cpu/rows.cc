// Applying in vectors: one read and one write an element, the bits straight from the mask as vector masks. f16 and bf16
// are widened, scaled and rounded (nearest even, subnormals kept) in registers.
#include <cstring>

#include "cpu/kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/rows.cc"
#include "cpu/instruction_sets.h"
// After it: foreach_target compiles the rest once for each target.
#include "hwy/cache_control.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace dropkit::cpu::HWY_NAMESPACE {
#if HWY_TARGET != HWY_SCALAR

namespace hn = hwy::HWY_NAMESPACE;

// An element type: a vector of it, in the order of a mask's bits, loaded, scaled in its arithmetic and rounded back.
struct F32 {
  using Element = float;
  using D = hn::ScalableTag<float>;
  static HWY_INLINE hn::Vec<D> Scaled(const float* x, hn::Vec<D> gain) { return hn::Mul(hn::LoadU(D(), x), gain); }
};

struct F64 {
  using Element = double;
  using D = hn::ScalableTag<double>;
  static HWY_INLINE hn::Vec<D> Scaled(const double* x, hn::Vec<D> gain) { return hn::Mul(hn::LoadU(D(), x), gain); }
};

using Wide = hn::ScalableTag<float>;
using WideBits = hn::RebindToUnsigned<Wide>;

struct F16 {
  using Element = uint16_t;
  using D = hn::Rebind<uint16_t, Wide>;
  static HWY_INLINE hn::Vec<D> Scaled(const uint16_t* x, hn::Vec<Wide> gain) {
    const hn::Rebind<hwy::float16_t, Wide> half;
    const auto narrow = hn::LoadU(half, reinterpret_cast<const hwy::float16_t*>(x));
    return hn::BitCast(D(), hn::DemoteTo(half, hn::Mul(hn::PromoteTo(Wide(), narrow), gain)));
  }
};

// Two elements are one 32-bit lane: the upper half is an f32 but for its lowest bits, the lower half one after a shift,
// so nothing is unpacked. Rounded by integers: the instruction flushes subnormals, and Highway's own form truncates.
struct BF16 {
  using Element = uint16_t;
  using D = hn::Repartition<uint16_t, Wide>;
  // Nearest even in the upper half of the result, whose lower half is anything. A NaN stays one: it came
  // from a bf16 or was made by the product, and the half that is added has zeros to fall on.
  static HWY_INLINE hn::Vec<WideBits> Rounded(hn::Vec<Wide> value) {
    const WideBits u;
    const auto bits = hn::BitCast(u, value);
    const auto odd = hn::TestBit(bits, hn::Set(u, 0x10000u));
    return hn::Add(bits, hn::IfThenElse(odd, hn::Set(u, 0x8000u), hn::Set(u, 0x7FFFu)));
  }
  static HWY_INLINE hn::Vec<D> Scaled(const uint16_t* x, hn::Vec<Wide> gain) {
    const WideBits u;
    const auto upper_half = hn::Set(u, 0xFFFF0000u);
    const auto both = hn::BitCast(u, hn::LoadU(D(), x));
    const auto upper = Rounded(hn::Mul(hn::BitCast(Wide(), hn::And(both, upper_half)), gain));
    const auto lower = Rounded(hn::Mul(hn::BitCast(Wide(), hn::ShiftLeft<16>(both)), gain));
    return hn::BitCast(D(), hn::OrAnd(hn::ShiftRight<16>(lower), upper, upper_half));
  }
};

template <class Type>
auto GainOf(double gain) {
  if constexpr (sizeof(typename Type::Element) == 8) {
    return hn::Set(typename Type::D(), gain);
  } else {
    return hn::Set(Wide(), static_cast<float>(gain));
  }
}

inline float FillOf(double fill, F32) { return static_cast<float>(fill); }
inline double FillOf(double fill, F64) { return fill; }
inline uint16_t FillOf(double fill, F16) { return ToFloat16(static_cast<float>(fill)).bits; }
inline uint16_t FillOf(double fill, BF16) { return ToBFloat16(static_cast<float>(fill)).bits; }

template <class D>
HWY_INLINE hn::Mask<D> MaskOf(D d, uint64_t word) {
  uint8_t bytes[8];
  std::memcpy(bytes, &word, 8);
  return hn::LoadMaskBits(d, bytes);
}

template <class Type, class Gain>
struct Loop {
  using Element = typename Type::Element;
  using D = typename Type::D;
  const Element* x;
  Element* y;
  const uint64_t* bits;
  int64_t bit;
  Gain gain;
  hn::Vec<D> fill;

  HWY_INLINE hn::Vec<D> At(int64_t i, uint64_t word) const {
    return hn::IfThenElse(MaskOf(D(), word), Type::Scaled(x + i, gain), fill);
  }

  HWY_INLINE uint64_t Bits(int64_t i, int64_t count) const {
    return bits ? LoadBits(bits, bit + i, count) : ~uint64_t{0};
  }

  // 64 elements, one word of bits; kStream: y + i is aligned to vectors.
  template <bool kStream>
  HWY_INLINE void Word(int64_t i) const {
    constexpr int64_t kLanes = hn::MaxLanes(D());
    const uint64_t word = Bits(i, 64);
    for (int64_t j = 0; j < 64; j += kLanes) {
      if constexpr (kStream) {
        hn::Stream(At(i + j, word >> j), D(), y + i + j);
      } else {
        hn::StoreU(At(i + j, word >> j), D(), y + i + j);
      }
    }
  }

  // Fewer than 64 elements. The last ones go through a buffer, so that nothing outside is read or written.
  void Few(int64_t i, int64_t count) const {
    constexpr int64_t kLanes = hn::MaxLanes(D());
    uint64_t word = Bits(i, count);
    for (; count >= kLanes; count -= kLanes, i += kLanes, word >>= kLanes % 64) hn::StoreU(At(i, word), D(), y + i);
    if (count <= 0) return;
    Element in[kLanes] = {}, out[kLanes];
    std::memcpy(in, x + i, static_cast<size_t>(count) * sizeof(Element));
    hn::StoreU(hn::IfThenElse(MaskOf(D(), word), Type::Scaled(in, gain), fill), D(), out);
    std::memcpy(y + i, out, static_cast<size_t>(count) * sizeof(Element));
  }
};

template <class Type>
void ApplyRow(const DenseRow& row) {
  using Element = typename Type::Element;
  using D = typename Type::D;
  const auto gain = GainOf<Type>(row.gain);
  const Loop<Type, std::remove_const_t<decltype(gain)>> loop = {
      static_cast<const Element*>(row.x),    static_cast<Element*>(row.y), row.bits, row.bit, gain,
      hn::Set(D(), FillOf(row.fill, Type()))};
  int64_t i = 0;
  if (row.past_cache) {
    constexpr size_t kAlign = 64;
    const size_t past = reinterpret_cast<uintptr_t>(row.y) % kAlign;
    const int64_t head = past == 0 ? 0 : static_cast<int64_t>((kAlign - past) / sizeof(Element));
    if (past % sizeof(Element) == 0 && row.count >= 64 + head) {
      if (head > 0) loop.Few(0, head);
      for (i = head; i + 64 <= row.count; i += 64) loop.template Word<true>(i);
      hwy::FlushStream();
    }
  }
  for (; i + 64 <= row.count; i += 64) loop.template Word<false>(i);
  if (i < row.count) loop.Few(i, row.count - i);
}

void Copy(const void* x, void* y, int64_t bytes, bool past_cache) {
  const hn::ScalableTag<uint8_t> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto* from = static_cast<const uint8_t*>(x);
  auto* to = static_cast<uint8_t*>(y);
  int64_t i = 0;
  if (past_cache && reinterpret_cast<uintptr_t>(y) % 64 == 0) {
    for (; i + lanes <= bytes; i += lanes) hn::Stream(hn::LoadU(d, from + i), d, to + i);
    hwy::FlushStream();
  } else {
    for (; i + lanes <= bytes; i += lanes) hn::StoreU(hn::LoadU(d, from + i), d, to + i);
  }
  std::memcpy(to + i, from + i, static_cast<size_t>(bytes - i));
}

void AddRows(Kernels* kernels) {
  kernels->copy = Copy;
  kernels->apply[static_cast<int>(DType::kF32)] = ApplyRow<F32>;
  kernels->apply[static_cast<int>(DType::kF16)] = ApplyRow<F16>;
  kernels->apply[static_cast<int>(DType::kBF16)] = ApplyRow<BF16>;
  kernels->apply[static_cast<int>(DType::kF64)] = ApplyRow<F64>;
}

#endif
}  // namespace dropkit::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace dropkit::cpu {
void AddRows(Isa isa, Kernels* kernels) { DROPKIT_CALL_FOR(isa, AddRows, kernels); }
}  // namespace dropkit::cpu
#endif
