// A call on a device: what lies in the host's fenced memory gets a twin in the device's memory, the call is made with
// the twins' addresses, and everything comes back, with what was written beside the twins.
// Assumes that a call's pointers point into the given memory; one that does not is passed on as it is, to be refused.
#ifndef DROPKIT_CLI_CHECK_MIRROR_H_
#define DROPKIT_CLI_CHECK_MIRROR_H_

#include <string>
#include <vector>

#include "cli/check/call.h"
#include "cli/device/device.h"

namespace dropkit::check {

class Mirror {
 public:
  // Copies all of it to the device. On one without fences, where a tool watches instead, the regions that hold an
  // address of `written` are left as they were allocated: the call writes all of them and reads nothing, which a copy
  // would hide. `regions` and the device must outlive this.
  Mirror(cli::Device& device, const std::vector<NamedMemory>& regions, const std::vector<const void*>& written = {});
  ~Mirror();
  Mirror(const Mirror&) = delete;
  Mirror& operator=(const Mirror&) = delete;

  // The call with the device's addresses. Its mask is `mask`, a copy of the call's, if it has one.
  Call There(const Call& call, Mask* mask) const;
  // A mask of the device with the host's addresses.
  Mask Here(const Mask& mask) const;
  // Waits, and copies everything back. `damage` names what was written beside; an error is the device's.
  Status Return(std::string* damage);

 private:
  struct Twin {
    NamedMemory here;
    uint8_t* start;  // a fence, the bytes, and a fence
    uint8_t* there;  // the bytes
  };
  template <typename T>
  T* ThereOf(T* address) const;
  template <typename T>
  T* HereOf(T* address) const;
  bool ReadBack(const Twin& twin);

  cli::Device& device_;
  const size_t fence_;
  std::vector<Twin> twins_;
};

}  // namespace dropkit::check

#endif  // DROPKIT_CLI_CHECK_MIRROR_H_
