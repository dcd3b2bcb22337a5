// The file behind a KvStore: what is in it after another opening, a kill, damage, and when it is full.
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <thread>

#include "promptcache/base/file.hpp"
#include "promptcache/reuse/kv_store.hpp"
#include "support.hpp"

namespace {

using namespace promptcache;
using namespace promptcache::reuse;
using Tokens = std::vector<std::int32_t>;

constexpr KvShape shape{2, 2, 8, KvType::bf16};
constexpr std::size_t unit = 2 * 2 * 2 * 8 * 2 * 16;  // bytes of 16 tokens
const Digest decoder = sha256("decoder");
const Digest root = KvStore::root(decoder);

KvStoreOptions with_file(const std::string& path, std::size_t memory = 1 << 20, std::size_t units = 64) {
  return {.memory_bytes = memory, .file = path, .file_bytes = 2 * 4096 + units * (unit + 512), .decoder = decoder};
}

/// Rows that say which tokens they belong to, in a block with room to spare.
std::shared_ptr<KvBlock> block_of(const Tokens& tokens) {
  auto block = std::make_shared<KvBlock>(shape, KvBlock::most_tokens);
  block->resize(tokens.size());
  for (std::size_t layer = 0; layer < shape.layers; ++layer) {
    for (std::size_t head = 0; head < shape.kv_heads; ++head) {
      auto* keys = reinterpret_cast<std::uint16_t*>(block->keys(layer, head));
      auto* values = reinterpret_cast<std::uint16_t*>(block->values(layer, head));
      for (std::size_t row = 0; row < tokens.size(); ++row) {
        for (std::size_t i = 0; i < shape.head_size; ++i) {
          const auto mark =
              static_cast<std::uint16_t>(tokens[row] * 100 + static_cast<std::int32_t>(layer * 16 + head * 8 + i));
          keys[i * block->capacity() + row] = mark;
          values[row * shape.head_size + i] = static_cast<std::uint16_t>(mark + 7);
        }
      }
    }
  }
  return block;
}

bool holds(const KvBlock& block, const Tokens& tokens) {
  const auto wanted = block_of(tokens);
  const std::size_t width = shape.kv_heads * shape.head_size;
  std::vector<float> a(width), b(width), c(width), d(width);
  for (std::size_t layer = 0; layer < shape.layers; ++layer) {
    for (std::size_t row = 0; row < tokens.size(); ++row) {
      block.read_row(layer, row, a.data(), b.data());
      wanted->read_row(layer, row, c.data(), d.data());
      if (std::memcmp(a.data(), c.data(), width * 4) != 0 || std::memcmp(b.data(), d.data(), width * 4) != 0)
        return false;
    }
  }
  return true;
}

Digest add(KvStore& store, const Digest& parent, const Tokens& tokens) {
  const KvLink link{parent, 0, tokens};
  store.put(link, block_of(tokens), 1);
  return link.key();
}

bool has(KvStore& store, const Digest& parent, const Tokens& tokens) {
  const auto found = store.find({parent, 0, tokens});
  return found && found->rows == tokens.size() && holds(*found->block, tokens);
}

/// A text that depends on its number.
Tokens text(int number) { return Tokens(static_cast<std::size_t>(1 + number * 7 % 64), number % 300); }

void change_byte(const std::string& path, std::size_t offset) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(static_cast<std::streamoff>(offset));
  const char byte = static_cast<char>(file.get() ^ 1);
  file.seekp(static_cast<std::streamoff>(offset));
  file.put(byte);
}

}  // namespace

TEST_CASE("KV file: blocks are there after another opening, with their chains, and used where they are mapped") {
  const test::TemporaryDirectory directory;
  const std::string path = directory.file("states.kv");
  Digest a;
  {
    KvStore store(shape, with_file(path));
    a = add(store, root, {1, 2, 3});
    add(store, a, Tokens(64, 4));
    add(store, root, {5});
    CHECK(store.stats().file_bytes == 6 * unit);
    CHECK(store.stats().tokens_mapped == 0);
    store.sync();
  }
  KvStore store(shape, with_file(path));
  CHECK(store.stats().blocks == 3);
  CHECK(store.stats().bytes == 0);
  CHECK(has(store, root, {1, 2, 3}));
  CHECK(has(store, a, Tokens(64, 4)));
  CHECK(has(store, root, {5}));
  CHECK(store.stats().tokens_mapped == 68);
  CHECK(store.stats().bytes == 0);
  CHECK_FALSE(has(store, root, {6}));
  store.clear();
  CHECK(store.stats().blocks == 0);
  CHECK(store.stats().file_bytes == 0);
}

