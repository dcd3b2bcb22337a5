#include <random>
#include <unordered_map>

#include "promptcache/cache/scope.hpp"
#include "support.hpp"

using namespace promptcache;

TEST_CASE("scopes that differ anywhere have different digests") {
  const std::vector<Scope> scopes = {
      Scope(),
      Scope().tenant(""),
      Scope().tenant("ab"),
      Scope().model("ab"),
      Scope().field("tenant", "ab"),
      Scope().tenant("a").field("b", ""),
      Scope().tenant("a").model("b"),
      Scope().tenant("b").model("a"),
      Scope().system("a\0b"),
      Scope().system(std::string("a\0b", 3)),
      Scope().tools("ab"),
      Scope().response_format("ab"),
      Scope().sampling("ab"),
      Scope().history(sha256("ab")),
      Scope().field("ab", ""),
      Scope().field("a", "b"),
      Scope().field("", "ab"),
  };
  for (std::size_t i = 0; i < scopes.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      CAPTURE(i, j);
      CHECK(scopes[i].digest() != scopes[j].digest());
    }
  }
}

TEST_CASE("a scope's digest depends on its fields, not on how they were set") {
  CHECK(Scope().tenant("a").model("b").digest() == Scope().model("x").model("b").tenant("a").digest());
  CHECK(ScopeId() == ScopeId(Scope()));
  CHECK(ScopeId(Scope().tenant("a")) == ScopeId(Scope().tenant("a")));
}

TEST_CASE("no text of a prompt makes the key of another scope") {
  const Digest embedder = sha256("embedder");
  const auto key = [&](const Scope& scope, std::string_view prompt) {
    return request_key(scope.digest(), prompt, embedder);
  };
  const Scope a = Scope().tenant("a");
  CHECK(key(a, "b") != key(Scope().tenant("ab"), ""));
  CHECK(key(a, "") != key({}, "a"));
  CHECK(key(a, "q") == key(Scope().tenant("a"), "q"));
  CHECK(key({}, std::string("q\0", 2)) != key({}, "q"));
  CHECK(key(a, "q") != request_key(a.digest(), "q", sha256("another")));
}

TEST_CASE("a million random tuples of short, clashing texts give as many keys as they are different") {
  std::mt19937 random(1);
  const auto text = [&] {
    std::string result;
    for (std::size_t length = random() % 5; length > 0; --length) result += "ab|\x01"[random() % 4];
    return result;
  };
  const Digest embedder = sha256("embedder");
  std::unordered_map<Digest, std::string> seen;
  for (int i = 0; i < 1'000'000; ++i) {
    const std::string parts[] = {text(), text(), text(), text(), text()};
    std::string spelt;
    for (const std::string& part : parts) spelt += std::to_string(part.size()) + ":" + part;
    const Scope scope = Scope().tenant(parts[0]).model(parts[1]).field(parts[2], parts[3]);
    const auto [place, fresh] = seen.try_emplace(request_key(scope.digest(), parts[4], embedder), spelt);
    if (!fresh) REQUIRE(place->second == spelt);
  }
  CHECK(seen.size() > 900'000);
}

TEST_CASE("fields of a scope are held against prefixes") {
  const ScopeId id = Scope().tenant("acme").model("llama-3.1-8b").system(std::string(1000, 's'));
  CHECK(Scope().model("llama-3").is_prefix_of(*id.fields()));
  CHECK(Scope().model("llama-3").tenant("acme").is_prefix_of(*id.fields()));
  CHECK(!Scope().model("llama-4").is_prefix_of(*id.fields()));
  CHECK(!Scope().field("model", "llama-3").is_prefix_of(*id.fields()));
  CHECK(Scope().system(std::string(1000, 's')).is_prefix_of(*id.fields()));  // as far as it is remembered
  CHECK(id.fields()->at("tsystem").size() == Scope::remembered_bytes);
}
