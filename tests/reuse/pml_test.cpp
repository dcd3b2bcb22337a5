#include "promptcache/reuse/pml.hpp"

#include "support.hpp"

namespace {

using namespace promptcache;
using namespace promptcache::reuse;

const Module& module_in(const Schema& schema, std::size_t i) { return std::get<Module>(schema.children.at(i).content); }
const Text& text_in(const std::vector<Node>& nodes, std::size_t i) { return std::get<Text>(nodes.at(i).content); }

std::string plain(const Text& text) {
  std::string result;
  for (const Piece& piece : text.pieces) result += piece.special ? "[" + piece.text + "]" : piece.text;
  return result;
}

void refused_schema(const std::string& pml, std::initializer_list<std::string> pieces) {
  INFO(pml);
  test::require_error(ErrorCode::format, pieces, [&] { parse_schema(pml, "s.pml"); });
}

void refused_prompt(const std::string& pml, std::initializer_list<std::string> pieces) {
  INFO(pml);
  test::require_error(ErrorCode::format, pieces, [&] { parse_prompt(pml, "p.pml"); });
}

}  // namespace

TEST_CASE("a schema is read with everything in it, the paper's names being aliases") {
  const Schema schema = parse_schema(R"(
<!-- a comment -->
<schema name="trip">
  You plan   trips.
  <module name="city">To <param name="name" len="8"/>, <parameter name='days' length="2" scaffold="two"></parameter>!</module>
  <union scaffold="beach">
    <module name="beach">By the sea &amp; sand.<!-- here too --> It is &#x77;arm &#66;.</module>
    <module name="hill" cache="false"><module name="hut"><![CDATA[a < b]]></module></module>
  </union>
</schema>
)",
                                     "s.pml");
  CHECK(schema.name == "trip");
  REQUIRE(schema.children.size() == 3);
  CHECK(plain(text_in(schema.children, 0)) == " You plan   trips. ");
  const Module& city = module_in(schema, 1);
  CHECK(city.name == "city");
  CHECK(city.place.line == 5);
  CHECK(city.place.column == 3);
  REQUIRE(city.children.size() == 5);
  CHECK(plain(text_in(city.children, 0)) == "To ");
  CHECK(std::get<Parameter>(city.children[1].content).length == 8);
  CHECK(plain(text_in(city.children, 2)) == ", ");
  CHECK(std::get<Parameter>(city.children[3].content).scaffold == "two");
  const auto& alternatives = std::get<Union>(schema.children[2].content);
  CHECK(alternatives.scaffold == "beach");
  REQUIRE(alternatives.members.size() == 2);
  CHECK(plain(text_in(alternatives.members[0].children, 0)) == "By the sea & sand. It is warm B.");
  CHECK_FALSE(alternatives.members[1].cached);
  const auto& hut = std::get<Module>(alternatives.members[1].children.at(0).content);
  CHECK(plain(text_in(hut.children, 0)) == "a < b");
}

TEST_CASE("chat tags become the template's pieces, wherever they stand") {
  const std::string pml =
      "<schema name='s'><system> Be kind. </system><user><module name='m'>one</module>two</user>"
      "<assistant/></schema>";
  const Schema schema = parse_schema(pml, "s.pml");
  REQUIRE(schema.children.size() == 3);
  CHECK(plain(text_in(schema.children, 0)) == "[<|im_start|>]system\nBe kind.[<|im_end|>]\n[<|im_start|>]user\n");
  CHECK(plain(text_in(schema.children, 2)) == "two[<|im_end|>]\n[<|im_start|>]assistant\n[<|im_end|>]\n");
  const Schema llama = parse_schema(pml, "s.pml", {.chat = ChatTags::llama2()});
  CHECK(plain(text_in(llama.children, 0)) == "[<s>][INST] <<SYS>>\nBe kind.\n<</SYS>>\n\n");
  CHECK(plain(text_in(llama.children, 2)) == "two [/INST]  [</s>][<s>][INST] ");
  const Schema third = parse_schema(pml, "s.pml", {.chat = ChatTags::llama3()});
  CHECK(plain(text_in(third.children, 0)) ==
        "[<|begin_of_text|>][<|start_header_id|>]system[<|end_header_id|>]\n\nBe kind.[<|eot_id|>]"
        "[<|start_header_id|>]user[<|end_header_id|>]\n\n");
  // What a user writes is never special.
  const Schema forged = parse_schema("<schema name='s'>&lt;|im_end|&gt;</schema>", "s.pml");
  CHECK(plain(text_in(forged.children, 0)) == "<|im_end|>");
}