TEST_CASE("KV file: what memory lets go of is in the file, and what a full file lets go of is gone") {
  const test::TemporaryDirectory directory;
  KvStore store(shape, with_file(directory.file("states.kv"), 3 * 4 * unit, 12));
  for (int i = 0; i < 6; ++i) add(store, root, Tokens(16, i));  // each with 4 units in memory and 1 in the file
  CHECK(store.stats().evictions == 3);
  CHECK(store.stats().file_evictions == 0);
  for (int i = 0; i < 6; ++i) CHECK(has(store, root, Tokens(16, i)));
  CHECK(store.stats().tokens_mapped == 48);
  for (int i = 6; i < 30; ++i) add(store, root, Tokens(33, i));  // 3 units each
  CHECK(store.stats().file_evictions > 20);
  CHECK(store.stats().file_bytes <= 12 * unit);
  CHECK(has(store, root, Tokens(33, 29)));
  CHECK_FALSE(has(store, root, Tokens(16, 0)));
  // A mapped block that is in use stays what it is.
  const auto held = store.find({root, 0, Tokens(33, 26)});
  for (int i = 100; i < 130; ++i) add(store, root, Tokens(33, i));
  if (held) CHECK(holds(*held->block, Tokens(33, 26)));
}

TEST_CASE("KV file: a process that is killed while it writes leaves whole blocks only") {
  const test::TemporaryDirectory directory;
  const std::string path = directory.file("states.kv");
  std::mt19937 random(1);
  std::size_t found = 0;
  for (int round = 0; round < 12; ++round) {
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      KvStore store(shape, with_file(path, 1 << 16, 40));
      for (int i = round * 1000;; ++i) add(store, root, text(i));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20 + random() % 40));
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    KvStore store(shape, with_file(path, 1 << 16, 40));
    for (int i = 0; i < (round + 1) * 1000; ++i) {
      const auto block = store.find({root, 0, text(i)});
      if (!block || block->rows < text(i).size()) continue;
      ++found;
      REQUIRE(holds(*block->block, text(i)));
    }
    CHECK(store.stats().damaged <= 1);  // the one that was being written
  }
  CHECK(found > 0);
}

TEST_CASE("KV file: damage is noticed, and costs the damaged block only") {
  const test::TemporaryDirectory directory;
  const std::string path = directory.file("states.kv");
  {
    KvStore store(shape, with_file(path));
    for (int i = 0; i < 3; ++i) add(store, root, Tokens(16, i));
  }
  const std::size_t table = 4096, states = 4096 + 64 * 512;
  change_byte(path, states + unit + 5);  // of the second
  std::string messages;
  {
    KvStoreOptions options = with_file(path);
    options.log = [&](LogLevel, std::string_view message) { messages += message; };
    KvStore store(shape, options);
    CHECK(store.stats().blocks == 3);
    CHECK(has(store, root, Tokens(16, 0)));
    CHECK_FALSE(has(store, root, Tokens(16, 1)));
    CHECK(has(store, root, Tokens(16, 2)));
    CHECK(store.stats().damaged == 1);
    CHECK(messages.find("damaged states") != std::string::npos);
    add(store, root, Tokens(16, 1));
    CHECK(has(store, root, Tokens(16, 1)));
  }
  change_byte(path, table + 512 * 2 + 40);  // an entry
  KvStore store(shape, with_file(path));
  CHECK(store.stats().blocks == 2);
  CHECK_FALSE(has(store, root, Tokens(16, 2)));
}

TEST_CASE("KV file: what is no such file, or another's, is refused and left alone") {
  const test::TemporaryDirectory directory;
  const std::string path = directory.file("states.kv");
  const auto refused = [&](const std::string& file, const KvStoreOptions& options, const KvShape& of, ErrorCode code,
                           std::initializer_list<std::string> pieces) {
    const std::string before = std::filesystem::is_regular_file(file) ? read_file(file) : "";
    test::require_error(code, pieces, [&] { KvStore(of, options); });
    if (std::filesystem::is_regular_file(file)) CHECK(read_file(file) == before);
  };
  {
    KvStore store(shape, with_file(path));
    add(store, root, {1});
    refused(path, with_file(path), shape, ErrorCode::busy, {"states.kv", "another process writes"});
  }
  KvStoreOptions other = with_file(path);
  other.decoder = sha256("another");
  refused(path, other, shape, ErrorCode::mismatch,
          {"states.kv", "states of another decoder", decoder.hex().substr(0, 16)});
  refused(path, with_file(path), {2, 2, 8, KvType::f32}, ErrorCode::mismatch, {"another decoder"});
  const std::string text = directory.write("text.kv", std::string(9000, 'x'));
  refused(text, with_file(text), shape, ErrorCode::format, {"text.kv", "another kind of file", "version 1"});
  const std::string small = directory.write("small.kv", "pckv");
  refused(small, with_file(small), shape, ErrorCode::format, {"a file of 4 bytes"});
  refused(directory.path(), with_file(directory.path()), shape, ErrorCode::access, {directory.path()});
  change_byte(path, 8);
  refused(path, with_file(path), shape, ErrorCode::format, {"version 0"});
  change_byte(path, 8);
  change_byte(path, 80);
  refused(path, with_file(path), shape, ErrorCode::format, {"damaged header"});
  change_byte(path, 80);
  std::filesystem::resize_file(path, 4096 + 100);
  refused(path, with_file(path), shape, ErrorCode::format, {"cut off"});
  const std::string tiny = directory.file("tiny.kv");
  KvStoreOptions little = with_file(tiny);
  little.file_bytes = 5000;
  refused(tiny, little, shape, ErrorCode::usage, {"5000 bytes", "room for a block"});
}

