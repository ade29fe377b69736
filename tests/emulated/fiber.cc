// Stacks come from mmap and are touched only as far as they are used; the page below each is not mapped, so that a
// kernel that needs more than kStackBytes stops there.
#include "fiber.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "races.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

// Saves the registers that a call preserves and the stack pointer, and goes on with another stack.
#if defined(__x86_64__)
asm(R"(
.text
.type dropkit_switch_fiber, @function
dropkit_switch_fiber:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size dropkit_switch_fiber, . - dropkit_switch_fiber
)");
#elif defined(__aarch64__)
asm(R"(
.text
.type dropkit_switch_fiber, @function
dropkit_switch_fiber:
  sub sp, sp, #160
  stp x19, x20, [sp]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x9, sp
  str x9, [x0]
  mov sp, x1
  ldp x19, x20, [sp]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #160
  ret
.size dropkit_switch_fiber, . - dropkit_switch_fiber
)");
#endif
#if defined(__x86_64__) || defined(__aarch64__)
extern "C" void dropkit_switch_fiber(void** save, void* load);
#endif

namespace dropkit::cuda::emulated {
namespace {

constexpr size_t kStackBytes = 256 << 10;
constexpr size_t kGuardBytes = 64 << 10;  // a page at least, on any machine

Fiber* entering = nullptr;  // who Enter is for

#if defined(__x86_64__) || defined(__aarch64__)
// A stack on which dropkit_switch_fiber finds `enter` to return to.
void* FirstFrame(char* top, void (*enter)()) {
#if defined(__x86_64__)
  constexpr int kSaved = 6, kReturn = 6, kWords = 8;  // the word above is enter's own return address: none
#else
  constexpr int kSaved = 20, kReturn = 11, kWords = 20;
#endif
  static_assert(kReturn < kWords && kSaved <= kWords);
  uintptr_t* frame = reinterpret_cast<uintptr_t*>(top) - kWords;
  std::memset(frame, 0, kWords * sizeof(uintptr_t));
  frame[kReturn] = reinterpret_cast<uintptr_t>(enter);
  return frame;
}
void Prepare(void** context, char* stack, void (*enter)()) { *context = FirstFrame(stack + kStackBytes, enter); }
void Switch(void** save, void** load) { dropkit_switch_fiber(save, *load); }
#else
void Prepare(ucontext_t* context, char* stack, void (*enter)()) {
  getcontext(context);
  context->uc_stack.ss_sp = stack;
  context->uc_stack.ss_size = kStackBytes;
  context->uc_link = nullptr;
  makecontext(context, enter, 0);
}
void Switch(ucontext_t* save, ucontext_t* load) { swapcontext(save, load); }
#endif

}  // namespace

Fiber::Fiber() {
  void* memory = mmap(nullptr, kGuardBytes + kStackBytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED || mprotect(memory, kGuardBytes, PROT_NONE) != 0) {
    std::perror("a stack of an emulated thread");
    std::abort();
  }
  stack_ = static_cast<char*>(memory) + kGuardBytes;
  racer_ = NewRacer();
}

Fiber::~Fiber() {
  DeleteRacer(racer_);
  munmap(stack_ - kGuardBytes, kGuardBytes + kStackBytes);
}

void Fiber::Start(void (*body)()) {
  body_ = body;
  finished_ = false;
  Prepare(&here_, stack_, &Enter);
}

bool Fiber::Resume() {
  entering = this;
#if defined(__SANITIZE_ADDRESS__)
  void* own_stack = nullptr;
  __sanitizer_start_switch_fiber(&own_stack, stack_, kStackBytes);
#endif
  caller_racer_ = ThisRacer();
  BecomeRacer(racer_);
  Switch(&caller_, &here_);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(own_stack, nullptr, nullptr);
#endif
  return !finished_;
}

void Fiber::Suspend() { Leave(false); }

void Fiber::Leave(bool finished) {
  finished_ = finished;
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(finished ? nullptr : &sanitizer_stack_, caller_bottom_, caller_size_);
#endif
  BecomeRacer(caller_racer_);
  Switch(&here_, &caller_);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(sanitizer_stack_, &caller_bottom_, &caller_size_);
#endif
}

void Fiber::Enter() {
  Fiber* fiber = entering;
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, &fiber->caller_bottom_, &fiber->caller_size_);
#endif
  fiber->body_();
  fiber->Leave(true);
  std::abort();
}

}  // namespace dropkit::cuda::emulated
