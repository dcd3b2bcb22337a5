#include "train/scoring.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "promptcache/base/error.hpp"
#include "promptcache/eval/roc.hpp"

namespace promptcache::train {

torch::Tensor embed_texts(const ShardedEncoder& encoder, const Dataset& data, const char* stage,
                          const ProgressCallback& progress) {
  constexpr std::size_t block = 2048;  // between reports of progress
  std::vector<torch::Tensor> parts;
  for (std::size_t begin = 0; begin < data.texts.size(); begin += block) {
    const std::size_t end = std::min(data.texts.size(), begin + block);
    std::vector<TokenSequence> sequences;
    for (std::size_t i = begin; i < end; ++i) sequences.push_back({data.texts[i]});
    parts.push_back(encoder.embed(sequences));
    if (progress) progress({stage, end, data.texts.size(), "texts", ""});
  }
  return torch::cat(parts);
}

std::vector<double> similarities(const torch::Tensor& vectors, const Dataset& data) {
  const auto width = static_cast<std::size_t>(vectors.size(1));
  const float* values = vectors.data_ptr<float>();
  std::vector<double> result;
  result.reserve(data.items.size());
  for (const Dataset::Item& item : data.items) {
    const float* a = values + item.first * width;
    result.push_back(std::inner_product(a, a + width, values + item.second * width, 0.0));
  }
  return result;
}

std::vector<double> scores_of(const ShardedEncoder& encoder, const Dataset& data,
                              const std::optional<PairReading>& reading, const char* stage,
                              const ProgressCallback& progress) {
  if (!reading) return similarities(embed_texts(encoder, data, stage, progress), data);
  constexpr std::size_t block = 2048;  // between reports of progress
  std::vector<double> scores;
  for (std::size_t begin = 0; begin < data.items.size(); begin += block) {
    const std::size_t end = std::min(data.items.size(), begin + block);
    std::vector<text::PairEncoding> pairs;
    std::vector<TokenSequence> sequences;
    for (std::size_t i = begin; i < end; ++i) pairs.push_back((*reading)(data, data.items[i]));
    for (const text::PairEncoding& pair : pairs) sequences.push_back({pair.ids, pair.second_text});
    const torch::Tensor logits = encoder.embed(sequences);
    const float* values = logits.data_ptr<float>();
    scores.insert(scores.end(), values, values + sequences.size());
    if (progress) progress({stage, end, data.items.size(), "pairs", ""});
  }
  return scores;
}

std::vector<double> labels_of(const Dataset& data) {
  std::vector<double> labels;
  for (const Dataset::Item& item : data.items) labels.push_back(static_cast<double>(item.label));
  return labels;
}

Judge::Judge(std::vector<Dataset> sets, double slack, const std::optional<PairReading>& reading)
    : sets_(std::move(sets)), slack_(slack), reading_(reading) {}

Verdict Judge::judge(const ShardedEncoder& encoder, const std::string& place, const ProgressCallback& progress) const {
  Verdict verdict;
  for (const Dataset& set : sets_) {
    const std::vector<double> scores = scores_of(encoder, set, reading_, "validating", progress);
    std::vector<std::uint8_t> positive;
    for (const Dataset::Item& item : set.items) positive.push_back(item.label >= 0.5F ? 1 : 0);
    if (!std::all_of(scores.begin(), scores.end(), [](double score) { return std::isfinite(score); })) {
      throw Error(ErrorCode::diverged, {place}, "a score that is no number",
                  "finite ones (a smaller learning rate may help)");
    }
    const double auc = roc_auc(scores, positive);
    if (&set == &sets_.front()) {
      verdict.auc = auc;
    } else {
      verdict.guards.push_back(auc);
    }
  }
  return verdict;
}

double Judge::breach(const Verdict& verdict, const Verdict& untouched) const {
  double worst = 0;
  for (std::size_t i = 0; i < verdict.guards.size(); ++i) {
    worst = std::max(worst, untouched.guards[i] - slack_ - verdict.guards[i]);
  }
  return worst;
}

bool Judge::better(const Verdict& first, const Verdict& second, const Verdict& untouched) const {
  const double a = breach(first, untouched);
  const double b = breach(second, untouched);
  return a != b ? a < b : first.auc > second.auc;
}

}  // namespace promptcache::train
