#include "policy/guards/lexicon.hpp"

namespace promptcache::guards {

std::uint32_t Lexicon::slot(std::uint64_t key) const noexcept {
  const std::size_t mask = slots_.size() - 1;
  for (std::size_t i = key & mask;; i = (i + 1) & mask) {
    if (slots_[i].key == key) return slots_[i].word;
    if (slots_[i].word == 0) return 0;
  }
}

std::uint32_t Lexicon::find(std::uint64_t form, std::uint64_t stem) const noexcept {
  const std::uint32_t exact = slot(form);
  return exact != 0 ? exact : slot(stem ^ stem_salt);
}

const Fact* Lexicon::fact(std::uint32_t position, Role role) const noexcept {
  if (!words_[position].is(role)) return nullptr;
  for (const Fact& fact : facts(position)) {
    if (fact.role == role) return &fact;
  }
  return nullptr;
}

bool Lexicon::compatible(std::uint16_t one, std::uint16_t other) const noexcept {
  for (const auto& [a, b] : compatible_) {
    if ((a == one && b == other) || (a == other && b == one)) return true;
  }
  return one == other;
}

}  // namespace promptcache::guards