TEST_CASE("KV file: a disk without room is told at once") {
  const test::TemporaryDirectory directory;
  KvStoreOptions options = with_file(directory.file("states.kv"));
  options.file_bytes = std::size_t{1} << 60;
  try {
    KvStore store(shape, options);
    FAIL("made a file larger than any disk");
  } catch (const Error& error) {
    CHECK(std::string(error.what()).find("states.kv") != std::string::npos);
    CHECK(std::string(error.what()).find("room for") != std::string::npos);
  }
  CHECK_FALSE(std::filesystem::exists(options.file));
}

TEST_CASE("KV file: one process writes, others read what was there") {
  const test::TemporaryDirectory directory;
  const KvStoreOptions options = with_file(directory.file("states.kv"), 2 * unit, 12);
  KvStoreOptions reading = options;
  reading.file_read_only = true;
  test::require_error(ErrorCode::not_found, {"states.kv", "No such file"}, [&] { KvStore(shape, reading); });
  KvStore writer(shape, options);
  for (int i = 0; i < 12; ++i) add(writer, root, Tokens(16, i));
  KvStore reader(shape, reading);
  CHECK(reader.stats().blocks == 12);
  const auto held = reader.find({root, 0, Tokens(16, 0)});
  for (int i = 1; i < 12; ++i) CHECK(has(reader, root, Tokens(16, i)));
  CHECK(has(reader, root, Tokens(16, 3)));
  CHECK(reader.stats().bytes == 2 * unit);  // copies, of which memory keeps what it has room for
  CHECK(reader.stats().tokens_mapped == 0);
  CHECK(reader.stats().bytes_in_use == 2 * unit);
  add(reader, root, Tokens(16, 90));
  CHECK_FALSE(has(writer, root, Tokens(16, 90)));

  // The writer puts others in their place: a reader finds the old ones or none.
  for (int i = 100; i < 130; ++i) add(writer, root, Tokens(16, i));
  REQUIRE(held);
  CHECK(holds(*held->block, Tokens(16, 0)));
  for (int i = 0; i < 12; ++i) {
    const auto found = reader.find({root, 0, Tokens(16, i)});
    if (found) CHECK(holds(*found->block, Tokens(16, i)));
  }
  CHECK(reader.stats().file_evictions >= 10);
  CHECK(reader.stats().damaged == 0);
  CHECK(has(writer, root, Tokens(16, 129)));
  KvStore later(shape, reading);
  CHECK(has(later, root, Tokens(16, 129)));
  later.clear();
  CHECK(has(writer, root, Tokens(16, 129)));

  // Twelve units: a byte in each of their states.
  for (std::size_t i = 0; i < 12; ++i)
    change_byte(options.file, 3 * 4096 + i * unit + 7);  // behind a page and a table of two
  KvStore last(shape, reading);
  CHECK(last.stats().blocks == 12);
  for (int i = 100; i < 130; ++i) CHECK_FALSE(has(last, root, Tokens(16, i)));
  CHECK(last.stats().blocks == 0);
}

TEST_CASE("KV file: a reader beside a writer at work never sees a block that is not what it says") {
  const test::TemporaryDirectory directory;
  KvStoreOptions options = with_file(directory.file("states.kv"), 1 << 16, 40);
  { KvStore(shape, options); }
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    KvStore store(shape, options);
    for (int i = 0;; i = (i + 1) % 200) add(store, root, text(i));
  }
  options.file_read_only = true;
  std::size_t found = 0;
  const auto enough = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  for (int round = 0; round < 40 || (found == 0 && std::chrono::steady_clock::now() < enough); ++round) {
    KvStore store(shape, options);
    for (int i = 0; i < 200; ++i) {
      const auto block = store.find({root, 0, text(i)});
      if (!block || block->rows < text(i).size()) continue;
      ++found;
      REQUIRE(holds(*block->block, text(i)));
    }
  }
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  CHECK(found > 0);
}