TEST_CASE("white space: runs at the ends of a text are one space, lines between tags are layout") {
  const auto text = [](const std::string& content) {
    const Schema schema = parse_schema("<schema name='s'>" + content + "</schema>", "s.pml");
    return schema.children.empty() ? "" : plain(text_in(schema.children, 0));
  };
  CHECK(text(" \n\t a  b\n c \n ") == " a  b\n c ");
  CHECK(text("  ") == " ");
  CHECK(text(" \n ").empty());
  CHECK(text("").empty());
  CHECK(text("<user> \n a \n </user>") == "[<|im_start|>]user\na[<|im_end|>]\n");
}

TEST_CASE("a module's text may come from a file beside the schema") {
  const test::TemporaryDirectory directory;
  directory.write("long.txt", "a <b> & c");
  const std::string path =
      directory.write("s.pml", "<schema name='s'><module name='m' src='long.txt'>more</module></schema>");
  const Schema schema = read_schema(path);
  const Module& module = module_in(schema, 0);
  REQUIRE(module.children.size() == 2);
  CHECK(plain(text_in(module.children, 0)) == "a <b> & c");
  CHECK(plain(text_in(module.children, 1)) == "more");
  test::require_error(ErrorCode::format, {"s.pml:1:35", "src", "off"},
                      [&] { read_schema(path, {.read_files = false}); });
  std::filesystem::remove(directory.file("long.txt"));
  test::require_error(ErrorCode::not_found, {"long.txt"}, [&] { read_schema(path); });
}

TEST_CASE("a prompt is imports with arguments, and text") {
  const Prompt prompt = parse_prompt(
      "<prompt schema='trip'>\n first <city name='Rome &amp; more' days=\"3\"><inner/></city>\n"
      "<beach/> and <user> then? </user> \n</prompt>",
      "p.pml");
  CHECK(prompt.schema == "trip");
  REQUIRE(prompt.parts.size() == 4);
  CHECK(plain(std::get<Text>(prompt.parts[0])) == " first ");
  const auto& city = std::get<Import>(prompt.parts[1]);
  CHECK(city.module == "city");
  CHECK(city.arguments == std::vector<std::pair<std::string, std::string>>{{"name", "Rome & more"}, {"days", "3"}});
  REQUIRE(city.inside.size() == 1);
  CHECK(city.inside[0].module == "inner");
  CHECK(std::get<Import>(prompt.parts[2]).place.line == 3);
  CHECK(plain(std::get<Text>(prompt.parts[3])) == "and[<|im_start|>]user\nthen?[<|im_end|>]\n");
}

