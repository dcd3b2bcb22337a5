#include "pairs/label_questions.hpp"

#include <algorithm>
#include <unordered_map>

#include "promptcache/base/digest.hpp"
#include "promptcache/base/error.hpp"

namespace promptcache::pairs {

using State = PairLabel::State;

std::string LabelQuestions::key_of(const Pair& pair, bool reversed) {
  const std::string& first = reversed ? pair.q2 : pair.q1;
  const std::string& second = reversed ? pair.q1 : pair.q2;
  return std::to_string(first.size()) + ":" + first + second;
}

LabelQuestions::LabelQuestions(const std::vector<Pair>& pairs, bool both_orders) : pairs_(pairs) {
  std::unordered_map<std::string, std::size_t> known;
  const auto question_of = [&](std::size_t pair, bool reversed) {
    const auto [found, fresh] = known.try_emplace(key_of(pairs[pair], reversed), questions_.size());
    if (fresh) {
      questions_.push_back({pair, reversed});
      keys_.push_back(found->first);
    }
    return found->second;
  };
  for (std::size_t pair = 0; pair < pairs.size(); ++pair) {
    forward_.push_back(question_of(pair, false));
    if (both_orders) reverse_.push_back(question_of(pair, true));
  }
}

std::string LabelQuestions::text(const LabelPrompt& prompt, const Question& question) const {
  const Pair& pair = pairs_[question.pair];
  return question.reversed ? prompt.render(pair.q2, pair.q1) : prompt.render(pair.q1, pair.q2);
}

std::vector<const JournalEntry*> LabelQuestions::match(std::span<const JournalEntry> entries,
                                                       const std::string& path) const {
  std::unordered_map<std::string_view, std::size_t> places;
  for (std::size_t i = 0; i < keys_.size(); ++i) places.emplace(keys_[i], i);
  std::vector<const JournalEntry*> result(questions_.size(), nullptr);
  for (const JournalEntry& entry : entries) {
    if (entry.pair >= pairs_.size()) {
      throw Error(ErrorCode::format, {path}, "an answer to pair " + std::to_string(entry.pair),
                  "one of " + std::to_string(pairs_.size()) + " pairs");
    }
    const auto found = places.find(key_of(pairs_[entry.pair], entry.reversed));
    if (found != places.end()) result[found->second] = &entry;  // a later line is the answer to asking again
  }
  return result;
}

void LabelQuestions::settle(const std::vector<const JournalEntry*>& entries, LabelResult& result) const {
  result.labels.assign(pairs_.size(), {});
  result.disagreements = 0;
  for (std::size_t i = 0; i < pairs_.size(); ++i) {
    PairLabel& label = result.labels[i];
    const JournalEntry* const forward = entries[forward_[i]];
    const JournalEntry* const reverse = reverse_.empty() ? forward : entries[reverse_[i]];
    if (forward != nullptr && forward->state == State::answered) label.forward = forward->value;
    if (!reverse_.empty() && reverse != nullptr && reverse->state == State::answered) label.reverse = reverse->value;
    for (const JournalEntry* entry : {forward, reverse}) {
      if (entry == nullptr || entry->state == State::answered || !label.reason.empty()) continue;
      label.state = entry->state;
      label.reason = entry->text;
    }
    if (forward == nullptr || reverse == nullptr) {
      label.state = State::unasked;
    } else if (forward->state == State::answered && reverse->state == State::answered) {
      label.state = State::answered;
      label.label = (forward->value + reverse->value) / 2;
      if ((forward->value >= 0.5) != (reverse->value >= 0.5)) ++result.disagreements;
    }
  }
}

JournalHeader header_of(const std::vector<Pair>& pairs, const LabelPrompt& prompt, const LabelOptions& options) {
  Sha256 digest;
  for (const Pair& pair : pairs) digest.field("q1", pair.q1).field("q2", pair.q2);
  return {.pairs = digest.finish().hex(),
          .prompt_version = prompt.version(),
          .prompt = sha256(prompt.text()).hex(),
          .model = options.model,
          .temperature = options.temperature};
}

}  // namespace promptcache::pairs
