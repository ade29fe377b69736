// Each region is an allocation of its own, so that compute-sanitizer and AddressSanitizer know its ends.
#include "cli/check/mirror.h"

#include <algorithm>

namespace dropkit::check {
namespace {

constexpr uint8_t kFence = 0x5A;  // not Fenced's, so that a copied fence is not taken for one of these

// The end belongs to it: an empty region has an address.
bool Holds(const uint8_t* begin, size_t bytes, const void* address) {
  const auto at = reinterpret_cast<uintptr_t>(address), first = reinterpret_cast<uintptr_t>(begin);
  return at >= first && at <= first + bytes;
}

template <typename T>
T* Moved(T* address, const uint8_t* from, uint8_t* to) {
  const uintptr_t distance = reinterpret_cast<uintptr_t>(address) - reinterpret_cast<uintptr_t>(from);
  return reinterpret_cast<T*>(reinterpret_cast<uintptr_t>(to) + distance);
}

}  // namespace

Mirror::Mirror(cli::Device& device, const std::vector<NamedMemory>& regions, const std::vector<const void*>& written)
    : device_(device), fence_(device.fence_bytes()) {
  for (const NamedMemory& region : regions) {
    const size_t bytes = region.memory->bytes();
    auto* start = static_cast<uint8_t*>(device.Allocate(bytes + 2 * fence_));
    twins_.push_back({region, start, start + fence_});
    const auto holds = [&](const void* address) { return Holds(region.memory->data(), bytes, address); };
    if (fence_ == 0 && std::any_of(written.begin(), written.end(), holds)) continue;
    std::vector<uint8_t> image(bytes + 2 * fence_, kFence);
    std::copy_n(region.memory->data(), bytes, image.begin() + static_cast<int64_t>(fence_));
    device.ToDevice(start, image.data(), image.size());
  }
}

Mirror::~Mirror() {
  for (const Twin& twin : twins_) device_.Free(twin.start);
}

template <typename T>
T* Mirror::ThereOf(T* address) const {
  for (const Twin& twin : twins_) {
    if (Holds(twin.here.memory->data(), twin.here.memory->bytes(), address))
      return Moved(address, twin.here.memory->data(), twin.there);
  }
  return address;
}

template <typename T>
T* Mirror::HereOf(T* address) const {
  for (const Twin& twin : twins_) {
    // Without fences the end of one may be where the next begins.
    const size_t bytes = twin.here.memory->bytes();
    if (Holds(twin.there, bytes > 0 ? bytes - 1 : 0, address))
      return Moved(address, twin.there, twin.here.memory->data());
  }
  return address;
}

Call Mirror::There(const Call& call, Mask* mask) const {
  Call there = call;
  there.p.device = ThereOf(call.p.device);
  there.key = ThereOf(call.key);
  there.bytes = ThereOf(call.bytes);
  there.x.data = ThereOf(call.x.data);
  there.y.data = ThereOf(call.y.data);
  there.exec.scratch = ThereOf(call.exec.scratch);
  there.exec.stream = device_.stream();
  if (call.mask == nullptr) return there;
  *mask = *call.mask;
  mask->bits = ThereOf(mask->bits);
  mask->kept = ThereOf(mask->kept);
  mask->threshold = ThereOf(mask->threshold);
  mask->key = ThereOf(mask->key);
  there.mask = mask;
  return there;
}

Mask Mirror::Here(const Mask& mask) const {
  Mask here = mask;
  here.bits = HereOf(mask.bits);
  here.kept = HereOf(mask.kept);
  here.threshold = HereOf(mask.threshold);
  here.key = HereOf(mask.key);
  return here;
}

// Whether the fences hold.
bool Mirror::ReadBack(const Twin& twin) {
  const auto bytes = static_cast<int64_t>(twin.here.memory->bytes()), fence = static_cast<int64_t>(fence_);
  std::vector<uint8_t> image(static_cast<size_t>(bytes + 2 * fence));
  device_.ToHost(image.data(), twin.start, image.size());
  const auto first = image.begin() + fence, last = first + bytes;
  std::copy(first, last, twin.here.memory->data());
  const auto is_fence = [](uint8_t byte) { return byte == kFence; };
  return std::all_of(image.begin(), first, is_fence) && std::all_of(last, image.end(), is_fence);
}

Status Mirror::Return(std::string* damage) {
  if (Status status = device_.Synchronise(); !status.ok()) return status;
  for (const Twin& twin : twins_) {
    if (!ReadBack(twin) && damage->empty())
      *damage = std::string("memory beside ") + twin.here.name + " was written on the device";
  }
  return Status();
}

}  // namespace dropkit::check
