#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "promptcache/base/error.hpp"
#include "promptcache/reuse/layout.hpp"
#include "reuse/place_text.hpp"

namespace promptcache::reuse {
namespace {

/// Positions that are taken, as begin and end.
class Taken {
 public:
  void add(std::size_t begin, std::size_t length) {
    if (length > 0) ends_[begin] = std::max(ends_[begin], begin + length);
  }

  /// Free positions from `begin` on; none when it is taken itself.
  std::size_t room(std::size_t begin, std::size_t end) const {
    for (const auto& [first, last] : ends_) {
      if (last <= begin) continue;
      return first <= begin ? 0 : std::min(first, end) - begin;
    }
    return end - std::min(begin, end);
  }

 private:
  std::map<std::size_t, std::size_t> ends_;  // by begin
};

class Assembler {
 public:
  Assembler(const Placed& schema, const Prompt& prompt, const Tokenize& tokenize)
      : schema_(schema), prompt_(prompt), tokenize_(tokenize) {}

  Assembly assemble() {
    std::vector<Import> imports;
    for (const auto& part : prompt_.parts) {
      if (const auto* import = std::get_if<Import>(&part)) imports.push_back(*import);
    }
    include(schema_, imports, {});
    std::stable_sort(result_.texts.begin(), result_.texts.end(),
                     [](const Placed* a, const Placed* b) { return a->begin < b->begin; });
    place_texts();
    return std::move(result_);
  }

 private:
  Error wrong(const Place& place, const std::string& found, const std::string& wanted) const {
    return {ErrorCode::format, {place_text(prompt_.source, place, "prompt")}, found, wanted};
  }

  std::string path_of(const std::vector<std::string>& path) const {
    std::string text = "schema '" + schema_.name + "'";
    for (const std::string& name : path) text += ", module '" + name + "'";
    return text;
  }

  /// Takes the texts and slots of a module and of those that are imported from it.
  void include(const Placed& module, const std::vector<Import>& imports, std::vector<std::string> path) {
    for (const Placed& child : module.children) {
      if (child.kind == Placed::Kind::text) result_.texts.push_back(&child);
      if (child.kind == Placed::Kind::text || child.kind == Placed::Kind::parameter)
        taken_.add(child.begin, child.length);
    }
    std::set<const Placed*> imported;
    for (const Import& import : imports) {
      const Placed* found = module.module(import.module);
      if (found == nullptr) throw wrong(import.place, "module '" + import.module + "'", "a module of " + path_of(path));
      if (!imported.insert(found).second) {
        throw wrong(import.place, "module '" + import.module + "' twice", "each module once");
      }
      for (const Placed& child : module.children) {
        if (child.kind != Placed::Kind::alternatives) continue;
        const auto members = std::count_if(child.children.begin(), child.children.end(),
                                           [&](const Placed& member) { return imported.count(&member) > 0; });
        if (members > 1) {
          throw wrong(import.place, "module '" + import.module + "' beside another member of its union",
                      "one member of a union");
        }
      }
      path.push_back(import.module);
      place_arguments(*found, import, path);
      include(*found, import.inside, path);
      path.pop_back();
    }
  }

  void place_arguments(const Placed& module, const Import& import, const std::vector<std::string>& path) {
    std::set<std::string> seen;
    for (const auto& [name, value] : import.arguments) {
      const auto slot =
          std::find_if(module.children.begin(), module.children.end(), [&, &wanted = name](const Placed& child) {
            return child.kind == Placed::Kind::parameter && child.name == wanted;
          });
      if (slot == module.children.end()) {
        throw wrong(import.place, "argument '" + name + "'", "a parameter of " + path_of(path));
      }
      if (!seen.insert(name).second) throw wrong(import.place, "argument '" + name + "' twice", "each once");
      const Piece piece{value};
      NewTokens argument{tokenize_({&piece, 1}), slot->begin};
      if (argument.tokens.size() > slot->length) {
        throw wrong(import.place, "an argument '" + name + "' of " + std::to_string(argument.tokens.size()) + " tokens",
                    "at most " + std::to_string(slot->length));
      }
      if (!argument.tokens.empty()) result_.arguments.push_back(std::move(argument));
    }
  }

  void place_texts() {
    std::size_t behind = 0;  // the end of the import before
    for (std::size_t i = 0; i < prompt_.parts.size(); ++i) {
      if (const auto* import = std::get_if<Import>(&prompt_.parts[i])) {
        behind = schema_.module(import->module)->end();
        continue;
      }
      const auto& text = std::get<Text>(prompt_.parts[i]);
      NewTokens placed{tokenize_(text.pieces), behind};
      if (i + 1 == prompt_.parts.size()) {
        placed.begin = schema_.end();
        result_.last = std::move(placed);
        return;
      }
      const std::size_t room = taken_.room(behind, schema_.end());
      if (placed.tokens.size() > room) {
        throw wrong(text.place,
                    "text of " + std::to_string(placed.tokens.size()) + " tokens at position " + std::to_string(behind),
                    "at most the " + std::to_string(room) + " that are free there, or the text behind all imports");
      }
      taken_.add(behind, placed.tokens.size());
      behind += placed.tokens.size();  // two texts in a row
      if (!placed.tokens.empty()) result_.between.push_back(std::move(placed));
    }
    result_.last.begin = schema_.end();
  }

  const Placed& schema_;
  const Prompt& prompt_;
  const Tokenize& tokenize_;
  Assembly result_;
  Taken taken_;
};

}  // namespace

Assembly assemble(const Placed& schema, const Prompt& prompt, const Tokenize& tokenize) {
  if (prompt.schema != schema.name) {
    throw Error(ErrorCode::mismatch, {place_text(prompt.source, {}, "prompt")},
                "a prompt for schema '" + prompt.schema + "'", "'" + schema.name + "'");
  }
  return Assembler(schema, prompt, tokenize).assemble();
}

}  // namespace promptcache::reuse
