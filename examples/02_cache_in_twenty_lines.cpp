// Answers questions from a cache, and computes what the cache does not know.
//
//     example_02_cache_in_twenty_lines models/all-MiniLM-L6-v2

#include <iostream>
#include <memory>
#include <string>

#include "promptcache/promptcache.hpp"

namespace pc = promptcache;

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: " << argv[0] << " MODEL_DIRECTORY\n";
    return 2;
  }
  try {
    pc::Cache cache(
        {.embedder = pc::TransformerEmbedder::open(argv[1]), .policy = std::make_shared<pc::ThresholdPolicy>(0.85)});
    const pc::ScopeId scope = pc::Scope().tenant("acme").model("llama-3.1-8b");
    for (const std::string question : {"How do I reset my password?", "how can i reset my password",
                                       "How do I reset my password?", "How do I delete my account?"}) {
      const pc::Reply reply = cache.get_or_compute({question, scope}, [&] {
        return "the language model's answer to: " + question;  // the slow and expensive part
      });
      std::cout << question << "\n  " << to_string(reply.outcome) << " (" << to_string(reply.decision.reason)
                << ", similarity " << reply.decision.similarity << "): " << reply.response << "\n";
    }
  } catch (const pc::Error& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
}
