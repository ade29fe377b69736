// dropkit_c.h over dropkit.h. Every function reads its structs, makes one call, and turns the Status into a code and
// the calling thread's sentence. Pointers that dropkit.h does not know (text, structs, places for results) are checked
// on this side; everything else is checked, and worded, by the C++ functions. The structs are c_structs.cc's matter.
#include <cstdio>
#include <cstring>

#include "c_structs.h"
#include "dropkit/dropkit.h"
#include "dropkit/dropkit_c.h"
#include "guarded.h"
#include "validate.h"

namespace dropkit {
namespace {

// ---------------------------------------------------------------- errors

// Of fixed size, so that saying that memory ran out needs none.
thread_local char last_error[2048] = "";

int32_t Fail(int32_t code, const char* message) {
  std::snprintf(last_error, sizeof(last_error), "%s", message);
  return code;
}

// The outermost frame of every function that can fail.
template <typename Call>
int32_t Coded(Call call) noexcept {
  try {
    const Status status = Guarded(call);
    return status.ok() ? DROPKIT_OK : Fail(static_cast<int32_t>(status.code()), status.message().c_str());
  } catch (...) {
    return Fail(DROPKIT_INTERNAL, "unexpected exception");
  }
}

// ---------------------------------------------------------------- what the verbs that write a mask share

struct Draw {
  Spec spec;
  Probability p = 0.0f;
  View x;
  Exec exec;
  Mask mask;
};

Status ReadDraw(const char* spec, float p, const float* device_p, const dropkit_view* x, const dropkit_exec* exec,
                const dropkit_mask* mask, Draw* draw) {
  if (Status status = ReadSpec(spec, &draw->spec); !status.ok()) return status;
  draw->p = device_p ? Probability(device_p) : Probability(p);
  if (Status status = ReadView("x", x, &draw->x); !status.ok()) return status;
  if (Status status = ReadExec(exec, &draw->exec); !status.ok()) return status;
  return ReadPlaces(mask, &draw->mask);
}

// `run` is the C++ verb on what was read.
template <typename Run>
int32_t DrawMask(const char* spec, float p, const float* device_p, const dropkit_view* x, const dropkit_exec* exec,
                 dropkit_mask* mask, Run run) {
  return Coded([&] {
    Draw draw;
    if (Status status = ReadDraw(spec, p, device_p, x, exec, mask, &draw); !status.ok()) return status;
    const SpecText text = TextOf(spec, draw.spec);
    if (Status status = run(draw); !status.ok()) return status;
    WriteMask(draw.mask, text, mask);
    return Status();
  });
}

Status CopySpec(const std::string& text, char* to, size_t bytes) {
  if (text.size() >= bytes) {
    return Status::Invalid("spec_bytes = " + std::to_string(bytes) + "; allowed: at least " +
                           std::to_string(text.size() + 1) + " for this line, " + std::to_string(DROPKIT_SPEC_BYTES) +
                           " for every line");
  }
  std::memcpy(to, text.c_str(), text.size() + 1);
  return Status();
}

// Made once and never destroyed, so that the texts outlive every caller. Null if memory ran out.
template <typename Make>
auto Kept(Make make) noexcept -> const decltype(make())* {
  try {
    static const auto* value = new auto(make());
    return value;
  } catch (...) {
    return nullptr;
  }
}

const BackendInfo* BackendAt(int32_t index) {
  const std::vector<BackendInfo>* all = Kept([] { return Backends(); });
  return all && index >= 0 && static_cast<size_t>(index) < all->size() ? &(*all)[index] : nullptr;
}

}  // namespace
}  // namespace dropkit

// ---------------------------------------------------------------- the C functions

using namespace dropkit;  // NOLINT: the functions below are C's and live outside

int32_t dropkit_abi(void) { return DROPKIT_ABI; }

int32_t dropkit_draw_version(void) { return kDrawVersion; }

const char* dropkit_version(void) { return Version(); }

