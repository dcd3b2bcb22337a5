#include "promptcache/reuse/chain.hpp"

#include "reuse/decoders.hpp"

namespace {

using namespace promptcache::reuse;
using Tokens = std::vector<std::int32_t>;

Tokens part(const Tokens& tokens, std::size_t first, std::size_t end) {
  return {tokens.begin() + static_cast<std::ptrdiff_t>(first), tokens.begin() + static_cast<std::ptrdiff_t>(end)};
}

std::vector<float> alone(const std::string& name, const Tokens& tokens) {
  Chain chain(test::tiny_decoder(name), nullptr);
  chain.append(tokens);
  return chain.logits();
}

}  // namespace

TEST_CASE("Chain: text in pieces, in one, and token by token, gives the same logits") {
  const Tokens tokens = test::some_tokens(100);
  for (const std::string name : {"tiny_llama", "tiny_gpt2", "tiny_mpt"}) {
    INFO(name);
    const auto whole = alone(name, tokens);
    Chain pieces(test::tiny_decoder(name), nullptr);
    for (const std::size_t end : {1, 2, 40, 41, 100}) pieces.append(part(tokens, pieces.end(), end));
    CHECK(test::largest_difference(whole, pieces.logits()) < 1e-4);
    Chain pushed(test::tiny_decoder(name), nullptr);
    for (const std::int32_t token : tokens) pushed.push(token);
    CHECK(test::largest_difference(whole, pushed.logits()) < 1e-4);
    CHECK(pushed.blocks().size() == 2);
  }
}

TEST_CASE("Chain: what the store has is not computed again, to the token, and changes nothing") {
  const Tokens tokens = test::some_tokens(150);
  const auto store = std::make_shared<KvStore>(test::tiny_decoder("tiny_llama")->kv_shape());
  Chain first(test::tiny_decoder("tiny_llama"), store);
  first.append(part(tokens, 0, 101));
  CHECK(first.counts().tokens_computed == 101);
  for (const std::size_t shared : {0, 1, 63, 64, 65, 100, 101}) {
    INFO(shared);
    Tokens other = part(tokens, 0, shared);
    while (other.size() < 140) other.push_back(299 - static_cast<std::int32_t>(other.size()) - (shared == 0 ? 1 : 0));
    if (shared < 101 && other[shared] == tokens[shared]) other[shared] = (other[shared] + 1) % 300;
    Chain second(test::tiny_decoder("tiny_llama"), store);
    second.append(other);
    CHECK(second.counts().tokens_reused == shared);
    CHECK(second.counts().tokens_computed == 140 - shared);
    CHECK(test::largest_difference(second.logits(), alone("tiny_llama", other)) < 1e-4);
    Chain third(test::tiny_decoder("tiny_llama"), store);
    third.append(other);
    CHECK(third.counts().tokens_reused == 140);
    CHECK(test::largest_difference(third.logits(), second.logits()) < 1e-4);
    CHECK(third.counts().tokens_computed == 1);  // the last one, for its logits
    CHECK(third.key() == second.key());
  }
}

TEST_CASE("Chain: a conversation goes on where it was, and a copy goes its own way") {
  const Tokens tokens = test::some_tokens(90);
  const auto store = std::make_shared<KvStore>(test::tiny_decoder("tiny_llama")->kv_shape());
  Chain chain(test::tiny_decoder("tiny_llama"), store);
  chain.append(part(tokens, 0, 50));
  for (std::size_t i = 50; i < 60; ++i) chain.push(tokens[i]);
  Chain copy = chain;
  copy.push(1);
  copy.push(2);
  chain.append(part(tokens, 60, 90));
  CHECK(test::largest_difference(chain.logits(), alone("tiny_llama", tokens)) < 1e-4);
  Tokens other = part(tokens, 0, 60);
  other.insert(other.end(), {1, 2});
  CHECK(test::largest_difference(copy.logits(), alone("tiny_llama", other)) < 1e-4);
  // The same conversation from another process's point of view: all of it is found.
  Chain again(test::tiny_decoder("tiny_llama"), store);
  again.append(tokens);
  CHECK(again.counts().tokens_reused == 90);
  CHECK(again.key() == chain.key());
}

