#include "promptcache/reuse/generation.hpp"

#include <map>

#include "golden.hpp"
#include "reuse/decoders.hpp"

namespace {

using namespace promptcache;
using namespace promptcache::reuse;

std::map<std::int32_t, int> draws(const SamplingOptions& options, const std::vector<float>& logits, int count) {
  Sampler sampler(options);
  std::map<std::int32_t, int> counts;
  for (int i = 0; i < count; ++i) ++counts[sampler.next(logits)];
  return counts;
}

/// The model of the repository with a tokenizer of about its size.
struct World {
  std::shared_ptr<const Decoder> decoder = test::tiny_decoder("tiny_llama");
  std::shared_ptr<const BpeTokenizer> tokenizer = BpeTokenizer::open(test::data_file("tiny_bpe_smollm.json"));

  Chain chain() const {
    Chain result(decoder, nullptr);
    result.append(test::some_tokens(10));
    return result;
  }
  Generation go(GenerationOptions options) const {
    Chain start = chain();
    return generate(start, *tokenizer, options);
  }
};

}  // namespace

TEST_CASE("Sampler: draws follow the probabilities, within the limits") {
  const std::vector<float> logits{0, 2, 1, -1, 2};  // shares 1, e^2, e, 1/e, e^2 of 18.87
  CHECK(Sampler().next(logits) == 1);
  const auto all = draws({.temperature = 1}, logits, 20000);
  CHECK(all.size() == 5);
  CHECK(all.at(1) / 20000.0 == Approx(0.3916).margin(0.015));
  CHECK(all.at(2) / 20000.0 == Approx(0.1441).margin(0.015));
  const auto two = draws({.temperature = 1, .top_k = 2}, logits, 4000);
  CHECK(two.size() == 2);
  CHECK(two.at(1) / 4000.0 == Approx(0.5).margin(0.03));
  CHECK(draws({.temperature = 1, .top_p = 0.3}, logits, 200).size() == 1);
  CHECK(draws({.temperature = 1, .top_p = 0.78}, logits, 2000).size() == 2);
  const auto three = draws({.temperature = 1, .top_p = 0.79}, logits, 9000);
  CHECK(three.size() == 3);
  CHECK(three.at(2) / 9000.0 == Approx(0.1554).margin(0.015));
  CHECK(draws({.temperature = 1, .top_k = 3, .top_p = 0.8}, logits, 2000).size() == 2);
  CHECK(draws({.temperature = 0.05}, logits, 2000).size() == 2);
  CHECK(draws({.temperature = 1, .seed = 4}, logits, 50) == draws({.temperature = 1, .seed = 4}, logits, 50));
  CHECK(draws({.temperature = 1, .seed = 4}, logits, 50) != draws({.temperature = 1, .seed = 5}, logits, 50));
}

TEST_CASE("Sampler: options that make no sense are refused") {
  for (const SamplingOptions& options :
       {SamplingOptions{.temperature = -1}, SamplingOptions{.temperature = std::nan("")}, SamplingOptions{.top_p = 0},
        SamplingOptions{.top_p = 1.5}}) {
    test::require_error(ErrorCode::usage, {"temperature", "top_p"}, [&] { Sampler{options}; });
  }
  test::require_error(ErrorCode::usage, {"no logits"}, [] { Sampler().next({}); });
}

TEST_CASE("generate: each way to end") {
  const World world;
  const Generation free = world.go({.most_tokens = 40});
  REQUIRE(free.tokens.size() == 40);
  CHECK(free.end == GenerationEnd::length);
  CHECK(free.text == world.tokenizer->decode(free.tokens));

  const std::int32_t fifth = free.tokens[4];
  const Generation ended = world.go({.most_tokens = 40, .ends = {fifth}});
  CHECK(ended.end == GenerationEnd::end_token);
  CHECK(ended.tokens.size() <= 4);
  CHECK(std::ranges::count(ended.tokens, fifth) == 0);

  // A text over the border of two tokens.
  const std::string head = world.tokenizer->decode(std::span(free.tokens).first(5));
  const std::string stop = free.text.substr(head.size() - 1, 3);
  std::string received;
  const Generation stopped =
      world.go({.most_tokens = 40, .stop = {"never there", stop}, .receive = [&](std::string_view text) {
                  received += text;
                  return true;
                }});
  CHECK(stopped.end == GenerationEnd::stop_text);
  CHECK(stopped.text == free.text.substr(0, free.text.find(stop)));
  CHECK(received == stopped.text);

  int calls = 0;
  const Generation cancelled = world.go({.most_tokens = 40, .receive = [&](std::string_view) { return ++calls < 3; }});
  CHECK(cancelled.end == GenerationEnd::cancelled);
  CHECK(calls == 3);

  const Generation full = world.go({.most_tokens = 1000});
  CHECK(full.end == GenerationEnd::context);
  CHECK(full.tokens.size() == 246);
  test::require_error(ErrorCode::usage, {"empty stop text"}, [&] { world.go({.stop = {""}}); });
}

TEST_CASE("generate: text comes in whole characters, and what may begin a stop text comes later or never") {
  const World world;
  for (std::uint64_t seed = 0; seed < 30; ++seed) {
    std::string received;
    GenerationOptions options{
        .sampling = {.temperature = 3, .seed = seed}, .most_tokens = 60, .stop = {"e\xCC\x81\xCC", "zzz"}};
    options.receive = [&](std::string_view text) {
      received += text;
      return true;
    };
    const Generation result = world.go(options);
    CHECK(received == result.text);
    CHECK(result.text == world.tokenizer->decode(result.tokens).substr(0, result.text.size()));
  }
}
