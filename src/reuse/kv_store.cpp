#include "promptcache/reuse/kv_store.hpp"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>

#include "promptcache/base/error.hpp"

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
  std::shared_ptr<const KvBlock> block;
  std::vector<Digest> children;
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
  using Nodes = std::unordered_map<Digest, Node>;

  Impl(const KvShape& of_shape, const KvStoreOptions& of_options) : shape(of_shape), options(of_options) {}

  void touch(const Digest& key, Node& node) {
    if (node.children.empty()) leaves.erase({node.priority, key});
    node.priority = age + node.cost_per_byte;
    if (node.children.empty()) leaves.insert({node.priority, key});
  }

  /// The blocks behind which nothing stands leave in the order of their priority until `bytes` fit.
  bool make_room(std::size_t bytes) {
    if (bytes > options.memory_bytes) return false;
    auto at = leaves.begin();
    while (stats.bytes + bytes > options.memory_bytes) {
      while (at != leaves.end() && !evictable(nodes.at(at->second))) ++at;
      if (at == leaves.end()) return false;
      age = std::max(age, at->first);
      const Digest gone = at->second;
      erase(gone);
      ++stats.evictions;
      at = leaves.begin();  // its parent may be one now
    }
    return true;
  }

  /// A block that somebody holds would not give its memory back.
  static bool evictable(const Node& node) { return node.pins == 0 && node.block.use_count() == 1; }

  void erase(const Digest& key) {
    const auto found = nodes.find(key);
    const Node& node = found->second;
    leaves.erase({node.priority, key});
    stats.bytes -= node.block->bytes();
    const Digest parent = node.parent;
    nodes.erase(found);
    if (const auto above = nodes.find(parent); above != nodes.end()) {
      std::erase(above->second.children, key);
      if (above->second.children.empty()) leaves.insert({above->second.priority, parent});
    } else if (const auto first = firsts.find(parent); first != firsts.end()) {
      std::erase(first->second, key);
      if (first->second.empty()) firsts.erase(first);
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

  KvShape shape;
  KvStoreOptions options;
  mutable std::mutex mutex;
  Nodes nodes;
  std::unordered_map<Digest, std::vector<Digest>> firsts;  ///< blocks behind a root, or behind one that was never kept
  std::set<std::pair<double, Digest>> leaves;
  double age = 0;  ///< priority of the last one that left
  KvStoreStats stats;
  std::shared_ptr<std::atomic<std::size_t>> in_use = std::make_shared<std::atomic<std::size_t>>(0);
};

KvStore::KvStore(const KvShape& shape, const KvStoreOptions& options) : impl_(std::make_unique<Impl>(shape, options)) {}
KvStore::~KvStore() = default;

const KvShape& KvStore::shape() const { return impl_->shape; }

Digest KvStore::root(const Digest& decoder, std::optional<std::size_t> position) {
  Sha256 hash;
  hash.field("decoder", decoder.view());
  if (position) hash.field("position", bytes_of(*position));
  return hash.finish();
}

std::optional<KvStore::Found> KvStore::find(const KvLink& link) {
  const std::lock_guard lock(impl_->mutex);
  const std::vector<Digest>* children = impl_->children_of(link.parent);
  if (children == nullptr) return std::nullopt;
  std::optional<Found> best;
  for (const Digest& key : *children) {
    const Node& node = impl_->nodes.at(key);
    if (node.gap != link.gap) continue;
    const auto differs = std::ranges::mismatch(node.tokens, link.tokens);
    const auto rows = static_cast<std::size_t>(differs.in1 - node.tokens.begin());
    if (rows > (best ? best->rows : 0)) best = Found{key, node.block, rows};
  }
  if (best) {
    impl_->touch(best->key, impl_->nodes.at(best->key));
    impl_->stats.tokens_found += best->rows;
  }
  return best;
}

std::shared_ptr<const KvBlock> KvStore::put(const KvLink& link, std::shared_ptr<const KvBlock> block, double cost) {
  if (block->shape() != impl_->shape) {
    throw Error(ErrorCode::mismatch, {"KvStore"}, "a block of another shape", "one of the store's shape");
  }
  if (block->size() != link.tokens.size()) {
    throw Error(ErrorCode::usage, {"KvStore"}, std::to_string(block->size()) + " rows",
                "one for each of " + std::to_string(link.tokens.size()) + " tokens");
  }
  const Digest key = link.key();
  const std::lock_guard lock(impl_->mutex);
  if (const auto there = impl_->nodes.find(key); there != impl_->nodes.end()) {
    impl_->touch(key, there->second);
    return there->second.block;
  }
  const std::size_t bytes = block->bytes();
  *impl_->in_use += bytes;
  std::shared_ptr<const KvBlock> counted(block.get(), [block, bytes, in_use = impl_->in_use](const KvBlock*) mutable {
    block.reset();
    *in_use -= bytes;
  });
  // The parent must not leave while room is made for what stands behind it.
  const bool kept_parent = impl_->pin(link.parent, true);
  const bool room = impl_->make_room(bytes);
  if (kept_parent) impl_->pin(link.parent, false);
  if (!room) {
    ++impl_->stats.refusals;
    return counted;
  }
  Node node{link.parent, link.gap, {link.tokens.begin(), link.tokens.end()}, counted,
            {},          0,        cost / static_cast<double>(bytes),        0};
  node.priority = impl_->age + node.cost_per_byte;
  if (const auto above = impl_->nodes.find(link.parent); above != impl_->nodes.end()) {
    if (above->second.children.empty()) impl_->leaves.erase({above->second.priority, link.parent});
    above->second.children.push_back(key);
  } else {
    impl_->firsts[link.parent].push_back(key);
  }
  // Blocks that came while this one was not there.
  if (auto orphans = impl_->firsts.extract(key)) node.children = std::move(orphans.mapped());
  for (const Digest& child : node.children) node.pins += impl_->nodes.at(child).pins;
  if (node.children.empty()) impl_->leaves.insert({node.priority, key});
  impl_->stats.bytes += bytes;
  impl_->nodes.emplace(key, std::move(node));
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
  for (bool found = true; found;) {
    found = false;
    for (auto leaf = impl_->leaves.begin(); leaf != impl_->leaves.end(); ++leaf) {
      if (impl_->nodes.at(leaf->second).pins > 0) continue;
      const Digest gone = leaf->second;
      impl_->erase(gone);
      found = true;
      break;
    }
  }
}

KvStoreStats KvStore::stats() const {
  const std::lock_guard lock(impl_->mutex);
  KvStoreStats stats = impl_->stats;
  stats.blocks = impl_->nodes.size();
  stats.bytes_in_use = *impl_->in_use;
  return stats;
}

}  // namespace promptcache::reuse
