#include "promptcache/pairs/prompt_log.hpp"

#include <zlib.h>

#include "promptcache/base/file.hpp"
#include "support.hpp"

namespace {

using namespace promptcache;

PromptLog read(const std::string& content, const PromptLogOptions& options = {}) {
  const test::TemporaryDirectory directory;
  return read_prompt_log(directory.write("log", content), options);
}

std::vector<std::string> texts_of(const PromptLog& log) {
  std::vector<std::string> texts;
  for (const Prompt& prompt : log.prompts) texts.push_back(prompt.text);
  return texts;
}

using Texts = std::vector<std::string>;

void require_refused(const std::string& content, std::initializer_list<std::string> pieces,
                     const PromptLogOptions& options = {}) {
  INFO(content);
  test::require_error(ErrorCode::format, pieces, [&] { read(content, options); });
}

}  // namespace

TEST_CASE("plain lines: white space at the ends, line ends, empty lines, repeated prompts") {
  const PromptLog log = read("\xef\xbb\xbf  how do i pay?\r\n\n \t \nwho are you\nhow do i pay?\nHow do I pay\nlast");
  CHECK(log.format == PromptFormat::lines);
  CHECK(texts_of(log) == Texts{"how do i pay?", "who are you", "How do I pay", "last"});
  CHECK(log.prompts[0].count == 2);
  CHECK(log.prompts[0].line == 1);
  CHECK(log.prompts[1].line == 4);
  CHECK(log.read == 5);
  CHECK(log.empty == 2);
  CHECK(log.column.empty());
  const PromptLog merged = read("how do i pay?\nHow do  I pay\n???\n??\n", {.merge = PromptMerge::normalized});
  CHECK(texts_of(merged) == Texts{"how do i pay?", "???", "??"});  // of punctuation only: never merged with another
  CHECK(merged.prompts[0].count == 2);
}

TEST_CASE("TSV is told by its header, in any letter case, and counts are added up") {
  const PromptLog log = read("\nid\tQuery\tCount\n1\ta b\t3\n\n2\tc\t1\n3\t a b \t4\n4\t\t9\n");
  CHECK(log.format == PromptFormat::tsv);
  CHECK(log.column == "Query");
  CHECK(texts_of(log) == Texts{"a b", "c"});
  CHECK(log.prompts[0].count == 7);
  CHECK(log.prompts[0].line == 3);
  CHECK(log.read == 3);
  CHECK(log.empty == 2);  // the one in front of the header is none of a prompt
  CHECK(texts_of(read("prompt\na\tb\nc\n")) == Texts{"a b", "c"});  // one column: the line is the prompt
  CHECK(texts_of(read("text\tprompt\nx\ty\n")) == Texts{"y"});      // the first known name wins, not the first column
  CHECK(texts_of(read("q1\tq2\nx\ty\n", {.column = "q2"})) == Texts{"y"});
  CHECK(texts_of(read("count\nx\n", {.column = "count"})) == Texts{"x"});
}

TEST_CASE("JSON lines are told by their first character") {
  const PromptLog log =
      read("{\"id\": 1, \"text\": \"a\\tb\\nc\", \"count\": 2}\n\n{\"text\": \"d\"}\n{\"text\": \"a b c\"}\n");
  CHECK(log.format == PromptFormat::json_lines);
  CHECK(texts_of(log) == Texts{"a b c", "d"});
  CHECK(log.prompts[0].count == 3);
  CHECK(log.empty == 1);
  CHECK(texts_of(read("{\"Prompt\": \"a\"}\n")) == Texts{"a"});
  CHECK(texts_of(read("{\"body\": \"a\", \"text\": \"b\"}\n", {.column = "body"})) == Texts{"a"});
  CHECK(read("{\"text\": \"a\"}\n{\"text\": \" \"}\n").empty == 1);
}

TEST_CASE("of responses is kept which are the same, of the first time a prompt has one") {
  const auto responses_of = [](const PromptLog& log) {
    std::vector<std::uint32_t> responses;
    for (const Prompt& prompt : log.prompts) responses.push_back(prompt.response);
    return responses;
  };
  const PromptLog log = read("prompt\tResponse\na\tyes\nb\t\nc\tno\nd\tyes\nb\tno\na\tno\n");
  CHECK(responses_of(log) == std::vector<std::uint32_t>{1, 2, 2, 1});
  CHECK(log.responses == 2);
  const PromptLog json = read(
      "{\"text\": \"a\", \"response\": \"1\"}\n{\"text\": \"b\", \"response\": 1}\n{\"text\": \"c\"}\n"
      "{\"text\": \"d\", \"response\": null}\n{\"text\": \"e\", \"response\": \"1\"}\n");
  CHECK(responses_of(json) == std::vector<std::uint32_t>{1, 2, 0, 0, 1});
  CHECK(read("response\tprompt\nx\ty\n", {.column = "response"}).responses == 0);
}

