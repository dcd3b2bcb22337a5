// A server that is told to end in the middle of its work: SIGTERM stops new requests, those under way end, and the
// store is on disk when the process goes. Here the signal comes from a thread of its own.
//
//     example_07_sigterm FILE

#include <atomic>
#include <csignal>
#include <filesystem>
#include <iostream>
#include <string>
#include <thread>
#include <vector>

#include "promptcache/promptcache.hpp"

namespace pc = promptcache;
using namespace std::chrono_literals;

namespace {

volatile std::sig_atomic_t ending = 0;

/// Stands for an encoder, so that the example needs no model.
class LetterEmbedder : public pc::Embedder {
 public:
  std::size_t dimension() const override { return 26; }
  pc::Digest identity() const override { return pc::sha256("letters"); }
  pc::EmbedReport embed(std::span<const std::string_view> texts, std::span<float> out) const override {
    for (std::size_t i = 0; i < texts.size(); ++i) {
      const auto vector = out.subspan(i * 26, 26);
      std::fill(vector.begin(), vector.end(), 0.0F);
      vector[texts[i].size() % 26] = 1;
    }
    return {};
  }
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return std::cerr << "usage: " << argv[0] << " FILE\n", 2;
  for (const char* suffix : {"", "-wal", "-shm", ".lock"}) std::filesystem::remove(argv[1] + std::string(suffix));
  std::signal(SIGTERM, [](int) { ending = 1; });
  std::atomic<int> acknowledged{0};
  {
    pc::Cache cache({.embedder = std::make_shared<LetterEmbedder>(),
                     .policy = std::make_shared<pc::ThresholdPolicy>(1.0),
                     .store = pc::SqliteStore::open(argv[1])});
    std::vector<std::thread> pool;
    for (int worker = 0; worker < 4; ++worker) {
      pool.emplace_back([&, worker] {
        for (int i = 0; ending == 0; ++i) {
          const std::string prompt = std::to_string(worker) + "/" + std::to_string(i);
          pc::Lookup ticket = cache.lookup({.prompt = prompt});
          if (ticket.miss() && cache.insert(std::move(ticket), "answer to " + prompt)) ++acknowledged;
        }
      });
    }
    std::thread killer([] {
      std::this_thread::sleep_for(200ms);
      std::raise(SIGTERM);
    });
    killer.join();
    for (std::thread& thread : pool) thread.join();
  }  // cache and store end here: everything is on disk
  const auto store = pc::SqliteStore::open(argv[1]);
  std::cout << "ended by SIGTERM with some entries acknowledged; all of them there: "
            << (acknowledged > 0 && store->size() == static_cast<std::size_t>(acknowledged) ? "yes" : "no") << "\n";
}
