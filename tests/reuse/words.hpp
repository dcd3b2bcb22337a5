#pragma once

#include <map>
#include <sstream>

#include "promptcache/reuse/layout.hpp"

namespace test {

/// One token for each word, numbered as they come; special pieces are one token each.
class Words {
 public:
  std::int32_t id(const std::string& word) {
    const auto [place, added] = ids_.try_emplace(word, static_cast<std::int32_t>(words_.size()));
    if (added) words_.push_back(word);
    return place->second;
  }
  const std::string& word(std::int32_t id) const { return words_.at(static_cast<std::size_t>(id)); }

  promptcache::reuse::Tokenize tokenize() {
    return [this](std::span<const promptcache::reuse::Piece> pieces) {
      std::vector<std::int32_t> ids;
      for (const promptcache::reuse::Piece& piece : pieces) {
        if (piece.special) {
          ids.push_back(id(piece.text));
          continue;
        }
        std::istringstream words(piece.text);
        for (std::string word; words >> word;) ids.push_back(id(word));
      }
      return ids;
    };
  }

  /// "0 a, 1 b".
  std::string text(const std::vector<promptcache::reuse::PlacedToken>& tokens) const {
    std::string result;
    for (const auto& [token, position] : tokens) {
      result += (result.empty() ? "" : ", ") + std::to_string(position) + " " + word(token);
    }
    return result;
  }

  std::string text(const std::vector<std::int32_t>& tokens) const {
    std::string result;
    for (const std::int32_t token : tokens) result += (result.empty() ? "" : " ") + word(token);
    return result;
  }

 private:
  std::map<std::string, std::int32_t> ids_;
  std::vector<std::string> words_;
};

}  // namespace test
