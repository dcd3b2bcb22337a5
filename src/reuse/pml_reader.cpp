#include "reuse/pml_reader.hpp"

#include <algorithm>
#include <charconv>

#include "reuse/characters.hpp"
#include "reuse/place_text.hpp"
#include "text/utf8.hpp"

namespace promptcache::reuse {
namespace {

bool is_space(char c) { return white_space.find(c) != std::string_view::npos; }

std::string shown(std::string_view text) {
  constexpr std::size_t most = 20;
  const std::size_t line = std::min(text.find('\n'), text.size());
  return "'" + std::string(text.substr(0, std::min(line, most))) + "'";
}

}  // namespace

Error PmlReader::error(const Place& place, const std::string& found, const std::string& wanted) const {
  return {ErrorCode::format, {place_text(source_, place)}, found, wanted};
}

void PmlReader::skip(std::size_t count) {
  for (const char c : rest_.substr(0, count)) {
    if (c == '\n') {
      ++line_;
      column_ = 1;
    } else if ((static_cast<unsigned char>(c) & 0xC0U) != 0x80U) {  // columns count characters
      ++column_;
    }
  }
  rest_.remove_prefix(std::min(count, rest_.size()));
}

void PmlReader::skip_white_space() {
  while (!rest_.empty() && is_space(rest_[0])) skip(1);
}

std::string PmlReader::take_until(std::string_view end, const char* what) {
  const Place begin = here();
  const std::size_t found = rest_.find(end);
  if (found == std::string_view::npos) throw error(begin, std::string(what) + " without end", std::string(end));
  std::string text(rest_.substr(0, found));
  skip(found + end.size());
  return text;
}

std::string PmlReader::name(const char* what) {
  if (rest_.empty() || !is_name_start(rest_[0])) {
    throw error(here(), rest_.empty() ? "the end" : shown(rest_), std::string("the name of ") + what);
  }
  std::size_t length = 1;
  while (length < rest_.size() && is_name_part(rest_[length])) ++length;
  std::string result(rest_.substr(0, length));
  skip(length);
  return result;
}

std::string PmlReader::entity() {
  const Place begin = here();
  constexpr std::size_t longest = 12;
  const std::size_t end = rest_.substr(0, longest).find(';');
  const std::string name(end == std::string_view::npos ? rest_.substr(0, 1) : rest_.substr(0, end + 1));
  constexpr std::pair<std::string_view, char> known[] = {
      {"&lt;", '<'}, {"&gt;", '>'}, {"&amp;", '&'}, {"&quot;", '"'}, {"&apos;", '\''}};
  skip(name.size());
  for (const auto& [text, character] : known) {
    if (name == text) return std::string(1, character);
  }
  if (name.size() > 3 && name[1] == '#') {
    const bool hexadecimal = name[2] == 'x';
    const char* first = name.data() + (hexadecimal ? 3 : 2);
    const char* last = name.data() + name.size() - 1;
    std::uint32_t value = 0;
    const auto [stop, status] = std::from_chars(first, last, value, hexadecimal ? 16 : 10);
    const bool surrogate = value >= 0xD800 && value < 0xE000;
    if (status == std::errc() && stop == last && value > 0 && value < 0x110000 && !surrogate) {
      std::string result;
      text::append_utf8(result, value);
      return result;
    }
  }
  throw error(begin, shown(name), "&lt; &gt; &amp; &quot; &apos; or a character's number, as &#65;");
}

Attribute PmlReader::attribute() {
  Attribute result;
  result.place = here();
  result.name = name("an attribute");
  skip_white_space();
  if (!at("="))
    throw error(here(), rest_.empty() ? "the end" : shown(rest_), "= and a value behind '" + result.name + "'");
  skip(1);
  skip_white_space();
  if (!at("\"") && !at("'")) {
    throw error(here(), rest_.empty() ? "the end" : shown(rest_), "the value of '" + result.name + "' in quotes");
  }
  const Place begin = here();
  const char quote = rest_[0];
  skip(1);
  while (!rest_.empty() && rest_[0] != quote) {
    if (rest_[0] == '<') throw error(here(), "'<' in the value of '" + result.name + "'", "&lt;");
    if (rest_[0] == '&') {
      result.value += entity();
    } else {
      result.value += rest_[0];
      skip(1);
    }
  }
  if (rest_.empty())
    throw error(begin, "a value of '" + result.name + "' without end", std::string("a closing ") + quote);
  skip(1);
  return result;
}

Token PmlReader::tag() {
  Token token;
  token.place = here();
  skip(1);
  const bool closing = at("/");
  if (closing) skip(1);
  token.kind = closing ? Token::Kind::close : Token::Kind::open;
  token.text = name("an element");
  while (true) {
    const bool space = !rest_.empty() && is_space(rest_[0]);
    skip_white_space();
    if (rest_.empty()) throw error(token.place, "<" + token.text + " without end", ">");
    if (at(">")) {
      skip(1);
      return token;
    }
    if (!closing && at("/>")) {
      skip(2);
      token.empty = true;
      return token;
    }
    if (closing || !space)
      throw error(here(), shown(rest_), closing ? "> of </" + token.text + ">" : "white space, > or />");
    Attribute found = attribute();
    for (const Attribute& other : token.attributes) {
      if (other.name == found.name) throw error(found.place, "'" + found.name + "' twice", "each attribute once");
    }
    token.attributes.push_back(std::move(found));
  }
}

Token PmlReader::next() {
  Token token;
  token.place = here();
  while (!rest_.empty()) {
    if (at("<!--")) {
      skip(4);
      take_until("-->", "a comment");
    } else if (at("<![CDATA[")) {
      skip(9);
      token.text += take_until("]]>", "CDATA");
    } else if (at("<!") || at("<?")) {
      throw error(here(), shown(rest_), "elements, text and comments only");
    } else if (at("<")) {
      if (!token.text.empty()) break;
      return tag();
    } else if (at("&")) {
      token.text += entity();
    } else {
      token.text += rest_[0];
      skip(1);
    }
  }
  token.kind = token.text.empty() ? Token::Kind::end : Token::Kind::text;
  return token;
}

}  // namespace promptcache::reuse