const char* dropkit_build_info(void) {
  const std::string* text = Kept([] { return BuildInfo(); });
  return text ? text->c_str() : Version();
}

const char* dropkit_last_error(void) { return last_error; }

const char* dropkit_backend_name(int32_t index) {
  const BackendInfo* backend = BackendAt(index);
  return backend ? backend->name.c_str() : nullptr;
}

const char* dropkit_backend_unavailable(int32_t index) {
  const BackendInfo* backend = BackendAt(index);
  if (!backend) return "there is no such backend";
  return backend->available ? nullptr : backend->why.c_str();
}

int32_t dropkit_set_threads(int32_t threads) {
  return Coded([&] { return SetThreads(threads); });
}

int32_t dropkit_parse_case(const char* line, int32_t form, char* spec, size_t spec_bytes, float* p) {
  return Coded([&] {
    if (!line) return NullArgument("line", "a case line, SPEC[@P]");
    if (!spec) return NullArgument("spec", "a place for the spec line");
    Spec parsed;
    SpecForm asked;
    float value;
    if (Status status = ReadForm(form, &asked); !status.ok()) return status;
    if (!p) return NullArgument("p", "a place for the number");
    if (Status status = ParseCase(line, &parsed, &value); !status.ok()) return status;
    if (Status status = CopySpec(PrintSpec(parsed, asked), spec, spec_bytes); !status.ok()) return status;
    *p = value;
    return Status();
  });
}

int32_t dropkit_dense_view(void* data, int32_t dtype, int64_t samples, int64_t channels, const int64_t* sizes,
                           int32_t spatial_dims, int32_t layout, dropkit_view* view) {
  return Coded([&] {
    DType type;
    Layout order;
    if (Status status = ReadDType("dtype", dtype, &type); !status.ok()) return status;
    if (spatial_dims < 0 || spatial_dims > 3) return BadNumber("spatial_dims", spatial_dims, "0 to 3");
    if (!sizes && spatial_dims > 0) return NullArgument("sizes", "spatial_dims sizes");
    if (Status status = ReadLayout(layout, &order); !status.ok()) return status;
    if (!view) return NullArgument("view", "a view to fill");
    const std::vector<int64_t> spatial(sizes, sizes + spatial_dims);
    const View dense = DenseView(data, type, samples, channels, spatial, order);
    if (Status status = ValidateView("view", dense, false); !status.ok()) return status;
    WriteView(dense, view);
    return Status();
  });
}

int32_t dropkit_describe(const char* spec, const dropkit_view* x, dropkit_mask* mask) {
  return Coded([&] {
    Spec parsed;
    View view;
    Mask described;
    if (Status status = ReadSpec(spec, &parsed); !status.ok()) return status;
    if (Status status = ReadView("x", x, &view); !status.ok()) return status;
    if (Status status = ReadPlaces(mask, &described); !status.ok()) return status;
    if (Status status = Describe(parsed, view, &described); !status.ok()) return status;
    WriteMask(described, TextOf(spec, parsed), mask);
    return Status();
  });
}

int32_t dropkit_scratch_bytes(const char* spec, const dropkit_view* x, const dropkit_exec* exec, size_t* bytes) {
  return Coded([&] {
    Spec parsed;
    View view;
    Exec where;
    if (Status status = ReadSpec(spec, &parsed); !status.ok()) return status;
    if (Status status = ReadView("x", x, &view); !status.ok()) return status;
    if (Status status = ReadExec(exec, &where); !status.ok()) return status;
    return ScratchBytes(parsed, view, where, bytes);
  });
}

int32_t dropkit_rates(const char* spec, float p, const dropkit_view* x, dropkit_rate_info* info) {
  return Coded([&] {
    Spec parsed;
    View view;
    RateInfo rates;
    if (Status status = ReadSpec(spec, &parsed); !status.ok()) return status;
    if (Status status = ReadView("x", x, &view); !status.ok()) return status;
    if (!info) return NullArgument("info", "a place for the numbers");
    if (Status status = Rates(parsed, p, view, &rates); !status.ok()) return status;
    WriteRateInfo(rates, info);
    return Status();
  });
}

