// The two-step form for event-driven servers: `lookup` never waits for another request, and a ticket that is in flight
// calls back when its answer is there. Here the loop is a queue of functions and the language model a timer.
//
//     example_03_two_step_event_loop models/all-MiniLM-L6-v2

#include <chrono>
#include <condition_variable>
#include <functional>
#include <iostream>
#include <memory>
#include <mutex>
#include <queue>
#include <string>
#include <thread>

#include "promptcache/promptcache.hpp"

namespace pc = promptcache;

/// One thread runs what any thread posts.
class Loop {
 public:
  void post(std::function<void()> work) {
    const std::lock_guard lock(mutex_);
    work_.push(std::move(work));
    posted_.notify_one();
  }
  void run_until(const std::function<bool()>& done) {
    while (!done()) {
      std::unique_lock lock(mutex_);
      posted_.wait(lock, [&] { return !work_.empty(); });
      const std::function<void()> work = std::move(work_.front());
      work_.pop();
      lock.unlock();
      work();
    }
  }

 private:
  std::mutex mutex_;
  std::condition_variable posted_;
  std::queue<std::function<void()>> work_;
};

int main(int argc, char** argv) {
  if (argc != 2) return std::cerr << "usage: " << argv[0] << " MODEL_DIRECTORY\n", 2;
  Loop loop;
  pc::Cache cache(
      {.embedder = pc::TransformerEmbedder::open(argv[1]), .policy = std::make_shared<pc::ThresholdPolicy>(0.85)});
  int answered = 0;
  int computed = 0;
  std::thread model;
  // Decides what to do with a ticket that has settled; runs on the loop, as all of the server's own code.
  const std::function<void(std::shared_ptr<pc::Lookup>)> serve = [&](std::shared_ptr<pc::Lookup> ticket) {
    if (ticket->hit()) {
      std::cout << to_string(ticket->reply().outcome) << ": " << ticket->reply().response << std::endl;
      ++answered;
    } else if (ticket->in_flight()) {
      ticket->on_settled([&, ticket] { loop.post([&, ticket] { serve(ticket); }); });
    } else {  // a miss: this request leads
      ++computed;
      model = std::thread([&, ticket] {
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
        loop.post([&, ticket] {
          cache.insert(std::move(*ticket), "Paris");
          std::cout << "computed: Paris" << std::endl;
          ++answered;
        });
      });
    }
  };
  for (const char* prompt : {"What is the capital of France?", "What is the capital of France?"}) {
    loop.post([&, prompt] { serve(std::make_shared<pc::Lookup>(cache.lookup({prompt}))); });
  }
  loop.run_until([&] { return answered == 2; });
  model.join();
  std::cout << "2 requests, " << computed << " computation" << std::endl;
}
