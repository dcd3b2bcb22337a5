// Times of a cache whose vectors cost nothing: everything but the encoder.
//
//     cache_benchmark [--entries N] [--only reads|inserts|churn|hung] [--directory DIR] [--vectors FILE]
//
// Prompts "v17" have the 17th of N clustered vectors of 384 dimensions, "q17" a vector near it. --vectors writes all of
// them, entries and then 1,000 queries, as f32, for compare/gptcache_peer.py.

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <mutex>
#include <numeric>
#include <thread>
#include <unordered_set>

#include "index/vectors.hpp"
#include "promptcache/promptcache.hpp"
#include "times.hpp"

namespace {

using namespace promptcache;
using bench::Clock;
using bench::microseconds;
using bench::Times;

constexpr std::size_t width = 384;
constexpr std::size_t query_count = 1000;

struct Vectors {
  std::vector<std::vector<float>> entries, queries;

  explicit Vectors(std::size_t count) {
    test::ClusteredVectors source(width, 400, 11);
    for (std::size_t i = 0; i < count; ++i) entries.push_back(source.next());
    for (std::size_t i = 0; i < query_count; ++i) {
      queries.push_back(entries[near(i)]);
      const std::vector<float> offset = test::unit_vector(width, source.random());
      for (std::size_t j = 0; j < width; ++j) queries.back()[j] += 0.1F * offset[j];
      test::normalize(queries.back());
    }
  }

  /// The entry that a query is near.
  std::size_t near(std::size_t query) const { return query * 7919 % entries.size(); }
};

class TableEmbedder : public Embedder {
 public:
  explicit TableEmbedder(const Vectors& vectors) : vectors_(vectors) {}
  std::size_t dimension() const override { return width; }
  Digest identity() const override { return sha256("table"); }
  EmbedReport embed(std::span<const std::string_view> texts, std::span<float> out) const override {
    if (hanging) {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return !hanging; });
    }
    for (std::size_t i = 0; i < texts.size(); ++i) {
      const std::size_t number = std::strtoul(texts[i].data() + 1, nullptr, 10);
      const auto& table = texts[i][0] == 'q' ? vectors_.queries : vectors_.entries;
      std::memcpy(out.data() + i * width, table[number % table.size()].data(), width * sizeof(float));
    }
    return {};
  }
  void release() {
    const std::lock_guard lock(mutex_);
    hanging = false;
    changed_.notify_all();
  }
  std::atomic<bool> hanging{false};

 private:
  const Vectors& vectors_;
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
};

/// Padded to 200 bytes, as a prompt is.
std::string prompt(char kind, std::size_t number) {
  std::string text = kind + std::to_string(number) + " ";
  text.resize(200, 'x');
  return text;
}

const std::string response(500, 'r');

CacheOptions options_for(const std::shared_ptr<TableEmbedder>& embedder, const std::shared_ptr<EntryStore>& store) {
  return {.embedder = embedder, .policy = std::make_shared<ThresholdPolicy>(0.9), .store = store};
}

CacheOptions options_with(CacheOptions options, std::shared_ptr<EntryStore> store) {
  options.store = std::move(store);
  return options;
}

