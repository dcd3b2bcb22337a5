#include "promptcache/pairs/pair_file.hpp"

#include <zlib.h>

#include "promptcache/base/file.hpp"
#include "support.hpp"

namespace {

using namespace promptcache;

void require_refused(const std::string& content, std::initializer_list<std::string> pieces) {
  const test::TemporaryDirectory directory;
  const std::string path = directory.write("pairs.tsv", content);
  test::require_error(ErrorCode::format, pieces, [&] { read_pair_file(path); });
}

std::string gzipped(const test::TemporaryDirectory& directory, const std::string& content) {
  const std::string path = directory.file("packed");
  gzFile file = gzopen(path.c_str(), "wb");
  gzwrite(file, content.data(), static_cast<unsigned>(content.size()));
  gzclose(file);
  return read_file(path);
}

}  // namespace

TEST_CASE("columns come in any order, others are kept, line ends and a byte order mark do not matter") {
  const test::TemporaryDirectory directory;
  const PairFile file =
      read_pair_file(directory.write("p", "\xef\xbb\xbflabel\ttopic\tq2\tq1\r\n0.5\tx\tb\ta\r\n\n0\ty\td\tc"));
  REQUIRE(file.pairs.size() == 2);
  CHECK(file.pairs[0].q1 == "a");
  CHECK(file.pairs[0].positive());
  CHECK(file.pairs[1].line == 4);
  CHECK(file.columns == std::vector<std::string>{"label", "topic", "q2", "q1"});
  CHECK(file.rows[1][1] == "y");
}

TEST_CASE("JSON lines and gzip are told by content") {
  const test::TemporaryDirectory directory;
  const std::string json =
      "{\"q1\": \"a\", \"q2\": \"b\", \"label\": 1, \"n\": 3}\n{\"label\": 0, \"q2\": \"d\", \"q1\": \"c\"}\n";
  const PairFile file = read_pair_file(directory.write("p.tsv", gzipped(directory, json)));
  REQUIRE(file.pairs.size() == 2);
  CHECK(file.pairs[1].q1 == "c");
  CHECK(file.rows[0][file.column("n")] == "3");
  const PairFile tsv = read_pair_file(directory.write("p.json", gzipped(directory, "q1\tq2\tlabel\na\tb\t1\n")));
  CHECK(tsv.pairs.size() == 1);
}

TEST_CASE("bad pair files name file, line, what was found and what was wanted") {
  require_refused("", {"pairs.tsv", "empty"});
  require_refused("q1\tq2\tlabel\n", {"no pairs"});
  require_refused("q1\tq3\tlabel\na\tb\t1\n", {":1:", "column 'q2'"});
  require_refused("q1\tq2\tlabel\tq1\na\tb\t1\tc\n", {"'q1' twice"});
  require_refused("q1\tq2\tlabel\na\tb\t1\na\tb\n", {":3:", "2 cells", "3"});
  require_refused("q1\tq2\tlabel\na\tb\tmaybe\n", {"pairs.tsv:2: found label 'maybe', wanted a number in [0, 1]"});
  for (const char* label : {"2", "-0.1", "nan", "inf", "", "0.5x", " 1"}) {
    require_refused(std::string("q1\tq2\tlabel\na\tb\t") + label + "\n", {":2:", "[0, 1]"});
  }
  require_refused("q1\tq2\tlabel\n\tb\t1\n", {":2:", "empty q1"});
  require_refused("{\"q1\": \"a\", \"q2\": \"b\"}\n", {":1:", "no label"});
  require_refused("{\"q1\": \"a\", \"q2\": 5, \"label\": 1}\n", {":1:", "'q2'"});
  require_refused("{\"q1\": \n", {":1:", "JSON"});
  const test::TemporaryDirectory directory;
  const std::string packed = gzipped(directory, "q1\tq2\tlabel\na\tb\t1\n");
  require_refused(packed.substr(0, packed.size() - 6), {"cut"});
  test::require_error(ErrorCode::access, {"directory"}, [&] { read_pair_file(directory.path()); });
  test::require_error(ErrorCode::not_found, {"missing"}, [&] { read_pair_file(directory.file("missing")); });
}

TEST_CASE("written pairs are read back, breaks inside cells as spaces") {
  const test::TemporaryDirectory directory;
  write_pair_file(directory.file("p"), {"q1", "q2", "label"}, {{"a\tb", "c\nd", "1"}});
  const PairFile file = read_pair_file(directory.file("p"));
  CHECK(file.pairs[0].q1 == "a b");
  CHECK(file.pairs[0].q2 == "c d");
}
