#include "promptcache/eval/simulation.hpp"

#include <cmath>
#include <random>

#include "support.hpp"

using namespace promptcache;
using test::require_error;

namespace {

struct World {
  PromptSet prompts;
  PromptVectors vectors;
};

/// Prompts on a circle at these angles, with labels on pairs of them.
World circle(const std::vector<double>& angles, const std::vector<std::array<double, 3>>& pairs) {
  World world;
  world.vectors.dimension = 2;
  for (const double angle : angles) {
    world.vectors.vectors.push_back(static_cast<float>(std::cos(angle)));
    world.vectors.vectors.push_back(static_cast<float>(std::sin(angle)));
    world.prompts.texts.push_back("prompt " + std::to_string(world.prompts.texts.size()));
  }
  std::vector<std::size_t> first;
  std::vector<std::size_t> second;
  std::vector<double> labels;
  for (const auto& [a, b, label] : pairs) {
    first.push_back(static_cast<std::size_t>(a));
    second.push_back(static_cast<std::size_t>(b));
    labels.push_back(label);
  }
  world.prompts.truth = PromptTruth::from_pairs(angles.size(), first, second, labels);
  return world;
}

/// Groups of vectors near each other, some of them equal, some for exact matches only.
World random_world(std::size_t prompts, std::size_t dimension, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal;
  World world;
  world.vectors.dimension = dimension;
  std::vector<std::vector<float>> centres(prompts / 5 + 1, std::vector<float>(dimension));
  for (auto& centre : centres) {
    for (float& value : centre) value = normal(random);
  }
  std::vector<std::size_t> clusters;
  for (std::size_t i = 0; i < prompts; ++i) {
    clusters.push_back(random() % centres.size());
    std::vector<float> vector = centres[clusters.back()];
    if (random() % 4 != 0) {  // otherwise one and the same vector: ties
      for (float& value : vector) value += 0.4F * normal(random);
    }
    float square = 0;
    for (const float value : vector) square += value * value;
    for (const float value : vector) world.vectors.vectors.push_back(value / std::sqrt(square));
    world.vectors.exact_only.push_back(random() % 20 == 0 ? 1 : 0);
    world.prompts.texts.push_back("prompt " + std::to_string(i));
  }
  world.prompts.truth = PromptTruth::from_clusters(clusters);
  return world;
}

/// The nearest stored prompt by the definition: a scan over all of them.
StreamCounts by_definition(const World& world, const std::vector<std::size_t>& requests, double tau,
                           std::vector<RequestTrace>& trace) {
  StreamCounts counts;
  std::vector<std::size_t> stored;
  std::vector<bool> seen(world.prompts.truth.components());
  const std::size_t width = world.vectors.dimension;
  for (const std::size_t prompt : requests) {
    ++counts.requests;
    counts.possible_hits += seen[world.prompts.truth.component(prompt)] ? 1 : 0;
    seen[world.prompts.truth.component(prompt)] = true;
    double best = -2;
    std::size_t nearest = RequestTrace::none;
    bool exact = false;
    for (const std::size_t candidate : stored) {
      if (candidate == prompt) exact = true;
      if (world.vectors.exact_only[prompt] != 0 || world.vectors.exact_only[candidate] != 0) continue;
      double dot = 0;
      for (std::size_t i = 0; i < width; ++i) {
        dot += static_cast<double>(world.vectors.vectors[prompt * width + i]) *
               static_cast<double>(world.vectors.vectors[candidate * width + i]);
      }
      dot = std::min(dot, 1.0);
      if (dot > best + 1e-6) {
        best = dot;
        nearest = candidate;
      }
    }
    if (exact) {
      ++counts.exact_hits;
      trace.push_back({prompt, true});
    } else if (nearest != RequestTrace::none && best > tau) {
      ++(world.prompts.truth.judge(prompt, nearest) == Truth::right ? counts.right_hits : counts.wrong_hits);
      trace.push_back({nearest, false});
    } else {
      stored.push_back(prompt);
      trace.push_back({});
    }
  }
  return counts;
}

/// Through the cache and, where it has no bound, by the simulator; both must say the same.
StreamCounts both(const World& world, const std::vector<std::size_t>& requests, double tau) {
  std::vector<RequestTrace> real;
  std::vector<RequestTrace> foretold;
  const StreamCounts counts = replay_stream(world.prompts, world.vectors, requests, tau, {}, &real);
  CHECK(StreamSimulator(world.prompts, world.vectors, -1).run(requests, tau, &foretold) == counts);
  CHECK(real == foretold);
  return counts;
}

}  // namespace

