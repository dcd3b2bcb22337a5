#include "promptcache/reuse/layout.hpp"

#include <algorithm>
#include <utility>

#include "promptcache/base/error.hpp"
#include "reuse/place_text.hpp"

namespace promptcache::reuse {
namespace {

class Layouter {
 public:
  Layouter(const Schema& schema, const Tokenize& tokenize) : schema_(schema), tokenize_(tokenize) {}

  Placed place() const { return place(schema_.name, schema_.children, 0); }

 private:
  Placed place(const std::string& name, const std::vector<Node>& children, std::size_t begin) const {
    Placed result;
    result.name = name;
    result.begin = begin;
    for (const Node& child : children) {
      result.children.push_back(
          std::visit([&](const auto& content) { return place(content, result.end()); }, child.content));
      result.length += result.children.back().length;
    }
    return result;
  }

  Placed place(const Module& module, std::size_t begin) const {
    Placed result = place(module.name, module.children, begin);
    result.cached = module.cached;
    return result;
  }

  Placed place(const Text& text, std::size_t begin) const {
    Placed result;
    result.kind = Placed::Kind::text;
    result.begin = begin;
    result.tokens = tokenize_(text.pieces);
    result.length = result.tokens.size();
    return result;
  }

  Placed place(const Parameter& parameter, std::size_t begin) const {
    Placed result;
    result.kind = Placed::Kind::parameter;
    result.name = parameter.name;
    result.begin = begin;
    result.length = parameter.length;
    if (!parameter.scaffold.empty()) {
      const Piece piece{parameter.scaffold};
      result.tokens = tokenize_({&piece, 1});
    }
    if (result.tokens.size() > parameter.length) {
      throw Error(
          ErrorCode::format, {place_text(schema_.source, parameter.place)},
          "a scaffold of " + std::to_string(result.tokens.size()) + " tokens in parameter '" + parameter.name + "'",
          "at most its length, " + std::to_string(parameter.length));
    }
    return result;
  }

  Placed place(const Union& alternatives, std::size_t begin) const {
    Placed result;
    result.kind = Placed::Kind::alternatives;
    result.begin = begin;
    for (const Module& member : alternatives.members) {
      if (!alternatives.scaffold.empty() && member.name == alternatives.scaffold)
        result.scaffold = result.children.size();
      result.children.push_back(place(member, begin));
      result.length = std::max(result.length, result.children.back().length);
    }
    return result;
  }

  const Schema& schema_;
  const Tokenize& tokenize_;
};

void add_scaffold(const Placed& part, std::span<const std::string> path, std::int32_t unknown,
                  std::vector<ScaffoldPart>& parts) {
  if (part.kind == Placed::Kind::alternatives) {
    const auto chosen = std::find_if(part.children.begin(), part.children.end(),
                                     [&](const Placed& member) { return !path.empty() && member.name == path[0]; });
    if (chosen != part.children.end()) {
      add_scaffold(*chosen, path.subspan(1), unknown, parts);
    } else if (part.scaffold) {
      add_scaffold(part.children[*part.scaffold], {}, unknown, parts);
    }
    return;
  }
  if (part.kind != Placed::Kind::module) {
    parts.push_back({&part, part.tokens});
    parts.back().tokens.resize(part.length, unknown);
  }
  for (const Placed& child : part.children) {
    const bool on_path = child.kind == Placed::Kind::module && !path.empty() && child.name == path[0];
    const bool may_hold_it = child.kind == Placed::Kind::alternatives;
    add_scaffold(child,
                 on_path       ? path.subspan(1)
                 : may_hold_it ? path
                               : std::span<const std::string>(),
                 unknown, parts);
  }
}

}  // namespace

const Placed* Placed::module(std::string_view wanted) const {
  for (const Placed& child : children) {
    if (child.kind == Kind::module && child.name == wanted) return &child;
    if (child.kind != Kind::alternatives) continue;
    for (const Placed& member : child.children) {
      if (member.name == wanted) return &member;
    }
  }
  return nullptr;
}

Placed lay_out(const Schema& schema, const Tokenize& tokenize) {
  check(schema);
  return Layouter(schema, tokenize).place();
}

std::vector<ScaffoldPart> scaffold_parts(const Placed& schema, std::span<const std::string> path,
                                         std::int32_t unknown) {
  const Placed* at = &schema;
  for (const std::string& name : path) {
    at = at->module(name);
    if (at == nullptr) {
      throw Error(ErrorCode::not_found, {"schema '" + schema.name + "'"}, "no module '" + name + "' on the path",
                  "one of that name");
    }
  }
  std::vector<ScaffoldPart> parts;
  add_scaffold(schema, path, unknown, parts);
  return parts;
}

std::vector<PlacedToken> scaffold_tokens(const Placed& schema, std::span<const std::string> path,
                                         std::int32_t unknown) {
  std::vector<PlacedToken> tokens;
  for (const ScaffoldPart& part : scaffold_parts(schema, path, unknown)) {
    for (std::size_t i = 0; i < part.tokens.size(); ++i) tokens.push_back({part.tokens[i], part.part->begin + i});
  }
  return tokens;
}

}  // namespace promptcache::reuse
