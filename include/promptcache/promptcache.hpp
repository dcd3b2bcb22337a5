#pragma once

// The serving side in one include: an embedder, a policy, a store, and the cache over them.
#include "promptcache/base/error.hpp"
#include "promptcache/cache/cache.hpp"
#include "promptcache/cache/chat_request.hpp"
#include "promptcache/embed/bulk.hpp"
#include "promptcache/embed/pair_scorer.hpp"
#include "promptcache/embed/transformer_embedder.hpp"
#include "promptcache/embed/transformer_pair_scorer.hpp"
#include "promptcache/index/flat_index.hpp"
#include "promptcache/index/hnsw_index.hpp"
#include "promptcache/policy/calibrated_policy.hpp"
#include "promptcache/policy/threshold_policy.hpp"
#include "promptcache/store/json_lines.hpp"
#include "promptcache/store/memory_store.hpp"
#include "promptcache/store/sqlite_store.hpp"
#include "promptcache/version.hpp"
