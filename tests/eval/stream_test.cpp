#include "promptcache/eval/stream.hpp"

#include <zlib.h>

#include <algorithm>
#include <map>
#include <set>

#include "cache/fakes.hpp"
#include "promptcache/eval/prompt_clusters.hpp"
#include "support.hpp"

using namespace promptcache;
using test::require_error;

namespace {

PromptTruth truth_of(std::size_t prompts, const std::vector<std::array<double, 3>>& pairs) {
  std::vector<std::size_t> first;
  std::vector<std::size_t> second;
  std::vector<double> labels;
  for (const auto& [a, b, label] : pairs) {
    first.push_back(static_cast<std::size_t>(a));
    second.push_back(static_cast<std::size_t>(b));
    labels.push_back(label);
  }
  return PromptTruth::from_pairs(prompts, first, second, labels);
}

Pair pair_of(const std::string& q1, const std::string& q2, double label) { return {q1, q2, label, 0}; }

std::vector<std::size_t> sorted(std::vector<std::size_t> values) {
  std::sort(values.begin(), values.end());
  return values;
}

}  // namespace

TEST_CASE("labels make right, wrong and unknown hits") {
  const PromptTruth truth = truth_of(7, {{0, 1, 1},
                                         {1, 2, 0.5},
                                         {2, 0, 0},  // against what the two above imply
                                         {3, 4, 1},
                                         {4, 0, 0},  // the two questions differ
                                         {5, 5, 0},  // says nothing
                                         {5, 6, 0.2}});
  CHECK(truth.components() == 4);
  CHECK(truth.judge(0, 1) == Truth::right);
  CHECK(truth.judge(1, 2) == Truth::right);
  CHECK(truth.judge(0, 2) == Truth::wrong);  // judged directly
  CHECK(truth.judge(2, 0) == Truth::wrong);
  CHECK(truth.judge(4, 0) == Truth::wrong);
  CHECK(truth.judge(3, 1) == Truth::wrong);  // over their components
  CHECK(truth.judge(5, 6) == Truth::wrong);
  CHECK(truth.judge(5, 0) == Truth::unknown);
  CHECK(truth.judge(5, 5) == Truth::right);
  CHECK(truth.contradictions() == 1);
}

TEST_CASE("judgements on the same two prompts count once, by their mean") {
  CHECK(truth_of(2, {{0, 1, 1}, {1, 0, 0}, {0, 1, 1}}).judge(0, 1) == Truth::right);
  CHECK(truth_of(2, {{0, 1, 0}, {1, 0, 0}, {0, 1, 1}}).judge(0, 1) == Truth::wrong);
  CHECK(truth_of(2, {{0, 1, 0}, {1, 0, 1}}).judge(0, 1) == Truth::right);
  require_error(ErrorCode::usage, {"pair 1", "prompt 2"}, [] { truth_of(2, {{0, 2, 1}}); });
}

TEST_CASE("with clusters all that is of another is wrong") {
  const std::vector<std::size_t> clusters = {7, 3, 7};
  const PromptTruth truth = PromptTruth::from_clusters(clusters);
  CHECK(truth.components() == 2);
  CHECK(truth.judge(0, 2) == Truth::right);
  CHECK(truth.judge(0, 1) == Truth::wrong);
  CHECK(truth.component(0) == 0);
}

TEST_CASE("the prompts of pairs are their distinct texts, or a part of them") {
  const std::vector<Pair> pairs = {pair_of("a", "b", 1), pair_of("b", "c", 0), pair_of("d", "d", 1),
                                   pair_of("e", "f", 1)};
  const PromptSet all = prompts_of_pairs(pairs);
  CHECK(all.texts == std::vector<std::string>{"a", "b", "c", "d", "e", "f"});
  CHECK(all.truth.components() == 4);
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const PromptSet some = prompts_of_pairs(pairs, 3, seed);
    CHECK(some.texts.size() <= 3);
    CHECK(some.texts.size() >= 2);
    CHECK(some.texts == prompts_of_pairs(pairs, 3, seed).texts);
  }
  CHECK(prompts_of_pairs(pairs, 6).texts.size() == 6);
}

TEST_CASE("vectors of prompts come with which of them are for exact matches only") {
  const test::WordEmbedder embedder(16);
  const PromptVectors vectors = embed_prompts(embedder, {"one", "a long one", "strange", "two"}, 3);
  CHECK(vectors.exact_only == std::vector<std::uint8_t>{0, 1, 1, 0});
  CHECK(vectors.truncated == 1);
  const std::vector<float> two = embedder.embed_one("two");
  CHECK(std::equal(two.begin(), two.end(), vectors.vectors.begin() + 3 * 16));
}

