#include "promptcache/reuse/decoder.hpp"

#include <algorithm>
#include <cmath>

#include "golden.hpp"
#include "reuse/decoders.hpp"

namespace {

using namespace promptcache;
using namespace promptcache::reuse;

using Logits = std::vector<std::vector<float>>;

/// Runs tokens in one step, in blocks of `block` tokens, each token seeing the modules it may: those of its own module
/// up to itself, and all of them for the tokens of the last one. One module: plain causal text.
std::vector<float> run_modules(const Decoder& decoder, const std::vector<std::int32_t>& ids,
                               const std::vector<std::array<std::size_t, 3>>& modules, std::size_t block) {
  Step step;
  std::vector<std::unique_ptr<KvBlock>> blocks;
  std::vector<std::size_t> module_of_run, first_of_run;
  for (std::size_t module = 0; module < modules.size(); ++module) {
    const auto [first, end, position] = modules[module];
    for (std::size_t at = first; at < end; at += block) {
      const std::size_t count = std::min(block, end - at);
      blocks.push_back(std::make_unique<KvBlock>(decoder.kv_shape(), count));
      blocks.back()->resize(count);
      for (std::size_t row = 0; row < count; ++row) step.tokens.push_back({ids[at + row], step.runs.size(), row});
      step.runs.push_back({blocks.back().get(), position + at - first, blocks.back().get()});
      module_of_run.push_back(module);
      first_of_run.push_back(at);
    }
  }
  std::vector<std::size_t> all;
  step.visible.resize(step.tokens.size() * step.runs.size());
  for (std::size_t i = 0; i < step.tokens.size(); ++i) {
    all.push_back(i);
    const std::size_t module = module_of_run[step.tokens[i].run];
    for (std::size_t run = 0; run < step.runs.size(); ++run) {
      if (module_of_run[run] != module && module + 1 != modules.size()) continue;
      const std::size_t before = i + 1 > first_of_run[run] ? i + 1 - first_of_run[run] : 0;
      step.sees(i, run) = static_cast<std::uint32_t>(std::min(before, step.runs[run].block->size()));
    }
  }
  return decoder.run(step, all);
}

std::vector<float> flat(const nlohmann::json& rows) {
  std::vector<float> values;
  for (const auto& row : rows) {
    for (const auto& value : row) values.push_back(value.get<float>());
  }
  return values;
}

std::vector<std::array<std::size_t, 3>> modules_of(const nlohmann::json& golden) {
  return golden["modules"].get<std::vector<std::array<std::size_t, 3>>>();
}

}  // namespace

TEST_CASE("Decoder: logits are those of transformers, with all tokens in sight and with modules behind gaps") {
  const auto golden = test::golden_json("decoder_logits.json.gz");
  const auto ids = golden["ids"].get<std::vector<std::int32_t>>();
  for (const std::string name : {"tiny_llama", "tiny_gpt2", "tiny_mpt"}) {
    for (const bool reference : {false, true}) {
      const auto decoder = test::tiny_decoder(name, {.reference = reference});
      for (const std::size_t block : {64, 16, 7, 1}) {
        INFO(name << (reference ? ", reference" : ", kernels") << ", blocks of " << block);
        const auto causal = run_modules(*decoder, ids, {{0, ids.size(), 0}}, block);
        CHECK(test::largest_difference(causal, flat(golden[name]["causal"])) < 1e-4);
        if (!golden[name].contains("masked")) continue;
        const auto masked = run_modules(*decoder, ids, modules_of(golden), block);
        CHECK(test::largest_difference(masked, flat(golden[name]["masked"])) < 1e-4);
      }
    }
  }
}

TEST_CASE("Decoder: the kernels agree with LibTorch's plain operations in every number format") {
  const auto golden = test::golden_json("decoder_logits.json.gz");
  for (const std::string name : {"tiny_llama", "tiny_gpt2", "tiny_mpt"}) {
    for (const WeightType weights : {WeightType::f32, WeightType::bf16}) {
      for (const KvType kv : {KvType::f32, KvType::bf16}) {
        INFO(name << (weights == WeightType::bf16 ? ", bf16" : "")
                  << (kv == KvType::bf16 ? ", keys and values bf16" : ""));
        const auto ids = test::some_tokens(100);
        std::vector<float> logits[2];
        for (const bool reference : {false, true}) {
          const auto decoder = test::tiny_decoder(name, {.weights = weights, .kv = kv, .reference = reference});
          logits[reference ? 1 : 0] = run_modules(*decoder, ids, {{0, 30, 3}, {30, 77, 40}, {77, 100, 90}}, 40);
        }
        // A value on the border of two in bf16 may fall to either side.
        CHECK(test::largest_difference(logits[0], logits[1]) < (kv == KvType::bf16 ? 0.05 : 1e-4));
      }
    }
  }
}

