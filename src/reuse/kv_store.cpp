#include "promptcache/reuse/kv_store.hpp"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>

#include "promptcache/base/error.hpp"
#include "reuse/kv_file.hpp"

namespace promptcache::reuse {
namespace {

/// Number as 8 little-endian bytes.
std::string bytes_of(std::uint64_t number) {
  std::string bytes(8, '\0');
  for (char& byte : bytes) {
    byte = static_cast<char>(number & 0xFF);
    number >>= 8;
  }
  return bytes;
}

struct Node {
  Digest parent;
  std::size_t gap = 0;
  std::vector<std::int32_t> tokens;
  std::shared_ptr<const KvBlock> block = {};  ///< in memory
  std::optional<std::size_t> unit = {};       ///< in the file
  std::weak_ptr<const KvBlock> mapped = {};   ///< the one in the file, while somebody uses it
  bool checked = false;                       ///< the one in the file, since it was opened or written
  std::vector<Digest> children = {};
  std::size_t pins = 0;  ///< of the block and of those behind it
  double cost_per_byte = 0;
  double priority = 0;
};

}  // namespace

Digest KvLink::key() const {
  return Sha256()
      .field("parent", parent.view())
      .field("gap", bytes_of(gap))
      .field("tokens", {reinterpret_cast<const char*>(tokens.data()), tokens.size_bytes()})
      .finish();
}

struct KvStore::Impl {
  using Queue = std::set<std::pair<double, Digest>>;  ///< blocks by priority, the first to leave in front

  Impl(const KvShape& of_shape, const KvStoreOptions& of_options) : shape(of_shape), options(of_options) {
    if (options.file.empty()) return;
    file = std::make_unique<KvFile>(options.file, options.file_bytes, shape, options.decoder,
                                    options.file_read_only ? KvFile::Access::read : KvFile::Access::write);
    for (const auto& [unit, record] : file->found()) {
      Node node{record.parent, record.gap, record.tokens};
      node.unit = unit;
      node.cost_per_byte = record.cost / static_cast<double>(bytes_in_file(node));
      add(record.key, std::move(node));
    }
  }

  std::size_t bytes_in_file(const Node& node) const { return KvBlock::bytes_for(shape, node.tokens.size()); }

  void enqueue(const Digest& key, const Node& node) {
    if (node.block != nullptr) resident.insert({node.priority, key});
    if (node.unit) filed.insert({node.priority, key});
  }
  void dequeue(const Digest& key, const Node& node) {
    resident.erase({node.priority, key});
    filed.erase({node.priority, key});
  }
  void touch(const Digest& key, Node& node) {
    dequeue(key, node);
    node.priority = age + node.cost_per_byte;
    enqueue(key, node);
  }

  void add(const Digest& key, Node node) {
    node.priority = age + node.cost_per_byte;
    if (const auto above = nodes.find(node.parent); above != nodes.end()) {
      above->second.children.push_back(key);
    } else {
      firsts[node.parent].push_back(key);
    }
    // Blocks that came while this one was not there.
    if (auto orphans = firsts.extract(key)) node.children = std::move(orphans.mapped());
    for (const Digest& child : node.children) node.pins += nodes.at(child).pins;
    if (node.block != nullptr) stats.bytes += node.block->bytes();
    if (node.unit) stats.file_bytes += bytes_in_file(node);
    enqueue(key, node);
    nodes.emplace(key, std::move(node));
  }

  /// Takes a block out of memory; out of everything, when it is not in the file.
  void leave_memory(const Digest& key, Node& node) {
    resident.erase({node.priority, key});
    stats.bytes -= node.block->bytes();
    node.block.reset();
    if (!node.unit) erase(key);
  }

  void leave_file(const Digest& key, Node& node) {
    filed.erase({node.priority, key});
    stats.file_bytes -= bytes_in_file(node);
    file->erase(*node.unit, node.tokens.size());
    node.unit.reset();
    if (node.block == nullptr) erase(key);
  }

  /// Forgets a block that is nowhere any more. Those behind it stay, for the case that it comes again.
  void erase(const Digest& key) {
    const auto found = nodes.find(key);
    Node node = std::move(found->second);
    nodes.erase(found);
    if (!node.children.empty()) firsts[key] = std::move(node.children);
    if (const auto above = nodes.find(node.parent); above != nodes.end()) {
      std::erase(above->second.children, key);
    } else if (const auto first = firsts.find(node.parent); first != firsts.end()) {
      std::erase(first->second, key);
      if (first->second.empty()) firsts.erase(first);
    }
  }