TEST_CASE("what is no schema is refused with line and column") {
  refused_schema("", {"s.pml:1:1", "the end", "<schema>"});
  refused_schema("text <schema name='s'/>", {"s.pml:1:1", "text"});
  refused_schema("<prompt schema='s'/>", {"s.pml:1:1", "<prompt>", "<schema>"});
  refused_schema("<schema/>", {"s.pml:1:1", "<schema> without name"});
  refused_schema("<schema name='s'>", {"s.pml:1:18", "the end", "</schema> of line 1"});
  refused_schema("<schema name='s'/>\nmore", {"behind the root"});
  refused_schema("<schema name='s'>\n \xc3\xa4 <modul name='m'/></schema>", {"s.pml:2:4", "<modul>", "module, union"});
  refused_schema("<schema name='s'><module name='m'></union></schema>",
                 {"s.pml:1:35", "</union>", "</module> of line 1"});
  refused_schema("<schema name='s' nam='t'/>", {"s.pml:1:18", "attribute 'nam'", "name"});
  refused_schema("<schema name='s' name='t'/>", {"'name' twice"});
  refused_schema("<schema name=s/>", {"s.pml:1:14", "in quotes"});
  refused_schema("<schema name/>", {"= and a value"});
  refused_schema("<schema name='s", {"without end"});
  refused_schema("<schema name='<'/>", {"s.pml:1:15", "&lt;"});
  refused_schema("<schema name='s'", {"<schema without end"});
  refused_schema("<schema name='s'>a & b</schema>", {"s.pml:1:20", "'&'", "&amp;"});
  refused_schema("<schema name='s'>&#xD800;</schema>", {"'&#xD800;'"});
  refused_schema("<schema name='s'>&#0;</schema>", {"'&#0;'"});
  refused_schema("<schema name='s'><!-- x</schema>", {"s.pml:1:22", "a comment without end"});
  refused_schema("<!DOCTYPE x><schema name='s'/>", {"'<!DOCTYPE x>", "elements, text and comments"});
  refused_schema("<schema name='s'>< a></schema>", {"s.pml:1:19", "the name of an element"});
  refused_schema("<schema name='1s'/>", {"schema '1s'", "[A-Za-z_]"});
  refused_schema("<schema name='s'><module/></schema>", {"<module> without name"});
  refused_schema("<schema name='s'><module name='a b'/></schema>", {"module 'a b'"});
  refused_schema("<schema name='s'><module name='user'/></schema>", {"module 'user'", "chat tag"});
  refused_schema("<schema name='s'><module name='m' cache='no'/></schema>", {"cache='no'", "true or false"});
  refused_schema("<schema name='s'><parameter name='p' length='1'/></schema>",
                 {"s.pml:1:18", "directly in the schema"});
  const auto in_module = [](const std::string& inside) {
    return "<schema name='s'><module name='m'>" + inside + "</module></schema>";
  };
  refused_schema(in_module("<parameter name='p'/>"), {"without length"});
  refused_schema(in_module("<parameter name='p' length='0'/>"), {"length '0'"});
  refused_schema(in_module("<parameter name='p' length='-1'/>"), {"length '-1'"});
  refused_schema(in_module("<parameter name='p' length='9x'/>"), {"length '9x'", "number of tokens"});
  refused_schema(in_module("<parameter name='p' length='1'>x</parameter>"), {"text in a parameter"});
  refused_schema(in_module("<param name='p' len='1'/><param name='p' len='1'/>"), {"parameter 'p' twice"});
  refused_schema(in_module("<union>x</union>"), {"text in a union"});
  refused_schema(in_module("<union><union/></union>"), {"<union> in a union"});
  refused_schema(in_module("<union scaffold='b'><module name='a'/></union>"), {"scaffold 'b'", "a member"});
  refused_schema("<schema name='s'><module name='a'/><union><module name='a'/></union></schema>", {"module 'a' twice"});
  std::string deep;
  for (int i = 0; i < 100; ++i) deep += "<module name='m'>";
  refused_schema("<schema name='s'>" + deep, {"nested deeper than 64"});
}

TEST_CASE("what is no prompt is refused with line and column") {
  refused_prompt("<schema name='s'/>", {"p.pml:1:1", "<prompt>"});
  refused_prompt("<prompt/>", {"<prompt> without schema"});
  refused_prompt("<prompt schema='s'><m></prompt>", {"p.pml:1:23", "</prompt> in an import", "</m> of line 1"});
  refused_prompt("<prompt schema='s'><m>text</m></prompt>", {"p.pml:1:23", "text in an import"});
  refused_prompt("<prompt schema='s'></m></prompt>", {"</m>", "</prompt> of line 1"});
  refused_prompt("<prompt schema='s'><m a='1' a='2'/></prompt>", {"'a' twice"});
}
