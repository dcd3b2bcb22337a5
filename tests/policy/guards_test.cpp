#include "promptcache/policy/guards.hpp"

#include <algorithm>
#include <fstream>
#include <random>
#include <sstream>
#include <thread>

#include "policy/guards/analysis.hpp"
#include "policy/guards/words.hpp"
#include "support.hpp"
#include "text/utf8.hpp"

using namespace promptcache;

namespace {

std::vector<std::vector<std::string>> rows_of(const std::string& name) {
  std::ifstream file(test::data_file("guards/" + name));
  REQUIRE(file.good());
  std::vector<std::vector<std::string>> rows;
  std::string line;
  std::getline(file, line);  // header
  while (std::getline(file, line)) {
    std::vector<std::string> cells;
    std::istringstream stream(line);
    for (std::string cell; std::getline(stream, cell, '\t');) cells.push_back(cell);
    rows.push_back(cells);
  }
  REQUIRE(rows.size() > 10);
  return rows;
}

std::vector<std::string> texts_of_tables() {
  std::vector<std::string> texts;
  for (const std::string name : {"english.tsv", "other.tsv"}) {
    for (const auto& row : rows_of(name)) texts.insert(texts.end(), {row.at(2), row.at(3)});
  }
  for (const auto& row : rows_of("paraphrases.tsv")) texts.insert(texts.end(), {row.at(0), row.at(1)});
  return texts;
}

std::shared_ptr<const Guards> everything() { return Guards::english(GuardOptions::all(GuardAction::flag)); }

std::string lines(const std::vector<GuardFinding>& findings) {
  std::string text;
  for (const GuardFinding& finding : findings) {
    text += std::string(to_string(finding.strength)) + " " + finding.reason + (finding.veto ? " (veto)\n" : "\n");
  }
  return text;
}

GuardFlags flags_of(const std::vector<GuardFinding>& findings) {
  GuardFlags flags;
  for (const GuardFinding& finding : findings) flags.add(finding.kind, finding.strength);
  return flags;
}

std::string found(const std::vector<GuardFinding>& findings, const std::string& kind) {
  for (const GuardFinding& finding : findings) {
    if (to_string(finding.kind) == kind) return to_string(finding.strength);
  }
  return "none";
}

void check_table(const std::string& name) {
  const auto guards = everything();
  for (const auto& row : rows_of(name)) {
    REQUIRE(row.size() == 4);
    const auto findings = guards->check(row[2], row[3]);
    INFO(row[2] << " | " << row[3] << "\n" << lines(findings));
    CHECK(row[0] + " " + found(findings, row[0]) == row[0] + " " + row[1]);
    const auto reversed = guards->check(row[3], row[2]);
    CHECK(lines(reversed) == lines(findings));
  }
}

}  // namespace

TEST_CASE("guards find what they are for in English, and nothing in paraphrases of it") { check_table("english.tsv"); }

TEST_CASE("guards work in other languages where no word lists are needed, and keep silent otherwise") {
  check_table("other.tsv");
}

TEST_CASE("no guard that is on by default vetoes a paraphrase") {
  const auto guards = Guards::english();
  for (const auto& row : rows_of("paraphrases.tsv")) {
    REQUIRE(row.size() == 2);
    INFO(row[0] << " | " << row[1] << "\n" << lines(guards->check(row[0], row[1])));
    CHECK_FALSE(guards->veto(guards->flags(row[0], row[1])));
  }
}

TEST_CASE("reasons are short and concrete") {
  const auto guards = everything();
  const auto reason = [&](std::string_view a, std::string_view b) {
    const auto findings = guards->check(a, b);
    return findings.empty() ? std::string() : findings.front().reason;
  };
  CHECK(reason("cook 5 eggs", "cook 7 eggs") == "number: 5 in one, 7 in the other");
  CHECK(reason("enable 2FA", "disable 2FA") == "antonym: disable in one, enable in the other");
  CHECK(reason("events in June", "events in July") == "date: month 6 in one, month 7 in the other");
  CHECK(reason("cook 5 eggs", "cook eggs") == "number: 5 in one only");
  const std::string name(500, 'x');
  CHECK(reason("who is \"" + name + "\"", "who is \"me\"").size() < 200);
}

