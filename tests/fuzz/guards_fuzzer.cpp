#include "fuzz.hpp"
#include "promptcache/policy/guards.hpp"

// The bytes as two prompts, cut at the first zero, and as a list file. Findings must not depend on the order.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const fuzz::Directory directory("");
  static const auto guards =
      promptcache::Guards::english(promptcache::GuardOptions::all(promptcache::GuardAction::flag));
  const std::string text(fuzz::text_of(data, size));
  const std::size_t end = text.find('\0');
  const std::string a = text.substr(0, end);
  const std::string b = end == std::string::npos ? a.substr(a.size() / 2) : text.substr(end + 1);
  const auto findings = guards->check(a, b);
  const auto reversed = guards->check(b, a);
  if (findings.size() != reversed.size()) __builtin_trap();
  for (std::size_t i = 0; i < findings.size(); ++i) {
    if (findings[i].reason != reversed[i].reason) __builtin_trap();
  }
  if (size < 4096) {
    const std::string path = directory.write("list", text);
    fuzz::errors_only([&] { promptcache::Guards::open(path)->check(a, b); });
  }
  return 0;
}
