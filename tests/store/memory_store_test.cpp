#include "promptcache/store/memory_store.hpp"

#include "support.hpp"

using namespace promptcache;

namespace {

Entry entry(const std::string& name) {
  Entry result;
  result.key = sha256(name);
  result.prompt = name;
  return result;
}

}  // namespace

TEST_CASE("the entry used longest ago makes room") {
  MemoryStore store({.max_entries = 3});
  const EntryId a = store.put(entry("a")).id;
  const EntryId b = store.put(entry("b")).id;
  const EntryId c = store.put(entry("c")).id;
  store.touch(a);
  const EntryStore::PutResult result = store.put(entry("d"));
  REQUIRE(result.removed.size() == 1);
  CHECK(result.removed[0]->prompt == "b");
  CHECK(store.size() == 3);
  CHECK(store.get(b) == nullptr);
  CHECK(store.find(sha256("b")) == nullptr);
  CHECK(store.get(a)->prompt == "a");
  CHECK(store.find(sha256("c"))->id == c);
  store.touch(b);  // gone: nothing happens
}

TEST_CASE("the same key replaces, and ids are never given twice") {
  MemoryStore store;
  const EntryId first = store.put(entry("a")).id;
  const EntryStore::PutResult second = store.put(entry("a"));
  CHECK(second.id != first);
  REQUIRE(second.removed.size() == 1);
  CHECK(second.removed[0]->id == first);
  CHECK(store.size() == 1);
  CHECK(store.erase(second.id)->prompt == "a");
  CHECK(store.erase(second.id) == nullptr);
  CHECK(store.put(entry("b")).id > second.id);
  std::size_t seen = 0;
  store.for_each([&](const EntryStore::EntryPointer& each) {
    store.erase(each->id);  // a visitor may change the store
    ++seen;
  });
  CHECK(seen == 1);
  CHECK(store.size() == 0);
  test::require_error(ErrorCode::usage, {"max_entries"}, [] { MemoryStore({.max_entries = 0}); });
}