TEST_CASE("check, flags and prepared prompts agree, in both orders") {
  const auto guards = Guards::english();
  const std::vector<std::string> texts = texts_of_tables();
  std::vector<PreparedPrompt> prepared;
  for (const std::string& text : texts) prepared.push_back(guards->prepare(text));
  std::mt19937 random(1);
  for (int i = 0; i < 3000; ++i) {
    const std::size_t a = random() % texts.size();
    const std::size_t b = i % 3 == 0 ? (a ^ 1U) % texts.size() : random() % texts.size();
    INFO(texts[a] << " | " << texts[b]);
    const auto findings = guards->check(texts[a], texts[b]);
    CHECK(lines(guards->check(texts[b], texts[a])) == lines(findings));
    CHECK(lines(guards->check(prepared[a], prepared[b])) == lines(findings));
    CHECK(guards->flags(texts[a], texts[b]) == flags_of(findings));
    CHECK(guards->flags(prepared[b], prepared[a]) == flags_of(findings));
    CHECK(guards->veto(flags_of(findings)) ==
          std::any_of(findings.begin(), findings.end(), [](const GuardFinding& finding) { return finding.veto; }));
  }
  for (const std::string& text : texts) CHECK_FALSE(guards->flags(text, text).any());
}

TEST_CASE("guards take any bytes") {
  const auto guards = everything();
  std::mt19937 random(2);
  const std::vector<std::string> texts = texts_of_tables();
  const std::string alphabet = "aA zZ09.,'\"`-/_@:$%()#+*=<>!?\n\t\\\xC3\xA9\xE2\x80\x99\xF0\x9F\x98\x80\xFF\xC0\x00";
  const auto letters = [&](std::size_t size) {
    std::string text;
    for (std::size_t i = 0; i < size; ++i) text += alphabet[random() % alphabet.size()];
    return text;
  };
  const auto bytes = [&](std::size_t size) {
    std::string text;
    for (std::size_t i = 0; i < size; ++i) text += static_cast<char>(random());
    return text;
  };
  const auto cut = [&](std::string text) {
    if (!text.empty()) text.erase(random() % text.size(), random() % 3);
    if (!text.empty()) text.resize(random() % (text.size() + 1));
    return text;
  };
  for (int i = 0; i < 6000; ++i) {
    const std::string base = texts[random() % texts.size()];
    std::string a = base;
    std::string b = cut(base);
    if (i % 3 == 1) a = letters(random() % 80), b = letters(random() % 80);
    if (i % 3 == 2) a = bytes(random() % 80), b = cut(a);
    const auto findings = guards->check(a, b);
    CHECK(lines(guards->check(b, a)) == lines(findings));
    for (const GuardFinding& finding : findings) {
      CHECK(text::decode_utf8(finding.reason).find(text::replacement_character) == std::u32string::npos);
    }
  }
  CHECK(guards->check("", "").empty());
  CHECK(guards->flags("", "5").has(GuardKind::number, GuardStrength::missing));
}

TEST_CASE("very long prompts are compared by their beginning, in bounded time") {
  const auto guards = everything();
  // Each would take a reader that looks back or ahead without a limit much longer than the test may run.
  for (const std::string unit :
       {"(",       "\"",     "'a ",           "`",       "5,",           "5 km ",    "1.",   "a.",
        "A_",      "Paris ", "ab-",           "http://", "U.S",          "from to ", "not ", "\xCC\x81",
        "how to ", "ABC ",   "qwertyuiopas ", "5/6/",    "World Health "}) {
    std::string a;
    while (a.size() < 300000) a += unit;
    const std::string b = "x " + a + " y";
    INFO(unit);
    CHECK(lines(guards->check(a, b)) == lines(guards->check(b, a)));
  }
  const std::string filler(80000, 'a');
  CHECK(guards->flags("5 " + filler, "7 " + filler).has(GuardKind::number, GuardStrength::replaced));
  CHECK_FALSE(guards->flags(filler + " 5 eggs", filler + " 7 eggs").any());

  GuardOptions options = GuardOptions::all(GuardAction::flag);
  options.max_bytes = 8;
  const auto brief = Guards::english(options);
  CHECK(brief->flags("cook 5 eggs", "cook 7 eggs").has(GuardKind::number));
  CHECK_FALSE(brief->flags("just cook 5 eggs", "just cook 7 eggs").any());
  CHECK_FALSE(brief->flags("1234567\xC3\xA9", "1234567\xC3\xA8").any());  // no character is cut in two
}

