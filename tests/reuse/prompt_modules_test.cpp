#include "promptcache/reuse/prompt_modules.hpp"

#include <algorithm>
#include <map>
#include <random>

#include "promptcache/reuse/pml.hpp"
#include "reuse/decoders.hpp"
#include "reuse/random_schema.hpp"
#include "reuse/words.hpp"

namespace {

using namespace promptcache;
using namespace promptcache::reuse;
using Tokens = std::vector<std::int32_t>;

constexpr std::int32_t filler = 299;

/// What the oracle computes: each text once for each way it was encoded, and new text, all in one forward over one
/// mask.
struct Oracle {
  struct Token {
    std::int32_t token;
    std::size_t position;
    std::vector<std::size_t> sees;  ///< other tokens
  };
  std::vector<Token> tokens;

  /// Encodes parts, each token seeing all before it; returns the tokens of each part.
  std::map<const Placed*, std::vector<std::size_t>> encode(const std::vector<ScaffoldPart>& parts) {
    std::map<const Placed*, std::vector<std::size_t>> places;
    std::vector<std::size_t> before;
    for (const ScaffoldPart& part : parts) {
      for (std::size_t i = 0; i < part.tokens.size(); ++i) {
        places[part.part].push_back(tokens.size());
        tokens.push_back({part.tokens[i], part.part->begin + i, before});
        before.push_back(tokens.size() - 1);
      }
    }
    return places;
  }

  std::vector<float> logits(const Decoder& decoder, std::size_t wanted) const {
    Step step;
    std::vector<std::unique_ptr<KvBlock>> blocks;
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      blocks.push_back(std::make_unique<KvBlock>(decoder.kv_shape(), 1));
      blocks.back()->resize(1);
      step.runs.push_back({blocks.back().get(), tokens[i].position, blocks.back().get()});
      step.tokens.push_back({tokens[i].token, i, 0});
    }
    step.visible.resize(tokens.size() * tokens.size());
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      step.sees(i, i) = 1;
      for (const std::size_t other : tokens[i].sees) step.sees(i, other) = 1;
    }
    return decoder.run(step, {&wanted, 1});
  }
};

std::vector<ScaffoldPart> own_parts(const Placed& module) {
  std::vector<ScaffoldPart> parts;
  for (const Placed& child : module.children) {
    if (child.kind != Placed::Kind::text && child.kind != Placed::Kind::parameter) continue;
    parts.push_back({&child, child.tokens});
    parts.back().tokens.resize(child.length, filler);
  }
  return parts;
}

std::vector<ScaffoldPart> header_of(const Placed& schema) {
  std::vector<ScaffoldPart> parts = own_parts(schema);
  const auto module =
      std::ranges::find_if(schema.children, [](const Placed& c) { return c.kind != Placed::Kind::text; });
  std::erase_if(parts, [&](const ScaffoldPart& part) {
    return part.part->begin > (module == schema.children.end() ? schema.end() : module->begin) ||
           part.part > (module == schema.children.end() ? &schema.children.back() : &*module);
  });
  return parts;
}

