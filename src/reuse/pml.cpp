#include "promptcache/reuse/pml.hpp"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <utility>

#include "promptcache/base/file.hpp"
#include "reuse/characters.hpp"
#include "reuse/pml_reader.hpp"
#include "reuse/pml_text.hpp"

namespace promptcache::reuse {
namespace {

using Kind = Token::Kind;

constexpr std::size_t deepest = 64;  // nesting of modules and of imports

std::string tag_text(const Token& token) {
  if (token.kind == Kind::end) return "the end";
  if (token.kind == Kind::text) return "text";
  return (token.kind == Kind::close ? "</" : "<") + token.text + ">";
}

std::string closing(const Token& open) { return "</" + open.text + "> of line " + std::to_string(open.place.line); }

/// What both kinds of documents need.
class Parser {
 public:
  Parser(std::string_view pml, const std::string& source, const PmlOptions& options)
      : source_(source), options_(options), reader_(pml, source) {}

 protected:
  /// The root element; what is in front of it may be white space only.
  Token root(const char* name) {
    Token token = reader_.next();
    while (token.kind == Kind::text && blank(token)) token = reader_.next();
    if (token.kind != Kind::open || token.text != name) {
      throw reader_.error(token.place, tag_text(token), std::string("<") + name + ">");
    }
    return token;
  }

  void expect_end() {
    Token token = reader_.next();
    while (token.kind == Kind::text && blank(token)) token = reader_.next();
    if (token.kind != Kind::end) throw reader_.error(token.place, tag_text(token) + " behind the root", "the end");
  }

  static bool blank(const Token& token) { return token.text.find_first_not_of(white_space) == std::string::npos; }

  /// Throws for an attribute that is not among these.
  void check_attributes(const Token& tag, std::initializer_list<std::string_view> known) const {
    for (const Attribute& attribute : tag.attributes) {
      if (std::find(known.begin(), known.end(), attribute.name) != known.end()) continue;
      std::string names;
      for (const std::string_view name : known) names += (names.empty() ? "" : ", ") + std::string(name);
      throw reader_.error(attribute.place, "attribute '" + attribute.name + "' of <" + tag.text + ">", names);
    }
  }

  static const Attribute* find(const Token& tag, std::string_view name) {
    const auto found = std::find_if(tag.attributes.begin(), tag.attributes.end(),
                                    [&](const Attribute& attribute) { return attribute.name == name; });
    return found == tag.attributes.end() ? nullptr : &*found;
  }

  const std::string& required(const Token& tag, std::string_view name) const {
    if (const Attribute* attribute = find(tag, name)) return attribute->value;
    throw reader_.error(tag.place, "<" + tag.text + "> without " + std::string(name), "it");
  }

  const std::string& source_;
  const PmlOptions& options_;
  PmlReader reader_;
};

class SchemaParser : Parser {
 public:
  using Parser::Parser;

  Schema parse() {
    const Token tag = root("schema");
    check_attributes(tag, {"name"});
    Schema schema;
    schema.source = source_;
    schema.name = required(tag, "name");
    if (!tag.empty) children(tag, schema.children);
    expect_end();
    check(schema);
    return schema;
  }

 private:
  void children(const Token& parent, std::vector<Node>& nodes) {
    if (++depth_ > deepest)
      throw reader_.error(parent.place, "modules nested deeper than " + std::to_string(deepest), "a flatter schema");
    TextParts texts(options_.chat);
    const auto flush = [&] {
      if (std::optional<Text> text = texts.finish()) nodes.push_back(std::move(*text));
    };
    while (true) {
      const Token token = reader_.next();
      if (texts.take(token)) continue;
      flush();
      if (token.kind == Kind::close && token.text == parent.text) break;
      if (token.kind != Kind::open) throw reader_.error(token.place, tag_text(token), closing(parent));
      if (token.text == "module") {
        nodes.push_back(module(token));
      } else if (token.text == "union") {
        nodes.push_back(alternatives(token));
      } else if (token.text == "parameter" || token.text == "param") {
        nodes.push_back(parameter(token));
      } else {
        throw reader_.error(
            token.place, tag_text(token),
            "module, union, parameter, system, user or assistant, without attributes that are not theirs");
      }
    }
    --depth_;
  }