std::size_t resident_bytes() {
  std::ifstream file("/proc/self/statm");
  std::size_t pages = 0;
  file >> pages >> pages;
  return pages * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

void fill(Cache& cache, std::size_t count, const ScopeId& scope) {
  for (std::size_t i = 0; i < count; ++i) {
    cache.get_or_compute({prompt('v', i), scope}, [] { return response; });
  }
}

std::vector<std::size_t> numbers(std::size_t first, std::size_t end) {
  std::vector<std::size_t> result(end - first);
  std::iota(result.begin(), result.end(), first);
  return result;
}

/// Asks for the queries that are near one of the live entries, and compares with a search of all of these.
void print_recall(const char* name, Cache& cache, const ScopeId& scope, const Vectors& vectors,
                  const std::vector<std::size_t>& live) {
  const std::unordered_set<std::size_t> is_live(live.begin(), live.end());
  std::size_t asked = 0;
  std::size_t right = 0;
  for (std::size_t i = 0; i < query_count; ++i) {
    if (!is_live.contains(vectors.near(i))) continue;
    const Lookup lookup = cache.lookup({prompt('q', i), scope});
    double best = -1;
    for (const std::size_t each : live) {
      double dot = 0;
      for (std::size_t j = 0; j < width; ++j) {
        dot += static_cast<double>(vectors.entries[each][j]) * static_cast<double>(vectors.queries[i][j]);
      }
      best = std::max(best, dot);
    }
    ++asked;
    if (lookup.decision().similarity >= best - 1e-5) ++right;
  }
  std::printf("  %s: %.4f (%zu queries)\n", name, static_cast<double>(right) / static_cast<double>(asked), asked);
}

void measure_reads(const std::shared_ptr<TableEmbedder>& embedder, const Vectors& vectors) {
  const std::size_t count = vectors.entries.size();
  const std::size_t before = resident_bytes();
  // Strict: each of the vectors is stored, but for those that appear twice.
  CacheOptions options = options_for(embedder, nullptr);
  options.policy = std::make_shared<ThresholdPolicy>(0.9999999);
  Cache cache(options);
  const ScopeId scope = Scope().tenant("acme").model("llama-3.1-8b").system(std::string(500, 's'));
  fill(cache, count, scope);
  const CacheStats stats = cache.stats();
  const double entries = static_cast<double>(stats.entries);
  std::printf("%zu entries of %zu dimensions, prompts of 200 bytes, responses of 500\n", stats.entries, width);
  std::printf("  memory an entry: %.0f bytes resident, %.0f accounted, %zu of them the vector\n",
              static_cast<double>(resident_bytes() - before) / entries, static_cast<double>(stats.bytes) / entries,
              width * sizeof(float));

  Times digest, exact, semantic;
  for (std::size_t i = 0; i < 20'000; ++i) {
    digest.add([&] { return ScopeId(Scope().tenant("acme").model("llama-3.1-8b").system(std::string(500, 's'))); });
  }
  std::vector<std::size_t> stored;  // those that no equal vector was stored for before
  for (std::size_t i = 0; i < count; ++i) {
    const Lookup lookup = cache.lookup({prompt('v', i), scope});
    if (lookup.hit() && lookup.reply().outcome == Outcome::exact_hit) stored.push_back(i);
  }
  for (std::size_t i = 0; i < 100'000; ++i) {
    const Request request{prompt('v', stored[i * 7919 % stored.size()]), scope};
    exact.add([&] { return cache.lookup(request); });
  }
  for (std::size_t i = 0; i < 5000; ++i) {
    const Request request{prompt('q', i), scope};
    semantic.add([&] { return cache.lookup(request); });
  }
  digest.print("digest of a scope with a system prompt of 500");
  exact.print("exact hit");
  semantic.print("lookup by meaning, embedding excluded");
  print_recall("recall@1 of lookups by meaning", cache, scope, vectors, numbers(0, count));

  for (const char kind : {'v', 'q'}) {
    double single = 0;
    for (const std::size_t threads : {1, 2}) {
      std::atomic<std::size_t> done{0};
      std::atomic<bool> stop{false};
      std::vector<std::thread> askers;
      for (std::size_t t = 0; t < threads; ++t) {
        askers.emplace_back([&, t] {
          for (std::size_t i = t; !stop; i += threads) {
            cache.lookup({prompt(kind, kind == 'v' ? stored[i * 7919 % stored.size()] : i % query_count), scope});
            ++done;
          }
        });
      }
      std::this_thread::sleep_for(std::chrono::seconds(2));
      stop = true;
      for (std::thread& asker : askers) asker.join();
      const double rate = static_cast<double>(done) / 2;
      if (threads == 1) single = rate;
      std::printf("  %s on %zu threads: %.0f a second (%.2f times one)\n",
                  kind == 'v' ? "exact hits" : "lookups by meaning", threads, rate, rate / single);
    }
  }
}

void measure_inserts(const std::shared_ptr<TableEmbedder>& embedder, const Vectors& vectors,
                     const std::string& directory) {
  const std::size_t count = vectors.entries.size();
  const struct {
    const char* name;
    std::optional<SyncMode> sync;
    std::size_t entries;  // at the bound, but for the one that is slow to fill
    std::size_t inserts;
  } kinds[] = {{"insert when full, in memory", {}, count, 2000},
               {"insert when full, SQLite, no sync", SyncMode::none, count, 2000},
               {"insert when full, SQLite, grouped", SyncMode::grouped, count, 2000},
               {"insert, SQLite, sync each", SyncMode::each, 500, 500}};
  for (const auto& kind : kinds) {
    const StoreLimits limits{.max_entries = count};
    const std::string path = directory + "/store.db";
    for (const char* suffix : {"", "-wal", "-shm", ".lock"}) std::filesystem::remove(path + suffix);
    std::shared_ptr<EntryStore> store = std::make_shared<MemoryStore>(MemoryStoreOptions{.limits = limits});
    if (kind.sync) store = SqliteStore::open(path, {.limits = limits, .sync = *kind.sync});
    CacheOptions options = options_for(embedder, store);
    options.policy = std::make_shared<ThresholdPolicy>(1.0);  // nothing is similar enough: all are stored
    options.store = nullptr;
    {
      Cache cache(options_with(options, std::exchange(store, nullptr)));
      fill(cache, kind.entries, {});
      Times times;
      for (std::size_t i = 0; i < kind.inserts; ++i) {
        Lookup ticket = cache.lookup({.prompt = prompt('v', count + i)});
        times.add([&] { cache.insert(std::move(ticket), response); });
      }
      times.print(kind.name);
    }
    if (kind.sync != SyncMode::grouped) continue;
    const auto begin = Clock::now();
    const auto opened = SqliteStore::open(path, {.limits = limits});
    const double read = microseconds(Clock::now() - begin) / 1e6;
    const Cache again(options_with(options, opened));
    std::printf("  opening %zu entries: %.2f s, with their indexes %.2f s\n", opened->size(), read,
                microseconds(Clock::now() - begin) / 1e6);
  }
  Times plain;
  const int file = ::open((directory + "/plain").c_str(), O_CREAT | O_WRONLY | O_APPEND, 0600);
  const std::string block(4096, 'x');
  for (int i = 0; i < 300; ++i) {
    plain.add([&] {
      if (::write(file, block.data(), block.size()) < 0 || ::fdatasync(file) != 0) std::perror("fdatasync");
    });
  }
  ::close(file);
  plain.print("the disk's own: append 4 KiB and fdatasync");
}

/// Half of the vectors fill a cache, the other half drives them out. One thousandth of the entries is a tenant's of its
/// own.
void measure_churn(const std::shared_ptr<TableEmbedder>& embedder, const Vectors& vectors) {
  const std::size_t half = vectors.entries.size() / 2;
  const std::size_t small = std::max<std::size_t>(half / 1000, 1);
  CacheOptions options =
      options_for(embedder, std::make_shared<MemoryStore>(MemoryStoreOptions{.limits = {.max_entries = half + small}}));
  options.policy = std::make_shared<ThresholdPolicy>(1.0);
  Cache cache(options);
  const ScopeId large = Scope().tenant("large");
  const ScopeId tenant = Scope().tenant("small");
  for (std::size_t i = 0; i < 2 * half; ++i) {
    cache.get_or_compute({prompt('v', i), large}, [] { return response; });
    if (i + 1 == half) print_recall("recall@1 before", cache, large, vectors, numbers(0, half));
  }
  std::vector<std::size_t> of_tenant;
  for (std::size_t i = 0; i < small; ++i) of_tenant.push_back(vectors.near(i));
  for (const std::size_t i : of_tenant) cache.get_or_compute({prompt('v', i), tenant}, [] { return response; });
  const CacheStats stats = cache.stats();
  std::printf("%zu entries, exchanged once\n", stats.entries);
  print_recall("recall@1 after all entries were exchanged", cache, large, vectors, numbers(half, 2 * half));
  print_recall("recall@1 of a tenant with a thousandth of them", cache, tenant, vectors, of_tenant);
}

void measure_hung_embedder(const std::shared_ptr<TableEmbedder>& embedder) {
  Cache cache(options_for(embedder, nullptr));
  Times times, refused;
  for (std::size_t i = 0; i < 200; ++i) {
    embedder->hanging = true;
    times.add([&] {
      return cache.lookup({.prompt = prompt('v', i), .scope = {}, .timeout = std::chrono::milliseconds(50)});
    });
    if (cache.stats().stuck == 8) {
      refused.add([&] {
        return cache.lookup({.prompt = prompt('v', i + 1000), .scope = {}, .timeout = std::chrono::milliseconds(50)});
      });
      embedder->release();
      while (cache.stats().stuck > 0) std::this_thread::yield();
    }
  }
  embedder->release();
  times.print("lookup with 50 ms while the embedder hangs");
  refused.print("the same when eight hang already");
}

}  // namespace

