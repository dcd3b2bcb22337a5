#include "promptcache/cache/scope.hpp"

namespace promptcache {
namespace {

std::string_view raw(const Digest& digest) {
  return {reinterpret_cast<const char*>(digest.bytes.data()), digest.bytes.size()};
}

}  // namespace

Digest Scope::digest() const {
  Sha256 hash;
  hash.field("promptcache", "scope 1");
  for (const auto& [name, value] : fields_) hash.field(name, value);
  return hash.finish();
}

ScopeId::ScopeId() {
  static const Digest empty = Scope().digest();
  digest_ = empty;
}

Digest request_key(const ScopeId& scope, std::string_view prompt) {
  return Sha256().field("promptcache", "key 1").field("scope", raw(scope.digest())).field("prompt", prompt).finish();
}

}  // namespace promptcache
