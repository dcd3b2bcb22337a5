#include "promptcache/reuse/prompt_modules.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <optional>
#include <set>
#include <utility>

#include "promptcache/base/error.hpp"

namespace promptcache::reuse {
namespace {

using Path = std::vector<std::string>;

double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

/// A module and where it is.
struct Owner {
  const Placed* module = nullptr;
  Path path;
};

std::string joined(const Path& path) {
  std::string text;
  for (const std::string& name : path) text += (text.empty() ? "" : "/") + name;
  return text;
}

/// The module of each text, and all modules in order.
void collect(const Placed& module, const Path& path, std::map<const Placed*, Owner>& owners,
             std::vector<Owner>& modules) {
  modules.push_back({&module, path});
  const auto descend = [&](const Placed& child) {
    Path inside = path;
    inside.push_back(child.name);
    collect(child, inside, owners, modules);
  };
  for (const Placed& child : module.children) {
    if (child.kind == Placed::Kind::text) owners[&child] = {&module, path};
    if (child.kind == Placed::Kind::module) descend(child);
    if (child.kind == Placed::Kind::alternatives) std::ranges::for_each(child.children, descend);
  }
}

/// Texts and slots of a module that are not in one inside it.
std::vector<ScaffoldPart> own_parts(const Placed& module, std::int32_t filler) {
  std::vector<ScaffoldPart> parts;
  for (const Placed& child : module.children) {
    if (child.kind != Placed::Kind::text && child.kind != Placed::Kind::parameter) continue;
    parts.push_back({&child, child.tokens});
    parts.back().tokens.resize(child.length, filler);
  }
  return parts;
}

/// The schema's own texts in front of its first module.
std::vector<ScaffoldPart> header_of(const Placed& schema) {
  std::vector<ScaffoldPart> parts;
  for (const Placed& child : schema.children) {
    if (child.kind != Placed::Kind::text) break;
    parts.push_back({&child, child.tokens});
  }
  return parts;
}

}  // namespace

/// A part of a prompt: a text of the schema, or one that is new.
struct PromptModules::Item {
  const Placed* text = nullptr;
  std::span<const std::int32_t> tokens;
  std::size_t begin = 0;
  bool cached = false;
  std::size_t order = 0;  ///< of new text, among such
};

/// One prompt: what it is made of, and the states of each part.
class PromptModules::Plan {
 public:
  Plan(const PromptModules& engine, const Placed& schema) : engine_(engine), schema_(schema) {
    collect(schema, {}, owners_, modules_);
    header_ = header_of(schema);
  }

  const std::vector<Owner>& modules() const { return modules_; }
  const Placed* module_of(const Placed* text) const { return owners_.at(text).module; }
  ReuseCounts& counts() { return counts_; }

  void import_texts(std::span<const Placed* const> texts) {
    for (const Placed* text : texts) imported_.insert(owners_.at(text).module);
  }

  bool is_header(const Placed* text) const {
    return std::ranges::any_of(header_, [&](const ScaffoldPart& part) { return part.part == text; });
  }

  /// States are kept for all but modules that say otherwise, and what is inside those.
  bool is_cached(const Placed* text) const {
    const Path& path = owners_.at(text).path;
    const Placed* at = &schema_;
    for (const std::string& name : path) {
      at = at->module(name);
      if (!at->cached) return false;
    }
    return true;
  }

  /// States of this text are had from elsewhere.
  void leave_out(const Placed* text) { states_[text]; }

  /// Blocks of a text, encoded as the options say; of the whole of what is encoded with it, when it is not there yet.
  const std::vector<PlacedBlock>& states(const Placed* text) {
    const auto found = states_.find(text);
    if (found != states_.end()) return found->second;
    encode(owners_.at(text));
    return states_[text];
  }

  void encode(const Owner& owner) {
    const ModuleOptions& options = engine_.options_;
    if (const auto set = set_with(owner)) {
      std::vector<ScaffoldPart> parts;
      for (const Owner& module : modules_) {
        if (!set->contains(joined(module.path))) continue;
        const auto own = own_parts(*module.module, options.filler);
        parts.insert(parts.end(), own.begin(), own.end());
      }
      std::ranges::stable_sort(parts, {}, [](const ScaffoldPart& part) { return part.part->begin; });
      run(options.encoding == Encoding::isolated ? std::vector<ScaffoldPart>() : header_, parts, nullptr);
    } else if (options.encoding == Encoding::schema_scaffold) {
      run({}, scaffold_parts(schema_, owner.path, options.filler), owner.module);
    } else {
      const bool behind_header = options.encoding == Encoding::behind_header || owner.module == &schema_;
      run(behind_header ? header_ : std::vector<ScaffoldPart>(), own_parts(*owner.module, options.filler), nullptr);
    }
  }

