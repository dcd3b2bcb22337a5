// The cache against a simple sequential model of it, and under a mixed load of threads.
#include <algorithm>
#include <array>
#include <atomic>
#include <list>
#include <random>
#include <set>
#include <thread>

#include "cache/fakes.hpp"
#include "index/dot.hpp"
#include "support.hpp"

using namespace promptcache;

namespace {

constexpr double tau = 0.93;

struct ModelEntry {
  std::string scope, prompt, response, tag;
  std::vector<float> vector;
  int expires = 0;
};

/// A list from the most recently used to the least, searched in full.
class Model {
 public:
  explicit Model(std::size_t bound) : bound_(bound) {}

  const ModelEntry* find(const std::string& scope, const std::string& prompt, const std::vector<float>& vector,
                         int now) {
    const auto ended = [&](const ModelEntry& entry) { return entry.expires <= now; };
    std::vector<std::pair<float, Place>> near;
    for (auto entry = entries_.begin(); entry != entries_.end();) {
      const auto each = entry++;
      if (each->scope != scope) continue;
      if (each->prompt == prompt) {
        if (!ended(*each)) return use(each);
        entries_.erase(each);
        continue;
      }
      float dot = 0;
      index::dot_rows(vector.data(), each->vector.data(), 1, vector.size(), &dot);
      near.emplace_back(dot, each);
    }
    // Equal ones: the older id; ids rise with the time of storing, and so do the responses.
    std::sort(near.begin(), near.end(), [](const auto& a, const auto& b) {
      return a.first != b.first ? a.first > b.first : a.second->response < b.second->response;
    });
    near.resize(std::min<std::size_t>(near.size(), 4));
    std::erase_if(near, [&](const auto& candidate) {
      if (!ended(*candidate.second)) return false;
      entries_.erase(candidate.second);
      return true;
    });
    std::erase_if(near, [&](const auto& candidate) {
      return wrong_pairs_.contains({scope, prompt, candidate.second->prompt});
    });
    return !near.empty() && static_cast<double>(near[0].first) > tau ? use(near[0].second) : nullptr;
  }

  void add(ModelEntry entry, int now) {
    entries_.remove_if([&](const ModelEntry& each) { return each.expires <= now; });
    if (entries_.size() == bound_) entries_.pop_back();
    entries_.push_front(std::move(entry));
  }

  void report(const std::string& scope, const std::string& prompt, const ModelEntry& entry) {
    if (entry.prompt != prompt) wrong_pairs_.insert({scope, prompt, entry.prompt});
    const std::string response = entry.response;
    entries_.remove_if([&](const ModelEntry& each) { return each.response == response; });
  }

  std::size_t invalidate(const std::string& tag) {
    return entries_.remove_if([&](const ModelEntry& entry) { return entry.tag == tag; });
  }

  std::size_t size() const { return entries_.size(); }

 private:
  using Place = std::list<ModelEntry>::iterator;

  const ModelEntry* use(Place entry) {
    entries_.splice(entries_.begin(), entries_, entry);
    return &entries_.front();
  }

  std::size_t bound_;
  std::list<ModelEntry> entries_;
  std::set<std::array<std::string, 3>> wrong_pairs_;
};

std::string random_prompt(std::mt19937& random) {
  static const char* words[] = {"red", "green", "blue", "cat", "dog", "house", "tree"};
  std::string prompt;
  for (std::size_t count = 2 + random() % 4; count > 0; --count) prompt += std::string(words[random() % 7]) + " ";
  return prompt;
}

}  // namespace