/// Logits behind a prompt by the definition of each mode.
std::vector<float> oracle_logits(const Decoder& decoder, const Placed& schema, const Prompt& prompt,
                                 const Tokenize& tokenize, Encoding encoding, Visibility visibility) {
  const Assembly assembly = assemble(schema, prompt, tokenize);
  Oracle oracle;
  std::vector<std::size_t> present;
  const auto header = header_of(schema);
  const auto add = [&](const Placed& module, const std::vector<std::string>& path, auto&& self) -> void {
    std::vector<ScaffoldPart> parts = own_parts(module);
    if (encoding == Encoding::schema_scaffold) {
      parts = scaffold_parts(schema, path, filler);
    } else if (encoding == Encoding::behind_header && &module != &schema) {
      parts.insert(parts.begin(), header.begin(), header.end());
    }
    const auto places = oracle.encode(parts);
    for (const Placed& child : module.children) {
      if (child.kind == Placed::Kind::text && std::ranges::count(assembly.texts, &child) > 0 &&
          places.contains(&child)) {
        present.insert(present.end(), places.at(&child).begin(), places.at(&child).end());
      }
      std::vector<const Placed*> inside;
      if (child.kind == Placed::Kind::module) inside.push_back(&child);
      if (child.kind == Placed::Kind::alternatives) {
        for (const Placed& member : child.children) inside.push_back(&member);
      }
      for (const Placed* next : inside) {
        auto deeper = path;
        deeper.push_back(next->name);
        self(*next, deeper, self);
      }
    }
  };
  add(schema, {}, add);
  const std::size_t cached = present.size();
  std::vector<std::size_t> fresh;
  for (const auto* list : {&assembly.arguments, &assembly.between}) {
    for (const NewTokens& text : *list) {
      for (std::size_t i = 0; i < text.tokens.size(); ++i) {
        fresh.push_back(oracle.tokens.size());
        oracle.tokens.push_back({text.tokens[i], text.begin + i, {}});
      }
    }
  }
  for (std::size_t i = 0; i < assembly.last.tokens.size(); ++i) {
    fresh.push_back(oracle.tokens.size());
    oracle.tokens.push_back({assembly.last.tokens[i], assembly.last.begin + i, {}});
  }
  for (std::size_t i = 0; i < fresh.size(); ++i) {
    Oracle::Token& token = oracle.tokens[fresh[i]];
    if (visibility == Visibility::index_causal) {
      token.sees.assign(present.begin(), present.begin() + static_cast<std::ptrdiff_t>(cached));
      token.sees.insert(token.sees.end(), fresh.begin(), fresh.begin() + static_cast<std::ptrdiff_t>(i));
      continue;
    }
    for (const auto* list : {&present, &fresh}) {
      for (const std::size_t other : *list) {
        if (oracle.tokens[other].position < token.position) token.sees.push_back(other);
      }
    }
  }
  return oracle.logits(decoder, fresh.back());
}

struct World {
  std::shared_ptr<const Decoder> decoder;
  test::Words words;
  Tokenize tokenize = words.tokenize();
  std::shared_ptr<KvStore> store;

  explicit World(const std::string& name)
      : decoder(test::tiny_decoder(name)), store(std::make_shared<KvStore>(decoder->kv_shape())) {}

  PromptModules engine(ModuleOptions options = {}, std::shared_ptr<KvStore> other_store = nullptr) {
    options.filler = filler;
    return {decoder, tokenize, other_store ? other_store : store, options};
  }
  PromptModules engine_with(const std::string& pml, const ModuleOptions& options = {}) {
    PromptModules result = engine(options, std::make_shared<KvStore>(decoder->kv_shape()));
    result.add(parse_schema(pml, "s.pml"));
    return result;
  }
  std::vector<float> logits(PromptModules& engine, const std::string& inside) {
    return engine.prefill(parse_prompt("<prompt schema='s'>" + inside + "</prompt>", "p.pml")).chain.logits();
  }
};

}  // namespace

TEST_CASE("prompt modules: O1, every encoding and visibility is one forward over the same tokens with its mask") {
  std::mt19937 random(9);
  std::size_t approximate = 0;
  for (int run = 0; run < 60; ++run) {
    World world(run % 3 == 0 ? "tiny_mpt" : run % 3 == 1 ? "tiny_gpt2" : "tiny_llama");
    const auto reference = test::tiny_decoder(run % 3 == 0   ? "tiny_mpt"
                                              : run % 3 == 1 ? "tiny_gpt2"
                                                             : "tiny_llama",
                                              {.reference = true});
    int names = 0;
    const Schema schema{"s", test::random_children(random, 1, names, true)};
    const Placed placed = lay_out(schema, world.tokenize);
    if (placed.length > 80) continue;
    Prompt prompt{"s"};
    for (Import& import : test::random_imports(random, schema.children)) prompt.parts.emplace_back(std::move(import));
    prompt.parts.emplace_back(Text("what is it"));
    for (const Encoding encoding : {Encoding::isolated, Encoding::behind_header, Encoding::schema_scaffold}) {
      for (const Visibility visibility : {Visibility::position_causal, Visibility::index_causal}) {
        INFO("run " << run << ", encoding " << static_cast<int>(encoding) << ", visibility "
                    << static_cast<int>(visibility));
        // A store of its own: what was computed as ordinary text would be used instead.
        PromptModules engine = world.engine({.encoding = encoding, .visibility = visibility},
                                            std::make_shared<KvStore>(world.decoder->kv_shape()));
        engine.add(schema);
        ModulePrefill result = engine.prefill(prompt);
        if (result.exact) continue;
        ++approximate;
        const auto wanted = oracle_logits(*reference, placed, prompt, world.tokenize, encoding, visibility);
        CHECK(test::largest_difference(result.chain.logits(), wanted) < 1e-4);
        // Again, with all modules in the store.
        ModulePrefill again = engine.prefill(prompt);
        CHECK(again.counts.tokens_reused > 0);
        if (!again.exact) CHECK(again.chain.logits() == result.chain.logits());
      }
    }
  }
  CHECK(approximate > 100);
}

