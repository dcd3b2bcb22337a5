// A cache behind a pool of threads, with all that production wants: a durable store, a bound, a timeout, records of
// decisions, invalidation and metrics.
//
//     example_06_thread_pool models/all-MiniLM-L6-v2 DIRECTORY

#include <atomic>
#include <filesystem>
#include <iostream>
#include <string>
#include <thread>
#include <vector>

#include "promptcache/promptcache.hpp"

namespace pc = promptcache;
using namespace std::chrono_literals;

int main(int argc, char** argv) {
  if (argc != 3) return std::cerr << "usage: " << argv[0] << " MODEL_DIRECTORY DIRECTORY\n", 2;
  std::filesystem::remove_all(argv[2]);
  std::filesystem::create_directories(argv[2]);
  const std::string directory = argv[2];
  const auto policy = std::make_shared<pc::ThresholdPolicy>(0.9);
  const auto store = pc::SqliteStore::open(directory + "/cache.db", {.limits = {.max_entries = 10'000}});
  pc::Cache cache({.embedder = pc::TransformerEmbedder::open(argv[1], {.parallel_callers = 4}),
                   .policy = policy,
                   .store = store,
                   .ttl = 24h,
                   .log = [](pc::LogLevel, std::string_view text) { std::cerr << text << "\n"; },
                   .on_decision = pc::DecisionRecorder(directory + "/decisions.jsonl", *policy)});

  const std::vector<std::string> questions = {"How do I reset my password?",  "how can i reset my password",
                                              "What does the pro plan cost?", "Where is my invoice?",
                                              "what does the pro plan cost?", "Where can I find my invoice?"};
  std::atomic<int> next{0};
  std::atomic<int> computed{0};
  std::vector<std::thread> pool;
  for (int i = 0; i < 4; ++i) {
    pool.emplace_back([&] {
      const pc::ScopeId scope = pc::Scope().tenant("acme").model("llama-3.1-8b");
      for (int request = next++; request < 200; request = next++) {
        const std::string& question = questions[static_cast<std::size_t>(request) % questions.size()];
        cache.get_or_compute({.prompt = question, .scope = scope, .timeout = 2s}, [&] {
          ++computed;
          const bool price = question.find("cost") != std::string::npos;
          return pc::Response{.text = "answer to: " + question, .tags = {price ? "prices" : "help"}};
        });
      }
    });
  }
  for (std::thread& thread : pool) thread.join();

  const pc::CacheStats stats = cache.stats();
  std::cout << stats.lookups << " requests, " << computed << " computed, " << stats.entries << " entries\n";
  std::cout << cache.invalidate({.tag = "prices"}) << " entries invalidated\n";
  const std::string page = to_prometheus(cache.stats());
  std::cout << page.substr(0, page.find("# HELP promptcache_inserts_total"));
}
