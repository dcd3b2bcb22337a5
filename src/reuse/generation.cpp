#include "promptcache/reuse/generation.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/random.hpp"
#include "promptcache/base/error.hpp"

namespace promptcache::reuse {
namespace {

/// Bytes at the end of a text that begin a character and do not end it.
std::size_t unfinished_bytes(std::string_view text) {
  for (std::size_t back = 1; back <= std::min<std::size_t>(3, text.size()); ++back) {
    const auto byte = static_cast<unsigned char>(text[text.size() - back]);
    if (byte < 0x80) return 0;
    if (byte < 0xC0) continue;  // goes on
    const std::size_t length = byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : 2;
    return length > back ? back : 0;
  }
  return 0;
}

/// Bytes at the end of a text that begin one of the stop texts.
std::size_t begun_stop(std::string_view text, const std::vector<std::string>& stops) {
  std::size_t longest = 0;
  for (const std::string& stop : stops) {
    for (std::size_t count = std::min(stop.size() - 1, text.size()); count > longest; --count) {
      if (text.ends_with(std::string_view(stop).substr(0, count))) longest = count;
    }
  }
  return longest;
}

}  // namespace

Sampler::Sampler(const SamplingOptions& options) : options_(options), random_(base::generator(options.seed, 0)) {
  const bool sound =
      options.temperature >= 0 && std::isfinite(options.temperature) && options.top_p > 0 && options.top_p <= 1;
  if (!sound) {
    throw Error(ErrorCode::usage, {"Sampler"},
                "temperature " + std::to_string(options.temperature) + " and top_p " + std::to_string(options.top_p),
                "a temperature of 0 or above and a top_p in (0, 1]");
  }
}

std::int32_t Sampler::next(std::span<const float> logits) {
  if (logits.empty()) throw Error(ErrorCode::usage, {"Sampler"}, "no logits", "some");
  const auto likeliest = std::ranges::max_element(logits);
  if (options_.temperature == 0) return static_cast<std::int32_t>(likeliest - logits.begin());
  // Pairs of share and token, the likeliest in front as far as limits ask for it.
  std::vector<std::pair<double, std::int32_t>> tokens;
  double total = 0;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const double above = static_cast<double>(logits[i]) - static_cast<double>(*likeliest);
    tokens.emplace_back(std::exp(above / options_.temperature), static_cast<std::int32_t>(i));
    total += tokens.back().first;
  }
  const auto likelier = [](const auto& a, const auto& b) {
    return a.first != b.first ? a.first > b.first : a.second < b.second;
  };
  if (options_.top_k > 0 && options_.top_k < tokens.size()) {
    const auto end = tokens.begin() + static_cast<std::ptrdiff_t>(options_.top_k);
    std::partial_sort(tokens.begin(), end, tokens.end(), likelier);
    tokens.erase(end, tokens.end());
    total = std::accumulate(tokens.begin(), tokens.end(), 0.0,
                            [](double sum, const auto& token) { return sum + token.first; });
  }
  if (options_.top_p < 1) {
    // All that are less likely than this have no more than 1 - top_p together: they are not needed.
    const double least = (1 - options_.top_p) * total / static_cast<double>(tokens.size());
    std::erase_if(tokens, [&](const auto& token) { return token.first < least; });
    std::ranges::sort(tokens, likelier);
    double kept = 0;
    std::size_t count = 0;
    while (count < tokens.size() && kept < options_.top_p * total) kept += tokens[count++].first;
    tokens.resize(std::max<std::size_t>(count, 1));
    total = kept;
  }
  double left = base::uniform_share(random_) * total;
  for (const auto& [share, token] : tokens) {
    left -= share;
    if (left < 0) return token;
  }
  return tokens.back().second;
}

Generation generate(Chain& chain, const BpeTokenizer& tokenizer, const GenerationOptions& options) {
  if (std::ranges::any_of(options.stop, &std::string::empty)) {
    throw Error(ErrorCode::usage, {"generate"}, "an empty stop text", "texts");
  }
  Sampler sampler(options.sampling);
  Generation result;
  std::size_t sent = 0;
  // Sends what is sure to be part of the answer.
  const auto send = [&](std::size_t held_back) {
    const std::size_t end = result.text.size() - std::min(held_back, result.text.size() - sent);
    const std::string_view part = std::string_view(result.text).substr(sent, end - sent);
    sent = end;
    return part.empty() || !options.receive || options.receive(part);
  };
  while (result.tokens.size() < options.most_tokens) {
    const std::int32_t token = sampler.next(chain.logits());
    if (std::ranges::count(options.ends, token) > 0) {
      result.end = GenerationEnd::end_token;
      break;
    }
    if (chain.end() >= chain.context()) {
      result.end = GenerationEnd::context;
      break;
    }
    const std::size_t before = result.text.size();
    result.tokens.push_back(token);
    result.text += tokenizer.decode({&token, 1});
    std::size_t stop = std::string::npos;
    for (const std::string& text : options.stop) {
      stop = std::min(stop, result.text.find(text, before - std::min(before, text.size() - 1)));
    }
    if (stop != std::string::npos) {
      result.text.resize(stop);
      result.end = GenerationEnd::stop_text;
      break;
    }
    if (!send(std::max(unfinished_bytes(result.text), begun_stop(result.text, options.stop)))) {
      result.end = GenerationEnd::cancelled;
      return result;
    }
    chain.push(token);
  }
  if (!send(0)) result.end = GenerationEnd::cancelled;
  return result;
}

}  // namespace promptcache::reuse
