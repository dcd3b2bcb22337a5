#include "promptcache/policy/cache_policy.hpp"

namespace promptcache {

const char* to_string(Reason reason) noexcept {
  switch (reason) {
    case Reason::exact_match: return "exact_match";
    case Reason::similar: return "similar";
    case Reason::not_similar: return "not_similar";
    case Reason::no_candidate: return "no_candidate";
    case Reason::truncated: return "truncated";
    case Reason::unrepresented: return "unrepresented";
    case Reason::embedder_failed: return "embedder_failed";
    case Reason::index_failed: return "index_failed";
    case Reason::policy_failed: return "policy_failed";
    case Reason::store_failed: return "store_failed";
    case Reason::reported_wrong: return "reported_wrong";
    case Reason::timed_out: return "timed_out";
    case Reason::overloaded: return "overloaded";
    case Reason::in_flight: return "in_flight";
    case Reason::audited: return "audited";
    case Reason::vetoed: return "vetoed";
  }
  return "unknown";
}

const char* to_string(Verdict verdict) noexcept {
  switch (verdict) {
    case Verdict::right: return "right";
    case Verdict::wrong: return "wrong";
    case Verdict::missing: return "missing";
    case Verdict::cancelled: return "cancelled";
  }
  return "unknown";
}

}  // namespace promptcache
