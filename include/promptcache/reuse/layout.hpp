#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "promptcache/reuse/chat_tags.hpp"
#include "promptcache/reuse/schema.hpp"

namespace promptcache::reuse {

/// A part of a schema and the positions it has; those of a child lie in those of its parent.
struct Placed {
  enum class Kind { text, parameter, module, alternatives };

  Kind kind = Kind::module;
  std::string name;                     ///< of a module or parameter
  std::size_t begin = 0, length = 0;    ///< positions
  std::vector<std::int32_t> tokens;     ///< of a text, or of a parameter's scaffold
  std::vector<Placed> children;         ///< of a module; members of a union
  std::optional<std::size_t> scaffold;  ///< member of a union that stands there while others are encoded
  bool cached = true;                   ///< of a module

  std::size_t end() const { return begin + length; }

  /// The module of this name among the children, members of unions counted among them; null when there is none.
  const Placed* module(std::string_view wanted) const;
};

/// Positions of all parts of a schema, as the paper assigns them: one after the other, members of a union all from the
/// same one, a union as long as its longest member. Nothing is moved when a module is not imported. The result is a
/// module that is the schema. Throws `Error`: what `check` throws, and format for a scaffold that is longer than its
/// slot.
Placed lay_out(const Schema& schema, const Tokenize& tokenize);

/// A token and its position.
struct PlacedToken {
  std::int32_t token = 0;
  std::size_t position = 0;

  bool operator==(const PlacedToken&) const = default;
};

/// A text or slot that stands in the schema while it is encoded at once.
struct ScaffoldPart {
  const Placed* part = nullptr;      ///< a text or a parameter
  std::vector<std::int32_t> tokens;  ///< from its begin on; a slot is filled with its scaffold and then `unknown`
};

/// The parts of the whole schema in order of position: every text outside unions, all slots, of each union the member
/// on `path`, otherwise its scaffold, otherwise nothing. `path` names modules from the schema down to the member; none:
/// defaults only. Throws `Error(not_found)` for a path that leads nowhere.
std::vector<ScaffoldPart> scaffold_parts(const Placed& schema, std::span<const std::string> path, std::int32_t unknown);

/// The same token by token.
std::vector<PlacedToken> scaffold_tokens(const Placed& schema, std::span<const std::string> path, std::int32_t unknown);

/// What a prompt has new: an argument, or text.
struct NewTokens {
  std::vector<std::int32_t> tokens;
  std::size_t begin = 0;  ///< position of the first
};

/// A prompt on the positions of its schema.
struct Assembly {
  std::vector<const Placed*> texts;  ///< of the schema and the imported modules, in order of position
  std::vector<NewTokens> arguments;  ///< in the order of the imports
  std::vector<NewTokens> between;    ///< text in front of imports, from the end of the import before it
  NewTokens last;                    ///< text at the end, behind the whole schema
};

/// Places a prompt. An argument takes the first positions of its slot. Text between imports takes those behind the
/// import before it, or the first ones, which must be free: not those of an imported part, of a slot, or of other text.
/// Throws `Error`: mismatch for another schema's prompt; format, naming the place, for an unknown module or parameter,
/// a module or argument given twice, two members of a union, an argument longer than its slot, or text that does not
/// fit. `schema` must outlive the result.
Assembly assemble(const Placed& schema, const Prompt& prompt, const Tokenize& tokenize);

}  // namespace promptcache::reuse
