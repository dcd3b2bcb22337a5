set(promptcache_sources
  audits.cpp cache.cpp candidates.cpp chat_request.cpp core.cpp decision_record.cpp decision_token.cpp insertion.cpp
  invalidation.cpp lookup.cpp metrics.cpp scope.cpp single_flight.cpp stored_entries.cpp stream.cpp worker_pool.cpp)
