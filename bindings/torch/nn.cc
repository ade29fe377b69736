// dropkit::nn: autograd over the operators, and the modules. The schedule is in schedule.cc.
//
// Assumes that libdropkit_torch is linked, which registers the operators; they are called by schema, through torch's
// dispatcher. Nothing here computes: masks and arithmetic are the core's.
#include "dropkit/nn.h"

#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/nn/functional/linear.h>
#include <torch/nn/init.h>
#include <torch/serialize/input-archive.h>
#include <torch/serialize/output-archive.h>

#include <cmath>
#include <exception>
#include <limits>
#include <sstream>
#include <tuple>

extern "C" int dropkit_torch_draw_version();

namespace dropkit::nn {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

void Check(const Status& status) { TORCH_CHECK(status.ok(), status.message()); }

// The operators throw standard exceptions, as all of the stable ABI; here the same message is a c10::Error.
template <typename Operator, typename... Arguments>
auto Call(const Operator& op, const Arguments&... arguments) {
  const at::AutoDispatchBelowADInplaceOrView below_autograd;
  try {
    return op.call(arguments...);
  } catch (const c10::Error&) {
    throw;
  } catch (const std::exception& error) {
    TORCH_CHECK(false, error.what());
  }
}

template <typename Signature>
c10::TypedOperatorHandle<Signature> FindOperator(const char* name) {
  TORCH_CHECK(dropkit_torch_draw_version() == kDrawVersion, "libdropkit_torch draws by version ",
              dropkit_torch_draw_version(), "; this program needs ", kDrawVersion);
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "").typed<Signature>();
}

// A call: what is dropped, and what the mask is drawn from.
struct Draw {
  c10::IValue spec;  // a string, so that all nodes of a layer share one line
  double p;
  Tensor key;
  int64_t first_sample = 0;
  bool recompute = false;
  c10::string_view line() const { return spec.toStringRef(); }
};

struct Bits {
  Tensor words, counts;
};

std::tuple<Tensor, Bits> CallDrop(const Tensor& x, const Draw& draw) {
  using Signature = std::tuple<Tensor, Tensor, Tensor>(const Tensor&, c10::string_view, const Tensor&, double,
                                                       const std::optional<Tensor>&, int64_t);
  static const auto op = FindOperator<Signature>("dropkit::drop");
  auto [y, words, counts] = Call(op, x, draw.line(), draw.key, draw.p, std::optional<Tensor>(), draw.first_sample);
  return {y, {words, counts}};
}

Bits CallSample(const Tensor& x, const Draw& draw, bool channels_last) {
  using Signature = std::tuple<Tensor, Tensor>(const Tensor&, c10::string_view, const Tensor&, double,
                                               const std::optional<Tensor>&, int64_t, bool);
  static const auto op = FindOperator<Signature>("dropkit::sample");
  auto [words, counts] =
      Call(op, x, draw.line(), draw.key, draw.p, std::optional<Tensor>(), draw.first_sample, channels_last);
  return {words, counts};
}

Tensor CallBackward(const Tensor& grad, const Draw& draw, const Bits& bits, bool channels_last) {
  using Signature = Tensor(const Tensor&, const Tensor&, const Tensor&, c10::string_view, bool, bool,
                           const std::optional<Tensor>&, int64_t, std::optional<int64_t>);
  static const auto op = FindOperator<Signature>("dropkit::apply");
  const bool backward = true;
  return Call(op, grad, bits.words, bits.counts, draw.line(), channels_last, backward, std::optional<Tensor>(),
              draw.first_sample, std::optional<int64_t>());
}

// What the backward pass keeps, never x: the mask and no key or, to draw it again, the key and no mask.
struct Saved {
  Draw draw;
  Bits bits;
  bool channels_last;
};

Tensor Backward(const Tensor& grad, const Saved& saved) {
  const Bits bits = saved.draw.recompute ? CallSample(grad, saved.draw, saved.channels_last) : saved.bits;
  return CallBackward(grad, saved.draw, bits, saved.channels_last);
}

void Save(AutogradContext* context, const Saved& saved) {
  if (saved.draw.recompute) {
    context->save_for_backward({saved.draw.key});
    context->saved_data["p"] = saved.draw.p;
  } else {
    context->save_for_backward({saved.bits.words, saved.bits.counts});
  }
  context->saved_data["spec"] = saved.draw.spec;
  context->saved_data["first_sample"] = saved.draw.first_sample;
  context->saved_data["channels_last"] = saved.channels_last;
}