  /// A block that somebody holds would not give its memory back; one with others behind it is needed to find them.
  static bool may_leave_memory(const Node& node) {
    return node.pins == 0 && node.block.use_count() == 1 && (node.unit || node.children.empty());
  }
  static bool may_leave_file(const Node& node) {
    return node.pins == 0 && node.mapped.expired() && (node.block != nullptr || node.children.empty());
  }

  /// Lets go of the first block in the queue that may leave; false: none may.
  bool evict(const Queue& queue, bool (*may_leave)(const Node&), void (Impl::*leave)(const Digest&, Node&)) {
    const auto found =
        std::ranges::find_if(queue, [&](const auto& entry) { return may_leave(nodes.at(entry.second)); });
    if (found == queue.end()) return false;
    age = std::max(age, found->first);
    const Digest key = found->second;
    (this->*leave)(key, nodes.at(key));
    return true;
  }

  bool make_room(std::size_t bytes) {
    if (bytes > options.memory_bytes) return false;
    while (stats.bytes + bytes > options.memory_bytes) {
      if (!evict(resident, may_leave_memory, &Impl::leave_memory)) return false;
      ++stats.evictions;
    }
    return true;
  }

  /// Where a block is in the file now; nothing when there is no room, or no file that can be written.
  std::optional<std::size_t> write(const KvRecord& record, const KvBlock& block) {
    if (file == nullptr || !file->writes() || file_failed) return std::nullopt;
    try {
      for (;;) {
        if (const auto unit = file->write(record, block)) return unit;
        if (!evict(filed, may_leave_file, &Impl::leave_file)) return std::nullopt;
        ++stats.file_evictions;
      }
    } catch (const Error& error) {
      file_failed = true;  // what was written before is still good
      if (options.log) options.log(LogLevel::error, error.what());
      return std::nullopt;
    }
  }

  const std::vector<Digest>* children_of(const Digest& parent) const {
    if (const auto above = nodes.find(parent); above != nodes.end()) return &above->second.children;
    const auto first = firsts.find(parent);
    return first == firsts.end() ? nullptr : &first->second;
  }

  /// Changes the pins of a block and of all in front of it.
  bool pin(const Digest& key, bool up) {
    auto found = nodes.find(key);
    if (found == nodes.end() || (!up && found->second.pins == 0)) return false;
    for (; found != nodes.end(); found = nodes.find(found->second.parent)) {
      found->second.pins = up ? found->second.pins + 1 : found->second.pins - 1;
    }
    return true;
  }

  /// The block, counted as in use until nobody holds it any more.
  std::shared_ptr<const KvBlock> counted(std::shared_ptr<const KvBlock> block) {
    const std::size_t bytes = block->bytes();
    *in_use += bytes;
    const KvBlock* const at = block.get();
    return {at, [block = std::move(block), bytes, in_use = in_use](const KvBlock*) mutable {
              block.reset();
              *in_use -= bytes;
            }};
  }

  /// The block of a node, from wherever it is; null when the file's is damaged, and the node is then gone.
  std::shared_ptr<const KvBlock> block_of(const Digest& key, Node& node) {
    if (node.block != nullptr) return node.block;
    std::shared_ptr<const KvBlock> mapped = node.mapped.lock();
    if (mapped == nullptr) {
      mapped = file->map(*node.unit, key, node.tokens.size(), !node.checked);
      if (mapped != nullptr && !file->writes()) {
        mapped = counted(std::move(mapped));  // a copy, which is not to be made again
        if (make_room(mapped->bytes())) {
          dequeue(key, node);
          node.block = mapped;
          stats.bytes += mapped->bytes();
          enqueue(key, node);
        }
      }
      node.mapped = mapped;
      node.checked = true;
    }
    if (mapped == nullptr && !file->writes()) {  // the writer has put another block there
      ++stats.file_evictions;
      leave_file(key, node);
    } else if (mapped == nullptr) {
      ++stats.damaged;
      if (options.log) {
        options.log(LogLevel::warning, options.file + ": found damaged states of a block, which is computed again");
      }
      leave_file(key, node);
    }
    return mapped;
  }