TEST_CASE("gzip is told by content, and a forced format by nothing") {
  const test::TemporaryDirectory directory;
  const std::string path = directory.file("packed.txt");
  gzFile file = gzopen(path.c_str(), "wb");
  const std::string content = "prompt\tn\na\t1\nb\t2\n";
  gzwrite(file, content.data(), static_cast<unsigned>(content.size()));
  gzclose(file);
  CHECK(texts_of(read_prompt_log(path)) == Texts{"a", "b"});
  CHECK(texts_of(read("{not json\nprompt\n", {.format = PromptFormat::lines})) == Texts{"{not json", "prompt"});
  CHECK(texts_of(read("prompt\nx\n", {.format = PromptFormat::lines})) == Texts{"prompt", "x"});
  require_refused("x\ny\n", {":1:", "columns 'x'", "prompt, text, query or question"}, {.format = PromptFormat::tsv});
  const std::string packed = read_file(path);
  require_refused(packed.substr(0, packed.size() - 9), {"gzip", "cut"});
}

TEST_CASE("Unicode stays, invalid bytes are replaced, control characters become spaces") {
  const PromptLog log = read(
      "Wie hei\xc3\x9ft du?\n\xe4\xbd\xa0\xe5\xa5\xbd\nbad \xff\xfe byte\na\x01"
      "b\x7f\n");
  CHECK(texts_of(log) ==
        Texts{"Wie hei\xc3\x9ft du?", "\xe4\xbd\xa0\xe5\xa5\xbd", "bad \xef\xbf\xbd\xef\xbf\xbd byte", "a b"});
  CHECK(log.repaired == 1);
  const PromptLog json = read("{\"text\": \"bad \xff\"}\n{\"text\": \"\\u00e4\\u0000b\"}\n");
  CHECK(texts_of(json) == Texts{"bad \xef\xbf\xbd", "\xc3\xa4 b"});
  CHECK(json.repaired == 1);
}

TEST_CASE("long prompts are skipped and counted, and reading may stop early") {
  const std::string content = "short\n" + std::string(20, 'x') + "\n" + std::string(30, ' ') + "ok\nlast\n";
  const PromptLog log = read(content, {.max_bytes = 10});
  CHECK(texts_of(log) == Texts{"short", "ok", "last"});
  CHECK(log.too_long == 1);
  CHECK(texts_of(read(content, {.limit = 2})).size() == 2);
  CHECK(read("a\na\nb\n", {.limit = 2}).prompts.size() == 1);
  require_refused(std::string(20, 'x') + "\n\n", {"log:2:", "1 empty", "1 longer than 10 bytes"}, {.max_bytes = 10});
}

TEST_CASE("bad prompt logs name file, line, what was found and what was wanted") {
  require_refused("", {"log", "an empty file", "at least one prompt"});
  require_refused(" \n\t\n", {"white space"});
  require_refused("prompt\n\n \n", {"log:3:", "no prompt"});
  require_refused("id\tbody\n1\ta\n", {":1:", "'id, body'", "--column", "--format lines"});
  require_refused("prompt\tprompt\na\tb\n", {":1:", "'prompt' twice"});
  require_refused("prompt\tid\na\t1\nb\n", {":3:", "1 cells", "2"});
  require_refused("a\nb\n", {":1:", "columns 'a'", "'body'"}, {.column = "body"});
  require_refused("Prompt\na\n", {"columns 'Prompt'"}, {.column = "prompt"});  // asked for by name: as it stands
  require_refused("id,prompt\n1,a\n", {":1:", "commas", "TSV"});
  require_refused("[\n{\"prompt\": \"a\"}]\n", {":1:", "JSON array"});
  require_refused("{\"body\": \"a\"}\n", {":1:", "keys 'body'", "--column"});
  require_refused("{\"text\": \"a\"}\n{\"body\": \"a\"}\n", {":2:", "keys 'body'", "'text'"});
  require_refused("{\"text\": 3}\n", {":1:", "'3'", "a text under the key 'text'"});
  require_refused("{\"text\": \"a\"}\nplain\n", {":2:", "'plain'", "a JSON object"});
  require_refused(std::string("a\nb\0c\n", 6), {":2:", "zero byte", "UTF-8"});
  for (const char* count : {"0", "-1", "1.5", "x", "", "99999999999999"}) {
    require_refused(std::string("prompt\tcount\na\t") + count + "\n", {":2:", "count", "whole number"});
  }
  for (const char* count : {"0", "-1", "1.5", "\"3\"", "null", "99999999999999"}) {
    require_refused(std::string("{\"prompt\": \"a\", \"count\": ") + count + "}\n", {":1:", "count", "whole number"});
  }
  const test::TemporaryDirectory directory;
  test::require_error(ErrorCode::access, {directory.path()}, [&] { read_prompt_log(directory.path()); });
  test::require_error(ErrorCode::not_found, {"nowhere"}, [&] { read_prompt_log(directory.file("nowhere")); });
  test::require_error(ErrorCode::usage, {"'body'", "lines"},
                      [&] { read("a\n", {.column = "body", .format = PromptFormat::lines}); });
}
