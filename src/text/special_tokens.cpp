#include "text/special_tokens.hpp"

#include <algorithm>

namespace promptcache::text {

void SpecialTokens::add(std::string content, std::int32_t id) {
  const bool known =
      std::any_of(tokens_.begin(), tokens_.end(), [&](const Token& token) { return token.content == content; });
  if (content.empty() || known) return;
  if (first_bytes_.find(content[0]) == std::string::npos) first_bytes_ += content[0];
  const auto place = std::find_if(tokens_.begin(), tokens_.end(),
                                  [&](const Token& token) { return token.content.size() < content.size(); });
  tokens_.insert(place, {std::move(content), id});
}

std::vector<SpecialTokens::Segment> SpecialTokens::cut(std::string_view text) const {
  std::vector<Segment> segments;
  std::size_t begin = 0;
  for (std::size_t at = text.find_first_of(first_bytes_); at != std::string_view::npos;
       at = text.find_first_of(first_bytes_, at)) {
    const auto token = std::find_if(tokens_.begin(), tokens_.end(), [&](const Token& candidate) {
      return text.compare(at, candidate.content.size(), candidate.content) == 0;
    });
    if (token == tokens_.end()) {
      ++at;
      continue;
    }
    if (at > begin) segments.push_back({text.substr(begin, at - begin)});
    segments.push_back({text.substr(at, token->content.size()), token->id});
    begin = at += token->content.size();
  }
  if (begin < text.size()) segments.push_back({text.substr(begin)});
  return segments;
}

}  // namespace promptcache::text
