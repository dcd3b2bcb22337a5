#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "promptcache/base/digest.hpp"
#include "promptcache/index/similarity_index.hpp"

namespace promptcache {

/// One stored response with everything needed to serve it again. Does not change once stored.
struct Entry {
  using Fields = std::map<std::string, std::string>;
  using TimePoint = std::chrono::system_clock::time_point;

  EntryId id = 0;                        ///< given by the store
  Digest key;                            ///< of scope, prompt and embedder; one entry a key
  Digest scope;                          ///< entries of different scopes never meet
  std::shared_ptr<const Fields> fields;  ///< beginnings of the scope's values, for invalidation; may be null
  std::string prompt;                    ///< as it was asked
  std::string response;                  ///< as it was answered
  std::vector<std::uint32_t> chunks;     ///< lengths of the parts the response arrived in; empty: one
  double cost = 0;                       ///< of computing the response, in a unit of the caller's
  std::vector<std::string> tags;
  TimePoint created;
  std::chrono::milliseconds lifetime{0};  ///< given to it when stored, or when served if the cache extends; 0: no end
  TimePoint expires = TimePoint::max();   ///< not served from then on; max(): never expires
  Digest embedder;                        ///< identity of the embedder the vector comes from
  std::vector<float> vector;              ///< L2-normalised; empty: takes part in exact matches only
  std::size_t index_bytes = 0;            ///< what the entry's place in an index takes, for the bounds on memory
};

/// Memory that an entry takes in a store and its index, with their own records of it: within a tenth of what the heap
/// grows by. `keeps_vector`: the store keeps a copy of the vector beside that of the index.
std::size_t accounted_bytes(const Entry& entry, bool keeps_vector);

}  // namespace promptcache