TEST_CASE("each kind and strength of a guard is off, a flag or a veto") {
  // By their precision on labelled pairs (docs/results.md).
  const GuardOptions defaults;
  CHECK(defaults.action(GuardKind::antonym, GuardStrength::replaced) == GuardAction::veto);
  CHECK(defaults.action(GuardKind::number, GuardStrength::replaced) == GuardAction::veto);
  CHECK(defaults.action(GuardKind::number, GuardStrength::missing) == GuardAction::flag);
  CHECK(defaults.action(GuardKind::negation, GuardStrength::replaced) == GuardAction::flag);
  CHECK(defaults.action(GuardKind::substitution, GuardStrength::replaced) == GuardAction::flag);
  CHECK(std::string(to_string(GuardAction::off)) + to_string(GuardAction::flag) + to_string(GuardAction::veto) ==
        "offflagveto");
  CHECK(Guards::english(GuardOptions::all(GuardAction::off))->check("enable 5 dogs", "disable 7 cats").empty());

  GuardOptions options = GuardOptions::all(GuardAction::off);
  options.set(GuardKind::number, GuardAction::flag)
      .set(GuardKind::number, GuardStrength::replaced, GuardAction::veto)
      .set(GuardKind::date, GuardStrength::missing, GuardAction::veto);
  const auto guards = Guards::english(options);
  const auto replaced = guards->check("cook 5 red eggs", "cook 7 blue eggs");
  REQUIRE(replaced.size() == 1);
  CHECK(replaced[0].veto);
  const auto missing = guards->check("cook 5 eggs", "cook eggs");
  REQUIRE(missing.size() == 1);
  CHECK_FALSE(missing[0].veto);
  CHECK_FALSE(guards->veto(guards->flags("cook 5 eggs", "cook eggs")));
  CHECK(guards->veto(guards->flags("who won in May 2014", "who won")));

  // A strength that is off does not fall back to the other one.
  const auto only_missing = Guards::english(
      GuardOptions::all(GuardAction::flag).set(GuardKind::number, GuardStrength::replaced, GuardAction::off));
  CHECK_FALSE(only_missing->flags("cook 5 eggs", "cook 7 eggs").has(GuardKind::number));
}

TEST_CASE("guards answer many threads alike") {
  const auto guards = Guards::english();
  const std::vector<std::string> texts = texts_of_tables();
  const auto all = [&] {
    std::string text;
    for (std::size_t i = 0; i + 1 < texts.size(); ++i) text += lines(guards->check(texts[i], texts[i + 1]));
    return text;
  };
  const std::string wanted = all();
  std::vector<std::string> results(4);
  std::vector<std::thread> threads;
  for (std::string& result : results) threads.emplace_back([&] { result = all(); });
  for (std::thread& thread : threads) thread.join();
  for (const std::string& result : results) CHECK(result == wanted);
}

TEST_CASE("a prepared prompt belongs to word lists") {
  const auto guards = Guards::english();
  const test::TemporaryDirectory directory;
  const auto own = Guards::open(directory.write("own.txt", "[english]\nthe\n"));
  const PreparedPrompt five = guards->prepare("5 eggs");
  const PreparedPrompt seven = everything()->prepare("7 eggs");
  CHECK(guards->flags(five, seven).has(GuardKind::number));  // other options, the same lists
  test::require_error(ErrorCode::usage, {"other word lists"}, [&] { guards->flags(five, own->prepare("7 eggs")); });
  PreparedPrompt moved = own->prepare("7 eggs");
  const PreparedPrompt target = std::move(moved);
  test::require_error(ErrorCode::usage, {"moved from"}, [&] { own->check(target, moved); });
}

