// The cache against a simple sequential model of it, and under a mixed load of threads.
#include <atomic>
#include <list>
#include <random>
#include <thread>

#include "cache/fakes.hpp"
#include "index/dot.hpp"
#include "support.hpp"

using namespace promptcache;

namespace {

constexpr double tau = 0.93;

struct ModelEntry {
  std::string scope, prompt, response;
  std::vector<float> vector;
};

/// A list from the most recently used to the least, searched in full.
class Model {
 public:
  explicit Model(std::size_t bound) : bound_(bound) {}

  const ModelEntry* find(const std::string& scope, const std::string& prompt, const std::vector<float>& vector) {
    auto best = entries_.end();
    double similarity = 0;
    for (auto entry = entries_.begin(); entry != entries_.end(); ++entry) {
      if (entry->scope != scope) continue;
      if (entry->prompt == prompt) return use(entry);
      float dot = 0;
      index::dot_rows(vector.data(), entry->vector.data(), 1, vector.size(), &dot);
      // Equal ones: the older id; ids rise with the time of storing.
      if (best == entries_.end() || dot > similarity || (dot == similarity && entry->response < best->response)) {
        best = entry;
        similarity = dot;
      }
    }
    return best != entries_.end() && similarity > tau ? use(best) : nullptr;
  }

  void add(ModelEntry entry) {
    if (entries_.size() == bound_) entries_.pop_back();
    entries_.push_front(std::move(entry));
  }

  void remove(const std::string& response) {
    entries_.remove_if([&](const ModelEntry& entry) { return entry.response == response; });
  }

  std::size_t size() const { return entries_.size(); }

 private:
  const ModelEntry* use(std::list<ModelEntry>::iterator entry) {
    entries_.splice(entries_.begin(), entries_, entry);
    return &entries_.front();
  }

  std::size_t bound_;
  std::list<ModelEntry> entries_;
};

std::string random_prompt(std::mt19937& random) {
  static const char* words[] = {"red", "green", "blue", "cat", "dog", "house", "tree"};
  std::string prompt;
  for (std::size_t count = 2 + random() % 4; count > 0; --count) prompt += std::string(words[random() % 7]) + " ";
  return prompt;
}

}  // namespace

TEST_CASE("random requests, inserts and reports agree with a simple model") {
  constexpr std::size_t bound = 50;
  std::mt19937 random(7);
  const auto embedder = std::make_shared<test::WordEmbedder>();
  Cache cache({.embedder = embedder,
               .policy = std::make_shared<ThresholdPolicy>(tau),
               .store = std::make_shared<MemoryStore>(MemoryStoreOptions{.max_entries = bound})});
  Model model(bound);
  std::size_t hits = 0;
  for (int round = 0; round < 8000; ++round) {
    const std::string scope = std::to_string(random() % 3);
    const std::string prompt = random_prompt(random);
    const std::vector<float> vector = embedder->embed_one(prompt);
    const ModelEntry* wanted = model.find(scope, prompt, vector);
    const std::string fresh = "response " + std::to_string(100'000 + round);
    const Reply reply = cache.get_or_compute({prompt, Scope().tenant(scope)}, [&] { return fresh; });
    CAPTURE(round, prompt, to_string(reply.decision.reason), reply.decision.similarity);
    REQUIRE(reply.hit() == (wanted != nullptr));
    if (reply.hit()) {
      ++hits;
      REQUIRE(reply.response == wanted->response);
      if (random() % 10 == 0) {
        REQUIRE(cache.report(reply.decision.id, Feedback::wrong));
        model.remove(reply.response);
      }
    } else {
      model.add({scope, prompt, fresh, vector});
    }
    REQUIRE(cache.stats().entries == model.size());
  }
  CHECK(hits > 500);
  CHECK(cache.stats().evictions > 500);
  CHECK(cache.stats().failures == 0);
}

TEST_CASE("a mixed load of threads never sees another scope's or another prompt's response") {
  const auto embedder = std::make_shared<test::WordEmbedder>();
  Cache cache({.embedder = embedder,
               .policy = std::make_shared<ThresholdPolicy>(0.999),
               .store = std::make_shared<MemoryStore>(MemoryStoreOptions{.max_entries = 50})});
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
        const auto compute = [&]() -> std::string {
          if (random() % 20 == 0) throw std::runtime_error("llm");
          return answer;
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
        if (random() % 50 == 0) cache.stats();
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