Saved Load(AutogradContext* context) {
  const variable_list tensors = context->get_saved_variables();
  auto& data = context->saved_data;
  Saved saved = {{data["spec"], 0.0, Tensor(), data["first_sample"].toInt()}, {}, data["channels_last"].toBool()};
  if (tensors.size() == 1) {
    saved.draw.recompute = true;
    saved.draw.key = tensors[0];
    saved.draw.p = data["p"].toDouble();
  } else {
    saved.bits = {tensors[0], tensors[1]};
  }
  return saved;
}

// The linear map of the backward pass. It is diagonal, so its own gradient is itself, to any order.
struct MaskGradient : torch::autograd::Function<MaskGradient> {
  static Tensor forward(AutogradContext* context, const Tensor& grad, const Saved& saved) {
    Save(context, saved);
    return Backward(grad, saved);
  }
  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    return {MaskGradient::apply(grads[0], Load(context)), Tensor()};
  }
};

struct DropFunction : torch::autograd::Function<DropFunction> {
  static Tensor forward(AutogradContext* context, const Tensor& x, const Draw& draw) {
    const auto [y, bits] = CallDrop(x, draw);
    Save(context, {draw, bits, !y.is_contiguous()});
    return y;
  }
  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    return {MaskGradient::apply(grads[0], Load(context)), Tensor()};
  }
};

Tensor DropBy(const Tensor& x, const Draw& draw) {
  if (torch::GradMode::is_enabled() && x.requires_grad()) return DropFunction::apply(x, draw);
  return std::get<0>(CallDrop(x, draw));
}

// The caller may change a key of its own before the backward pass.
Tensor KeyFor(const Tensor& x, const std::optional<Tensor>& key, bool recompute) {
  if (!key) return functional::new_key(x.device());
  return recompute ? key->clone() : *key;
}

void CheckP(double p) { TORCH_CHECK(p >= 0 && p <= 1, "p = ", p, "; allowed: a number from 0 to 1"); }

Spec Parse(std::string_view line) {
  Spec spec;
  Check(ParseSpec(line, &spec));
  return spec;
}

// y_n = W_n x_n, where sample n has weights of its own.
Tensor LinearPerSample(const Tensor& x, const Tensor& weights) {
  const int64_t samples = weights.size(0), outputs = weights.size(1), inputs = weights.size(2);
  std::vector<int64_t> shape(x.sizes().begin(), x.sizes().end());
  int64_t rows = 1;
  for (size_t i = 1; i + 1 < shape.size(); ++i) rows *= shape[i];
  shape.back() = outputs;
  return torch::bmm(x.reshape({samples, rows, inputs}), weights.transpose(1, 2)).reshape(shape);
}

Tensor ConnectedLinear(const Tensor& x, const Tensor& weight, const Tensor& bias, const Spec& spec, const Draw& draw) {
  if (spec.share == Share::kBatch) return torch::linear(x, DropBy(weight, draw), bias);
  TORCH_CHECK(x.dim() > 0 && weight.dim() == 2 && x.size(-1) == weight.size(1), "x has shape ", x.sizes(),
              " and weight ", weight.sizes(), "; allowed: x[N, ..., in] and weight[out, in]");
  const int64_t samples = x.dim() > 1 ? x.size(0) : 1;
  const Tensor each = weight.expand({samples, weight.size(0), weight.size(1)});
  const Tensor y = LinearPerSample(x, DropBy(each, draw));
  return bias.defined() ? y + bias : y;
}

}  // namespace

namespace functional {

Tensor new_key(torch::Device device) {
  return torch::randint(std::numeric_limits<int64_t>::max(), {2}, torch::dtype(torch::kInt64).device(device));
}

Tensor drop(const Tensor& x, std::string_view spec, double p, const std::optional<Tensor>& key, bool training,
            int64_t first_sample, bool recompute) {
  CheckP(p);
  Parse(spec);  // a bad spec shows at once, not only when a schedule leaves 0
  if (!training || p == 0) return x;
  return DropBy(x, {std::string(spec), p, KeyFor(x, key, recompute), first_sample, recompute});
}

Tensor drop_connect(const Tensor& x, const Tensor& weight, const Tensor& bias, double p, std::string_view keys,
                    const std::optional<Tensor>& key, bool training, int64_t first_sample, bool recompute) {
  const std::string line = JoinSpec("drop_connect", "", keys);
  const Spec spec = Parse(line);
  CheckP(p);
  if (!training || p == 0) return torch::linear(x, weight, bias);
  return ConnectedLinear(x, weight, bias, spec, {line, p, KeyFor(weight, key, recompute), first_sample, recompute});
}

}  // namespace functional

std::string JoinSpec(std::string_view method, std::string_view first, std::string_view keys) {
  std::string line(method);
  char separator = ':';
  for (const std::string_view part : {first, keys}) {
    if (part.empty()) continue;
    line += separator;
    line += part;
    separator = ',';
  }
  return line;
}