 private:
  /// The first scaffold set that this module is in and that is imported as a whole.
  std::optional<std::set<std::string>> set_with(const Owner& owner) const {
    for (const auto& names : engine_.options_.scaffold_sets) {
      const std::set<std::string> set(names.begin(), names.end());
      if (!set.contains(joined(owner.path))) continue;
      const auto there = std::ranges::count_if(modules_, [&](const Owner& module) {
        return set.contains(joined(module.path)) && imported_.contains(module.module);
      });
      if (static_cast<std::size_t>(there) == set.size()) return set;
    }
    return std::nullopt;
  }

  /// Encodes parts one behind the other, and takes the states of those texts that have none yet; of one module only, if
  /// it is named.
  void run(const std::vector<ScaffoldPart>& before, const std::vector<ScaffoldPart>& parts, const Placed* only) {
    std::optional<Chain> chain;
    for (const auto* list : {&before, &parts}) {
      for (const ScaffoldPart& part : *list) {
        if (part.tokens.empty()) continue;
        if (list == &parts && is_in(before, part)) continue;
        if (!chain) chain.emplace(engine_.decoder_, engine_.store_, part.part->begin, engine_.options_.scope);
        const std::size_t blocks = chain->blocks().size();
        const ReuseCounts counts = chain->counts();
        chain->append(part.tokens, part.part->begin - chain->end());
        if (part.part->kind != Placed::Kind::text || states_.contains(part.part)) continue;
        if (only != nullptr && owners_.at(part.part).module != only) continue;
        states_[part.part] = {chain->blocks().begin() + static_cast<std::ptrdiff_t>(blocks), chain->blocks().end()};
        counts_.tokens_reused += chain->counts().tokens_reused - counts.tokens_reused;
        counts_.tokens_computed += chain->counts().tokens_computed - counts.tokens_computed;
        counts_.bytes_reused += chain->counts().bytes_reused - counts.bytes_reused;
      }
    }
  }

  static bool is_in(const std::vector<ScaffoldPart>& list, const ScaffoldPart& wanted) {
    return std::ranges::any_of(list, [&](const ScaffoldPart& part) { return part.part == wanted.part; });
  }

  const PromptModules& engine_;
  const Placed& schema_;
  std::map<const Placed*, Owner> owners_;
  std::vector<Owner> modules_;
  std::vector<ScaffoldPart> header_;
  std::set<const Placed*> imported_;
  std::map<const Placed*, std::vector<PlacedBlock>> states_;
  ReuseCounts counts_;
};

namespace {

/// Tokens of a module's text, where its blocks are in the context.
std::vector<Recomputed> tokens_in(std::span<const std::int32_t> text, std::span<const PlacedBlock> blocks,
                                  std::size_t first_block) {
  std::vector<Recomputed> tokens;
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    for (std::size_t row = 0; row < blocks[i].rows; ++row) {
      tokens.push_back({text[tokens.size()], first_block + i, row});
    }
  }
  return tokens;
}

/// Those module tokens whose values in the second layer change most when they see all that is in front of them: these
/// are the ones that the approximation hurts. A model of one layer has none.
std::vector<Recomputed> most_deviating(const Decoder& decoder, const std::vector<PlacedBlock>& context,
                                       std::span<const PlacedTokens> fresh, std::vector<Recomputed> tokens,
                                       double share) {
  constexpr std::size_t layer = 1;
  if (decoder.config().layers <= layer) return {};
  std::vector<PlacedBlock> seeing = context;
  compute(decoder, seeing, fresh, tokens, {.logits = false, .layers = layer + 1});
  const std::size_t width = decoder.config().kv_width();
  std::vector<float> keys(width), before(width), after(width);
  std::vector<std::pair<float, std::size_t>> deviations;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    context[tokens[i].block].block->read_row(layer, tokens[i].row, keys.data(), before.data());
    seeing[tokens[i].block].block->read_row(layer, tokens[i].row, keys.data(), after.data());
    float sum = 0;
    for (std::size_t j = 0; j < width; ++j) sum += (after[j] - before[j]) * (after[j] - before[j]);
    deviations.emplace_back(-sum, i);
  }
  std::ranges::sort(deviations);
  deviations.resize(static_cast<std::size_t>(std::llround(share * static_cast<double>(tokens.size()))));
  std::vector<Recomputed> result;
  for (const auto& [deviation, i] : deviations) result.push_back(tokens[i]);
  return result;
}

}  // namespace

