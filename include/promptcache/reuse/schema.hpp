#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace promptcache::reuse {

/// A stretch of text. What is `special` comes from a chat template and is read as special tokens; all other text never
/// is, whatever it says.
struct Piece {
  std::string text;
  bool special = false;

  bool operator==(const Piece&) const = default;
};

/// Where something stands in a file, from 1 on; 0: it comes from no file.
struct Place {
  std::size_t line = 0, column = 0;
};

struct Node;

/// Text that always belongs to what it stands in. Tokenized by itself.
struct Text {
  Text() = default;
  Text(std::string text) : pieces{{std::move(text)}} {}
  Text(const char* text) : pieces{{text}} {}
  explicit Text(std::vector<Piece> of_pieces) : pieces(std::move(of_pieces)) {}

  std::vector<Piece> pieces;
  Place place = {};
};

/// A slot of `length` positions for an argument. `scaffold` fills it while the module around it is encoded.
struct Parameter {
  std::string name;
  std::size_t length = 0;  ///< tokens
  std::string scaffold = {};
  Place place = {};
};

/// A part of a prompt whose attention states are kept.
struct Module {
  Module();
  Module(std::string of_name, std::vector<Node> of_children, bool is_cached = true);
  explicit Module(std::string of_name);

  std::string name;
  std::vector<Node> children;
  bool cached = true;  ///< false: computed anew each time
  Place place = {};
};

/// Modules of which a prompt imports at most one; all begin at the same position.
struct Union {
  std::vector<Module> members;
  std::string scaffold = {};  ///< member that stands there while other modules are encoded; empty: none does
  Place place = {};
};

struct Node {
  Node(Text text) : content(std::move(text)) {}
  Node(std::string text) : content(Text(std::move(text))) {}
  Node(const char* text) : content(Text(text)) {}
  Node(Parameter parameter) : content(std::move(parameter)) {}
  Node(Module module) : content(std::move(module)) {}
  Node(Union alternatives) : content(std::move(alternatives)) {}

  std::variant<Text, Parameter, Module, Union> content;
};

// Defined here, where a Node is known: it holds modules itself.
inline Module::Module() = default;
inline Module::Module(std::string of_name, std::vector<Node> of_children, bool is_cached)
    : name(std::move(of_name)), children(std::move(of_children)), cached(is_cached) {}
inline Module::Module(std::string of_name) : Module(std::move(of_name), {}) {}

/// The parts that prompts share (arXiv 2311.04934). Written as structures,
///
///     Schema schema{"trip", {"Plan a trip. ", Module{"city", {"To ", Parameter{"name", 8}, "."}},
///                            Union{{{"beach", {"By the sea."}}, {"mountain", {"High up."}}}}}};
///
/// or read from PML (pml.hpp).
struct Schema {
  std::string name;
  std::vector<Node> children = {};
  std::string source = {};  ///< file, for messages
};

/// A module that a prompt imports, with arguments by parameter and the modules inside it that it imports too.
struct Import {
  std::string module;
  std::vector<std::pair<std::string, std::string>> arguments = {};
  std::vector<Import> inside = {};
  Place place = {};
};

/// A prompt over a schema: imports, text between them, and text behind the last one, which comes last.
struct Prompt {
  std::string schema;
  std::vector<std::variant<Import, Text>> parts = {};
  std::string source = {};  ///< file, for messages
};

/// Checks what structures cannot say: names ([A-Za-z_][A-Za-z0-9_.-]*, none twice among siblings, members of unions
/// counted among these), slots of at least one token and not directly in the schema, scaffolds that are members. Throws
/// `Error(format)` naming the place.
void check(const Schema& schema);

}  // namespace promptcache::reuse
