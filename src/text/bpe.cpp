#include "text/bpe.hpp"

#include <algorithm>
#include <functional>
#include <queue>
#include <tuple>

#include "text/utf8.hpp"

namespace promptcache::text {
namespace {

bool stands_for_itself(char32_t c) {
  return (c >= '!' && c <= '~') || (c >= 0xA1 && c <= 0xAC) || (c >= 0xAE && c <= 0xFF);
}

/// Bytes that are written as U+0100, U+0101, ..., in this order.
const std::vector<char>& moved_bytes() {
  static const std::vector<char> bytes = [] {
    std::vector<char> moved;
    for (char32_t byte = 0; byte < 256; ++byte) {
      if (!stands_for_itself(byte)) moved.push_back(static_cast<char>(byte));
    }
    return moved;
  }();
  return bytes;
}

}  // namespace

std::optional<std::string> bytes_of_token(std::string_view token) {
  std::string bytes;
  for (const char32_t c : decode_utf8(token)) {
    if (stands_for_itself(c)) {
      bytes += static_cast<char>(c);
    } else if (c >= 0x100 && c - 0x100 < moved_bytes().size()) {
      bytes += moved_bytes()[c - 0x100];
    } else {
      return {};
    }
  }
  return bytes;
}

void Bpe::add_merge(std::int32_t left, std::int32_t right, std::int32_t merged) {
  merges_.try_emplace(key(left, right), Merge{static_cast<std::uint32_t>(merges_.size()), merged});
}

void Bpe::encode(std::string_view word, std::vector<std::int32_t>& ids) const {
  while (!word.empty()) {
    const auto unknown = std::find_if(word.begin(), word.end(), [&](char byte) { return token_of(byte) < 0; });
    const auto known = static_cast<std::size_t>(unknown - word.begin());
    encode_known(word.substr(0, known), ids);
    word.remove_prefix(std::min(known + 1, word.size()));
  }
}

void Bpe::encode_known(std::string_view bytes, std::vector<std::int32_t>& ids) const {
  struct Symbol {
    std::int32_t id;  // -1: merged into the one before it
    std::int32_t previous, next;
  };
  std::vector<Symbol> symbols;
  symbols.reserve(bytes.size());
  for (const char byte : bytes) {
    const auto i = static_cast<std::int32_t>(symbols.size());
    symbols.push_back({token_of(byte), i - 1, i + 1});
  }
  const auto end = static_cast<std::int32_t>(symbols.size());
  const auto at = [&](std::int32_t i) -> Symbol& { return symbols[static_cast<std::size_t>(i)]; };

  struct Candidate {
    std::uint32_t rank;
    std::int32_t left;
    std::int32_t left_id, right_id;  // when it was found; it may be gone by then
    bool operator>(const Candidate& other) const { return std::tie(rank, left) > std::tie(other.rank, other.left); }
  };
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue;
  const auto offer = [&](std::int32_t left) {
    if (left < 0 || at(left).next >= end) return;
    const std::int32_t left_id = at(left).id, right_id = at(at(left).next).id;
    const auto found = merges_.find(key(left_id, right_id));
    if (found != merges_.end()) queue.push({found->second.rank, left, left_id, right_id});
  };
  for (std::int32_t i = 0; i + 1 < end; ++i) offer(i);
  while (!queue.empty()) {
    const Candidate best = queue.top();
    queue.pop();
    Symbol& left = at(best.left);
    if (left.id != best.left_id || left.next >= end || at(left.next).id != best.right_id) continue;
    Symbol& right = at(left.next);
    left.id = merges_.find(key(left.id, right.id))->second.merged;
    right.id = -1;
    left.next = right.next;
    if (left.next < end) at(left.next).previous = best.left;
    offer(left.previous);
    offer(best.left);
  }
  for (std::int32_t i = 0; i < end; i = at(i).next) ids.push_back(at(i).id);
}

}  // namespace promptcache::text