namespace {

constexpr const char* two_documents =
    "<schema name='s'>you are kind and <module name='a'>alpha beta gamma delta <parameter name='p' "
    "length='3'/></module>"
    "<module name='b'>epsilon zeta eta theta iota kappa lambda</module>"
    "<union><module name='u'>mu nu</module><module name='v'>xi omicron pi</module></union></schema>";

}  // namespace

TEST_CASE("prompt modules: O2, what is encoded together without gaps is plain text") {
  for (const std::string name : {"tiny_llama", "tiny_gpt2", "tiny_mpt"}) {
    INFO(name);
    World world(name);
    const std::string pml =
        "<schema name='s'>you are kind <module name='a'>alpha beta gamma</module><module name='b'>delta "
        "epsilon</module></schema>";
    const std::string prompt = "<a/><b/>what is it";
    PromptModules sets = world.engine_with(pml, {.encoding = Encoding::behind_header, .scaffold_sets = {{"a", "b"}}});
    PromptModules scaffold = world.engine_with(pml, {.encoding = Encoding::schema_scaffold});
    PromptModules isolated = world.engine_with(pml, {.encoding = Encoding::isolated});
    Chain plain(world.decoder, nullptr);
    const Piece text{"you are kind alpha beta gamma delta epsilon what is it"};
    plain.append(world.tokenize({&text, 1}));
    CHECK(test::largest_difference(world.logits(sets, prompt), plain.logits()) < 1e-4);
    CHECK(test::largest_difference(world.logits(scaffold, prompt), plain.logits()) < 1e-4);
    CHECK(test::largest_difference(world.logits(isolated, prompt), plain.logits()) > 1e-3);
    // A set that is not imported as a whole is not used.
    PromptModules alone = world.engine_with(pml, {.encoding = Encoding::behind_header});
    CHECK(test::largest_difference(world.logits(sets, "<b/>what"), world.logits(alone, "<b/>what")) < 1e-6);
  }
}

TEST_CASE("prompt modules: O3, states may be put together in any order") {
  World world("tiny_llama");
  const auto decoder = world.decoder;
  std::vector<PlacedBlock> context;
  for (std::size_t module = 0; module < 5; ++module) {
    Chain chain(decoder, nullptr, module * 20);
    chain.append(test::some_tokens(15, module));
    context.insert(context.end(), chain.blocks().begin(), chain.blocks().end());
  }
  const Tokens question = test::some_tokens(6, 9);
  const PlacedTokens text{question, 100};
  const auto wanted = compute(*decoder, context, {&text, 1}).logits;
  std::mt19937 random(2);
  for (int i = 0; i < 10; ++i) {
    std::ranges::shuffle(context, random);
    CHECK(test::largest_difference(compute(*decoder, context, {&text, 1}).logits, wanted) < 1e-5);
  }
}

