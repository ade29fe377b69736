// The structs and enums of dropkit_c.h to and from dropkit.h's, one function a struct and direction. Readers refuse
// what the C++ types cannot hold (null, a number outside an enum, text without an end) with the argument's name;
// whether the values make sense is for the C++ functions to say.
#ifndef DROPKIT_SRC_C_STRUCTS_H_
#define DROPKIT_SRC_C_STRUCTS_H_

#include "dropkit/dropkit.h"
#include "dropkit/dropkit_c.h"

namespace dropkit {

// "NAME = null; allowed: ALLOWED", and the same for a number.
Status NullArgument(const char* name, const char* allowed);
Status BadNumber(const std::string& name, int64_t value, const char* allowed);

Status ReadDType(const std::string& name, int32_t value, DType* to);
Status ReadLayout(int32_t value, Layout* to);
Status ReadPass(int32_t value, Pass* to);
Status ReadForm(int32_t value, SpecForm* to);
Status ReadSpec(const char* line, Spec* to);
Status ReadView(const char* name, const dropkit_view* from, View* to);
Status ReadExec(const dropkit_exec* from, Exec* to);  // null: the defaults
Status ReadMask(const dropkit_mask* from, Mask* to);
// The pointers alone: all that is read of a mask that is about to be written.
Status ReadPlaces(const dropkit_mask* from, Mask* to);

// A spec line as a mask holds it, zeros to its end.
struct SpecText {
  char bytes[DROPKIT_SPEC_BYTES] = {};
};
SpecText TextOf(const char* line, const Spec& spec);

void WriteView(const View& from, dropkit_view* to);
// All but bits, threshold and kept.
void WriteMask(const Mask& from, const SpecText& spec, dropkit_mask* to);
void WriteRateInfo(const RateInfo& from, dropkit_rate_info* to);

}  // namespace dropkit

#endif  // DROPKIT_SRC_C_STRUCTS_H_
