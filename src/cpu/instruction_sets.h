// Which targets Highway compiles the vector bodies for. A source that includes this is compiled once for each.
// AVX2 and AVX-512 on x86, NEON on aarch64. Older x86 gets portable.cc: Highway's SSE forms would double the binary for
// machines from before 2013. aarch64's SVE gets NEON: its vectors have no fixed size, and the bodies keep vectors in
// structures. No include guard: foreach_target.h includes again by design.
#undef HWY_DISABLED_TARGETS
#undef HWY_IS_DEBUG_BUILD
#define HWY_IS_DEBUG_BUILD 0  // its assertions need its library; these sources need the headers alone
#undef HWY_BROKEN_EMU128
#define HWY_BROKEN_EMU128 1  // the same baseline, HWY_SCALAR, with every compiler
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
#include "hwy/foreach_target.h"

// For the end of such a source, under HWY_ONCE: function(argument) as compiled for `isa`, one of those built.
#undef DROPKIT_CALL_FOR
#if HWY_ARCH_X86 && !(HWY_TARGETS & HWY_AVX2)  // built for processors that all have AVX-512
#define DROPKIT_CALL_FOR(isa, function, argument) (static_cast<void>(isa), N_AVX3::function(argument))
#elif HWY_ARCH_X86
#define DROPKIT_CALL_FOR(isa, function, argument) \
  ((isa) == Isa::kAvx2 ? N_AVX2::function(argument) : N_AVX3::function(argument))
#elif HWY_ARCH_ARM_A64
#define DROPKIT_CALL_FOR(isa, function, argument) (static_cast<void>(isa), N_NEON::function(argument))
#else
#define DROPKIT_CALL_FOR(isa, function, argument) (static_cast<void>(isa), static_cast<void>(argument))
#endif
