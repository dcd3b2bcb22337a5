#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "promptcache/base/digest.hpp"
#include "promptcache/index/similarity_index.hpp"  // EntryId

namespace promptcache {

/// One stored response with everything needed to serve it again. Does not change once stored.
struct Entry {
  EntryId id = 0;        ///< given by the store
  Digest key;            ///< of scope and prompt; one entry a key
  Digest scope;          ///< entries of different scopes never meet
  std::string prompt;    ///< as it was asked
  std::string response;  ///< as it was answered
  double cost = 0;       ///< of computing the response, in a unit of the caller's
  std::vector<std::string> tags;
  std::chrono::system_clock::time_point created;
  Digest embedder;            ///< identity of the embedder the vector comes from
  std::vector<float> vector;  ///< L2-normalised; empty: takes part in exact matches only
};

}  // namespace promptcache
