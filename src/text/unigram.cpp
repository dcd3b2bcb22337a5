#include "text/unigram.hpp"

#include <algorithm>
#include <cstring>
#include <limits>

namespace promptcache::text {
namespace {

constexpr std::string_view space_mark = "\xE2\x96\x81";  // U+2581

std::size_t character_length(unsigned char lead) {
  if (lead < 0x80) return 1;
  return lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
}

}  // namespace

PieceNormalizer::PieceNormalizer(std::string character_map) : map_(std::move(character_map)) {
  std::uint32_t trie_bytes = 0;
  if (map_.size() > sizeof(trie_bytes)) {
    std::memcpy(&trie_bytes, map_.data(), sizeof(trie_bytes));
    units_ = trie_bytes / 4;
  }
}

/// The replacement of the longest known text that `text` begins with, or its first character as it is.
std::string_view PieceNormalizer::next(std::string_view text, std::size_t& consumed) const {
  consumed = std::min(character_length(static_cast<unsigned char>(text[0])), text.size());
  std::string_view result = text.substr(0, consumed);
  if (units_ == 0) return result;
  const char* trie = map_.data() + 4;
  const auto unit_at = [&](std::size_t index) {
    std::uint32_t unit = 0;
    std::memcpy(&unit, trie + 4 * index, sizeof(unit));
    return unit;
  };
  const auto offset_of = [](std::uint32_t unit) -> std::size_t { return (unit >> 10) << ((unit & (1U << 9)) >> 6); };
  const char* replacements = trie + 4 * units_;
  std::size_t node = offset_of(unit_at(0));
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    node ^= byte;
    const std::uint32_t unit = unit_at(node);
    if ((unit & ((1U << 31) | 0xFFU)) != byte) break;
    node ^= offset_of(unit);
    if (((unit >> 8) & 1U) != 0) {
      result = replacements + (unit_at(node) & 0x7FFFFFFFU);  // up to its zero
      consumed = i + 1;
    }
  }
  return result;
}

std::string PieceNormalizer::normalize(std::string_view text) const {
  std::string result;
  bool after_space = true;  // also at the beginning: spaces there go
  std::size_t consumed = 0;
  for (; !text.empty(); text.remove_prefix(consumed)) {
    std::string_view part = next(text, consumed);
    while (after_space && !part.empty() && part.front() == ' ') part.remove_prefix(1);
    if (part.empty()) continue;
    if (result.empty()) result = space_mark;
    for (const char c : part) {
      if (c == ' ') {
        result += space_mark;
      } else {
        result += c;
      }
    }
    after_space = part.back() == ' ';
  }
  while (result.size() >= space_mark.size() && std::string_view(result).ends_with(space_mark)) {
    result.resize(result.size() - space_mark.size());
  }
  return result;
}

UnigramSegmenter::UnigramSegmenter(const std::vector<PieceModel::Piece>& pieces) {
  std::size_t bytes = 0;
  for (const PieceModel::Piece& piece : pieces) bytes += piece.text.size();
  texts_.reserve(bytes);  // views into it must stay
  float least = std::numeric_limits<float>::max();
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    const std::size_t at = texts_.size();
    texts_ += pieces[i].text;
    sorted_.push_back({std::string_view(texts_).substr(at), static_cast<std::int32_t>(i), pieces[i].score});
    least = std::min(least, pieces[i].score);
  }
  std::sort(sorted_.begin(), sorted_.end(), [](const Entry& a, const Entry& b) { return a.text < b.text; });
  for (const Entry& entry : sorted_) ++first_[static_cast<unsigned char>(entry.text[0]) + 1U];
  for (std::size_t byte = 0; byte < 256; ++byte) first_[byte + 1] += first_[byte];
  unknown_score_ = (pieces.empty() ? 0 : least) - 10;
}

std::vector<std::int32_t> UnigramSegmenter::segment(std::string_view text) const {
  struct Node {
    float score = 0;
    std::int64_t begin = -1;  // of the last piece of the best way to here
    std::int32_t place = unknown;
  };
  std::vector<Node> best(text.size() + 1);
  const auto offer = [&](std::size_t begin, std::size_t end, float score, std::int32_t place) {
    const float sum = best[begin].score + score;
    if (best[end].begin >= 0 && !(sum > best[end].score)) return;
    best[end] = {sum, static_cast<std::int64_t>(begin), place};
  };
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t one = std::min(character_length(static_cast<unsigned char>(text[begin])), text.size() - begin);
    // The entries that begin with the bytes seen so far, narrowed byte by byte.
    const auto lead = static_cast<unsigned char>(text[begin]);
    auto low = sorted_.begin() + first_[lead];
    auto high = sorted_.begin() + first_[lead + 1U];
    bool covered = false;
    for (std::size_t length = 1; low != high; ++length) {
      for (; low != high && low->text.size() == length; ++low) {  // shorter texts sort first
        offer(begin, begin + length, low->score, low->place);
        covered = covered || length == one;
      }
      if (begin + length >= text.size()) break;
      const auto byte = static_cast<unsigned char>(text[begin + length]);
      const auto byte_of = [&](const Entry& entry) { return static_cast<unsigned char>(entry.text[length]); };
      low = std::partition_point(low, high, [&](const Entry& entry) { return byte_of(entry) < byte; });
      high = std::partition_point(low, high, [&](const Entry& entry) { return byte_of(entry) == byte; });
    }
    if (!covered) offer(begin, begin + one, unknown_score_, unknown);
    begin += one;
  }
  std::vector<std::int32_t> places;
  for (auto end = static_cast<std::int64_t>(text.size()); end > 0; end = best[static_cast<std::size_t>(end)].begin) {
    const std::int32_t place = best[static_cast<std::size_t>(end)].place;
    if (place != unknown || places.empty() || places.back() != unknown) places.push_back(place);
  }
  std::reverse(places.begin(), places.end());
  return places;
}

}  // namespace promptcache::text
