// Memory of a case and how its tensors lie in it. A part of the batch is a view into the whole, so it needs none.
#include "cli/check/call.h"

#include <cmath>
#include <cstring>
#include <thread>

#include "cli/check/random.h"
#include "cli/field.h"
#include "src/bits.h"

namespace dropkit::check {
namespace {

// ---------------------------------------------------------------- a caller's own parallel-for

using Task = void (*)(void* argument, int64_t index);

void RunReversed(void*, int64_t count, Task task, void* argument) {
  for (int64_t i = count - 1; i >= 0; --i) task(argument, i);
}

// `context` holds the number of threads; thread k runs every such index, so neighbours run on different threads.
void RunThreads(void* context, int64_t count, Task task, void* argument) {
  const int64_t threads = *static_cast<const int*>(context);
  std::vector<std::thread> workers;
  for (int64_t k = 0; k < threads; ++k) {
    workers.emplace_back([=] {
      for (int64_t i = k; i < count; i += threads) task(argument, i);
    });
  }
  for (std::thread& worker : workers) worker.join();
}

ParallelFor ParallelOf(const Case& c) {
  if (c.runner == Runner::kPool) return {};
  auto* threads = const_cast<int*>(&c.threads);
  return {c.threads, c.runner == Runner::kReversed ? RunReversed : RunThreads, threads};
}

// ---------------------------------------------------------------- values

// The dtype's bits of an ordinary number.
uint64_t Encode(DType dtype, double value) {
  switch (dtype) {
    case DType::kF64:
      return std::bit_cast<uint64_t>(value);
    case DType::kF32:
      return std::bit_cast<uint32_t>(static_cast<float>(value));
    case DType::kF16:
      return ToFloat16(static_cast<float>(value)).bits;
    case DType::kBF16:
      return ToBFloat16(static_cast<float>(value)).bits;
  }
  return 0;
}

// Ordinary numbers, and any bits: NaNs, infinities and subnormals among them.
void FillValues(uint64_t seed, DType dtype, Fenced* memory) {
  Random random(seed);
  const size_t width = SizeOf(dtype);
  for (size_t i = 0; i + width <= memory->bytes(); i += width) {
    uint64_t bits = random.Word();
    if (bits % 4 != 0) bits = Encode(dtype, static_cast<double>(static_cast<int64_t>(bits >> 32) % 4001 - 2000) / 64.0);
    std::memcpy(memory->data() + i, &bits, width);
  }
}

void FillBytes(const Case& c, Fenced* memory) {
  Random random(c.data ^ 0xB17E5);
  const bool hit = c.verb == Verb::kSpread;
  for (size_t i = 0; i < memory->bytes(); ++i)
    memory->data()[i] = random.OneIn(c.one_in) == hit ? static_cast<uint8_t>(random.Within(1, 255)) : 0;
}

size_t BytesToGive(const Case& c, const View& x) {
  if (c.Elements() == 0) return 0;
  if (c.verb == Verb::kPack) return static_cast<size_t>(c.Elements());
  RateInfo info;
  if (c.verb != Verb::kSpread || !Rates(c.spec, 0.5f, x, &info).ok()) return 0;
  if (c.spec.method != Method::kCutout)
    return static_cast<size_t>(info.lanes * (cli::SharesBatch(c.spec) ? 1 : c.sizes[0]));
  int64_t bytes = (cli::SharesBatch(c.spec) ? 1 : c.sizes[0]) * (cli::SharesChannels(c.spec) ? 1 : c.sizes[1]);
  for (int i = 0; i < c.spatial_dims; ++i) bytes *= info.positions[i];
  return static_cast<size_t>(bytes);
}

Mask MaskToFill(bool one_count) {
  Mask mask;
  mask.one_count = one_count;
  return mask;
}

}  // namespace

Placed Place(const Case& c, const Order& order) {
  Placed placed;
  View& view = placed.view;
  view.dtype = c.dtype;
  view.spatial_dims = c.spatial_dims;
  view.samples = c.sizes[0];
  view.channels = c.sizes[1];
  std::copy(c.sizes + 2, c.sizes + kAxes, view.size);
  view.first_sample = c.first_sample;
  int64_t* strides[kAxes] = {&view.sample_stride, &view.channel_stride, &view.stride[0], &view.stride[1],
                             &view.stride[2]};
  int64_t step = order.step;
  int64_t last = 0;
  placed.origin = order.offset;
  for (int i = kAxes - 1; i >= 0; --i) {
    const int axis = order.axes[i];
    const int64_t size = std::max<int64_t>(1, c.sizes[axis]);
    if (order.expanded >> axis & 1) continue;
    const bool flipped = order.flipped >> axis & 1;
    *strides[axis] = flipped ? -step : step;
    if (flipped) placed.origin += (size - 1) * step;
    last += (size - 1) * step;
    step = step * size + (size > 1 ? order.pad : 0);
  }
  placed.elements = c.Elements() == 0 ? 0 : order.offset + last + 1;
  return placed;
}

MaskMemory::MaskMemory(const Spec& spec, const View& x, bool one_count)
    : mask(MaskToFill(one_count)),
      described(Describe(spec, x, &mask)),
      bits(8 * static_cast<size_t>(described.ok() ? mask.num_words() : 1)),
      kept(8 * static_cast<size_t>(described.ok() ? mask.num_kept : 1)),
      threshold(8) {
  mask.bits = bits.as<uint64_t>();
  mask.kept = kept.as<int64_t>();
  mask.threshold = threshold.as<uint64_t>();
}

Bench::Bench(const Case& c, const Target& target)
    : whole(c.spec, Place(c, c.x).view, c.one_count),
      in_place_(c.in_place),
      gives_scratch_(c.own_scratch || target.device != nullptr),
      x_(SizeOf(c.dtype) * static_cast<size_t>(Place(c, c.x).elements)),
      y_(SizeOf(c.dtype) * static_cast<size_t>(c.in_place ? 0 : Place(c, c.y).elements)),
      key_(16),
      p_(4),
      bytes_(BytesToGive(c, Place(c, c.x).view)),
      sum_(8) {
  FillValues(c.data, c.dtype, &x_);
  FillValues(c.data ^ 0x0FF, c.dtype, &y_);
  FillBytes(c, &bytes_);
  std::memcpy(key_.data(), c.key, 16);
  std::memcpy(p_.data(), &c.p, 4);
  const Placed x = Place(c, c.x), y = Place(c, c.in_place ? c.x : c.y);
  const auto width = static_cast<int64_t>(SizeOf(c.dtype));
  call.spec = c.spec;
  call.p = c.p_in_memory ? Probability(p_.as<const float>()) : Probability(c.p);
  call.key = key_.as<const uint64_t>();
  call.bytes = bytes_.data();
  call.pass = c.pass;
  call.x = x.view;
  call.y = y.view;
  if (c.Elements() > 0) {
    call.x.data = x_.data() + width * x.origin;
    call.y.data = output().data() + width * y.origin;
  }
  call.exec.backend = target.backend.c_str();
  call.exec.parallel_for = ParallelOf(c);
  call.mask = &whole.mask;
  whole.mask.key = call.key;
  Register("x", &x_, !c.in_place);
  if (!c.in_place) Register("y", &y_, false);
  Register("key", &key_, true);
  Register("p", &p_, true);
  Register("the given bytes", &bytes_, true);
  Register("mask.bits", &whole.bits, false);
  Register("mask.kept", &whole.kept, false);
  Register("mask.threshold", &whole.threshold, false);
}

Status Bench::GiveScratch() {
  if (!gives_scratch_) return Status();
  size_t bytes = 0;
  if (Status status = ScratchBytes(call.spec, call.x, call.exec, &bytes); !status.ok()) return status;
  scratch_ = std::make_unique<Fenced>(bytes);
  call.exec.scratch = scratch_->data();
  call.exec.scratch_bytes = bytes;
  Register("scratch", scratch_.get(), false);
  return Status();
}

void Bench::Register(const char* name, Fenced* memory, bool is_input) {
  buffers_.push_back({name, memory, is_input, {memory->data(), memory->data() + memory->bytes()}});
}

std::vector<NamedMemory> Bench::Memory() {
  std::vector<NamedMemory> all;
  for (const Named& buffer : buffers_) all.push_back({buffer.name, buffer.memory});
  for (const auto& part : parts) {
    for (Fenced* memory : {&part->bits, &part->kept, &part->threshold}) all.push_back({"a part's mask", memory});
  }
  all.push_back({"a sum of counts", &sum_});
  return all;
}

void Bench::Remember() {
  for (Named& buffer : buffers_)
    buffer.before.assign(buffer.memory->data(), buffer.memory->data() + buffer.memory->bytes());
}

std::string Bench::Damage() {
  if (!damage_elsewhere.empty()) return damage_elsewhere;
  for (Named& buffer : buffers_) {
    if (!buffer.memory->Intact()) return std::string("memory beside ") + buffer.name + " was written";
    if (buffer.is_input && !std::equal(buffer.before.begin(), buffer.before.end(), buffer.memory->data()))
      return std::string(buffer.name) + ", an input, was written";
  }
  for (const auto& part : parts) {
    if (!part->bits.Intact() || !part->kept.Intact() || !part->threshold.Intact())
      return "memory beside a part's mask was written";
  }
  return "";
}

std::string Bench::Written() {
  for (const Named& buffer : buffers_) {
    if (!std::equal(buffer.before.begin(), buffer.before.end(), buffer.memory->data()))
      return std::string(buffer.name) + " was written";
  }
  return "";
}

}  // namespace dropkit::check