TEST_CASE("prompt modules: O5, an argument is as if it were written in the schema") {
  for (const Encoding encoding : {Encoding::isolated, Encoding::behind_header}) {
    World world("tiny_llama");
    // At the end of its module, so that no text there was encoded without it; computed by itself it sees more.
    PromptModules with = world.engine_with(two_documents, {.encoding = encoding, .recompute_first = 99});
    PromptModules written = world.engine_with(
        "<schema name='s'>you are kind and <module name='a'>alpha beta gamma delta one two</module><module "
        "name='hole'>x"
        "</module><module name='b'>epsilon zeta eta theta iota kappa lambda</module>"
        "<union><module name='u'>mu nu</module><module name='v'>xi omicron pi</module></union></schema>",
        {.encoding = encoding, .recompute_first = 99});
    CHECK(test::largest_difference(world.logits(with, "<a p='one two'/><b/><v/>what is it"),
                                   world.logits(written, "<a/><b/><v/>what is it")) < 1e-4);
    CHECK(test::largest_difference(world.logits(with, "<a p='one two'/><b/><v/>what is it"),
                                   world.logits(with, "<a p='one'/><b/><v/>what is it")) > 1e-3);
    CHECK_NOTHROW(world.logits(with, "<a/><b/>what"));
  }
}

TEST_CASE("prompt modules: O6, a module alone after others is not served their states") {
  World world("tiny_llama");
  PromptModules engine = world.engine_with(two_documents);
  const auto fresh = [&](const std::string& inside) {
    PromptModules other = world.engine_with(two_documents);
    return world.logits(other, inside);
  };
  for (const std::string inside :
       {"<b/>what", "<a/><b/>what", "<a/>what", "<b/><u/>what", "<v/>what", "<a/>what", "<b/>what"}) {
    INFO(inside);
    CHECK(test::largest_difference(world.logits(engine, inside), fresh(inside)) < 1e-5);
  }
}

TEST_CASE("prompt modules: tokens that are computed again with full sight give full attention when they are all") {
  for (const std::string name : {"tiny_llama", "tiny_gpt2", "tiny_mpt"}) {
    for (const ModuleOptions& options : {ModuleOptions{.encoding = Encoding::isolated, .recompute_first = 100},
                                         ModuleOptions{.encoding = Encoding::isolated, .recompute_share = 1}}) {
      INFO(name);
      World world(name);
      PromptModules engine = world.engine_with(two_documents, options);
      ModulePrefill repaired =
          engine.prefill(parse_prompt("<prompt schema='s'><a p='one two'/><b/><u/>what is it</prompt>", "p.pml"));
      const auto exact = engine.full_attention(repaired.tokens).logits();
      CHECK_FALSE(repaired.exact);
      CHECK(repaired.tokens_again == 13);
      CHECK(test::largest_difference(repaired.chain.logits(), exact) < 1e-4);
      const Divergence none = divergence(exact, repaired.chain.logits());
      CHECK(none.same_top);
      CHECK(none.kl < 1e-6);
    }
  }
}

TEST_CASE("prompt modules: some tokens computed again copy their blocks only, and leave the store as it was") {
  World world("tiny_llama");
  PromptModules plain = world.engine({.encoding = Encoding::isolated});
  plain.add(parse_schema(two_documents, "s.pml"));
  const auto untouched = world.logits(plain, "<a/><b/>what");
  PromptModules repairing = world.engine({.encoding = Encoding::isolated, .recompute_first = 2});
  repairing.add(parse_schema(two_documents, "s.pml"));
  ModulePrefill some = repairing.prefill(parse_prompt("<prompt schema='s'><a/><b/>what</prompt>", "p.pml"));
  CHECK(some.tokens_again == 4);
  CHECK(some.bytes_copied == 2 * KvBlock::bytes_for(world.decoder->kv_shape(), 16));
  CHECK(test::largest_difference(some.chain.logits(), untouched) > 1e-4);
  CHECK(world.logits(plain, "<a/><b/>what") == untouched);
  PromptModules share = world.engine({.encoding = Encoding::isolated, .recompute_share = 0.5});
  share.add(parse_schema(two_documents, "s.pml"));
  CHECK(share.prefill(parse_prompt("<prompt schema='s'><a/><b/>what</prompt>", "p.pml")).tokens_again == 6);
}

