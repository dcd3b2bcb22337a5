#pragma once

#include <random>
#include <string>
#include <utility>
#include <vector>

#include "promptcache/reuse/schema.hpp"

namespace test {

/// Children of a schema of random shape; `names` counts up.
inline std::vector<promptcache::reuse::Node> random_children(std::mt19937& random, int depth, int& names,
                                                             bool in_schema) {
  using namespace promptcache::reuse;
  std::vector<Node> children;
  const auto count = random() % 5;
  for (unsigned i = 0; i < count; ++i) {
    const auto kind = random() % (depth > 3 ? 2 : 4);
    std::string text;
    for (unsigned word = 0; word < random() % 4; ++word) text += " w" + std::to_string(names++);
    if (kind == 0) children.emplace_back(text);
    if (kind == 1 && !in_schema) children.emplace_back(Parameter{"p" + std::to_string(names++), 1 + random() % 4});
    if (kind == 2) {
      const std::string name = "m" + std::to_string(names++);
      children.emplace_back(Module{name, random_children(random, depth + 1, names, false)});
    }
    if (kind == 3) {
      Union alternatives;
      for (unsigned member = 0; member < 1 + random() % 3; ++member) {
        const std::string name = "u" + std::to_string(names++);
        alternatives.members.push_back({name, random_children(random, depth + 1, names, false)});
      }
      if (random() % 2 == 0) alternatives.scaffold = alternatives.members[0].name;
      children.emplace_back(std::move(alternatives));
    }
  }
  return children;
}

/// Imports of some of the modules among `children`, at most one of a union, with some arguments.
inline std::vector<promptcache::reuse::Import> random_imports(std::mt19937& random,
                                                              const std::vector<promptcache::reuse::Node>& children) {
  using namespace promptcache::reuse;
  std::vector<Import> imports;
  const auto add = [&](const Module& module) {
    Import import{module.name};
    for (const Node& child : module.children) {
      const auto* slot = std::get_if<Parameter>(&child.content);
      if (slot == nullptr || random() % 3 == 0) continue;
      std::string value;
      for (std::size_t word = 0; word < random() % (slot->length + 1); ++word)
        value += " a" + std::to_string(random() % 50);
      import.arguments.emplace_back(slot->name, value);
    }
    import.inside = random_imports(random, module.children);
    imports.push_back(std::move(import));
  };
  for (const Node& child : children) {
    if (random() % 4 == 0) continue;
    if (const auto* module = std::get_if<Module>(&child.content)) add(*module);
    if (const auto* alternatives = std::get_if<Union>(&child.content)) {
      add(alternatives->members[random() % alternatives->members.size()]);
    }
  }
  return imports;
}

}  // namespace test
