// Standard normal values for fill=noise: section 9 of docs/draws.md.
//
// Assumes f64 arithmetic without contraction (-ffp-contract=off) and std::sqrt correctly rounded, as IEEE asks. No
// other library function is used, so that every machine gives the same bits.
#include <algorithm>
#include <cmath>
#include <initializer_list>

#include "reference/reference.h"

namespace dropkit::reference {
namespace {

// P. J. Acklam's coefficients (2003): the numerators and denominators of the middle and of the tails.
constexpr std::initializer_list<double> kMiddleTop = {-3.969683028665376e+01, 2.209460984245205e+02,
                                                      -2.759285104469687e+02, 1.383577518672690e+02,
                                                      -3.066479806614716e+01, 2.506628277459239e+00};
constexpr std::initializer_list<double> kMiddleBottom = {-5.447609879822406e+01, 1.615858368580409e+02,
                                                         -1.556989798598866e+02, 6.680131188771972e+01,
                                                         -1.328068155288572e+01, 1.0};
constexpr std::initializer_list<double> kTailTop = {-7.784894002430293e-03, -3.223964580411365e-01,
                                                    -2.400758277161838e+00, -2.549732539343734e+00,
                                                    4.374664141464968e+00,  2.938163982698783e+00};
constexpr std::initializer_list<double> kTailBottom = {7.784695709041462e-03, 3.224671290700398e-01,
                                                       2.445134137142996e+00, 3.754408661907416e+00, 1.0};

double Polynomial(std::initializer_list<double> coefficients, double x) {
  double value = *coefficients.begin();
  for (auto c = coefficients.begin() + 1; c != coefficients.end(); ++c) value = value * x + *c;
  return value;
}

// ln of a number in (0, 1).
double Log(double h) {
  int k = 0;
  while (h < 1.0) {
    h = h * 2.0;
    ++k;
  }
  const double v = (h - 1.0) / (h + 1.0);
  const double v2 = v * v;
  double series = 1.0 / 25.0;
  for (int j = 23; j >= 1; j -= 2) series = series * v2 + 1.0 / j;
  return (2.0 * v) * series - static_cast<double>(k) * 0.6931471805599453;
}

}  // namespace

double Normal(uint32_t word) {
  const double u = (static_cast<double>(word) + 0.5) / 4294967296.0;
  const double h = std::min(u, 1.0 - u);
  if (h >= 0.02425) {
    const double q = u - 0.5;
    const double r = q * q;
    return (Polynomial(kMiddleTop, r) * q) / Polynomial(kMiddleBottom, r);
  }
  const double q = std::sqrt(-2.0 * Log(h));
  const double z = Polynomial(kTailTop, q) / Polynomial(kTailBottom, q);
  return u > 0.5 ? -z : z;
}

double Noise(Key key, uint64_t sample, uint64_t element) {
  const uint64_t call = element >> 2;
  const Words words =
      Draw(CallKey(key, Tag::kNoise), static_cast<uint32_t>(call >> 32), static_cast<uint32_t>(call), sample);
  return Normal(words[element & 3]);
}

}  // namespace dropkit::reference
