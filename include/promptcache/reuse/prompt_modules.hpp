#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "promptcache/reuse/chain.hpp"
#include "promptcache/reuse/layout.hpp"

namespace promptcache::reuse {

/// What a module's tokens see while it is encoded, besides themselves. All but the text at the schema's beginning is an
/// approximation: in the prompt they would see all that is in front of them.
enum class Encoding {
  isolated,         ///< nothing (arXiv 2311.04934)
  behind_header,    ///< the schema's own text in front of its first module: chat template and system text, usually
  schema_scaffold,  ///< the whole schema in front, with the default member of each union (the authors' program)
};

struct ModuleOptions {
  Encoding encoding = Encoding::behind_header;
  Visibility visibility = Visibility::position_causal;  ///< of arguments and new text

  /// Modules, each named by its path such as "city" or "city/park", that are encoded together, each seeing those before
  /// it, and used so when a prompt imports all of a set. Of several sets that fit the first takes a module.
  std::vector<std::vector<std::string>> scaffold_sets = {};

  /// Computes the first tokens of each module once more, with sight of all that is in front of them (arXiv 2410.15332).
  std::size_t recompute_first = 0;

  /// Computes this share of all module tokens once more: those whose values differ most, in the second layer, from
  /// those with sight of all that is in front (arXiv 2405.16444).
  double recompute_share = 0;

  /// States are shared with chains and modules of the same scope only.
  std::string scope = {};

  /// Fills slots while the text around them is encoded, behind their scaffolds.
  std::int32_t filler = 0;
};

/// How long the parts of a prefill took, in seconds.
struct PrefillTimes {
  double layout = 0;   ///< reading and placing the prompt
  double modules = 0;  ///< encoding modules that the store did not have, and finding those that it had
  double prefill = 0;  ///< computing what is new
};

struct ModulePrefill {
  Chain chain;                           ///< goes on behind the prompt; what is pushed to it is not kept in the store
  std::vector<PlacedToken> tokens = {};  ///< of the prompt, in order of position
  ReuseCounts counts = {};               ///< module tokens that had to be encoded count as computed
  std::size_t tokens_again = 0;          ///< of the computed ones: module tokens that were computed once more
  std::size_t bytes_copied = 0;          ///< of states, for these
  PrefillTimes times = {};
  bool exact = false;  ///< every token saw all that is in front of it: nothing is approximate
};

/// Prompts made of the modules of schemas: modules are encoded when they are first needed, kept in a store, and used at
/// their positions. Whatever of a prompt's beginning the store has as ordinary text is used in their place, since that
/// is exact. Not safe from several threads; the store may be shared.
class PromptModules {
 public:
  /// `store` must not be null.
  PromptModules(std::shared_ptr<const Decoder> decoder, Tokenize tokenize, std::shared_ptr<KvStore> store,
                const ModuleOptions& options = {});

  /// Adds a schema or replaces the one of its name. Throws what `lay_out` throws, and mismatch for one longer than the
  /// model's context.
  void add(const Schema& schema);

  /// Encodes all modules of a schema ahead of the prompts that need them. Throws `Error(not_found)` for an unknown one.
  ReuseCounts encode(const std::string& schema);

  /// Computes a prompt up to the logits behind it. Throws what `assemble` throws, not_found for an unknown schema,
  /// usage for a prompt without any token.
  ModulePrefill prefill(const Prompt& prompt);

  /// The same tokens at the same positions, each seeing all in front of it: what modules approximate. Without the
  /// store.
  Chain full_attention(std::span<const PlacedToken> tokens) const;

 private:
  class Plan;  // of one prompt
  struct Item;

  const Placed& schema(const std::string& name) const;
  std::vector<Item> items_of(const Assembly& assembly, const Plan& plan) const;
  std::size_t append_beginning(std::span<const Item> items, const Plan& plan, Chain& chain) const;
  void compute_rest(std::vector<Item> items, Plan& plan, ModulePrefill& result) const;

  std::shared_ptr<const Decoder> decoder_;
  Tokenize tokenize_;
  std::shared_ptr<KvStore> store_;
  ModuleOptions options_;
  std::map<std::string, Placed> schemas_;
};

/// How far logits are from others.
struct Divergence {
  double largest_difference = 0;  ///< of two logits
  double kl = 0;                  ///< Kullback-Leibler divergence of the distributions, in nats: exact from approximate
  bool same_top = false;          ///< the likeliest token is the same
};
Divergence divergence(std::span<const float> exact, std::span<const float> approximate);

}  // namespace promptcache::reuse
