#include "promptcache/base/isa.hpp"

#include <algorithm>
#include <cstdlib>

#include "support.hpp"

using namespace promptcache;

TEST_CASE("the active instruction set is the best one, or the one asked for") {
  const std::vector<std::string> available = available_isas();
  REQUIRE_FALSE(available.empty());
  const char* wanted = std::getenv("PROMPTCACHE_ISA");
  if (wanted != nullptr && std::find(available.begin(), available.end(), wanted) == available.end()) {
    // ctest runs this case a second time with a name that no processor has.
    for (int attempt = 0; attempt < 2; ++attempt) {
      test::require_error(ErrorCode::usage, {"PROMPTCACHE_ISA", wanted, available.front(), available.back()},
                          [] { active_isa(); });
    }
    return;
  }
  CHECK(active_isa() == (wanted != nullptr ? std::string(wanted) : available.front()));
  CHECK(std::find(available.begin(), available.end(), "scalar") != available.end());
}

TEST_CASE("a scoped instruction set must be available") {
  const char* wanted = std::getenv("PROMPTCACHE_ISA");
  if (wanted != nullptr) return;
  test::require_error(ErrorCode::usage, {"avx9000", available_isas().front()}, [] { ScopedIsa scope("avx9000"); });
}