TEST_CASE("Decoder: bf16 changes logits, but not much") {
  const auto ids = test::some_tokens(60);
  const auto exact = run_modules(*test::tiny_decoder("tiny_llama"), ids, {{0, 60, 0}}, 64);
  const auto rough = run_modules(*test::tiny_decoder("tiny_llama", {.weights = WeightType::bf16, .kv = KvType::bf16}),
                                 ids, {{0, 60, 0}}, 64);
  const double difference = test::largest_difference(exact, rough);
  CHECK(difference > 1e-4);
  CHECK(difference < 0.5);
}

TEST_CASE("Decoder: rotary and ALiBi positions are relative, those of a table are not") {
  const auto ids = test::some_tokens(40);
  const auto moved = [&](const std::string& name) {
    const auto decoder = test::tiny_decoder(name);
    return test::largest_difference(run_modules(*decoder, ids, {{0, 40, 0}}, 16),
                                    run_modules(*decoder, ids, {{0, 40, 53}}, 16));
  };
  CHECK(moved("tiny_llama") < 1e-4);
  CHECK(moved("tiny_mpt") < 1e-4);
  CHECK(moved("tiny_gpt2") > 0.1);
}

TEST_CASE("Decoder: several sequences in one step are as each by itself, to the bit") {
  for (const WeightType weights : {WeightType::f32, WeightType::bf16}) {
    const auto decoder = test::tiny_decoder("tiny_llama", {.weights = weights});
    Step both;
    std::vector<std::unique_ptr<KvBlock>> blocks;
    std::vector<std::vector<float>> alone;
    const std::size_t lengths[] = {9, 23};
    for (std::size_t i = 0; i < 2; ++i) {
      const auto ids = test::some_tokens(lengths[i], i + 1);
      blocks.push_back(std::make_unique<KvBlock>(decoder->kv_shape(), ids.size()));
      blocks.back()->resize(ids.size());
      both.runs.push_back({blocks.back().get(), i * 11, blocks.back().get()});
      for (std::size_t row = 0; row < ids.size(); ++row) both.tokens.push_back({ids[row], i, row});
      alone.push_back(run_modules(*decoder, ids, {{0, ids.size(), i * 11}}, 64));
    }
    both.visible.resize(both.tokens.size() * 2);
    std::vector<std::size_t> wanted;
    for (std::size_t i = 0; i < both.tokens.size(); ++i) {
      both.sees(i, both.tokens[i].run) = static_cast<std::uint32_t>(both.tokens[i].row + 1);
      wanted.push_back(i);
    }
    auto separate = alone[0];
    separate.insert(separate.end(), alone[1].begin(), alone[1].end());
    const auto together = decoder->run(both, wanted);
    // LibTorch's own products may add up in another order for another number of rows; ours do not.
    CHECK(test::largest_difference(together, separate) <= (weights == WeightType::f32 ? 1e-5 : 0.0));
  }
}

TEST_CASE("Decoder: a step that contradicts itself is refused before anything is written") {
  const auto decoder = test::tiny_decoder("tiny_llama");
  KvBlock block(decoder->kv_shape(), 4);
  block.resize(2);
  const auto step_with = [&](auto change) {
    Step step{{{&block, 0, &block}}, {{5, 0, 0}, {6, 0, 1}}, {1, 2}};
    change(step);
    return step;
  };
  const auto refused = [&](ErrorCode code, const std::string& piece, auto change) {
    const std::size_t wanted[] = {1};
    test::require_error(code, {piece}, [&] { decoder->run(step_with(change), wanted); });
  };
  CHECK_NOTHROW(decoder->run(step_with([](Step&) {}), {}));
  refused(ErrorCode::mismatch, "id 300", [](Step& step) { step.tokens[0].token = 300; });
  refused(ErrorCode::mismatch, "id -1", [](Step& step) { step.tokens[0].token = -1; });
  refused(ErrorCode::usage, "row 2", [](Step& step) { step.tokens[1].row = 2; });
  refused(ErrorCode::usage, "run 1", [](Step& step) { step.tokens[1].run = 1; });
  refused(ErrorCode::usage, "sight of 3 rows", [](Step& step) { step.visible[1] = 3; });
  refused(ErrorCode::usage, "no sight of itself", [](Step& step) { step.visible[1] = 1; });
  refused(ErrorCode::usage, "numbers of visible rows", [](Step& step) { step.visible.pop_back(); });
  refused(ErrorCode::mismatch, "position 256", [](Step& step) { step.runs[0].position = 255; });
  refused(ErrorCode::usage, "shape", [](Step& step) { step.runs[0].block = nullptr; });
  refused(ErrorCode::usage, "a row of an open run", [](Step& step) { step.runs[0].open = nullptr; });
}
