#include "promptcache/reuse/layout.hpp"

#include <set>

#include "promptcache/reuse/pml.hpp"
#include "reuse/random_schema.hpp"
#include "reuse/words.hpp"
#include "support.hpp"

namespace {

using namespace promptcache;
using namespace promptcache::reuse;
using Path = std::vector<std::string>;

const char* const golden =
    R"(<schema name="s">a b c <module name="m1">d e <parameter name="p" length="3" scaffold="x"/> f</module> <union>)"
    R"(<module name="u1">g h i j</module><module name="u2">k</module></union> tail t <union scaffold="w1">)"
    R"(<module name="w1">o</module><module name="w2">q r</module></union><module name="m2">z</module></schema>)";

struct World {
  test::Words words;
  Tokenize tokenize = words.tokenize();
  std::int32_t unknown = words.id("unk");
  Placed schema = lay_out(parse_schema(golden, "s.pml"), tokenize);

  Assembly place(const std::string& inside) {
    return assemble(schema, parse_prompt("<prompt schema='s'>" + inside + "</prompt>", "p.pml"), tokenize);
  }
  std::string texts(const Assembly& assembly) const {
    std::vector<PlacedToken> tokens;
    for (const Placed* text : assembly.texts) {
      for (std::size_t i = 0; i < text->tokens.size(); ++i) tokens.push_back({text->tokens[i], text->begin + i});
    }
    return words.text(tokens);
  }
  void refused(const std::string& inside, std::initializer_list<std::string> pieces) {
    INFO(inside);
    test::require_error(ErrorCode::format, pieces, [&] { place(inside); });
  }
};

/// Checks the positions of a part against its definition; its leaves' positions go to `used`, each once.
void check_positions(const Placed& part, std::set<std::size_t>& used) {
  std::set<std::size_t> own;
  if (part.kind == Placed::Kind::alternatives) {
    std::size_t longest = 0;
    for (const Placed& member : part.children) {
      CHECK(member.begin == part.begin);
      longest = std::max(longest, member.length);
      std::set<std::size_t> of_member;
      check_positions(member, of_member);
      own.insert(of_member.begin(), of_member.end());
    }
    CHECK(part.length == longest);
  } else if (part.kind == Placed::Kind::module) {
    std::size_t next = part.begin;
    for (const Placed& child : part.children) {
      CHECK(child.begin == next);
      next = child.end();
      check_positions(child, own);
    }
    CHECK(part.end() == next);
  } else {
    for (std::size_t position = part.begin; position < part.end(); ++position) own.insert(position);
  }
  for (const std::size_t position : own) {
    CHECK(position >= part.begin);
    CHECK(position < part.end());
    CHECK(used.insert(position).second);  // nothing overlaps, but members of one union
  }
}

}  // namespace

TEST_CASE("layout: the golden vector of the paper's rules") {
  World world;
  const Placed& s = world.schema;
  CHECK(s.length == 18);
  const Placed* m1 = s.module("m1");
  REQUIRE(m1);
  CHECK(m1->begin == 3);
  CHECK(m1->end() == 9);
  CHECK(m1->children[1].begin == 5);
  CHECK(m1->children[1].length == 3);
  CHECK(s.module("u1")->begin == 9);
  CHECK(s.module("u1")->length == 4);
  CHECK(s.module("u2")->begin == 9);
  CHECK(s.module("u2")->length == 1);
  CHECK(s.module("w2")->begin == 15);
  CHECK(s.module("m2")->begin == 17);
  CHECK(s.module("none") == nullptr);

  const auto scaffold = [&](const Path& path) { return world.words.text(scaffold_tokens(s, path, world.unknown)); };
  CHECK(scaffold({}) == "0 a, 1 b, 2 c, 3 d, 4 e, 5 x, 6 unk, 7 unk, 8 f, 13 tail, 14 t, 15 o, 17 z");
  CHECK(scaffold({"u1"}) ==
        "0 a, 1 b, 2 c, 3 d, 4 e, 5 x, 6 unk, 7 unk, 8 f, 9 g, 10 h, 11 i, 12 j, 13 tail, 14 t, 15 o, 17 z");
  CHECK(scaffold({"w2"}) == "0 a, 1 b, 2 c, 3 d, 4 e, 5 x, 6 unk, 7 unk, 8 f, 13 tail, 14 t, 15 q, 16 r, 17 z");
  test::require_error(ErrorCode::not_found, {"'none'"}, [&] { scaffold({"none"}); });
}

TEST_CASE("layout: a scaffold longer than its slot is refused where it stands") {
  test::Words words;
  const Schema schema = parse_schema(
      "<schema name='s'><module name='m'>\n<param name='p' len='2' scaffold='a b c'/></module></schema>", "s.pml");
  test::require_error(ErrorCode::format, {"s.pml:2:1", "3 tokens in parameter 'p'", "at most its length, 2"},
                      [&] { lay_out(schema, words.tokenize()); });
}

