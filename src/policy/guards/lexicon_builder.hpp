#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "policy/guards/analysis.hpp"
#include "policy/guards/lexicon.hpp"

namespace promptcache::guards {

/// Without blanks around.
std::string_view trimmed(std::string_view text) noexcept;
/// The parts between separators, trimmed.
std::vector<std::string_view> split(std::string_view text, char separator);

/// Collects words and phrases with what is known about them; `LexiconReader` knows the format of the lists.
class LexiconBuilder {
 protected:
  explicit LexiconBuilder(std::string place);

  /// A word or phrase while the lists are read.
  struct Entry {
    std::vector<Fact> facts;
    std::uint64_t sense = 0;
    std::uint64_t own = 0;   // hash of the stem or of the phrase
    std::uint64_t stem = 0;  // of a single word that is entered by its form; 0 otherwise
    std::vector<std::size_t> same_as;
    std::uint8_t longest_phrase = 0;
    bool gap_phrase = false;
    std::uint16_t expansion = 0;
  };
  struct Spelling {
    std::size_t entry = 0;
    bool weak = false;
  };

  /// Throws `Error(format)` for the current line.
  [[noreturn]] void fail(std::string_view found, const std::string& wanted) const;
  std::uint16_t counted(std::size_t number) const;

  /// Terms of a text of the list; at least one.
  Analysis cut_up(std::string_view text) const;
  /// The entry of a word or phrase as written in the list: "word", "word!", "turn off", "turn ... off".
  Spelling spelling(std::string_view text, bool inflected);
  std::uint64_t sense_of(std::size_t position);
  std::size_t add(std::string_view text, bool inflected, Fact fact);
  /// Words with the same fact and, but for those that mean something else already, the same meaning.
  void add_synonyms(std::string_view words, const Fact& fact);
  /// Makes the lexicon of the entries.
  void finish();

  std::string place_;
  std::size_t line_ = 0;
  std::shared_ptr<Lexicon> lexicon_;
  std::vector<Entry> entries_;

 private:
  std::size_t position(std::uint64_t key, std::uint64_t own);
  Entry& entry(std::uint64_t key, std::uint64_t own) { return entries_[position(key, own)]; }
  void share_facts();

  std::unordered_map<std::uint64_t, std::size_t> keys_;
};

}  // namespace promptcache::guards