TEST_CASE("a stream counted by hand: right, wrong and unknown hits") {
  const World world =
      circle({0, 0.1, 2, 2.1, 4, 4.2, 4.25}, {{0, 1, 1}, {4, 5, 1}, {5, 6, 0}});  // no word about 2 and 3
  const double tau = std::cos(0.15);
  // 0 stored; 1 served by 0, right; 2 stored; 3 served by 2, unknown; 4 and 5 stored, 0.2 apart; 6 served by 5, wrong.
  const StreamCounts counts = both(world, {0, 1, 2, 3, 4, 5, 6}, tau);
  CHECK(counts == StreamCounts{.requests = 7, .right_hits = 1, .wrong_hits = 1, .unknown_hits = 1, .possible_hits = 2});
  CHECK(*counts.efficiency() == 0);
  CHECK(*counts.wrong_hit_rate() == 0.5);
  // The other way round: 6 is stored, and serves 5 wrongly; 4 is too far from 6 and 5 was never stored.
  CHECK(both(world, {6, 5, 4, 3, 2, 1, 0}, tau) == counts);
  // Nothing is strictly above 1, all is above -1.
  CHECK(both(world, {0, 1, 2}, 1).hits() == 0);
  CHECK(both(world, {0, 1, 2}, -1).hits() == 2);
}

TEST_CASE("a prompt that comes again is an exact hit if it was stored, otherwise as similar as before") {
  const World world = circle({0, 0.1, 2}, {{0, 1, 1}});
  // 0 stored; 0 again exact; 1 by similarity, twice, since a hit stores nothing; 2 stored; 2 exact.
  const StreamCounts counts = both(world, {0, 0, 1, 1, 2, 2}, 0.9);
  CHECK(counts == StreamCounts{.requests = 6, .exact_hits = 2, .right_hits = 2, .possible_hits = 4});
  CHECK(*counts.efficiency() == 1);
  CHECK(*counts.wrong_hit_rate() == 0);
}

TEST_CASE("capacity and eviction, counted by hand") {
  const World world = circle({0, 0.1, 2, 4}, {{0, 1, 1}});
  const auto replay = [&](const std::vector<std::size_t>& requests, const StreamCacheOptions& options) {
    return replay_stream(world.prompts, world.vectors, requests, 0.9, options);
  };
  // With one place: 0 stored, 1 served; 2 puts 0 out, 0 puts 2 out, 1 served again.
  CHECK(replay({0, 1, 2, 0, 1}, {.capacity = 1}) ==
        StreamCounts{.requests = 5, .right_hits = 2, .possible_hits = 3, .evictions = 2});
  // With two: 0 was used thrice but longest ago, so recency gives it up and expected cost keeps it.
  const std::vector<std::size_t> requests = {0, 0, 0, 2, 3, 0};
  CHECK(replay(requests, {.capacity = 2}).exact_hits == 2);
  CHECK(replay(requests, {.capacity = 2, .eviction = Eviction::least_expected_cost}).exact_hits == 3);
  CHECK(replay(requests, {.capacity = 3}).evictions == 0);
}

