// The library's outermost frame: nothing throws across its boundary, so running out of memory is a Status as all else;
// and the caller's rules of arithmetic stay outside.
#ifndef DROPKIT_SRC_GUARDED_H_
#define DROPKIT_SRC_GUARDED_H_

#include <exception>
#include <new>

#include "arithmetic.h"
#include "dropkit/dropkit.h"

namespace dropkit {

template <typename Call>
Status Guarded(Call call) {
  const PlainArithmetic plain;
  try {
    return call();
  } catch (const std::bad_alloc&) {
    return Status::Unavailable("out of memory");
  } catch (const std::exception& error) {
    return Status::Internal(std::string("unexpected: ") + error.what());
  } catch (...) {  // a caller's parallel-for may throw anything
    return Status::Internal("unexpected: something that is no std::exception was thrown");
  }
}

}  // namespace dropkit

#endif  // DROPKIT_SRC_GUARDED_H_