TEST_CASE("guards read lists of one's own") {
  const test::TemporaryDirectory directory;
  const std::string path = directory.write("own.txt",
                                           "# my words\n"
                                           "[english]\nthe, is\n"
                                           "[ignored]\nthe, is\n"
                                           "[antonyms]\nfoo, fooed up | bar   # both ways\n"
                                           "[alternatives category shape]\nround\nsquare, boxy\n"
                                           "[units length]\nspan 2 = span, sp!\nell 4 = ell\n");
  const auto guards = Guards::open(path, GuardOptions::all(GuardAction::flag));
  CHECK(guards->flags("the foo is", "the bar is").has(GuardKind::antonym, GuardStrength::replaced));
  CHECK(guards->flags("the foos is", "the bars is").has(GuardKind::antonym, GuardStrength::replaced));
  CHECK_FALSE(guards->flags("the fooed up", "the foo").any());
  CHECK(guards->flags("the round is", "the boxy is").has(GuardKind::category));
  CHECK_FALSE(guards->flags("the square is", "the boxy is").any());
  CHECK_FALSE(guards->flags("is 4 spans", "is 2 ells").any());
  CHECK(guards->flags("is 4 sp", "is 4 ell").has(GuardKind::unit, GuardStrength::replaced));
  CHECK_FALSE(guards->flags("enable the", "disable the").has(GuardKind::antonym));

  const auto rejected = [&](const std::string& text, std::initializer_list<std::string> pieces) {
    const std::string bad = directory.write("bad.txt", text);
    test::require_error(ErrorCode::format, pieces, [&] { Guards::open(bad); });
  };
  rejected("word\n", {"bad.txt:1", "'word'", "a section"});
  rejected("\n[nagators]\n", {"bad.txt:2", "'nagators'", "name of a section"});
  rejected("[english\n", {"bad.txt:1", "a section like [negators]"});
  rejected("[english]\nthe,, is\n", {"bad.txt:2", "a word"});
  rejected("[antonyms]\nfoo bar\n", {"bad.txt:2", "one '|'"});
  rejected("[antonyms]\na | b | c\n", {"bad.txt:2", "one '|'"});
  rejected("[numbers]\nfive = v\n", {"bad.txt:2", "'v'", "a number"});
  rejected("[numbers]\nfive = -5\n", {"bad.txt:2", "'-5'", "not negative"});
  rejected("[numbers]\nfive = nan\n", {"bad.txt:2", "'nan'"});
  rejected("[alternatives colours red]\n", {"bad.txt:1", "'colours'", "kind of guard"});
  rejected("[alternatives category]\n", {"bad.txt:1", "name of a section"});
  rejected("[units length]\nmetre = m\n", {"bad.txt:2", "'metre'", "its size"});
  rejected("[degrees]\nfast, faster\n", {"bad.txt:2", "three degrees"});
  rejected("[same]\na ... b c = d\n", {"bad.txt:2", "one word on each side"});
  rejected("[ignored]\na b c d e f g h i\n", {"bad.txt:2", "eight words"});
  rejected("[questions]\nwho = who\n[compatible questions]\nwho, when\n", {"bad.txt:4", "'when'", "type of question"});
  test::require_error(ErrorCode::not_found, {"none.txt"}, [&] { Guards::open(directory.file("none.txt")); });

  const auto empty = Guards::open(directory.write("empty.txt", ""), GuardOptions::all(GuardAction::flag));
  CHECK(empty->flags("cook 5 eggs", "cook 7 eggs").has(GuardKind::number));  // needs no words
}

TEST_CASE("stems join the forms of a word, and typing mistakes are told from other words") {
  const auto stem = [](std::string_view word) {
    guards::Stem result;
    return guards::stem_of(word, result) ? std::string(result.view()) : std::string(word);
  };
  for (const std::string form : {"enables", "enabled", "enabling"}) CHECK(stem(form) == stem("enable"));
  for (const std::string form : {"stops", "stopped", "stopping"}) CHECK(stem(form) == stem("stop"));
  for (const std::string form : {"studies", "studied", "studying"}) CHECK(stem(form) == stem("study"));
  CHECK(stem("boxes") == stem("box"));
  CHECK(stem("buses") == stem("bus"));
  CHECK(stem("speed") == "speed");
  CHECK(stem("string") == "string");
  CHECK(stem("is") == "is");

  CHECK(guards::nearly_equal("instagram", "instagarm"));
  CHECK(guards::nearly_equal("receive", "recieve"));
  CHECK(guards::nearly_equal("government", "goverment"));
  CHECK_FALSE(guards::nearly_equal("horse", "house"));
  CHECK_FALSE(guards::nearly_equal("cat", "car"));
  CHECK_FALSE(guards::nearly_equal("iphone6", "iphone7"));
  CHECK_FALSE(guards::nearly_equal("encrypt", "decrypt"));
}

TEST_CASE("prompts are normalised before they are compared") {
  const auto normal = [](std::string_view text) {
    std::string out;
    guards::normalize(text, out);
    return out;
  };
  CHECK(normal("caf\xC3\xA9") == "cafe");
  CHECK(normal("\xEF\xBC\x95") == "5");                      // full width
  CHECK(normal("\xD9\xA3\xD9\xA7 \xE0\xA5\xAB") == "37 5");  // Arabic-Indic and Devanagari digits
  CHECK(normal("\xE2\x80\x9Cx\xE2\x80\x9D \xE2\x80\x99 \xE2\x80\x93") == "\"x\" ' -");
  CHECK(normal("\xC2\xBD") == "1/2");
  CHECK(normal("a\xFF\xC3") == "a  ");
  CHECK(normal("zero\xE2\x80\x8Bwidth") == "zerowidth");
}
