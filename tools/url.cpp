#include <algorithm>
#include <charconv>
#include <string_view>

#include "http_endpoint.hpp"
#include "promptcache/base/error.hpp"

namespace tool {

std::string Url::origin() const {
  const bool bare_ipv6 = host.find(':') != std::string::npos;
  return std::string(https ? "https://" : "http://") + (bare_ipv6 ? "[" + host + "]" : host) + ":" +
         std::to_string(port);
}

bool Url::local() const { return host == "localhost" || host == "::1" || host.substr(0, 4) == "127."; }

Url parse_url(const std::string& text, const std::string& place) {
  using promptcache::Error;
  using promptcache::ErrorCode;
  const auto refuse = [&](const std::string& found, const std::string& wanted) {
    throw Error(ErrorCode::usage, {place}, found, wanted);
  };
  Url url;
  std::string_view rest = text;
  const auto skip = [&](std::string_view start) {
    if (rest.substr(0, start.size()) != start) return false;
    rest.remove_prefix(start.size());
    return true;
  };
  if (skip("https://")) {
    url.https = true;
  } else if (!skip("http://")) {
    refuse("'" + text.substr(0, text.find('?')) + "'", "an address that begins with http:// or https://");
  }
  const std::size_t end = std::min(rest.find_first_of("/?#"), rest.size());
  std::string_view authority = rest.substr(0, end);
  url.path = rest.substr(end, rest.find('#') - end);
  if (!url.path.empty() && url.path[0] == '?') url.path = "/" + url.path;
  if (authority.find('@') != std::string_view::npos) {
    refuse("a user or password in the address", "none: keys come from the environment (--key-env)");
  }
  if (!authority.empty() && authority[0] == '[') {
    const std::size_t close = authority.find(']');
    if (close == std::string_view::npos) refuse("'" + std::string(authority) + "'", "a ']' after an IPv6 address");
    url.host = authority.substr(1, close - 1);
    authority.remove_prefix(close + 1);
  } else {
    const std::size_t colon = std::min(authority.find(':'), authority.size());
    url.host = authority.substr(0, colon);
    authority.remove_prefix(colon);
  }
  const auto odd = [](unsigned char c) { return c <= ' ' || c >= 0x7f; };
  if (url.host.empty() || std::any_of(url.host.begin(), url.host.end(), odd)) refuse("no host", "the name of one");
  if (std::any_of(url.path.begin(), url.path.end(), odd)) {
    refuse("an address with white space or characters outside ASCII", "these written as %xx");
  }
  url.port = url.https ? 443 : 80;
  if (!authority.empty()) {
    const std::string_view digits = authority.substr(1);
    const auto [stop, status] = std::from_chars(digits.data(), digits.data() + digits.size(), url.port);
    const bool number = !digits.empty() && status == std::errc() && stop == digits.data() + digits.size();
    if (authority[0] != ':' || !number || url.port < 1 || url.port > 65535) {
      refuse("port '" + std::string(digits) + "'", "a number from 1 to 65535");
    }
  }
  return url;
}

Url completions_url(const std::string& endpoint, const std::string& place) {
  constexpr std::string_view last = "/chat/completions";
  Url url = parse_url(endpoint, place);
  const std::size_t end = std::min(url.path.find('?'), url.path.size());
  std::string path = url.path.substr(0, end);
  const std::string query = url.path.substr(end);
  while (!path.empty() && path.back() == '/') path.pop_back();
  if (path.empty()) path = "/v1";
  if (path.size() < last.size() || path.compare(path.size() - last.size(), last.size(), last) != 0) path += last;
  url.path = path + query;
  return url;
}

}  // namespace tool