int32_t dropkit_sample(const char* spec, float p, const float* device_p, const uint64_t* key, const dropkit_view* x,
                       const dropkit_exec* exec, dropkit_mask* mask) {
  return DrawMask(spec, p, device_p, x, exec, mask,
                  [&](Draw& draw) { return Sample(draw.spec, draw.p, key, draw.x, draw.exec, &draw.mask); });
}

int32_t dropkit_apply(const dropkit_mask* mask, int32_t pass, const dropkit_view* x, const dropkit_view* y,
                      const dropkit_exec* exec) {
  return Coded([&] {
    Mask drawn;
    Pass maps;
    View in, out;
    Exec where;
    if (Status status = ReadMask(mask, &drawn); !status.ok()) return status;
    if (Status status = ReadPass(pass, &maps); !status.ok()) return status;
    if (Status status = ReadView("x", x, &in); !status.ok()) return status;
    if (Status status = ReadView("y", y, &out); !status.ok()) return status;
    if (Status status = ReadExec(exec, &where); !status.ok()) return status;
    return Apply(drawn, maps, in, out, where);
  });
}

int32_t dropkit_drop(const char* spec, float p, const float* device_p, const uint64_t* key, int32_t pass,
                     const dropkit_view* x, const dropkit_view* y, const dropkit_exec* exec, dropkit_mask* mask) {
  return DrawMask(spec, p, device_p, x, exec, mask, [&](Draw& draw) {
    Pass maps;
    View out;
    if (Status status = ReadPass(pass, &maps); !status.ok()) return status;
    if (Status status = ReadView("y", y, &out); !status.ok()) return status;
    return Drop(draw.spec, draw.p, key, maps, draw.x, out, draw.exec, &draw.mask);
  });
}

int32_t dropkit_spread(const char* spec, float p, const float* device_p, const uint8_t* seeds, const dropkit_view* x,
                       const dropkit_exec* exec, dropkit_mask* mask) {
  return DrawMask(spec, p, device_p, x, exec, mask,
                  [&](Draw& draw) { return Spread(draw.spec, draw.p, seeds, draw.x, draw.exec, &draw.mask); });
}

int32_t dropkit_pack(const char* spec, float p, const float* device_p, const uint8_t* keep, const dropkit_view* x,
                     const dropkit_exec* exec, dropkit_mask* mask) {
  return DrawMask(spec, p, device_p, x, exec, mask,
                  [&](Draw& draw) { return Pack(draw.spec, draw.p, keep, draw.x, draw.exec, &draw.mask); });
}

int32_t dropkit_unpack(const dropkit_mask* mask, uint8_t* keep) {
  return Coded([&] {
    Mask drawn;
    if (Status status = ReadMask(mask, &drawn); !status.ok()) return status;
    return Unpack(drawn, keep);
  });
}

int32_t dropkit_gain_of(const dropkit_mask* mask, int32_t pass, int64_t n, int64_t c, int32_t dtype,
                        dropkit_gain* gain) {
  return Coded([&] {
    Mask drawn;
    Pass maps;
    DType type;
    Gain maps_of_pass;
    if (Status status = ReadMask(mask, &drawn); !status.ok()) return status;
    if (Status status = ReadPass(pass, &maps); !status.ok()) return status;
    if (Status status = ReadDType("dtype", dtype, &type); !status.ok()) return status;
    if (!gain) return NullArgument("gain", "a place for the numbers");
    if (Status status = GainOf(drawn, maps, n, c, type, &maps_of_pass); !status.ok()) return status;
    *gain = {maps_of_pass.a, maps_of_pass.b, maps_of_pass.c, maps_of_pass.d};
    return Status();
  });
}
