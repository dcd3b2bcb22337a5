#include "promptcache/reuse/kv_store.hpp"

#include <map>
#include <random>
#include <thread>

#include "support.hpp"

namespace {

using namespace promptcache;
using namespace promptcache::reuse;
using Tokens = std::vector<std::int32_t>;

constexpr KvShape shape{2, 1, 8, KvType::f32};
constexpr std::size_t block_bytes = 2 * 2 * 8 * 4 * 16;  // a block of 1 to 16 tokens

std::shared_ptr<const KvBlock> block_of(std::size_t tokens) {
  auto block = std::make_shared<KvBlock>(shape, tokens);
  block->resize(tokens);
  return block;
}

const Digest root = KvStore::root(sha256("decoder"));

Digest add(KvStore& store, const Digest& parent, const Tokens& tokens, double cost = 1) {
  const KvLink link{parent, 0, tokens};
  store.put(link, block_of(tokens.size()), cost);
  return link.key();
}

std::size_t rows_found(KvStore& store, const Digest& parent, const Tokens& tokens, std::size_t gap = 0) {
  const auto found = store.find({parent, gap, tokens});
  return found ? found->rows : 0;
}

}  // namespace

TEST_CASE("KV block: a block has room for what was asked for, and not more than it may") {
  CHECK(KvBlock(shape, 1).capacity() == 16);
  CHECK(KvBlock(shape, 17).capacity() == 32);
  CHECK(KvBlock(shape, 64).bytes() == 4 * block_bytes);
  CHECK(shape.bytes_per_token() * 64 == 4 * block_bytes);
  test::require_error(ErrorCode::usage, {"65"}, [] { KvBlock(shape, 65); });
  test::require_error(ErrorCode::usage, {"0 tokens"}, [] { KvBlock(shape, 0); });
  KvBlock block(shape, 3);
  test::require_error(ErrorCode::usage, {"17 rows", "16"}, [&] { block.resize(17); });
  CHECK(block.size() == 0);
}

TEST_CASE("KV store: the longest common beginning is found, behind the right parent and gap only") {
  KvStore store(shape);
  const Digest ab = add(store, root, {1, 2});
  add(store, ab, {3, 4, 5, 6});
  add(store, ab, {3, 4, 9});
  CHECK(rows_found(store, root, {1, 2, 3}) == 2);
  CHECK(rows_found(store, root, {1, 7}) == 1);
  CHECK(rows_found(store, root, {2, 1}) == 0);
  CHECK(rows_found(store, ab, {3, 4, 5, 7}) == 3);
  CHECK(rows_found(store, ab, {3, 4, 9, 9}) == 3);
  CHECK(rows_found(store, ab, {3}) == 1);
  CHECK(rows_found(store, root, {3, 4}) == 0);
  CHECK(rows_found(store, ab, {3, 4}, 1) == 0);
  CHECK(rows_found(store, KvStore::root(sha256("another")), {1, 2}) == 0);
  CHECK(rows_found(store, KvStore::root(sha256("decoder"), 0), {1, 2}) == 0);
  CHECK(store.stats().blocks == 3);
  CHECK(store.stats().bytes == 3 * block_bytes);
}

TEST_CASE("KV store: what is put twice is there once") {
  KvStore store(shape);
  const Tokens tokens{1, 2};
  const auto first = store.put({root, 0, tokens}, block_of(2), 1);
  const auto second = store.put({root, 0, tokens}, block_of(2), 1);
  CHECK(first == second);
  CHECK(store.stats().bytes == block_bytes);
  CHECK(store.stats().bytes_in_use == block_bytes);
  test::require_error(ErrorCode::usage, {"3 rows", "2 tokens"}, [&] { store.put({root, 0, tokens}, block_of(3), 1); });
  const auto other = std::make_shared<KvBlock>(KvShape{2, 1, 8, KvType::bf16}, 2);
  test::require_error(ErrorCode::mismatch, {"shape"}, [&] { store.put({root, 0, tokens}, other, 1); });
}

TEST_CASE("KV store: the least used block leaves first, the end of a chain before its beginning") {
  KvStore store(shape, {.memory_bytes = 3 * block_bytes});
  const Digest a = add(store, root, {1});
  add(store, a, {2});
  add(store, root, {5});
  CHECK(rows_found(store, root, {1}) == 1);
  CHECK(rows_found(store, a, {2}) == 1);
  add(store, root, {6});  // in place of 5, the longest unused
  CHECK(rows_found(store, root, {5}) == 0);
  CHECK(rows_found(store, a, {2}) == 1);
  CHECK(rows_found(store, root, {6}) == 1);
  CHECK(rows_found(store, root, {6}) == 1);
  add(store, root, {7});  // in place of 2: its parent is as old, but not the end
  CHECK(rows_found(store, root, {1}) == 1);
  CHECK(rows_found(store, a, {2}) == 0);
  CHECK(store.stats().evictions == 2);
  CHECK(store.stats().bytes == 3 * block_bytes);
}

