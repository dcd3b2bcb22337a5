#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace promptcache {

/// What kind of difference between two prompts a guard looks for.
enum class GuardKind : std::uint8_t {
  negation,       ///< the one denies what the other states
  antonym,        ///< enable against disable
  number,         ///< numbers, number words, ordinals, fractions
  unit,           ///< 5 km against 5 miles
  date,           ///< dates, months, weekdays, times of day, relative days
  version,        ///< Python 3.11 against Python 3.8
  quotation,      ///< quoted text
  code,           ///< identifiers, flags, paths, URLs, e-mail addresses, text in backticks
  name,           ///< names by their shape, and well-known names
  direction,      ///< who does it to whom, from where to where, left against right
  degree,         ///< fast, faster, fastest; all, some, none
  question_type,  ///< who against when
  condition,      ///< with against without, before against after
  language,       ///< the language of the prompt, or the one asked for
  format,         ///< JSON against XML, a poem against an essay
  person,         ///< my against your, he against she
  tense,          ///< did against will
  category,       ///< another member of the same category: red against blue
  substitution,   ///< one word replaced by another in otherwise equal prompts
};

inline constexpr std::size_t guard_kind_count = static_cast<std::size_t>(GuardKind::substitution) + 1;

/// Name of a kind as it appears in logs and list files, for example "question_type".
const char* to_string(GuardKind kind) noexcept;

/// How much a difference says. Most paraphrases leave something out or add something; few of them replace it.
enum class GuardStrength : std::uint8_t {
  missing,   ///< the one has something that the other lacks
  replaced,  ///< the one has something, the other something else of the same kind instead
};

/// "missing" or "replaced".
const char* to_string(GuardStrength strength) noexcept;

/// What follows from a finding.
enum class GuardAction : std::uint8_t {
  off,   ///< not reported
  flag,  ///< reported: evidence for whoever decides
  veto,  ///< reported, and reason enough not to serve the response
};

/// "off", "flag" or "veto".
const char* to_string(GuardAction action) noexcept;

/// The kinds and strengths that were found, as a set of bits.
class GuardFlags {
 public:
  constexpr GuardFlags() = default;
  static constexpr GuardFlags from_bits(std::uint64_t bits) noexcept { return GuardFlags(bits); }

  constexpr void add(GuardKind kind, GuardStrength strength) noexcept { bits_ |= bit(kind, strength); }
  constexpr bool has(GuardKind kind, GuardStrength strength) const noexcept {
    return (bits_ & bit(kind, strength)) != 0;
  }
  constexpr bool has(GuardKind kind) const noexcept {
    return has(kind, GuardStrength::missing) || has(kind, GuardStrength::replaced);
  }
  constexpr bool any() const noexcept { return bits_ != 0; }
  constexpr GuardFlags operator&(GuardFlags other) const noexcept { return GuardFlags(bits_ & other.bits_); }
  constexpr bool operator==(const GuardFlags&) const = default;
  /// Bit 2 k for kind k missing, 2 k + 1 for kind k replaced.
  constexpr std::uint64_t bits() const noexcept { return bits_; }

 private:
  constexpr explicit GuardFlags(std::uint64_t bits) : bits_(bits) {}
  static constexpr std::uint64_t bit(GuardKind kind, GuardStrength strength) noexcept {
    return std::uint64_t{1} << (2 * static_cast<unsigned>(kind) + static_cast<unsigned>(strength));
  }

  std::uint64_t bits_ = 0;
};
static_assert(2 * guard_kind_count <= 64);

/// One difference between two prompts; at most one a kind is reported, the strongest.
struct GuardFinding {
  GuardKind kind = GuardKind::negation;
  GuardStrength strength = GuardStrength::missing;
  bool veto = false;   ///< what `GuardOptions` make of it
  std::string reason;  ///< for example "number: 5 in one, 7 in the other"; the same for both orders of the prompts
};

