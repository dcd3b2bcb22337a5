#include <algorithm>
#include <utility>

#include "cache/core.hpp"
#include "promptcache/base/error.hpp"

namespace promptcache {

bool cache::EntryFilter::covers(const Entry& entry) const {
  static const Entry::Fields none;
  if (which.entry && *which.entry != entry.id) return false;
  if (scope && *scope != entry.scope) return false;
  if (which.tag && std::find(entry.tags.begin(), entry.tags.end(), *which.tag) == entry.tags.end()) return false;
  if (which.fields && !which.fields->is_prefix_of(entry.fields ? *entry.fields : none)) return false;
  return !which.stored_before || entry.created < *which.stored_before;
}

std::size_t Cache::Core::invalidate(const Invalidation& which, bool dry_run) {
  const bool limited = which.entry || which.scope || which.tag || which.fields || which.stored_before;
  if (!limited && !which.everything) {
    throw Error(ErrorCode::usage, {"Cache::invalidate"}, "no condition", "one, or `everything`");
  }
  cache::EntryFilter filter{which, {}};
  if (which.scope) filter.scope = stored_scope(*which.scope);
  // First the note, then the sweep: an entry stored in between meets one or the other.
  if (!dry_run) invalidations.add(filter);
  std::vector<EntryId> ids;
  options.store->for_each([&](const EntryPointer& entry) {
    if (filter.covers(*entry)) ids.push_back(entry->id);
  });
  if (dry_run) return ids.size();
  const std::vector<EntryPointer> removed = options.store->erase(ids);
  for (const EntryPointer& entry : removed) drop(entry);
  metrics.invalidations += removed.size();
  return removed.size();
}

}  // namespace promptcache