int main(int argc, char** argv) {
  std::size_t entries = 50'000;
  std::string directory = "/tmp";
  std::string dump;
  std::string only;
  for (int i = 1; i + 1 < argc; i += 2) {
    if (std::strcmp(argv[i], "--entries") == 0) entries = std::strtoul(argv[i + 1], nullptr, 10);
    if (std::strcmp(argv[i], "--directory") == 0) directory = argv[i + 1];
    if (std::strcmp(argv[i], "--vectors") == 0) dump = argv[i + 1];
    if (std::strcmp(argv[i], "--only") == 0) only = argv[i + 1];
  }
  const Vectors vectors(entries);
  if (!dump.empty()) {
    std::ofstream file(dump, std::ios::binary);
    for (const auto* part : {&vectors.entries, &vectors.queries}) {
      for (const auto& vector : *part) {
        file.write(reinterpret_cast<const char*>(vector.data()), static_cast<std::streamsize>(width * sizeof(float)));
      }
    }
  }
  const auto embedder = std::make_shared<TableEmbedder>(vectors);
  const std::string folder = directory + "/promptcache-benchmark-" + std::to_string(::getpid());
  std::filesystem::create_directories(folder);
  if (only.empty() || only == "reads") measure_reads(embedder, vectors);
  if (only.empty() || only == "inserts") measure_inserts(embedder, vectors, folder);
  if (only.empty() || only == "churn") measure_churn(embedder, vectors);
  if (only.empty() || only == "hung") measure_hung_embedder(embedder);
  std::filesystem::remove_all(folder);
  return 0;
}