PromptModules::PromptModules(std::shared_ptr<const Decoder> decoder, Tokenize tokenize, std::shared_ptr<KvStore> store,
                             const ModuleOptions& options)
    : decoder_(std::move(decoder)), tokenize_(std::move(tokenize)), store_(std::move(store)), options_(options) {
  if (store_ == nullptr) throw Error(ErrorCode::usage, {"PromptModules"}, "no store", "one");
  if (!(options.recompute_share >= 0 && options.recompute_share <= 1)) {
    throw Error(ErrorCode::usage, {"PromptModules"}, "a share of " + std::to_string(options.recompute_share),
                "one from 0 to 1");
  }
}

void PromptModules::add(const Schema& schema) {
  Placed placed = lay_out(schema, tokenize_);
  if (placed.length > decoder_->config().context) {
    throw Error(ErrorCode::mismatch, {schema.source.empty() ? "schema '" + schema.name + "'" : schema.source},
                "a schema of " + std::to_string(placed.length) + " positions",
                "at most the model's context, " + std::to_string(decoder_->config().context));
  }
  schemas_.insert_or_assign(schema.name, std::move(placed));
}

const Placed& PromptModules::schema(const std::string& name) const {
  const auto found = schemas_.find(name);
  if (found != schemas_.end()) return found->second;
  throw Error(ErrorCode::not_found, {"prompt"}, "schema '" + name + "'", "one that was added");
}

ReuseCounts PromptModules::encode(const std::string& name) {
  Plan plan(*this, schema(name));
  for (const Owner& module : plan.modules()) plan.encode(module);
  return plan.counts();
}

ModulePrefill PromptModules::prefill(const Prompt& prompt) {
  const auto begin = std::chrono::steady_clock::now();
  const Placed& placed = schema(prompt.schema);
  const Assembly assembly = assemble(placed, prompt, tokenize_);
  Plan plan(*this, placed);
  plan.import_texts(assembly.texts);
  std::vector<Item> items = items_of(assembly, plan);
  ModulePrefill result{Chain(decoder_, store_, items.front().begin, options_.scope)};
  for (const Item& item : items) {
    for (std::size_t i = 0; i < item.tokens.size(); ++i) result.tokens.push_back({item.tokens[i], item.begin + i});
  }
  result.times.layout = seconds_since(begin);

  const auto lookup = std::chrono::steady_clock::now();
  const std::size_t exact = append_beginning(items, plan, result.chain);
  result.counts = result.chain.counts();
  result.times.modules = seconds_since(lookup);
  result.exact = exact == items.size();
  for (std::size_t i = 0; i < exact; ++i) plan.leave_out(items[i].text);
  if (result.exact) {
    result.chain.logits();
    result.counts = result.chain.counts();
  } else {
    compute_rest({items.begin() + static_cast<std::ptrdiff_t>(exact), items.end()}, plan, result);
  }
  result.times.prefill = seconds_since(begin) - result.times.layout - result.times.modules;
  return result;
}

/// Everything the prompt has, in order of position.
std::vector<PromptModules::Item> PromptModules::items_of(const Assembly& assembly, const Plan& plan) const {
  std::vector<Item> items;
  for (const Placed* text : assembly.texts) items.push_back({text, text->tokens, text->begin, plan.is_cached(text), 0});
  std::size_t order = 0;
  for (const auto* list : {&assembly.arguments, &assembly.between}) {
    for (const NewTokens& text : *list) items.push_back({nullptr, text.tokens, text.begin, false, ++order});
  }
  items.push_back({nullptr, assembly.last.tokens, assembly.last.begin, false, ++order});
  std::erase_if(items, [](const Item& item) { return item.tokens.empty(); });
  if (items.empty()) throw Error(ErrorCode::usage, {"prompt"}, "no token", "at least one");
  std::ranges::stable_sort(items, {}, &Item::begin);
  return items;
}

/// The prompt's beginning as ordinary text, as far as that goes: what stands in front of all modules, and what the
/// store has; everything, when no modules are left. Returns how many items that were.
std::size_t PromptModules::append_beginning(std::span<const Item> items, const Plan& plan, Chain& chain) const {
  std::size_t at = 0;
  for (; at < items.size(); ++at) {
    const Item& item = items[at];
    const std::size_t gap = item.begin - chain.end();
    const bool modules_left = std::ranges::any_of(items.subspan(at), &Item::cached);
    if (!modules_left || (item.text != nullptr && plan.is_header(item.text))) {
      chain.append(item.tokens, gap);
    } else if (!chain.append_if_stored(item.tokens, gap)) {
      break;
    }
  }
  return at;
}

