#include "promptcache/reuse/schema.hpp"

#include <set>

#include "promptcache/base/error.hpp"
#include "reuse/characters.hpp"
#include "reuse/place_text.hpp"

namespace promptcache::reuse {
namespace {

class Checker {
 public:
  explicit Checker(const std::string& source) : source_(source) {}

  void check_name(const std::string& name, const char* of, const Place& place) const {
    if (!is_name(name)) throw wrong(place, std::string(of) + " '" + name + "'", "a name: [A-Za-z_][A-Za-z0-9_.-]*");
    if (name == "system" || name == "user" || name == "assistant") {
      throw wrong(place, std::string(of) + " '" + name + "'", "another name: this one is a chat tag");
    }
  }

  void check_children(const std::vector<Node>& children, bool in_schema) const {
    std::set<std::string> modules, parameters;
    const auto add = [&](std::set<std::string>& names, const std::string& name, const char* of, const Place& place) {
      check_name(name, of, place);
      if (!names.insert(name).second) throw wrong(place, std::string(of) + " '" + name + "' twice", "each once");
    };
    for (const Node& node : children) {
      if (const auto* parameter = std::get_if<Parameter>(&node.content)) {
        if (in_schema) {
          throw wrong(parameter->place, "parameter '" + parameter->name + "' directly in the schema", "it in a module");
        }
        add(parameters, parameter->name, "parameter", parameter->place);
        if (parameter->length == 0) {
          throw wrong(parameter->place, "parameter '" + parameter->name + "' of length 0", "at least one token");
        }
      } else if (const auto* module = std::get_if<Module>(&node.content)) {
        add(modules, module->name, "module", module->place);
        check_children(module->children, false);
      } else if (const auto* alternatives = std::get_if<Union>(&node.content)) {
        bool scaffold = alternatives->scaffold.empty();
        for (const Module& member : alternatives->members) {
          add(modules, member.name, "module", member.place);
          check_children(member.children, false);
          scaffold = scaffold || member.name == alternatives->scaffold;
        }
        if (!scaffold) {
          throw wrong(alternatives->place, "scaffold '" + alternatives->scaffold + "'", "a member of the union");
        }
      }
    }
  }

 private:
  Error wrong(const Place& place, const std::string& found, const std::string& wanted) const {
    return {ErrorCode::format, {place_text(source_, place)}, found, wanted};
  }

  const std::string& source_;
};

}  // namespace

void check(const Schema& schema) {
  const Checker checker(schema.source);
  checker.check_name(schema.name, "schema", {1, 1});
  checker.check_children(schema.children, true);
}

}  // namespace promptcache::reuse
