#include "promptcache/eval/stream.hpp"

#include <cmath>

#include "support.hpp"

using namespace promptcache;

namespace {

/// Prompts on a circle at these angles.
StreamPrompts prompts_at(const std::vector<double>& angles, std::vector<std::size_t> groups) {
  StreamPrompts prompts;
  prompts.dimension = 2;
  for (const double angle : angles) {
    prompts.vectors.push_back(static_cast<float>(std::cos(angle)));
    prompts.vectors.push_back(static_cast<float>(std::sin(angle)));
  }
  prompts.group = std::move(groups);
  return prompts;
}

}  // namespace

TEST_CASE("positive pairs make groups, over others too") {
  const std::vector<std::size_t> first = {0, 1, 3, 4};
  const std::vector<std::size_t> second = {1, 2, 4, 0};
  const std::vector<std::uint8_t> positive = {1, 1, 1, 0};
  const std::vector<std::size_t> groups = groups_of(6, first, second, positive);
  CHECK(groups[0] == groups[1]);
  CHECK(groups[1] == groups[2]);
  CHECK(groups[3] == groups[4]);
  CHECK(groups[0] != groups[3]);
  CHECK(groups[5] != groups[0]);
}

TEST_CASE("a stream counts right and wrong hits as a cache would serve them") {
  // Two right pairs near each other, one prompt nearer to a stranger than to its own.
  const StreamPrompts prompts = prompts_at({0, 0.1, 2, 2.1, 4, 4.2, 4.25}, {0, 0, 1, 1, 2, 2, 3});
  CHECK(prompts.repeats() == 3);
  const std::vector<double> thresholds = {-1, std::cos(0.15), std::cos(0.01), 1};
  const std::vector<StreamPoint> points = simulate_stream(prompts, thresholds, 50, 1);
  REQUIRE(points.size() == 4);
  CHECK(points[0].hits == 6);  // all but the first, almost all wrong
  CHECK(points[0].efficiency < 0);
  CHECK(points[1].hits == Approx(3));  // both pairs, and 4.2 for 4.25 or the other way round
  CHECK(points[1].true_hits == Approx(2));
  CHECK(points[1].efficiency == Approx(1.0 / 3));
  CHECK(points[1].wrong_share() == Approx(1.0 / 3));
  CHECK(points[2].hits == 0);
  CHECK(points[2].wrong_share() == 0);
  CHECK(points[3].efficiency == 0);
  CHECK(simulate_stream(prompts, thresholds, 50, 1)[0].true_hits == points[0].true_hits);
  test::require_error(ErrorCode::usage, {"simulate_stream"}, [&] { simulate_stream({}, thresholds, 1, 1); });
}