/// What is left of a prompt: states of modules, where they are, and new text over all of them.
void PromptModules::compute_rest(std::vector<Item> items, Plan& plan, ModulePrefill& result) const {
  const auto begin = std::chrono::steady_clock::now();
  std::vector<PlacedBlock> context = result.chain.blocks();
  std::vector<Recomputed> module_tokens, again;
  std::map<const Placed*, std::size_t> repaired;  // tokens by module
  for (const Item& item : items) {
    if (!item.cached) continue;
    const std::vector<PlacedBlock>& blocks = plan.states(item.text);
    const std::vector<Recomputed> tokens = tokens_in(item.tokens, blocks, context.size());
    context.insert(context.end(), blocks.begin(), blocks.end());
    module_tokens.insert(module_tokens.end(), tokens.begin(), tokens.end());
    std::size_t& done = repaired[plan.module_of(item.text)];
    const std::size_t count =
        std::min(options_.recompute_first - std::min(done, options_.recompute_first), tokens.size());
    again.insert(again.end(), tokens.begin(), tokens.begin() + static_cast<std::ptrdiff_t>(count));
    done += count;
    // The last token's output is wanted, and only its states are there.
    if (&item == &items.back()) again.push_back(tokens.back());
  }
  result.times.modules += seconds_since(begin);
  // In the order that index_causal goes by.
  std::ranges::stable_sort(items, {}, &Item::order);
  std::vector<PlacedTokens> fresh;
  for (const Item& item : items) {
    if (item.cached) continue;
    fresh.push_back({item.tokens, item.begin});
    result.counts.tokens_computed += item.tokens.size();
  }
  if (options_.recompute_share > 0) {
    const auto more = most_deviating(*decoder_, context, fresh, module_tokens, options_.recompute_share);
    again.insert(again.end(), more.begin(), more.end());
  }
  const auto by_place = [](const Recomputed& one) { return std::pair(one.block, one.row); };
  std::ranges::sort(again, {}, by_place);
  const auto same_place = [&](const Recomputed& a, const Recomputed& b) { return by_place(a) == by_place(b); };
  again.erase(std::unique(again.begin(), again.end(), same_place), again.end());  // clang 14 has no ranges::unique
  Computed made = compute(*decoder_, context, fresh, again, {.visibility = options_.visibility});

  result.tokens_again = again.size();
  result.counts += plan.counts();
  result.counts.tokens_computed += again.size();
  std::set<std::size_t> copied;
  for (const Recomputed& one : again) copied.insert(one.block);
  for (const std::size_t block : copied) result.bytes_copied += context[block].block->bytes();
  context.insert(context.end(), made.blocks.begin(), made.blocks.end());
  // The chain goes on behind the token at the largest position.
  std::ranges::stable_sort(context, {}, [](const PlacedBlock& block) { return block.position + block.rows; });
  result.chain = Chain::behind(decoder_, std::move(context), result.tokens.back().token, std::move(made.logits));
}

Chain PromptModules::full_attention(std::span<const PlacedToken> tokens) const {
  if (tokens.empty()) throw Error(ErrorCode::usage, {"full_attention"}, "no token", "at least one");
  Chain chain(decoder_, nullptr, tokens.front().position);
  for (std::size_t at = 0; at < tokens.size();) {
    std::size_t end = at + 1;
    while (end < tokens.size() && tokens[end].position == tokens[end - 1].position + 1) ++end;
    std::vector<std::int32_t> run;
    for (std::size_t i = at; i < end; ++i) run.push_back(tokens[i].token);
    chain.append(run, tokens[at].position - chain.end());
    at = end;
  }
  chain.logits();
  return chain;
}

Divergence divergence(std::span<const float> exact, std::span<const float> approximate) {
  if (exact.size() != approximate.size() || exact.empty()) {
    throw Error(ErrorCode::usage, {"divergence"}, std::to_string(approximate.size()) + " logits",
                std::to_string(exact.size()) + ", and more than none");
  }
  const auto log_total = [](std::span<const float> logits) {
    const double peak = static_cast<double>(*std::ranges::max_element(logits));
    double total = 0;
    for (const float logit : logits) total += std::exp(static_cast<double>(logit) - peak);
    return peak + std::log(total);
  };
  const double exact_total = log_total(exact), approximate_total = log_total(approximate);
  Divergence result;
  for (std::size_t i = 0; i < exact.size(); ++i) {
    const auto p = static_cast<double>(exact[i]), q = static_cast<double>(approximate[i]);
    result.largest_difference = std::max(result.largest_difference, std::abs(p - q));
    result.kl += std::exp(p - exact_total) * ((p - exact_total) - (q - approximate_total));
  }
  result.kl = std::max(result.kl, 0.0);  // of equal ones rounding may leave a trace below
  result.same_top =
      std::ranges::max_element(exact) - exact.begin() == std::ranges::max_element(approximate) - approximate.begin();
  return result;
}

}  // namespace promptcache::reuse
