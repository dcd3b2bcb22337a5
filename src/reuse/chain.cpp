#include "promptcache/reuse/chain.hpp"

#include <algorithm>
#include <map>
#include <utility>

#include "promptcache/base/error.hpp"

namespace promptcache::reuse {
namespace {

/// Multiplications a token takes that sees `seen` others: what it costs to lose its states.
double cost_of(const DecoderConfig& model, std::size_t tokens, std::size_t seen) {
  const auto of_token = static_cast<double>(model.layers) *
                        static_cast<double>(2 * model.width * (model.query_width() + model.kv_width()) +
                                            (model.family == DecoderFamily::llama ? 3 : 2) * model.width * model.inner +
                                            2 * model.query_width() * seen);
  return of_token * static_cast<double>(tokens);
}

}  // namespace

ReuseCounts& ReuseCounts::operator+=(const ReuseCounts& other) {
  tokens_reused += other.tokens_reused;
  tokens_computed += other.tokens_computed;
  bytes_reused += other.bytes_reused;
  return *this;
}

Chain::Chain(std::shared_ptr<const Decoder> decoder, std::shared_ptr<KvStore> store, std::size_t position,
             std::string_view scope)
    : decoder_(std::move(decoder)), store_(std::move(store)), end_(position) {
  const bool table = decoder_->config().family == DecoderFamily::gpt2;
  key_ = KvStore::root(decoder_->identity(), table ? std::optional(position) : std::nullopt, scope);
}

/// Takes as many of the tokens as the store has; returns how many.
std::size_t Chain::take_from_store(std::span<const std::int32_t> tokens, std::size_t gap) {
  if (store_ == nullptr) return 0;
  std::size_t taken = 0;
  while (taken < tokens.size()) {
    const KvLink link{key_, taken == 0 ? gap : 0, tokens.subspan(taken)};
    const auto found = store_->find(link);
    if (!found) break;
    end_ += link.gap;
    blocks_.push_back({found->block, end_, found->rows});
    // What follows a part of a block follows these tokens, whatever else the block holds.
    key_ = KvLink{key_, link.gap, link.tokens.first(found->rows)}.key();
    end_ += found->rows;
    taken += found->rows;
  }
  counts_.tokens_reused += taken;
  counts_.bytes_reused += taken * decoder_->kv_shape().bytes_per_token();
  return taken;
}

Chain Chain::behind(std::shared_ptr<const Decoder> decoder, std::vector<PlacedBlock> blocks, std::int32_t last_token,
                    std::vector<float> logits) {
  Chain chain(std::move(decoder), nullptr);
  chain.end_ = blocks.back().position + blocks.back().rows;
  chain.blocks_ = std::move(blocks);
  chain.last_token_ = last_token;
  chain.logits_ = std::move(logits);
  return chain;
}

bool Chain::append_if_stored(std::span<const std::int32_t> tokens, std::size_t gap) {
  if (tokens.empty()) return true;
  Chain next = *this;
  next.close();
  if (next.take_from_store(tokens, gap) < tokens.size()) return false;
  next.logits_.clear();
  next.last_token_ = tokens.back();
  *this = std::move(next);
  return true;
}

void Chain::append(std::span<const std::int32_t> tokens, std::size_t gap) {
  if (tokens.empty()) return;
  Chain next = *this;
  next.close();
  next.logits_.clear();
  next.last_token_ = tokens.back();
  const std::size_t taken = next.take_from_store(tokens, gap);
  const std::span<const std::int32_t> rest = tokens.subspan(taken);
  if (!rest.empty()) {
    if (taken == 0) next.end_ += gap;
    const PlacedTokens text{rest, next.end_};
    Computed made = compute(*decoder_, next.blocks_, {&text, 1});
    std::size_t at = 0;
    for (PlacedBlock& block : made.blocks) {
      const KvLink link{next.key_, taken == 0 && at == 0 ? gap : 0, rest.subspan(at, block.rows)};
      if (store_ != nullptr) {
        block.block = store_->put(link, std::move(block.block), cost_of(decoder_->config(), block.rows, next.end_));
      }
      next.key_ = link.key();
      at += block.rows;
      next.end_ += block.rows;
      next.blocks_.push_back(block);
    }
    next.logits_ = std::move(made.logits);
    next.counts_.tokens_computed += rest.size();
  }
  *this = std::move(next);
}

/// Makes room for one more row in an open block of this chain's own.
void Chain::open_row() {
  if (open_ != nullptr && open_->size() == open_->capacity()) close();
  if (open_ == nullptr) {
    open_ = std::make_shared<KvBlock>(decoder_->kv_shape(), KvBlock::most_tokens);
    blocks_.push_back({open_, end_, 0});
  } else if (open_.use_count() > 2) {  // a copy of this chain goes another way
    open_ = std::make_shared<KvBlock>(open_->clone());
    blocks_.back().block = open_;
  }
  open_->resize(open_tokens_.size() + 1);
}

void Chain::push(std::int32_t token) {
  Chain* const chain = this;
  push({&chain, 1}, {&token, 1});
}

void Chain::push(std::span<Chain* const> chains, std::span<const std::int32_t> tokens) {
  if (chains.empty()) return;
  const bool one_decoder =
      std::ranges::all_of(chains, [&](const Chain* chain) { return chain->decoder_ == chains.front()->decoder_; });
  if (tokens.size() != chains.size() || !one_decoder) {
    throw Error(ErrorCode::usage, {"Chain"},
                std::to_string(tokens.size()) + " tokens for " + std::to_string(chains.size()) + " chains",
                "one for each, and one decoder for all");
  }
  Step step;
  std::vector<std::size_t> wanted;
  std::vector<std::vector<std::size_t>> runs_of(chains.size());
  std::map<std::pair<const KvBlock*, std::size_t>, std::size_t> known;
  for (std::size_t i = 0; i < chains.size(); ++i) {
    Chain& chain = *chains[i];
    chain.open_row();
    for (const PlacedBlock& block : chain.blocks_) {
      // What several chains have in common is looked at once for all. Each chain's blocks ascend, so its order stays.
      const auto [at, is_new] = known.try_emplace({block.block.get(), block.position}, step.runs.size());
      if (is_new) step.runs.push_back({block.block.get(), block.position});
      runs_of[i].push_back(at->second);
    }
    step.runs[runs_of[i].back()].open = chain.open_.get();
    step.tokens.push_back({tokens[i], runs_of[i].back(), chain.open_tokens_.size()});
    wanted.push_back(i);
  }
  step.visible.resize(step.tokens.size() * step.runs.size());
  for (std::size_t i = 0; i < chains.size(); ++i) {
    for (std::size_t at = 0; at < runs_of[i].size(); ++at) {
      step.sees(i, runs_of[i][at]) = static_cast<std::uint32_t>(chains[i]->blocks_[at].rows);
    }
    ++step.sees(i, step.tokens[i].run);
  }
  std::vector<float> logits;
  try {
    logits = chains.front()->decoder_->run(step, wanted);
  } catch (...) {
    for (Chain* chain : chains) chain->open_->resize(chain->open_tokens_.size());
    throw;
  }
  const auto vocabulary = static_cast<std::ptrdiff_t>(logits.size() / chains.size());
  for (std::size_t i = 0; i < chains.size(); ++i) {
    Chain& chain = *chains[i];
    const auto first = logits.begin() + static_cast<std::ptrdiff_t>(i) * vocabulary;
    chain.logits_.assign(first, first + vocabulary);
    ++chain.blocks_.back().rows;
    chain.open_tokens_.push_back(tokens[i]);
    chain.last_token_ = tokens[i];
    ++chain.end_;
    ++chain.counts_.tokens_computed;
  }
}

/// No more tokens are pushed to the last block.
void Chain::close() {
  if (open_ == nullptr) return;
  if (open_tokens_.empty()) {
    blocks_.pop_back();  // its first token failed
  } else {
    const KvLink link{key_, 0, open_tokens_};
    if (store_ != nullptr) {
      blocks_.back().block = store_->put(link, open_, cost_of(decoder_->config(), open_tokens_.size(), end_));
    }
    key_ = link.key();
  }
  open_.reset();
  open_tokens_.clear();
}

void Chain::keep() { close(); }

const std::vector<float>& Chain::logits() {
  if (blocks_.empty()) throw Error(ErrorCode::usage, {"Chain"}, "no tokens", "logits of some");
  if (logits_.empty()) {
    // The states are there, the last token's output is not: once more, over all before it.
    std::vector<PlacedBlock> before = blocks_;
    if (--before.back().rows == 0) before.pop_back();
    const PlacedTokens text{{&last_token_, 1}, end_ - 1};
    logits_ = compute(*decoder_, before, {&text, 1}).logits;
    ++counts_.tokens_computed;
  }
  return logits_;
}

}  // namespace promptcache::reuse
