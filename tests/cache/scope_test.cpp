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
  const ScopeId a = Scope().tenant("a");
  CHECK(request_key(a, "b") != request_key(Scope().tenant("ab"), ""));
  CHECK(request_key(a, "") != request_key({}, "a"));
  CHECK(request_key(a, "q") == request_key(Scope().tenant("a"), "q"));
  CHECK(request_key({}, std::string("q\0", 2)) != request_key({}, "q"));
}

TEST_CASE("100,000 random tuples of short, clashing texts give as many keys as they are different") {
  std::mt19937 random(1);
  const auto text = [&] {
    std::string result;
    for (std::size_t length = random() % 4; length > 0; --length) result += "ab|\x01"[random() % 4];
    return result;
  };
  std::unordered_map<Digest, std::string> seen;
  for (int i = 0; i < 100'000; ++i) {
    const std::string parts[] = {text(), text(), text(), text(), text()};
    std::string spelt;
    for (const std::string& part : parts) spelt += std::to_string(part.size()) + ":" + part;
    const Digest key = request_key(Scope().tenant(parts[0]).model(parts[1]).field(parts[2], parts[3]), parts[4]);
    const auto [place, fresh] = seen.try_emplace(key, spelt);
    if (!fresh) REQUIRE(place->second == spelt);
  }
  CHECK(seen.size() > 50'000);
}
