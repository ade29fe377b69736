// Races between the threads of an emulated block, found by ThreadSanitizer: what two threads access, one of them
// writing, with no barrier between them, in whatever order they ran.
//
// The kernels are compiled with -fsanitize=thread and each fiber is a thread of its own to it; switches order nothing,
// meetings do. The emulator itself is compiled without, because its own data is ordered by the switches, and is told by
// DROPKIT_EMULATED_RACES. Blocks run in order, so races between blocks are not seen, nor is a missing __threadfence.
// Without the macro nothing here does anything.
#ifndef DROPKIT_TESTS_EMULATED_RACES_H_
#define DROPKIT_TESTS_EMULATED_RACES_H_

#if defined(DROPKIT_EMULATED_RACES)
#include <sanitizer/tsan_interface.h>
#endif

namespace dropkit::cuda::emulated {

// What was done before a thread arrived comes before what is done after a thread left.
struct Meeting {
  char address = 0;
};

#if defined(DROPKIT_EMULATED_RACES)
inline void ArriveAt(Meeting* meeting) { __tsan_release(meeting); }
inline void LeaveFrom(Meeting* meeting) { __tsan_acquire(meeting); }
inline void* NewRacer() { return __tsan_create_fiber(0); }
inline void DeleteRacer(void* racer) { __tsan_destroy_fiber(racer); }
inline void* ThisRacer() { return __tsan_get_current_fiber(); }
inline void BecomeRacer(void* racer) { __tsan_switch_to_fiber(racer, __tsan_switch_to_fiber_no_sync); }
#else
inline void ArriveAt(Meeting*) {}
inline void LeaveFrom(Meeting*) {}
inline void* NewRacer() { return nullptr; }
inline void DeleteRacer(void*) {}
inline void* ThisRacer() { return nullptr; }
inline void BecomeRacer(void*) {}
#endif

}  // namespace dropkit::cuda::emulated

#endif  // DROPKIT_TESTS_EMULATED_RACES_H_