TEST_CASE("Chain: gaps are part of what was computed; the place of the beginning is not, but in a table of positions") {
  const Tokens tokens = test::some_tokens(30);
  const auto reused = [&](const std::string& name, std::size_t position, std::size_t gap) {
    const auto decoder = test::tiny_decoder(name);
    const auto store = std::make_shared<KvStore>(decoder->kv_shape());
    Chain first(decoder, store);
    first.append(part(tokens, 0, 10));
    first.append(part(tokens, 10, 30), 5);
    Chain second(decoder, store, position);
    second.append(part(tokens, 0, 10));
    second.append(part(tokens, 10, 30), gap);
    CHECK(second.end() == position + 30 + gap);
    Chain fresh(decoder, nullptr, position);
    fresh.append(part(tokens, 0, 10));
    fresh.append(part(tokens, 10, 30), gap);
    CHECK(test::largest_difference(fresh.logits(), second.logits()) < 1e-4);
    return second.counts().tokens_reused;
  };
  CHECK(reused("tiny_llama", 0, 5) == 30);
  CHECK(reused("tiny_llama", 0, 4) == 10);
  CHECK(reused("tiny_llama", 77, 5) == 30);
  CHECK(reused("tiny_mpt", 77, 5) == 30);
  CHECK(reused("tiny_gpt2", 0, 5) == 30);
  CHECK(reused("tiny_gpt2", 77, 5) == 0);
}

TEST_CASE("Chain: decoders of other weights or formats never share states") {
  const Tokens tokens = test::some_tokens(20);
  const auto store = std::make_shared<KvStore>(test::tiny_decoder("tiny_llama")->kv_shape());
  Chain first(test::tiny_decoder("tiny_llama"), store);
  first.append(tokens);
  Chain second(test::tiny_decoder("tiny_llama", {.weights = WeightType::bf16}), store);
  second.append(tokens);
  CHECK(second.counts().tokens_reused == 0);
}

TEST_CASE("Chain: a text that fails leaves the chain as it was") {
  const Tokens tokens = test::some_tokens(120);
  const auto decoder = test::tiny_decoder("tiny_gpt2");  // context 128
  Chain chain(decoder, std::make_shared<KvStore>(decoder->kv_shape()));
  chain.append(tokens);
  const auto before = chain.logits();
  test::require_error(promptcache::ErrorCode::mismatch, {"position 128", "127"},
                      [&] { chain.append(part(tokens, 0, 9)); });
  test::require_error(promptcache::ErrorCode::mismatch, {"id 300"}, [&] { chain.append(Tokens{300}); });
  test::require_error(promptcache::ErrorCode::mismatch, {"id 300"}, [&] { chain.push(300); });
  CHECK(chain.end() == 120);
  CHECK(chain.logits() == before);
  for (std::size_t i = 0; i < 8; ++i) chain.push(tokens[i]);
  test::require_error(promptcache::ErrorCode::mismatch, {"position 128"}, [&] { chain.push(1); });
  test::require_error(promptcache::ErrorCode::usage, {"no tokens"}, [&] { Chain(decoder, nullptr).logits(); });
}

TEST_CASE("Chain: tokens pushed to several chains at once are as to each alone") {
  const auto decoder = test::tiny_decoder("tiny_llama", {.weights = WeightType::bf16});
  std::vector<Chain> chains, alone_chains;
  for (std::size_t i = 0; i < 3; ++i) {
    chains.emplace_back(decoder, nullptr);
    chains.back().append(test::some_tokens(30 * i + 5, i));
  }
  chains.push_back(chains.back());  // shares blocks with it, which are looked at once for both
  alone_chains = chains;
  std::vector<Chain*> pointers;
  for (Chain& chain : chains) pointers.push_back(&chain);
  for (std::int32_t step = 0; step < 70; ++step) {
    const Tokens tokens{step, step + 1, 2 * step, step + 2};
    Chain::push(pointers, tokens);
    for (std::size_t i = 0; i < 4; ++i) alone_chains[i].push(tokens[i]);
  }
  for (std::size_t i = 0; i < 4; ++i) CHECK(chains[i].logits() == alone_chains[i].logits());
  const auto before = chains[1].logits();
  test::require_error(promptcache::ErrorCode::mismatch, {"id 300"}, [&] {
    Chain::push(pointers, Tokens{1, 2, 3, 300});
  });
  test::require_error(promptcache::ErrorCode::usage, {"2 tokens for 4"}, [&] { Chain::push(pointers, Tokens{1, 2}); });
  CHECK(chains[1].logits() == before);
  chains[1].push(7);
  alone_chains[1].push(7);
  CHECK(chains[1].logits() == alone_chains[1].logits());
}