TEST_CASE("layout: nothing overlaps but members of a union, and nothing is left out") {
  std::mt19937 random(5);
  std::size_t positions = 0;
  for (int run = 0; run < 300; ++run) {
    int names = 0;
    const Schema schema{"s", test::random_children(random, 0, names, true)};
    test::Words words;
    const Placed placed = lay_out(schema, words.tokenize());
    std::set<std::size_t> used;
    check_positions(placed, used);
    CHECK(placed.length == (used.empty() ? 0 : *used.rbegin() + 1));
    positions += used.size();
    // Encoded at once, each position has one token at most, in order.
    const std::vector<PlacedToken> tokens = scaffold_tokens(placed, {}, words.id("unk"));
    for (std::size_t i = 1; i < tokens.size(); ++i) CHECK(tokens[i - 1].position < tokens[i].position);
  }
  CHECK(positions > 2000);
}

TEST_CASE("a schema may be written without XML") {
  test::Words words;
  const Schema written{"trip",
                       {"Plan a trip. ", Module{"city", {"To ", Parameter{"name", 8}, " soon"}},
                        Union{{{"beach", {"By the sea."}}, {"hill", {"High up there, far."}}}}}};
  const Schema read = parse_schema(
      "<schema name='trip'>Plan a trip. <module name='city'>To <param name='name' len='8'/> soon"
      "</module><union><module name='beach'>By the sea.</module><module name='hill'>High up there, far."
      "</module></union></schema>",
      "trip.pml");
  const Placed a = lay_out(written, words.tokenize()), b = lay_out(read, words.tokenize());
  CHECK(a.length == 17);
  CHECK(scaffold_tokens(a, Path{"hill"}, 0) == scaffold_tokens(b, Path{"hill"}, 0));
  const Assembly assembly =
      assemble(a, {"trip", {Import{"city", {{"name", "Rome"}}}, Import{"hill"}, Text("what now")}}, words.tokenize());
  REQUIRE(assembly.arguments.size() == 1);
  CHECK(assembly.arguments[0].begin == 4);
  CHECK(words.text(assembly.last.tokens) == "what now");
  CHECK(assembly.last.begin == 17);
  test::require_error(ErrorCode::format, {"module 'm' twice"}, [&] {
    lay_out({"s", {Module{"m"}, Module{"m"}}}, words.tokenize());
  });
}

TEST_CASE("a prompt has the texts of the schema and of what it imports, and its own text behind the schema") {
  World world;
  const Assembly nothing = world.place("what is it");
  CHECK(world.texts(nothing) == "0 a, 1 b, 2 c, 13 tail, 14 t");
  CHECK(nothing.last.begin == 18);
  CHECK(world.words.text(nothing.last.tokens) == "what is it");
  const Assembly some = world.place("<m2/><m1 p='one two'/><u2/> end");
  CHECK(world.texts(some) == "0 a, 1 b, 2 c, 3 d, 4 e, 8 f, 9 k, 13 tail, 14 t, 17 z");
  REQUIRE(some.arguments.size() == 1);
  CHECK(some.arguments[0].begin == 5);
  CHECK(world.words.text(some.arguments[0].tokens) == "one two");
  CHECK(world.place("<m1/>").arguments.empty());
  CHECK(world.place("<m1/>").last.tokens.empty());
}

TEST_CASE("text between imports takes free positions, or is refused") {
  World world;
  // u2 ends at 10; tail begins at 13.
  const Assembly fits = world.place("<u2/> x y z <m2/> end");
  REQUIRE(fits.between.size() == 1);
  CHECK(fits.between[0].begin == 10);
  CHECK(world.words.text(fits.between[0].tokens) == "x y z");
  CHECK(world.words.text(fits.last.tokens) == "end");
  world.refused("<u2/> x y z w <m2/>", {"p.pml:1:25", "4 tokens at position 10", "the 3 that are free"});
  world.refused("<u1/> x <m2/>", {"the 0 that are free"});
  world.refused("x <m2/>", {"at position 0", "the 0 that are free"});
  // w1 is shorter than its union.
  const Assembly gap = world.place("<w1/> x <m2/>");
  CHECK(gap.between[0].begin == 16);
  // The same gap twice.
  world.refused("<u2/> x y <m2/> z w <w1/>", {"at position 18"});
}

TEST_CASE("a prompt that asks for what is not there is refused where it does") {
  World world;
  world.refused("<none/>", {"p.pml:1:20", "module 'none'", "schema 's'"});
  world.refused("<m1><none/></m1>", {"module 'none'", "schema 's', module 'm1'"});
  world.refused("<m1 q='x'/>", {"argument 'q'", "a parameter of schema 's', module 'm1'"});
  world.refused("<m1 p='a b c d'/>", {"argument 'p' of 4 tokens", "at most 3"});
  world.refused("<u1/><u2/>", {"p.pml:1:25", "'u2' beside another member"});
  world.refused("<m1/><m1/>", {"'m1' twice"});
  test::require_error(ErrorCode::mismatch, {"p.pml", "schema 't'", "'s'"},
                      [&] { assemble(world.schema, parse_prompt("<prompt schema='t'/>", "p.pml"), world.tokenize); });
}
