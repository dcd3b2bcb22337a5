#include "promptcache/cache/scope.hpp"

#include <algorithm>
#include <utility>

namespace promptcache {

Digest Scope::digest() const {
  Sha256 hash;
  hash.field("promptcache", "scope 1");
  for (const auto& [name, value] : fields_) hash.field(name, value);
  return hash.finish();
}

bool Scope::is_prefix_of(const Fields& fields) const {
  return std::all_of(fields_.begin(), fields_.end(), [&](const auto& wanted) {
    const auto found = fields.find(wanted.first);
    const std::string_view prefix = std::string_view(wanted.second).substr(0, remembered_bytes);
    return found != fields.end() && std::string_view(found->second).starts_with(prefix);
  });
}

ScopeId::ScopeId() {
  static const ScopeId empty{Scope()};
  *this = empty;
}

ScopeId::ScopeId(const Scope& scope) : digest_(scope.digest()) {
  Scope::Fields fields = scope.fields();
  for (auto& [name, value] : fields) {
    if (value.size() > Scope::remembered_bytes) value.resize(Scope::remembered_bytes);
  }
  fields_ = std::make_shared<const Scope::Fields>(std::move(fields));
}

Digest request_key(const Digest& scope, std::string_view prompt, const Digest& embedder) {
  return Sha256()
      .field("promptcache", "key 1")
      .field("scope", scope.view())
      .field("prompt", prompt)
      .field("embedder", embedder.view())
      .finish();
}

}  // namespace promptcache
