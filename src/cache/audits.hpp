#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "promptcache/policy/judge.hpp"
#include "promptcache/store/entry_store.hpp"

namespace promptcache::cache {

/// An audit under way: a stored response that waits for the one which is computed now. Tells the policy one verdict,
/// whatever happens: cancelled when no response comes, missing when one comes and nobody judges it.
class Audit {
 public:
  Audit(std::shared_ptr<CachePolicy> policy, std::uint64_t name, EntryStore::EntryPointer entry, std::string prompt);
  Audit(const Audit&) = delete;
  Audit& operator=(const Audit&) = delete;
  ~Audit() { tell(computed_ ? Verdict::missing : Verdict::cancelled); }

  void computed(std::string response);  ///< what the prompt's own response is
  void judge(const Judge& judge) { tell(ask(judge, prompt_, entry_->response, response_)); }

 private:
  void tell(Verdict verdict) noexcept;

  std::shared_ptr<CachePolicy> policy_;
  std::uint64_t name_;
  EntryStore::EntryPointer entry_;
  std::string prompt_, response_;
  bool computed_ = false;
  bool told_ = false;
};

/// Asks the judge on a thread of its own, one audit after the other, so that no request waits for a verdict. What it
/// cannot keep up with is dropped, and counts as missing.
class AuditQueue {
 public:
  explicit AuditQueue(std::shared_ptr<const Judge> judge);
  ~AuditQueue();  ///< does not wait

  void add(std::unique_ptr<Audit> audit);
  void wait() const;  ///< until every audit has its verdict

  /// Drops what waits; waits for the judge, for so long at most. A judge that hangs is left to itself.
  void close(std::chrono::milliseconds wait);

  static constexpr std::size_t most = 1000;  ///< audits that may wait

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace promptcache::cache