TEST_CASE("prompt modules: a share is computed again of the tokens that miss most of what is in front of them") {
  World world("tiny_llama");
  const auto chain_with = [&](double share) {
    PromptModules engine = world.engine({.encoding = Encoding::isolated, .recompute_share = share});
    engine.add(parse_schema(two_documents, "s.pml"));
    return engine.prefill(parse_prompt("<prompt schema='s'><a/><b/>what</prompt>", "p.pml")).chain;
  };
  const Chain isolated = chain_with(0), some = chain_with(0.25), all = chain_with(1);
  constexpr std::size_t layer = 1;
  const auto values = [&](const Chain& chain, std::size_t block, std::size_t row) {
    const std::size_t width = world.decoder->config().kv_width();
    std::vector<float> keys(width), result(width);
    chain.blocks()[block].block->read_row(layer, row, keys.data(), result.data());
    return result;
  };
  std::vector<std::pair<float, bool>> tokens;  // how far from full sight, and whether it was computed again
  for (std::size_t block = 0; block + 1 < isolated.blocks().size(); ++block) {  // the last one is new text
    for (std::size_t row = 0; row < isolated.blocks()[block].rows; ++row) {
      const auto before = values(isolated, block, row);
      const auto after = values(all, block, row);
      float distance = 0;
      for (std::size_t i = 0; i < before.size(); ++i) distance += (after[i] - before[i]) * (after[i] - before[i]);
      tokens.emplace_back(distance, values(some, block, row) != before);
    }
  }
  REQUIRE(tokens.size() == 15);  // four of them of the header, which sees all in front of it
  std::ranges::sort(tokens, std::greater());
  CHECK(tokens[0].first > 1e-6);
  for (std::size_t i = 0; i < tokens.size(); ++i) CHECK(tokens[i].second == (i < 3));
}

TEST_CASE("prompt modules: states are used where they lie, and counted") {
  World world("tiny_llama");
  PromptModules engine = world.engine();
  engine.add(parse_schema(two_documents, "s.pml"));
  const ReuseCounts ahead = engine.encode("s");
  CHECK(ahead.tokens_computed == 4 + 4 + 7 + 2 + 3);
  const std::size_t bytes = world.store->stats().bytes;
  ModulePrefill prompt = engine.prefill(parse_prompt("<prompt schema='s'><a/><b/>what is it</prompt>", "p.pml"));
  CHECK(prompt.counts.tokens_reused == 4 + 4 + 7);
  CHECK(prompt.counts.tokens_computed == 3);
  CHECK(prompt.counts.bytes_reused == 15 * world.decoder->kv_shape().bytes_per_token());
  CHECK(prompt.bytes_copied == 0);
  CHECK(world.store->stats().bytes == bytes);
  // What is generated behind it sees it all.
  Chain exact = engine.full_attention(prompt.tokens);
  prompt.chain.push(5);
  exact.push(5);
  CHECK(test::largest_difference(prompt.chain.logits(), exact.logits()) < 5);
  CHECK(prompt.chain.end() == exact.end());
}

TEST_CASE("prompt modules: a beginning that the store has as text is taken, since that is exact") {
  World world("tiny_llama");
  PromptModules engine = world.engine({.encoding = Encoding::isolated});
  engine.add(parse_schema(two_documents, "s.pml"));
  const Prompt prompt = parse_prompt("<prompt schema='s'><a/><b/>what is it</prompt>", "p.pml");
  ModulePrefill first = engine.prefill(prompt);
  CHECK_FALSE(first.exact);
  // Somebody computes the same tokens with everything in sight.
  Chain chain(world.decoder, world.store);
  std::size_t at = 0;
  for (const std::size_t count : {4, 4, 7}) {
    Tokens tokens;
    for (std::size_t i = 0; i < count; ++i) tokens.push_back(first.tokens[at + i].token);
    chain.append(tokens, first.tokens[at].position - chain.end());
    at += count;
  }
  ModulePrefill second = engine.prefill(prompt);
  CHECK(second.exact);
  CHECK(second.counts.tokens_reused == 15);
  CHECK(test::largest_difference(second.chain.logits(), engine.full_attention(second.tokens).logits()) < 1e-4);
  // Without modules everything is ordinary text.
  CHECK(engine.prefill(parse_prompt("<prompt schema='s'>what</prompt>", "p.pml")).exact);
}