std::string SizeKey(std::string_view key, torch::IntArrayRef numbers) {
  std::string text = std::string(key) + "=" + std::to_string(numbers[0]);
  bool equal = true;
  for (const int64_t number : numbers) equal = equal && number == numbers[0];
  for (size_t i = 1; i < numbers.size() && !equal; ++i) text += "x" + std::to_string(numbers[i]);
  return text;
}

Layer::Layer(const char* name, const std::string& line, double p, int dims)
    : spec_(Parse(line)), line_(PrintSpec(spec_, SpecForm::kFull)), name_(name), p_(p), dims_(dims) {
  CheckP(p);
}

void Layer::set_p(double p) {
  CheckP(p);
  p_ = p;
}

Tensor Layer::Run(const Tensor& x, bool training) const {
  TORCH_CHECK(dims_ == 0 || x.dim() == dims_, name_, ": x has ", x.dim(), " dimensions (shape ", x.sizes(),
              "); allowed: ", dims_, ", N, C and ", dims_ - 2, " of the map");
  if (!Active(training)) return x;
  return DropBy(x, {line_, p_, functional::new_key(x.device()), 0, recompute_});
}

void Layer::Print(std::ostream& stream) const {
  stream << "dropkit::nn::" << name_ << "(" << PrintSpec(spec_) << ", p=" << p_ << (mc_ ? ", mc" : "")
         << (recompute_ ? ", recompute" : "") << ")";
}

void Layer::Write(torch::serialize::OutputArchive& archive) const {
  archive.write("spec", line_);
  archive.write("p", c10::IValue(p_));
}

void Layer::Read(torch::serialize::InputArchive& archive) {
  c10::IValue line, p;
  if (!archive.try_read("spec", line) || !archive.try_read("p", p)) return;
  TORCH_CHECK(line.isString() && p.isDouble(), name_, ": the archive's spec and p are not a string and a number");
  const Spec spec = Parse(line.toStringRef());
  TORCH_CHECK(spec.method == spec_.method, name_, ": the archive has ", PrintSpec(spec), "; allowed: the method of ",
              PrintSpec(spec_));
  set_p(p.toDouble());
  spec_ = spec;
  line_ = PrintSpec(spec, SpecForm::kFull);
}

DropImpl::DropImpl(std::string_view spec, double p) : DropModule("Drop", std::string(spec), p, 0) {
  TORCH_CHECK(spec_.method != Method::kDropConnect, "Drop: ", PrintSpec(spec_),
              " drops weights; allowed: a method on activations, or DropConnectLinear");
}

Drop FromSpec(std::string_view case_line) {
  Spec spec;
  float p = 0;
  Check(ParseCase(case_line, &spec, &p));
  return Drop(PrintSpec(spec, SpecForm::kFull), p);
}

DropConnectLinearImpl::DropConnectLinearImpl(int64_t in_features, int64_t out_features, double p, std::string_view keys,
                                             bool with_bias)
    : Layer("DropConnectLinear", JoinSpec("drop_connect", "", keys), p, 0),
      in_features_(in_features),
      out_features_(out_features),
      with_bias_(with_bias) {
  reset();
}

Tensor DropConnectLinearImpl::forward(const Tensor& x) {
  if (!Active(is_training())) return torch::linear(x, weight, bias);
  return ConnectedLinear(x, weight, bias, spec_, {line_, p(), functional::new_key(weight.device()), 0, recompute()});
}

void DropConnectLinearImpl::reset() {
  weight = register_parameter("weight", torch::empty({out_features_, in_features_}));
  bias = register_parameter("bias", with_bias_ ? torch::empty(out_features_) : Tensor(), with_bias_);
  reset_parameters();
}

void DropConnectLinearImpl::reset_parameters() {
  torch::nn::init::kaiming_uniform_(weight, std::sqrt(5));
  if (!with_bias_) return;
  const double bound = in_features_ > 0 ? 1 / std::sqrt(static_cast<double>(in_features_)) : 0;
  torch::nn::init::uniform_(bias, -bound, bound);
}

void DropConnectLinearImpl::pretty_print(std::ostream& stream) const {
  std::ostringstream layer;
  Print(layer);
  std::string text = layer.str();
  text.pop_back();
  stream << text << ", in_features=" << in_features_ << ", out_features=" << out_features_ << ", bias=" << with_bias_
         << ")";
}

void DropConnectLinearImpl::save(torch::serialize::OutputArchive& archive) const {
  torch::nn::Module::save(archive);
  Write(archive);
}

void DropConnectLinearImpl::load(torch::serialize::InputArchive& archive) {
  torch::nn::Module::load(archive);
  Read(archive);
}

}  // namespace dropkit::nn