TEST_CASE("a stream of each prompt once is a permutation, another one each shuffle") {
  const PromptTruth truth = truth_of(50, {});
  const StreamPlan plan;
  std::set<std::vector<std::size_t>> orders;
  for (std::size_t shuffle = 0; shuffle < 10; ++shuffle) {
    const std::vector<std::size_t> requests = stream_requests(truth, plan, shuffle);
    CHECK(requests == stream_requests(truth, plan, shuffle));
    orders.insert(requests);
    const std::vector<std::size_t> in_order = sorted(requests);
    REQUIRE(in_order.size() == 50);
    for (std::size_t i = 0; i < 50; ++i) CHECK(in_order[i] == i);
  }
  CHECK(orders.size() == 10);
  StreamPlan other;
  other.seed = 2;
  CHECK(orders.count(stream_requests(truth, other, 0)) == 0);
}

TEST_CASE("requests drawn evenly and by Zipf's law") {
  const PromptTruth truth = PromptTruth::from_clusters(std::vector<std::size_t>{0, 1, 2, 3, 3});
  StreamPlan plan;
  plan.requests = 100'000;
  const auto shares = [&](bool of_components) {
    std::map<std::size_t, double> counts;
    for (const std::size_t prompt : stream_requests(truth, plan, 0)) {
      counts[of_components ? truth.component(prompt) : prompt] += 1e-5;
    }
    std::vector<double> result;
    for (const auto& [key, share] : counts) result.push_back(share);
    std::sort(result.rbegin(), result.rend());
    return result;
  };
  for (const double share : shares(false)) CHECK(share == Approx(0.2).margin(0.01));
  plan.popularity = Popularity::zipf;
  const std::vector<double> zipf = shares(true);
  REQUIRE(zipf.size() == 4);
  const double sum = 1 + 1.0 / 2 + 1.0 / 3 + 1.0 / 4;
  for (std::size_t rank = 0; rank < 4; ++rank) {
    CHECK(zipf[rank] == Approx(1 / sum / static_cast<double>(rank + 1)).margin(0.01));
  }
  plan.requests = 0;
  CHECK(stream_requests(truth, plan, 0).size() == 5);
}

TEST_CASE("drift brings the last of the ranking to its top, step by step") {
  const PromptTruth truth = PromptTruth::from_clusters(std::vector<std::size_t>{0, 1, 2, 3});
  StreamPlan plan;
  plan.popularity = Popularity::zipf;
  plan.zipf_exponent = 10;  // the first of the ranking and hardly anything else
  plan.requests = 4000;
  plan.drift = 1;
  const std::vector<std::size_t> requests = stream_requests(truth, plan, 0);
  std::set<std::size_t> leaders;
  for (std::size_t quarter = 0; quarter < 4; ++quarter) {
    const auto begin = requests.begin() + static_cast<std::ptrdiff_t>(1000 * quarter);
    const std::size_t leader = begin[0] == begin[1] ? begin[0] : begin[2];
    CHECK(std::count(begin, begin + 1000, leader) > 980);
    leaders.insert(leader);
  }
  CHECK(leaders.size() == 4);
  plan.popularity = Popularity::uniform;
  require_error(ErrorCode::usage, {"drift", "Zipf"}, [&] { stream_requests(truth, plan, 0); });
}

TEST_CASE("a share of the requests comes again, word for word") {
  StreamPlan plan;
  plan.again = 0.5;
  const std::vector<std::size_t> requests = stream_requests(truth_of(10, {}), plan, 3);
  CHECK(requests.size() == 15);
  plan.again = -1;
  require_error(ErrorCode::usage, {"again"}, [&] { stream_requests(truth_of(10, {}), plan, 3); });
  plan.again = std::numeric_limits<double>::quiet_NaN();
  require_error(ErrorCode::usage, {"again"}, [&] { stream_requests(truth_of(10, {}), plan, 3); });
  require_error(ErrorCode::usage, {"at least one prompt"}, [] { stream_requests({}, {}, 0); });
}