  Module module(const Token& tag) {
    check_attributes(tag, {"name", "cache", "src"});
    Module result;
    result.place = tag.place;
    result.name = required(tag, "name");
    if (const Attribute* cache = find(tag, "cache")) {
      if (cache->value != "true" && cache->value != "false") {
        throw reader_.error(cache->place, "cache='" + cache->value + "'", "true or false");
      }
      result.cached = cache->value == "true";
    }
    if (const Attribute* file = find(tag, "src")) {
      if (!options_.read_files) throw reader_.error(file->place, "src", "text inside the module: reading files is off");
      const std::filesystem::path folder = std::filesystem::path(source_).parent_path();
      Text text(read_file((folder / file->value).string()));
      text.place = file->place;
      result.children.push_back(std::move(text));
    }
    if (!tag.empty) children(tag, result.children);
    return result;
  }

  Union alternatives(const Token& tag) {
    check_attributes(tag, {"scaffold"});
    Union result;
    result.place = tag.place;
    if (const Attribute* scaffold = find(tag, "scaffold")) result.scaffold = scaffold->value;
    while (!tag.empty) {
      const Token token = reader_.next();
      if (token.kind == Kind::text && blank(token)) continue;
      if (token.kind == Kind::close && token.text == tag.text) break;
      if (token.kind != Kind::open || token.text != "module") {
        throw reader_.error(token.place, tag_text(token) + " in a union", "modules, then " + closing(tag));
      }
      result.members.push_back(module(token));
    }
    return result;
  }

  Parameter parameter(const Token& tag) {
    check_attributes(tag, {"name", "length", "len", "scaffold"});
    Parameter result;
    result.place = tag.place;
    result.name = required(tag, "name");
    const Attribute* length = find(tag, "length") != nullptr ? find(tag, "length") : find(tag, "len");
    if (length == nullptr) throw reader_.error(tag.place, "<" + tag.text + "> without length", "it");
    const char* last = length->value.data() + length->value.size();
    const auto [end, status] = std::from_chars(length->value.data(), last, result.length);
    if (status != std::errc() || end != last || result.length == 0) {
      throw reader_.error(length->place, "length '" + length->value + "'", "a number of tokens, at least 1");
    }
    if (const Attribute* scaffold = find(tag, "scaffold")) result.scaffold = scaffold->value;
    if (!tag.empty) {
      const Token token = reader_.next();
      if (token.kind != Kind::close || token.text != tag.text) {
        throw reader_.error(token.place, tag_text(token) + " in a parameter", closing(tag));
      }
    }
    return result;
  }

  std::size_t depth_ = 0;
};

class PromptParser : Parser {
 public:
  using Parser::Parser;

  Prompt parse() {
    const Token tag = root("prompt");
    check_attributes(tag, {"schema"});
    Prompt prompt;
    prompt.source = source_;
    prompt.schema = required(tag, "schema");
    TextParts texts(options_.chat);
    while (!tag.empty) {
      const Token token = reader_.next();
      if (texts.take(token)) continue;
      const bool last = token.kind == Kind::close && token.text == tag.text;
      if (std::optional<Text> text = texts.finish(last)) prompt.parts.emplace_back(std::move(*text));
      if (last) break;
      if (token.kind != Kind::open) throw reader_.error(token.place, tag_text(token), closing(tag));
      prompt.parts.emplace_back(import(token, 0));
    }
    expect_end();
    return prompt;
  }

 private:
  Import import(const Token& tag, std::size_t depth) {
    if (depth > deepest)
      throw reader_.error(tag.place, "imports nested deeper than " + std::to_string(deepest), "a flatter prompt");
    Import result;
    result.place = tag.place;
    result.module = tag.text;
    for (const Attribute& attribute : tag.attributes) result.arguments.emplace_back(attribute.name, attribute.value);
    while (!tag.empty) {
      const Token token = reader_.next();
      if (token.kind == Kind::text && blank(token)) continue;
      if (token.kind == Kind::close && token.text == tag.text) break;
      if (token.kind != Kind::open) {
        throw reader_.error(token.place, tag_text(token) + " in an import",
                            "imports of modules inside, then " + closing(tag));
      }
      result.inside.push_back(import(token, depth + 1));
    }
    return result;
  }
};

}  // namespace

Schema parse_schema(std::string_view pml, const std::string& source, const PmlOptions& options) {
  return SchemaParser(pml, source, options).parse();
}

Prompt parse_prompt(std::string_view pml, const std::string& source, const PmlOptions& options) {
  return PromptParser(pml, source, options).parse();
}

Schema read_schema(const std::string& path, const PmlOptions& options) {
  return parse_schema(read_file(path), path, options);
}

Prompt read_prompt(const std::string& path, const PmlOptions& options) {
  return parse_prompt(read_file(path), path, options);
}

}  // namespace promptcache::reuse