/// What each kind and strength leads to. The defaults were chosen by their precision on labelled pairs, see
/// `pc-guards`.
struct GuardOptions {
  GuardOptions();

  GuardAction action(GuardKind kind, GuardStrength strength) const noexcept {
    return actions[static_cast<std::size_t>(kind)][static_cast<std::size_t>(strength)];
  }
  /// Sets one action; returns itself, so that calls can be chained.
  GuardOptions& set(GuardKind kind, GuardStrength strength, GuardAction action) noexcept;
  /// Sets both strengths of a kind.
  GuardOptions& set(GuardKind kind, GuardAction action) noexcept;
  /// Every kind and strength with the same action.
  static GuardOptions all(GuardAction action);

  std::array<std::array<GuardAction, 2>, guard_kind_count> actions;
  /// Longer prompts are compared by this many bytes from their beginning only.
  std::size_t max_bytes = 65536;
};

namespace guards {
struct Analysis;
class Lexicon;
}  // namespace guards

/// A prompt read once, to be compared with many. Belongs to the `Guards` that made it; movable, not copyable, safe to
/// read from many threads.
class PreparedPrompt {
 public:
  PreparedPrompt(PreparedPrompt&&) noexcept;
  PreparedPrompt& operator=(PreparedPrompt&&) noexcept;
  ~PreparedPrompt();

 private:
  friend class Guards;
  PreparedPrompt(std::shared_ptr<const guards::Lexicon> lexicon, std::unique_ptr<const guards::Analysis> analysis);

  std::shared_ptr<const guards::Lexicon> lexicon_;  // the words that the analysis points to
  std::unique_ptr<const guards::Analysis> analysis_;
};

/// Cheap exact checks of two prompts that an embedding takes for similar: why one response might not serve both.
///
/// Any bytes are accepted. Numbers, dates in ISO form, quotations, code, names by shape and scripts are compared in
/// every language, word rules only when both prompts look English enough. Time is linear in the length of the prompts
/// up to `GuardOptions::max_bytes`; beyond 256 items of one kind the rest is not compared. Immutable, safe from many
/// threads. Symmetric: `check(a, b)` equals `check(b, a)`.
///
///     const auto guards = pc::Guards::english();
///     for (const pc::GuardFinding& finding : guards->check("enable 2FA", "disable 2FA")) log(finding.reason);
class Guards {
 public:
  /// With the built-in word lists (data/guards/en.txt).
  static std::shared_ptr<const Guards> english(const GuardOptions& options = {});

  /// With a list file of one's own in the same format. Throws `Error`: not_found, access, io; format with file and
  /// line.
  static std::shared_ptr<const Guards> open(const std::string& path, const GuardOptions& options = {});

  ~Guards();
  Guards(const Guards&) = delete;
  Guards& operator=(const Guards&) = delete;

  /// All findings, ordered by kind, without those whose action is off. Does not throw for any text.
  std::vector<GuardFinding> check(std::string_view a, std::string_view b) const;
  /// The same without words: for the hot path.
  GuardFlags flags(std::string_view a, std::string_view b) const;

  PreparedPrompt prepare(std::string_view text) const;
  /// Throw `Error(usage)` for a prompt prepared by guards with other word lists, or moved from.
  std::vector<GuardFinding> check(const PreparedPrompt& a, const PreparedPrompt& b) const;
  GuardFlags flags(const PreparedPrompt& a, const PreparedPrompt& b) const;

  /// Those of the flags that veto.
  GuardFlags vetoes(GuardFlags flags) const noexcept { return flags & vetoes_; }
  bool veto(GuardFlags flags) const noexcept { return vetoes(flags).any(); }

  const GuardOptions& options() const noexcept { return options_; }

 private:
  Guards(std::shared_ptr<const guards::Lexicon> lexicon, const GuardOptions& options);

  std::shared_ptr<const guards::Lexicon> lexicon_;
  GuardOptions options_;
  GuardFlags reported_;
  GuardFlags vetoes_;
};

}  // namespace promptcache