TEST_CASE("prompt modules: a module that is not to be cached is computed each time, with all in sight") {
  World world("tiny_llama");
  const auto pml = [](const std::string& cache) {
    return "<schema name='s'>you are <module name='a'>alpha beta</module><module name='b' cache='" + cache +
           "'>gamma <module name='c'>delta</module></module></schema>";
  };
  PromptModules kept = world.engine_with(pml("true"), {.encoding = Encoding::isolated});
  PromptModules computed = world.engine_with(pml("false"), {.encoding = Encoding::isolated});
  const Prompt prompt = parse_prompt("<prompt schema='s'><a/><b><c/></b>what</prompt>", "p.pml");
  (void)kept.prefill(prompt);
  (void)computed.prefill(prompt);
  CHECK(kept.prefill(prompt).counts.tokens_computed == 1);
  CHECK(computed.prefill(prompt).counts.tokens_computed == 3);
}

TEST_CASE("prompt modules: scopes share no states, not of modules and not of beginnings") {
  World world("tiny_llama");
  const auto reused = [&](const std::string& scope) {
    PromptModules engine = world.engine({.scope = scope});
    engine.add(parse_schema(two_documents, "s.pml"));
    return engine.prefill(parse_prompt("<prompt schema='s'><a/><b/>what</prompt>", "p.pml")).counts.tokens_reused;
  };
  CHECK(reused("acme") == 0);
  CHECK(reused("acme") == 15);
  CHECK(reused("other") == 0);
  CHECK(reused("") == 0);
  const Tokens tokens = test::some_tokens(20);
  Chain first(world.decoder, world.store, 0, "acme"), second(world.decoder, world.store, 0, "other"),
      third(world.decoder, world.store, 0, "acme");
  first.append(tokens);
  second.append(tokens);
  third.append(tokens);
  CHECK(second.counts().tokens_reused == 0);
  CHECK(third.counts().tokens_reused == 20);
}

TEST_CASE("prompt modules: what cannot be is refused") {
  World world("tiny_llama");
  PromptModules engine = world.engine();
  test::require_error(ErrorCode::mismatch, {"long.pml", "9999999999 positions", "context, 256"}, [&] {
    engine.add(parse_schema(
        "<schema name='s'><module name='a'><parameter name='p' length='9999999999'/></module></schema>", "long.pml"));
  });
  test::require_error(ErrorCode::not_found, {"schema 'none'"}, [&] { engine.encode("none"); });
  test::require_error(ErrorCode::not_found, {"schema 's'"}, [&] { engine.prefill({"s"}); });
  engine.add(parse_schema("<schema name='s'><module name='a'>alpha</module></schema>", "s.pml"));
  test::require_error(ErrorCode::usage, {"no token"}, [&] { engine.prefill({"s"}); });
  CHECK(engine.prefill({"s", {Import{"a"}}}).chain.logits().size() == 300);
  test::require_error(ErrorCode::usage, {"a share of 2"}, [&] { world.engine({.recompute_share = 2}); });
  test::require_error(ErrorCode::usage, {"no store"}, [&] { PromptModules(world.decoder, world.tokenize, nullptr); });
}

TEST_CASE("divergence: of logits from themselves and from others") {
  const std::vector<float> a{1, 2, 3}, shifted{2, 3, 4}, other{3, 2, 1};
  CHECK(divergence(a, a).kl == 0);
  CHECK(divergence(a, shifted).kl < 1e-12);
  CHECK(divergence(a, shifted).largest_difference == 1);
  const Divergence far = divergence(a, other);
  CHECK_FALSE(far.same_top);
  // softmax(1, 2, 3) = (.0900, .2447, .6652); KL = (.6652 - .0900) * 2.
  CHECK(far.kl == Approx(1.1504).margin(1e-4));
  test::require_error(ErrorCode::usage, {"2 logits"}, [&] { divergence(a, std::vector<float>{1, 2}); });
}
