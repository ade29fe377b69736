// A fiber: a function with a stack of its own, which runs until it suspends and goes on where it was.
//
// One OS thread runs them all; who resumes them is that thread's own stack, and fibers do not resume each other. The
// switch is a few instructions on x86-64 and aarch64, ucontext elsewhere. AddressSanitizer is told of every switch, and
// so is ThreadSanitizer, to which each fiber is a thread that no switch orders after another (races.h).
#ifndef DROPKIT_TESTS_EMULATED_FIBER_H_
#define DROPKIT_TESTS_EMULATED_FIBER_H_

#include <cstddef>

#if !defined(__x86_64__) && !defined(__aarch64__)
#include <ucontext.h>
#endif

namespace dropkit::cuda::emulated {

class Fiber {
 public:
  Fiber();
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // The next Resume calls `body`, whatever the fiber did before.
  void Start(void (*body)());
  // Runs it until it suspends (true) or its body returns (false).
  bool Resume();
  // Called in a fiber: back to who resumed it.
  void Suspend();

 private:
#if defined(__x86_64__) || defined(__aarch64__)
  using Context = void*;  // its stack pointer; the rest is on the stack
#else
  using Context = ucontext_t;
#endif
  static void Enter();
  void Leave(bool finished);

  char* stack_;
  void (*body_)() = nullptr;
  bool finished_ = true;
  Context here_{}, caller_{};
  void* sanitizer_stack_ = nullptr;  // what AddressSanitizer keeps of a fiber that does not run
  const void* caller_bottom_ = nullptr;
  size_t caller_size_ = 0;
  void* racer_ = nullptr;  // the thread that it is to ThreadSanitizer, and its caller's
  void* caller_racer_ = nullptr;
};

}  // namespace dropkit::cuda::emulated

#endif  // DROPKIT_TESTS_EMULATED_FIBER_H_