TEST_CASE("the simulator foretells the real cache, decision by decision") {
  for (std::uint64_t seed = 1; seed <= 3; ++seed) {
    const World world = random_world(120, 24, seed);
    const StreamSimulator simulator(world.prompts, world.vectors, -1, {.threads = 3});
    std::vector<StreamPlan> plans(3);
    plans[1].popularity = Popularity::zipf;
    plans[1].requests = 200;
    plans[1].drift = 0.5;
    plans[2].requests = 150;
    plans[2].again = 0.3;
    for (const StreamPlan& plan : plans) {
      const std::vector<std::size_t> requests = stream_requests(world.prompts.truth, plan, seed);
      for (const double tau : {-1.0, 0.0, 0.3, 0.5, 0.7, 0.85, 0.95, 0.999, 1.0}) {
        std::vector<RequestTrace> real;
        std::vector<RequestTrace> foretold;
        std::vector<RequestTrace> defined;
        const StreamCounts counts = replay_stream(world.prompts, world.vectors, requests, tau, {}, &real);
        CHECK(simulator.run(requests, tau, &foretold) == counts);
        CHECK(real == foretold);
        if (tau != 0.999) {  // where rounding decides, sums in double say something else
          CHECK(by_definition(world, requests, tau, defined) == counts);
          CHECK(real == defined);
        }
      }
    }
  }
}

TEST_CASE("scores do not depend on the number of threads") {
  const World world = random_world(80, 8, 7);
  StreamPlan plan;
  plan.shuffles = 7;
  const std::vector<double> taus = {0.2, 0.6, 0.9, 1};
  for (const std::size_t capacity : {std::size_t{0}, std::size_t{10}}) {
    std::vector<StreamScore> alone;
    for (const std::size_t threads : {1, 4}) {
      const StreamRunOptions options{.cache = {.capacity = capacity}, .threads = threads};
      const std::vector<StreamScore> scores = sweep_shuffles(world.prompts, world.vectors, plan, taus, options);
      REQUIRE(scores.size() == taus.size());
      if (alone.empty()) alone = scores;
      for (std::size_t i = 0; i < taus.size(); ++i) {
        CHECK(scores[i].shuffles == alone[i].shuffles);
        CHECK(scores[i].tau == taus[i]);
        const StreamScore real = replay_shuffles(world.prompts, world.vectors, plan, taus[i], options);
        CHECK(real.shuffles == scores[i].shuffles);
      }
    }
    CHECK((alone[0].total.evictions > 0) == (capacity > 0 && alone[0].total.misses() > 7 * capacity));
  }
}

TEST_CASE("progress of a sweep counts to its end") {
  const World world = random_world(70, 8, 7);
  std::size_t last = 0;
  std::size_t total = 0;
  StreamRunOptions options;
  options.threads = 2;
  options.progress = [&](const Progress& progress) {
    last = progress.done;
    total = progress.total;
  };
  const std::vector<double> taus = {0.5, 1};
  sweep_shuffles(world.prompts, world.vectors, {}, taus, options);
  CHECK(last == 40);
  CHECK(total == 40);
}

TEST_CASE("the simulator refuses what it cannot do") {
  const World world = circle({0, 0.1, 0.2, 0.3}, {});
  require_error(ErrorCode::usage, {"more than 5 neighbours", "fewer prompts"},
                [&] { StreamSimulator(world.prompts, world.vectors, 0, {.max_neighbours = 5}); });
  const StreamSimulator simulator(world.prompts, world.vectors, 0.5);
  const std::vector<std::size_t> requests = {0, 1};
  require_error(ErrorCode::usage, {"tau", "0.4"}, [&] { simulator.run(requests, 0.4); });
  require_error(ErrorCode::numeric, {"tau", "nan"},
                [&] { simulator.run(requests, std::numeric_limits<double>::quiet_NaN()); });
  require_error(ErrorCode::usage, {"StreamSimulator"}, [&] { StreamSimulator(world.prompts, {}, 0.5); });
  require_error(ErrorCode::usage, {"replay_stream"}, [&] {
    replay_stream(world.prompts, {2, {0}, {}, 0}, requests, 1);
  });
  require_error(ErrorCode::usage, {"tau"}, [&] { replay_stream(world.prompts, world.vectors, requests, 2); });
}