TEST_CASE("rates of a stream, and its score over shuffles") {
  const StreamCounts first{
      .requests = 10, .exact_hits = 1, .right_hits = 3, .wrong_hits = 1, .unknown_hits = 2, .possible_hits = 5};
  CHECK(first.hits() == 7);
  CHECK(first.misses() == 3);
  CHECK(first.hit_rate() == Approx(0.7));
  CHECK(*first.wrong_hit_rate() == Approx(0.2));
  CHECK(*first.wrong_semantic_hit_rate() == Approx(0.25));
  CHECK(*first.efficiency() == Approx(0.6));
  CHECK(*first.efficiency_at_worst() == Approx(0.2));
  CHECK_FALSE(StreamCounts{.requests = 3, .unknown_hits = 1}.wrong_hit_rate());
  CHECK_FALSE(StreamCounts{.requests = 3, .wrong_hits = 1}.efficiency());

  StreamCounts second = first;
  second.wrong_hits = 3;  // efficiency 0.2
  const StreamScore score = score_of(0.5, {first, second});
  REQUIRE(score.efficiency);
  CHECK(score.efficiency->value == Approx(0.4));
  CHECK(score.efficiency->low == Approx(0.2 + 0.025 * 0.4));
  CHECK(score.efficiency->high == Approx(0.6 - 0.025 * 0.4));
  CHECK(score.mean(&StreamCounts::wrong_hits) == 2);
  const StreamScore same = score_of(0.6, {first, first});
  CHECK(efficiency_difference(same, score)->value == Approx(0.2));
  CHECK(efficiency_difference(same, score)->low == Approx(0.01));
  const StreamScore none = score_of(0.9, {StreamCounts{.requests = 1}});
  CHECK_FALSE(none.efficiency);
  const std::vector<StreamScore> scores = {score, same, score_of(0.7, {first, first}), none};
  CHECK(most_efficient(scores)->tau == 0.7);  // of two equal ones the stricter
  CHECK(most_efficient(std::span(scores).last(1)) == nullptr);
  StreamCounts sure = second;  // lower, but with no hit of unknown truth
  sure.unknown_hits = 0;
  sure.wrong_hits = 2;
  const std::vector<StreamScore> doubtful = {same, score_of(0.4, {sure, sure})};
  CHECK(most_efficient(doubtful)->tau == 0.6);
  CHECK(most_efficient(doubtful, true)->tau == 0.4);
  CHECK(doubtful[0].efficiency_at_worst->value == Approx(0.2));
}

TEST_CASE("prompts with clusters are read from TSV and JSON lines, plain or gzip") {
  const test::TemporaryDirectory directory;
  const std::string tsv =
      "id\ttext\tintent\n1\thow are you\tgreet\n\n2\tbye\tleave\r\n3\thow are you\tgreet\n4\tbye\tgreet\n";
  const PromptClusters plain = read_prompt_clusters(directory.write("a.tsv", tsv), "text", "intent");
  CHECK(plain.texts == std::vector<std::string>{"how are you", "bye"});
  CHECK(plain.clusters == std::vector<std::size_t>{0, 1});
  CHECK(plain.conflicts == 1);
  gzFile file = gzopen(directory.file("a.gz").c_str(), "wb");
  gzwrite(file, tsv.data(), static_cast<unsigned>(tsv.size()));
  gzclose(file);
  CHECK(read_prompt_clusters(directory.file("a.gz"), "text", "intent").texts == plain.texts);
  const PromptClusters json = read_prompt_clusters(directory.write(
      "a.jsonl", "{\"prompt\": \"a\\tb\", \"cluster\": 4}\n\n{\"prompt\": \"c\", \"cluster\": \"4\"}\n"));
  CHECK(json.texts == std::vector<std::string>{"a\tb", "c"});
  CHECK(json.clusters == std::vector<std::size_t>{0, 0});

  const PromptSet some = prompts_of_clusters(plain, 1, 5);
  CHECK(some.texts.size() == 1);
  CHECK(prompts_of_clusters(plain).truth.judge(0, 1) == Truth::wrong);
}

TEST_CASE("what is no file of clusters is named with its line") {
  const test::TemporaryDirectory directory;
  const auto reads = [&](ErrorCode code, std::initializer_list<std::string> pieces, const std::string& content) {
    const std::string path = directory.write("x", content);
    require_error(code, pieces, [&] { read_prompt_clusters(path); });
  };
  reads(ErrorCode::format, {"empty file", "prompt and cluster"}, " \n");
  reads(ErrorCode::format, {"x:1", "'cluster'", "prompt, group"}, "prompt\tgroup\na\tb\n");
  reads(ErrorCode::format, {"x:3", "1 cells", "2"}, "prompt\tcluster\na\tb\nc\n");
  reads(ErrorCode::format, {"x:2", "empty prompt"}, "prompt\tcluster\n\tb\n");
  reads(ErrorCode::format, {"x:2", "empty cluster"}, "prompt\tcluster\na\t\n");
  reads(ErrorCode::format, {"no prompts"}, "prompt\tcluster\n");
  reads(ErrorCode::format, {"x:2", "JSON object"}, "{\"prompt\": \"a\", \"cluster\": 1}\n[]\n");
  reads(ErrorCode::format, {"x:1", "'cluster'"}, "{\"prompt\": \"a\"}\n");
  reads(ErrorCode::format, {"x:1", "'prompt'"}, "{\"prompt\": 3, \"cluster\": 1}\n");
  require_error(ErrorCode::not_found, {"none"}, [&] { read_prompt_clusters(directory.file("none")); });
  CHECK_THROWS_AS(read_prompt_clusters(directory.path()), Error);
}