TEST_CASE("KV store: what costs much to compute stays longer") {
  KvStore store(shape, {.memory_bytes = 2 * block_bytes});
  add(store, root, {1}, 1e9);
  add(store, root, {2}, 1);
  add(store, root, {3}, 1);
  add(store, root, {4}, 1);
  CHECK(rows_found(store, root, {1}) == 1);
  CHECK(rows_found(store, root, {4}) == 1);
  CHECK(store.stats().evictions == 2);
}

TEST_CASE("KV store: pinned blocks and blocks in use stay, and are counted when they are gone from the store") {
  KvStore store(shape, {.memory_bytes = 2 * block_bytes});
  const Digest a = add(store, root, {1});
  const Digest b = add(store, a, {2});
  REQUIRE(store.pin(b));
  CHECK_FALSE(store.pin(sha256("nothing")));
  add(store, root, {3});
  CHECK(rows_found(store, root, {3}) == 0);
  CHECK(store.stats().refusals == 1);
  CHECK(rows_found(store, a, {2}) == 1);
  REQUIRE(store.unpin(b));
  CHECK_FALSE(store.unpin(b));
  auto held = store.find({a, 0, Tokens{2}});
  add(store, root, {3});
  CHECK(store.stats().refusals == 2);  // 2 is in use, and 1 is in front of it
  held.reset();
  add(store, root, {3});
  CHECK(rows_found(store, root, {3}) == 1);
  auto last = store.find({root, 0, Tokens{3}});
  store.clear();
  CHECK(store.stats().blocks == 0);
  CHECK(store.stats().bytes == 0);
  CHECK(store.stats().bytes_in_use == block_bytes);
  last.reset();
  CHECK(store.stats().bytes_in_use == 0);
}

TEST_CASE("KV store: a child that came before its parent is found behind it, and keeps it") {
  KvStore store(shape, {.memory_bytes = 2 * block_bytes});
  const Tokens parent{1, 2};
  const Digest key = KvLink{root, 0, parent}.key();
  add(store, key, {3});
  CHECK(rows_found(store, key, {3}) == 1);
  add(store, root, parent);
  CHECK(rows_found(store, key, {3}) == 1);
  CHECK(rows_found(store, root, parent) == 2);
  add(store, root, {9});
  CHECK(rows_found(store, key, {3}) == 0);
  CHECK(rows_found(store, root, parent) == 2);
}

TEST_CASE("KV store: any order of use leaves exact accounts") {
  std::mt19937 random(3);
  KvStore store(shape, {.memory_bytes = 12 * block_bytes});
  std::map<std::size_t, Digest> keys{{0, root}};
  std::vector<std::shared_ptr<const KvBlock>> held;
  std::vector<Digest> pinned;
  for (std::size_t i = 1; i < 3000; ++i) {
    const Digest parent = std::next(keys.begin(), static_cast<std::ptrdiff_t>(random() % keys.size()))->second;
    const Tokens tokens(1 + random() % 40, static_cast<std::int32_t>(random() % 5));
    switch (random() % 6) {
      case 0: held.push_back(store.put({parent, 0, tokens}, block_of(tokens.size()), 1 + random() % 9)); break;
      case 1:
      case 2: keys[i] = add(store, parent, tokens, 1 + random() % 9); break;
      case 3:
        if (auto found = store.find({parent, 0, tokens})) held.push_back(found->block);
        break;
      case 4:
        if (store.pin(parent)) pinned.push_back(parent);
        break;
      default:
        if (held.size() > 3) held.clear();
        for (const Digest& key : pinned) REQUIRE(store.unpin(key));
        pinned.clear();
    }
    const KvStoreStats stats = store.stats();
    REQUIRE(stats.bytes <= 12 * block_bytes);
    REQUIRE(stats.bytes <= stats.bytes_in_use);
    REQUIRE((stats.blocks == 0) == (stats.bytes == 0));
  }
  held.clear();
  for (const Digest& key : pinned) store.unpin(key);
  CHECK(store.stats().bytes == store.stats().bytes_in_use);
  CHECK(store.stats().evictions > 100);
  store.clear();
  CHECK(store.stats().bytes_in_use == 0);
}

TEST_CASE("KV store: many threads at once") {
  KvStore store(shape, {.memory_bytes = 6 * block_bytes});
  std::vector<std::thread> threads;
  for (std::uint32_t seed = 0; seed < 4; ++seed) {
    threads.emplace_back([&store, seed] {
      std::mt19937 random(seed);
      for (int i = 0; i < 500; ++i) {
        const Tokens tokens(1 + random() % 20, static_cast<std::int32_t>(random() % 6));
        const Digest key = add(store, root, tokens);
        if (store.pin(key)) store.unpin(key);
        if (auto found = store.find({root, 0, tokens})) add(store, found->key, tokens);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(store.stats().bytes <= 6 * block_bytes);
  CHECK(store.stats().bytes == store.stats().bytes_in_use);
}
