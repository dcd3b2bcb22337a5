#include "promptcache/base/isa.hpp"

#include <hwy/targets.h>
#include <algorithm>
#include <cctype>
#include <cstdint>
#include <cstdlib>

#include "promptcache/base/error.hpp"

namespace promptcache {
namespace {

std::string name_of(std::int64_t target) {
#if HWY_ARCH_X86
  // Highway's own names for these say little to people who know the processors.
  if (target == HWY_AVX3) return "avx512";
  if (target == HWY_AVX3_DL) return "avx512_dl";
#endif
  if (target == HWY_EMU128) return "scalar";
  std::string name = hwy::TargetName(target);
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
  return name;
}

struct Target {
  std::string name;
  std::int64_t bit = 0;
};

// Best first: in Highway a lower bit is a better target.
const std::vector<Target>& targets() {
  static const std::vector<Target> list = [] {
    std::vector<Target> result;
    for (const std::int64_t bit : hwy::SupportedAndGeneratedTargets()) result.push_back({name_of(bit), bit});
    return result;
  }();
  return list;
}

const Target& find_target(std::string_view name, const std::string& place) {
  const auto found = std::find_if(targets().begin(), targets().end(), [&](const Target& t) { return t.name == name; });
  if (found != targets().end()) return *found;
  std::string wanted = "one of";
  for (const Target& target : targets()) wanted += " " + target.name;
  throw Error(ErrorCode::usage, {place}, "instruction set '" + std::string(name) + "'", wanted);
}

void restrict_kernels_to(std::int64_t bit) {
  // Targets weaker than the wanted one stay: a kernel that was not compiled for it falls back to the next.
  std::int64_t allowed = 0;
  for (const Target& target : targets()) {
    if (target.bit >= bit) allowed |= target.bit;
  }
  hwy::SetSupportedTargetsForTest(allowed);
  hwy::GetChosenTarget().Update(allowed);
}

const Target& active_target() {
  // A throw leaves the static uninitialised, so that each later call reports the same mistake.
  static const Target& target = [&]() -> const Target& {
    const char* wanted = std::getenv("PROMPTCACHE_ISA");
    if (wanted == nullptr || *wanted == '\0') return targets().front();
    const Target& chosen = find_target(wanted, "PROMPTCACHE_ISA");
    restrict_kernels_to(chosen.bit);
    return chosen;
  }();
  return target;
}

}  // namespace

std::string_view active_isa() { return active_target().name; }

std::vector<std::string> available_isas() {
  std::vector<std::string> names;
  for (const Target& target : targets()) names.push_back(target.name);
  return names;
}

ScopedIsa::ScopedIsa(std::string_view name) {
  active_target();  // or its first call would undo this choice later
  restrict_kernels_to(find_target(name, "ScopedIsa").bit);
}

ScopedIsa::~ScopedIsa() { restrict_kernels_to(active_target().bit); }

}  // namespace promptcache
