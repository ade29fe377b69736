// Besides the conversions: the layouts and numbers that dropkit_c.h promises, held to by the compiler.
#include "c_structs.h"

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <cstring>

namespace dropkit {

// The enums are cast, not mapped.
static_assert(static_cast<int>(Status::Code::kOk) == DROPKIT_OK);
static_assert(static_cast<int>(Status::Code::kInvalid) == DROPKIT_INVALID);
static_assert(static_cast<int>(Status::Code::kUnavailable) == DROPKIT_UNAVAILABLE);
static_assert(static_cast<int>(Status::Code::kInternal) == DROPKIT_INTERNAL);
static_assert(static_cast<int>(DType::kF32) == DROPKIT_F32 && static_cast<int>(DType::kF16) == DROPKIT_F16);
static_assert(static_cast<int>(DType::kBF16) == DROPKIT_BF16 && static_cast<int>(DType::kF64) == DROPKIT_F64);
static_assert(static_cast<int>(Layout::kChannelsFirst) == DROPKIT_CHANNELS_FIRST);
static_assert(static_cast<int>(Layout::kChannelsLast) == DROPKIT_CHANNELS_LAST);
static_assert(static_cast<int>(Pass::kForward) == DROPKIT_FORWARD);
static_assert(static_cast<int>(Pass::kBackward) == DROPKIT_BACKWARD);
static_assert(static_cast<int>(SpecForm::kShort) == DROPKIT_SHORT);
static_assert(static_cast<int>(SpecForm::kFull) == DROPKIT_FULL);
static_assert(sizeof(int) == sizeof(int32_t));
// The header promises these; a change of one is a new DROPKIT_ABI.
static_assert(sizeof(void*) != 8 || (sizeof(dropkit_view) == 104 && sizeof(dropkit_exec) == 56));
static_assert(sizeof(void*) != 8 || (sizeof(dropkit_mask) == 416 && offsetof(dropkit_mask, spatial_dims) == 408));
static_assert(sizeof(dropkit_gain) == 32 && sizeof(dropkit_rate_info) == 112);

namespace {

template <typename Enum>
Status ReadEnum(const std::string& name, int32_t value, Enum last, const char* allowed, Enum* to) {
  if (value < 0 || value > static_cast<int32_t>(last)) return BadNumber(name, value, allowed);
  *to = static_cast<Enum>(value);
  return Status();
}

}  // namespace

Status NullArgument(const char* name, const char* allowed) {
  return Status::Invalid(std::string(name) + " = null; allowed: " + allowed);
}

Status BadNumber(const std::string& name, int64_t value, const char* allowed) {
  return Status::Invalid(name + " = " + std::to_string(value) + "; allowed: " + allowed);
}

Status ReadDType(const std::string& name, int32_t value, DType* to) {
  return ReadEnum(name, value, DType::kF64, "0 (f32), 1 (f16), 2 (bf16), 3 (f64)", to);
}

Status ReadLayout(int32_t value, Layout* to) {
  return ReadEnum("layout", value, Layout::kChannelsLast, "0 (channels first), 1 (channels last)", to);
}

Status ReadForm(int32_t value, SpecForm* to) {
  return ReadEnum("form", value, SpecForm::kFull, "0 (short), 1 (full)", to);
}

Status ReadPass(int32_t value, Pass* to) {
  return ReadEnum("pass", value, Pass::kBackward, "0 (forward), 1 (backward)", to);
}

Status ReadSpec(const char* line, Spec* to) {
  return line ? ParseSpec(line, to) : NullArgument("spec", "a spec line, METHOD[:KEY=VALUE,...]");
}

// ---------------------------------------------------------------- structs in

Status ReadView(const char* name, const dropkit_view* from, View* to) {
  if (!from) return NullArgument(name, "a view");
  to->data = from->data;
  to->spatial_dims = from->spatial_dims;
  to->samples = from->samples;
  to->channels = from->channels;
  to->sample_stride = from->sample_stride;
  to->channel_stride = from->channel_stride;
  std::copy(from->size, from->size + 3, to->size);
  std::copy(from->stride, from->stride + 3, to->stride);
  to->first_sample = from->first_sample;
  return ReadDType(std::string(name) + ".dtype", from->dtype, &to->dtype);
}

Status ReadExec(const dropkit_exec* from, Exec* to) {
  if (!from) return Status();
  if (from->reserved != 0) return BadNumber("exec.reserved", from->reserved, "0");
  to->backend = from->backend;
  to->stream = from->stream;
  to->scratch = from->scratch;
  to->scratch_bytes = from->scratch_bytes;
  to->parallel_for = {from->max_threads, from->parallel_for, from->context};
  return Status();
}

Status ReadPlaces(const dropkit_mask* from, Mask* to) {
  if (!from) return NullArgument("mask", "a mask");
  to->bits = from->bits;
  to->threshold = from->threshold;
  to->kept = from->kept;
  to->key = from->key;
  return Status();
}

Status ReadMask(const dropkit_mask* from, Mask* to) {
  if (Status status = ReadPlaces(from, to); !status.ok()) return status;
  if (!std::memchr(from->spec, 0, sizeof(from->spec))) {
    return Status::Invalid("mask.spec has no end; allowed: a line of at most 255 bytes, as dropkit_describe fills it");
  }
  if (from->reserved != 0) return BadNumber("mask.reserved", from->reserved, "0");
  if (Status status = ParseSpec(from->spec, &to->spec); !status.ok())
    return Status::Invalid("mask.spec: " + status.message());
  to->spatial_dims = from->spatial_dims;
  to->samples = from->samples;
  to->channels = from->channels;
  std::copy(from->size, from->size + 3, to->size);
  to->first_sample = from->first_sample;
  to->sample_stride = from->sample_stride;
  to->channel_stride = from->channel_stride;
  std::copy(from->stride, from->stride + 3, to->stride);
  to->num_bits = from->num_bits;
  to->num_kept = from->num_kept;
  to->total = from->total;
  return Status();
}

// ---------------------------------------------------------------- structs out

void WriteView(const View& from, dropkit_view* to) {
  to->data = from.data;
  to->samples = from.samples;
  to->channels = from.channels;
  std::copy(from.size, from.size + 3, to->size);
  to->sample_stride = from.sample_stride;
  to->channel_stride = from.channel_stride;
  std::copy(from.stride, from.stride + 3, to->stride);
  to->first_sample = from.first_sample;
  to->dtype = static_cast<int32_t>(from.dtype);
  to->spatial_dims = from.spatial_dims;
}

// As given, which needs no printing in the hot path, unless that is too long.
SpecText TextOf(const char* line, const Spec& spec) {
  SpecText text;
  const size_t length = std::strlen(line);
  if (length < sizeof(text.bytes)) {
    std::memcpy(text.bytes, line, length);
  } else {
    std::snprintf(text.bytes, sizeof(text.bytes), "%s", PrintSpec(spec, SpecForm::kFull).c_str());
  }
  return text;
}

void WriteMask(const Mask& from, const SpecText& spec, dropkit_mask* to) {
  std::memcpy(to->spec, spec.bytes, sizeof(to->spec));
  to->key = from.key;
  to->num_bits = from.num_bits;
  to->num_words = from.num_words();
  to->num_kept = from.num_kept;
  to->total = from.total;
  to->samples = from.samples;
  to->channels = from.channels;
  std::copy(from.size, from.size + 3, to->size);
  to->first_sample = from.first_sample;
  to->sample_stride = from.sample_stride;
  to->channel_stride = from.channel_stride;
  std::copy(from.stride, from.stride + 3, to->stride);
  to->spatial_dims = from.spatial_dims;
  to->reserved = 0;
}

void WriteRateInfo(const RateInfo& from, dropkit_rate_info* to) {
  to->threshold = from.threshold;
  to->lane_threshold = from.lane_threshold;
  to->gamma = from.gamma;
  to->expected_drop = from.expected_drop;
  to->lanes = from.lanes;
  std::copy(from.block, from.block + 3, to->block);
  std::copy(from.positions, from.positions + 3, to->positions);
  std::copy(from.before, from.before + 3, to->before);
}

}  // namespace dropkit