TEST_CASE("random requests, inserts, reports, invalidations and the passing of time agree with a simple model") {
  constexpr std::size_t bound = 50;
  std::mt19937 random(7);
  const auto embedder = std::make_shared<test::WordEmbedder>();
  const test::TemporaryDirectory directory;
  int now = 0;
  std::shared_ptr<EntryStore> store;
  SECTION("in memory") { store = std::make_shared<MemoryStore>(MemoryStoreOptions{.limits = {.max_entries = bound}}); }
  SECTION("in SQLite") {
    store = SqliteStore::open(directory.file("store.db"), {.limits = {.max_entries = bound}, .sync = SyncMode::none});
  }
  Cache cache({.embedder = embedder, .policy = std::make_shared<ThresholdPolicy>(tau), .store = store, .clock = [&] {
                 return Entry::TimePoint(std::chrono::milliseconds(now));
               }});
  Model model(bound);
  std::size_t hits = 0;
  std::size_t invalidated = 0;
  for (int round = 0; round < 8000; ++round) {
    ++now;
    const std::string scope = std::to_string(random() % 3);
    const std::string prompt = random_prompt(random);
    const std::vector<float> vector = embedder->embed_one(prompt);
    const ModelEntry* wanted = model.find(scope, prompt, vector, now);
    const std::string fresh = "response " + std::to_string(100'000 + round);
    const std::string tag = std::to_string(random() % 20);
    const int ttl = 1 + static_cast<int>(random() % 300);
    const Reply reply = cache.get_or_compute({prompt, Scope().tenant(scope)}, [&] {
      return Response{.text = fresh, .tags = {tag}, .ttl = std::chrono::milliseconds(ttl)};
    });
    CAPTURE(round, prompt, to_string(reply.decision.reason), reply.decision.similarity);
    REQUIRE(reply.hit() == (wanted != nullptr));
    if (reply.hit()) {
      ++hits;
      REQUIRE(reply.response == wanted->response);
      if (random() % 10 == 0) {
        if (random() % 2 == 0) {
          REQUIRE(cache.report(reply.decision.id, Feedback::wrong));
        } else {
          REQUIRE(cache.report(cache.token(reply.decision), Feedback::wrong));
        }
        model.report(scope, prompt, *wanted);
      }
    } else {
      model.add({scope, prompt, fresh, tag, vector, now + ttl}, now);
    }
    if (random() % 30 == 0) {
      const std::string which = std::to_string(random() % 20);
      const std::size_t found = cache.invalidate({.tag = which}, true);
      REQUIRE(cache.invalidate({.tag = which}) == found);
      REQUIRE(model.invalidate(which) == found);
      invalidated += found;
    }
    REQUIRE(cache.stats().entries == model.size());
  }
  CHECK(hits > 300);
  CHECK(invalidated > 100);
  CHECK(cache.stats().evictions > 100);
  CHECK(cache.stats().expirations > 100);
  CHECK(cache.stats().failures == 0);
}

TEST_CASE("a mixed load of threads never sees another scope's or another prompt's response") {
  const auto embedder = std::make_shared<test::WordEmbedder>();
  Cache cache({.embedder = embedder,
               .policy = std::make_shared<ThresholdPolicy>(0.999),
               .store = std::make_shared<MemoryStore>(MemoryStoreOptions{.limits = {.max_entries = 50}})});
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937 random(t);
      for (int round = 0; round < 1500; ++round) {
        const std::string scope = std::to_string(random() % 2);
        const std::string number = std::to_string(random() % 80);
        const bool swapped = random() % 2 == 0;
        const Request request{swapped ? "is what " + number : "what is " + number, Scope().tenant(scope)};
        const std::string answer = scope + "/" + number;
        const auto compute = [&]() {
          if (random() % 20 == 0) throw std::runtime_error("llm");
          return Response{.text = answer, .ttl = std::chrono::milliseconds(1 + random() % 20)};
        };
        try {
          if (random() % 4 == 0) {
            Lookup ticket = cache.lookup(request);
            if (ticket.in_flight()) ticket.wait_for(std::chrono::microseconds(random() % 200));
            if (ticket.hit() && ticket.reply().response != answer) ++wrong;
            if (ticket.miss() && random() % 4 != 0) cache.insert(std::move(ticket), answer);
          } else {
            const Reply reply = cache.get_or_compute(request, compute);
            if (reply.response != answer) ++wrong;
            if (reply.hit() && random() % 10 == 0) cache.report(reply.decision.id, Feedback::wrong);
          }
        } catch (const std::runtime_error&) {
        }
        if (random() % 50 == 0) to_prometheus(cache.stats());
        if (random() % 100 == 0) cache.invalidate({.fields = Scope().tenant(scope)});
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == 0);
  const CacheStats stats = cache.stats();
  CHECK(stats.entries <= 50);
  CHECK(stats.exact_hits + stats.semantic_hits > 100);
  CHECK(stats.failures == 0);
}