  KvShape shape;
  KvStoreOptions options;
  mutable std::mutex mutex;
  std::unordered_map<Digest, Node> nodes;
  std::unordered_map<Digest, std::vector<Digest>> firsts;  ///< blocks behind a root, or behind one that is not there
  Queue resident, filed;
  double age = 0;  ///< priority of the last one that left
  KvStoreStats stats;
  std::shared_ptr<std::atomic<std::size_t>> in_use = std::make_shared<std::atomic<std::size_t>>(0);
  std::unique_ptr<KvFile> file;
  bool file_failed = false;
};

KvStore::KvStore(const KvShape& shape, const KvStoreOptions& options) : impl_(std::make_unique<Impl>(shape, options)) {}
KvStore::~KvStore() = default;

const KvShape& KvStore::shape() const { return impl_->shape; }

Digest KvStore::root(const Digest& decoder, std::optional<std::size_t> position, std::string_view scope) {
  Sha256 hash;
  hash.field("decoder", decoder.view());
  if (!scope.empty()) hash.field("scope", scope);
  if (position) hash.field("position", bytes_of(*position));
  return hash.finish();
}

std::optional<KvStore::Found> KvStore::find(const KvLink& link) {
  const std::lock_guard lock(impl_->mutex);
  for (;;) {
    const std::vector<Digest>* children = impl_->children_of(link.parent);
    if (children == nullptr) return std::nullopt;
    Found best;
    for (const Digest& key : *children) {
      const Node& node = impl_->nodes.at(key);
      if (node.gap != link.gap) continue;
      const auto differs = std::ranges::mismatch(node.tokens, link.tokens);
      const auto rows = static_cast<std::size_t>(differs.in1 - node.tokens.begin());
      if (rows > best.rows) best = {key, nullptr, rows};
    }
    if (best.rows == 0) return std::nullopt;
    Node& node = impl_->nodes.at(best.key);
    best.block = impl_->block_of(best.key, node);
    if (best.block == nullptr) continue;  // damaged, and gone: perhaps there is another
    impl_->touch(best.key, node);
    impl_->stats.tokens_found += best.rows;
    if (node.block == nullptr && impl_->file->writes()) impl_->stats.tokens_mapped += best.rows;
    return best;
  }
}

std::shared_ptr<const KvBlock> KvStore::put(const KvLink& link, std::shared_ptr<const KvBlock> block, double cost) {
  if (block->shape() != impl_->shape) {
    throw Error(ErrorCode::mismatch, {"KvStore"}, "a block of another shape", "one of the store's shape");
  }
  if (block->size() != link.tokens.size() || link.tokens.empty()) {
    throw Error(ErrorCode::usage, {"KvStore"}, std::to_string(block->size()) + " rows",
                "one for each of " + std::to_string(link.tokens.size()) + " tokens, and one at least");
  }
  const Digest key = link.key();
  const std::lock_guard lock(impl_->mutex);
  if (const auto there = impl_->nodes.find(key); there != impl_->nodes.end()) {
    if (auto old = impl_->block_of(key, there->second)) {
      impl_->touch(key, there->second);
      return old;
    }
  }
  const std::size_t bytes = block->bytes();
  const std::shared_ptr<const KvBlock> counted = impl_->counted(block);
  Node node{link.parent, link.gap, {link.tokens.begin(), link.tokens.end()}};
  node.cost_per_byte = cost / static_cast<double>(bytes);
  // The parent must not leave while room is made for what stands behind it.
  const bool kept_parent = impl_->pin(link.parent, true);
  if (impl_->make_room(bytes)) {
    node.block = counted;
  } else {
    ++impl_->stats.refusals;
  }
  node.unit = impl_->write({key, link.parent, link.gap, cost, node.tokens}, *block);
  node.checked = true;
  if (kept_parent) impl_->pin(link.parent, false);
  if (node.block != nullptr || node.unit) impl_->add(key, std::move(node));
  return counted;
}

bool KvStore::pin(const Digest& key) {
  const std::lock_guard lock(impl_->mutex);
  return impl_->pin(key, true);
}

bool KvStore::unpin(const Digest& key) {
  const std::lock_guard lock(impl_->mutex);
  return impl_->pin(key, false);
}

void KvStore::clear() {
  const std::lock_guard lock(impl_->mutex);
  // From the ends of chains to their beginnings; a block that is in use goes on for those who use it.
  const auto may_go = [](const Node& node) { return node.pins == 0 && node.children.empty(); };
  for (bool found = true; found;) {
    found = false;
    for (auto at = impl_->nodes.begin(); at != impl_->nodes.end(); ++at) {
      auto& [key, node] = *at;
      if (!may_go(node) || (node.unit && !node.mapped.expired())) continue;
      found = true;
      const Digest gone = key;
      if (node.unit) impl_->leave_file(gone, node);
      if (const auto left = impl_->nodes.find(gone); left != impl_->nodes.end())
        impl_->leave_memory(gone, left->second);
      break;
    }
  }
}

void KvStore::sync() {
  const std::lock_guard lock(impl_->mutex);
  if (impl_->file != nullptr) impl_->file->sync();
}

KvStoreStats KvStore::stats() const {
  const std::lock_guard lock(impl_->mutex);
  KvStoreStats stats = impl_->stats;
  stats.blocks = impl_->nodes.size();
  stats.bytes_in_use = *impl_->in_use;
  return stats;
}

}  // namespace promptcache::reuse
