// What reuse costs in quality: questions over several documents, each document a module, in every way of encoding and
// repairing, beside full attention on the same tokens at the same positions.
//
//     xz -dc xquad.en.json.xz > xquad.en.json
//     reuse_quality --llm FILE.gguf --squad xquad.en.json --questions 100 --documents 3
//
// A question's other documents are drawn from other articles; the order is random. Answers are greedy, up to 24 tokens,
// F1 of words as SQuAD counts them. Intervals: bootstrap over paragraphs.

#include <ATen/Parallel.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>

#include "base/random.hpp"
#include "promptcache/base/error.hpp"
#include "promptcache/base/file.hpp"
#include "promptcache/reuse/generation.hpp"
#include "promptcache/reuse/prompt_modules.hpp"
#include "promptcache/reuse/torch_decoder.hpp"
#include "tool.hpp"

namespace {

using namespace promptcache;
using namespace promptcache::reuse;

struct Options {
  std::string llm, squad, text, json;
  std::size_t questions = 100, documents = 3, most_tokens = 24, passages = 40;
  std::uint64_t seed = 1;
  int threads = 0;
  bool bf16 = false;
};

struct Question {
  std::string text;
  std::vector<std::string> answers;
  std::size_t paragraph = 0;
};

struct Data {
  std::vector<std::string> paragraphs;
  std::vector<std::size_t> article;  ///< of each paragraph
  std::vector<Question> questions;
};

Data read_squad(const std::string& path) {
  const auto json = nlohmann::json::parse(read_file(path), nullptr, false);
  if (!json.is_object() || !json.contains("data")) throw Error(ErrorCode::format, {path}, "no data", "SQuAD's JSON");
  Data data;
  for (std::size_t article = 0; article < json["data"].size(); ++article) {
    for (const auto& paragraph : json["data"][article].at("paragraphs")) {
      for (const auto& question : paragraph.at("qas")) {
        Question one{question.at("question").get<std::string>(), {}, data.paragraphs.size()};
        for (const auto& answer : question.at("answers")) one.answers.push_back(answer.at("text").get<std::string>());
        data.questions.push_back(std::move(one));
      }
      data.paragraphs.push_back(paragraph.at("context").get<std::string>());
      data.article.push_back(article);
    }
  }
  return data;
}

/// Words in lower case, without punctuation and articles.
std::vector<std::string> words_of(const std::string& text) {
  std::string plain;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x80 && std::ispunct(byte)) continue;
    plain += static_cast<char>(byte < 0x80 ? std::tolower(byte) : byte);
  }
  std::istringstream stream(plain);
  std::vector<std::string> words;
  for (std::string word; stream >> word;) {
    if (word != "a" && word != "an" && word != "the") words.push_back(word);
  }
  return words;
}

double f1(const std::string& answer, const std::vector<std::string>& wanted) {
  double best = 0;
  const std::vector<std::string> said = words_of(answer);
  for (const std::string& text : wanted) {
    std::map<std::string, int> left;
    const std::vector<std::string> words = words_of(text);
    for (const std::string& word : words) ++left[word];
    double common = 0;
    for (const std::string& word : said) common += left[word]-- > 0 ? 1 : 0;
    if (common > 0) best = std::max(best, 2 * common / static_cast<double>(said.size() + words.size()));
  }
  return best;
}

struct Mode {
  std::string name;
  ModuleOptions options;
  bool full = false;
};

std::vector<Mode> modes(std::size_t documents) {
  std::vector<std::string> all;
  for (std::size_t i = 0; i < documents; ++i) all.push_back("d" + std::to_string(i));
  using E = Encoding;
  return {{"full attention", {}, true},
          {"isolated", {.encoding = E::isolated}},
          {"isolated, first 4 again", {.encoding = E::isolated, .recompute_first = 4}},
          {"isolated, first 16 again", {.encoding = E::isolated, .recompute_first = 16}},
          {"isolated, 5 % again", {.encoding = E::isolated, .recompute_share = 0.05}},
          {"isolated, 15 % again", {.encoding = E::isolated, .recompute_share = 0.15}},
          {"behind_header", {.encoding = E::behind_header}},
          {"behind_header, first 4 again", {.encoding = E::behind_header, .recompute_first = 4}},
          {"behind_header, first 16 again", {.encoding = E::behind_header, .recompute_first = 16}},
          {"behind_header, 5 % again", {.encoding = E::behind_header, .recompute_share = 0.05}},
          {"behind_header, 15 % again", {.encoding = E::behind_header, .recompute_share = 0.15}},
          {"scaffold set of all", {.encoding = E::behind_header, .scaffold_sets = {all}}},
          {"schema_scaffold", {.encoding = E::schema_scaffold}}};
}

/// What came out of a mode, question by question.
struct Row {
  std::vector<double> f1, kl, difference, same_top, likelihood, computed;
};

struct Interval {
  double mean, low, high;
};

/// Mean with the 2.5 and 97.5 % quantiles over draws of whole clusters.
Interval interval(const std::vector<double>& values, const std::vector<std::size_t>& clusters) {
  std::map<std::size_t, std::vector<double>> by_cluster;
  double sum = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    by_cluster[clusters[i]].push_back(values[i]);
    sum += values[i];
  }
  std::vector<std::vector<double>> groups;
  for (auto& [cluster, group] : by_cluster) groups.push_back(std::move(group));
  std::mt19937_64 random = base::generator(7, 0);
  std::vector<double> means;
  for (int draw = 0; draw < 2000; ++draw) {
    double total = 0, count = 0;
    for (std::size_t i = 0; i < groups.size(); ++i) {
      for (const double value : groups[base::uniform_below(random, groups.size())]) {
        total += value;
        ++count;
      }
    }
    means.push_back(total / count);
  }
  std::ranges::sort(means);
  return {sum / static_cast<double>(values.size()), means[50], means[1949]};
}

double log_total(const std::vector<float>& logits) {
  const double peak = static_cast<double>(*std::ranges::max_element(logits));
  double total = 0;
  for (const float logit : logits) total += std::exp(static_cast<double>(logit) - peak);
  return peak + std::log(total);
}

double log_likelihood(const std::vector<float>& logits, std::int32_t token) {
  return static_cast<double>(logits[static_cast<std::size_t>(token)]) - log_total(logits);
}

class Run {
 public:
  explicit Run(const Options& options)
      : options_(options),
        file_(DecoderFile::open(options.llm)),
        tokenizer_(file_.tokenizer()),
        tags_(file_.chat()),
        tokenize_(tokenize_with(tokenizer_)),
        decoder_(make_torch_decoder(file_, {.weights = options.bf16 ? WeightType::bf16 : WeightType::f32,
                                            .kv = options.bf16 ? KvType::bf16 : KvType::f32})) {}

  void ask(const Data& data, const Question& question, const std::vector<std::size_t>& documents,
           const std::vector<Mode>& all, std::vector<Row>& rows) {
    Text header(tags_.system.open);
    add({{"Answer the question with a few words from the documents."}}, header);
    add(tags_.system.close, header);
    add(tags_.user.open, header);
    Schema schema{"s", {header}};
    Prompt prompt{"s"};
    for (std::size_t i = 0; i < documents.size(); ++i) {
      const std::string name = "d" + std::to_string(i);
      schema.children.emplace_back(Module{name, {Text("Document: " + data.paragraphs[documents[i]] + "\n")}});
      prompt.parts.emplace_back(Import{name});
    }
    Text end("Question: " + question.text);
    add(tags_.user.close, end);
    add(tags_.assistant.open, end);
    prompt.parts.emplace_back(end);
    const std::vector<std::int32_t> wanted = tokenizer_->encode(question.answers.front());

    std::vector<float> exact;
    std::vector<PlacedToken> tokens;
    for (std::size_t i = 0; i < all.size(); ++i) {
      // Modules of one question are shared by its modes, as far as they are the same; nothing else is kept.
      if (i == 0) store_ = std::make_shared<KvStore>(decoder_->kv_shape());
      PromptModules modules(decoder_, tokenize_, store_, all[i].options);
      modules.add(schema);
      Chain chain(decoder_, nullptr);
      double computed = 0;
      if (all[i].full) {
        PromptModules placing(decoder_, tokenize_, std::make_shared<KvStore>(decoder_->kv_shape()),
                              {.encoding = Encoding::isolated});
        placing.add(schema);
        tokens = placing.prefill(prompt).tokens;
        chain = modules.full_attention(tokens);
        exact = chain.logits();
        computed = static_cast<double>(tokens.size());
      } else {
        (void)modules.prefill(prompt);  // so that all modules are there
        ModulePrefill prefill = modules.prefill(prompt);
        chain = std::move(prefill.chain);
        computed = static_cast<double>(prefill.counts.tokens_computed);
      }
      const Divergence divergence = reuse::divergence(exact, chain.logits());
      Row& row = rows[i];
      row.kl.push_back(divergence.kl);
      row.difference.push_back(divergence.largest_difference);
      row.same_top.push_back(divergence.same_top ? 1 : 0);
      row.computed.push_back(computed);
      row.likelihood.push_back(likelihood(chain, wanted));
      const Generation answer = generate(
          chain, *tokenizer_, {.most_tokens = options_.most_tokens, .stop = {"\n"}, .ends = file_.config().ends});
      row.f1.push_back(f1(answer.text, question.answers));
    }
  }

  /// Mean log-likelihood, in each mode, of the second halves of a passage's tokens.
  std::vector<double> continuations(std::span<const std::int32_t> passage, const std::vector<Mode>& all) {
    constexpr std::size_t header = 16, modules = 4, each = 60, half = header + modules * each;
    // Ids as they are: a text is "first end".
    const Tokenize ids = [passage](std::span<const Piece> pieces) {
      std::vector<std::int32_t> result;
      for (const Piece& piece : pieces) {
        std::istringstream stream(piece.text);
        std::size_t first = 0, end = 0;
        stream >> first >> end;
        result.insert(result.end(), passage.begin() + static_cast<std::ptrdiff_t>(first),
                      passage.begin() + static_cast<std::ptrdiff_t>(end));
      }
      return result;
    };
    const auto text = [](std::size_t first, std::size_t end) {
      return Text(std::to_string(first) + " " + std::to_string(end));
    };
    Schema schema{"s", {text(0, header)}};
    Prompt prompt{"s"};
    for (std::size_t i = 0; i < modules; ++i) {
      schema.children.emplace_back(Module{"d" + std::to_string(i), {text(header + i * each, header + (i + 1) * each)}});
      prompt.parts.emplace_back(Import{"d" + std::to_string(i)});
    }
    prompt.parts.emplace_back(text(half, half + 1));
    const auto store = std::make_shared<KvStore>(decoder_->kv_shape());
    std::vector<Chain> chains;
    for (const Mode& mode : all) {
      PromptModules engine(decoder_, ids, mode.full ? std::make_shared<KvStore>(decoder_->kv_shape()) : store,
                           mode.options);
      engine.add(schema);
      ModulePrefill prefill = engine.prefill(prompt);
      chains.push_back(mode.full ? engine.full_attention(prefill.tokens) : std::move(prefill.chain));
    }
    std::vector<Chain*> pointers;
    for (Chain& chain : chains) pointers.push_back(&chain);
    std::vector<double> sums(all.size());
    for (std::size_t at = half + 1; at < passage.size(); ++at) {
      for (std::size_t i = 0; i < chains.size(); ++i) sums[i] += log_likelihood(chains[i].logits(), passage[at]);
      Chain::push(pointers, std::vector<std::int32_t>(chains.size(), passage[at]));  // all modes at once
    }
    for (double& sum : sums) sum /= static_cast<double>(passage.size() - half - 1);
    return sums;
  }

  const BpeTokenizer& tokenizer() const { return *tokenizer_; }

 private:
  static void add(const std::vector<Piece>& pieces, Text& text) {
    text.pieces.insert(text.pieces.end(), pieces.begin(), pieces.end());
  }

  /// Mean log-likelihood of the right answer's tokens.
  static double likelihood(Chain chain, const std::vector<std::int32_t>& wanted) {
    double sum = 0;
    for (const std::int32_t token : wanted) {
      sum += log_likelihood(chain.logits(), token);
      chain.push(token);
    }
    return sum / static_cast<double>(wanted.size());
  }

  const Options& options_;
  DecoderFile file_;
  std::shared_ptr<const BpeTokenizer> tokenizer_;
  ChatTags tags_;
  Tokenize tokenize_;
  std::shared_ptr<const Decoder> decoder_;
  std::shared_ptr<KvStore> store_;
};

int measure_text(const Options& options) {
  constexpr std::size_t length = 512;
  Run run(options);
  const std::vector<std::int32_t> tokens = run.tokenizer().encode(read_file(options.text));
  if (tokens.size() < length * options.passages) {
    throw Error(ErrorCode::usage, {options.text}, std::to_string(tokens.size()) + " tokens",
                std::to_string(length * options.passages));
  }
  const std::vector<Mode> all = modes(4);
  std::vector<std::vector<double>> values(all.size());
  std::vector<std::size_t> clusters;
  const std::size_t stride = tokens.size() / options.passages;
  for (std::size_t passage = 0; passage < options.passages; ++passage) {
    const std::vector<double> means = run.continuations(std::span(tokens).subspan(passage * stride, length), all);
    for (std::size_t i = 0; i < all.size(); ++i) values[i].push_back(means[i]);
    clusters.push_back(passage);
    std::fprintf(stderr, "\r%zu/%zu passages", passage + 1, options.passages);
  }
  std::printf("\n%-30s %-26s %s\n", "", "perplexity", "times that of full attention");
  auto json = nlohmann::ordered_json::array();
  for (std::size_t i = 0; i < all.size(); ++i) {
    std::vector<double> beside;
    for (std::size_t j = 0; j < clusters.size(); ++j) beside.push_back(values[i][j] - values[0][j]);
    const Interval of = interval(values[i], clusters), ratio = interval(beside, clusters);
    std::printf("%-30s %6.2f (%.2f to %.2f)     %.4f (%.4f to %.4f)\n", all[i].name.c_str(), std::exp(-of.mean),
                std::exp(-of.high), std::exp(-of.low), std::exp(-ratio.mean), std::exp(-ratio.high),
                std::exp(-ratio.low));
    json.push_back({{"mode", all[i].name}, {"log_likelihood", values[i]}});
  }
  if (!options.json.empty()) write_file_atomically(options.json, json.dump(1) + "\n");
  return tool::done;
}

int measure(const Options& options) {
  if (options.threads > 0) at::set_num_threads(options.threads);
  if (!options.text.empty()) return measure_text(options);
  const Data data = read_squad(options.squad);
  std::mt19937_64 random = base::generator(options.seed, 0);
  std::vector<std::size_t> order(data.questions.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  base::shuffle(order, random);
  order.resize(std::min(options.questions, order.size()));
  const std::vector<Mode> all = modes(options.documents);
  std::vector<Row> rows(all.size());
  std::vector<std::size_t> clusters;
  Run run(options);
  for (const std::size_t number : order) {
    const Question& question = data.questions[number];
    std::vector<std::size_t> documents = {question.paragraph};
    while (documents.size() < options.documents) {
      const std::size_t other = base::uniform_below(random, data.paragraphs.size());
      if (std::ranges::none_of(documents, [&](std::size_t d) { return data.article[d] == data.article[other]; })) {
        documents.push_back(other);
      }
    }
    base::shuffle(documents, random);
    run.ask(data, question, documents, all, rows);
    clusters.push_back(question.paragraph);
    std::fprintf(stderr, "\r%zu/%zu questions", clusters.size(), order.size());
  }
  std::fprintf(stderr, "\n");
  std::printf("%zu questions, %zu documents each, %.0f tokens a prompt\n\n", clusters.size(), options.documents,
              interval(rows[0].computed, clusters).mean);
  std::printf("%-30s %-22s %-22s %-18s %-10s %s\n", "", "F1 of the answer", "log-likelihood of it", "same first token",
              "KL, nats", "computed");
  auto json = nlohmann::ordered_json::array();
  for (std::size_t i = 0; i < all.size(); ++i) {
    const Interval score = interval(rows[i].f1, clusters), likelihood = interval(rows[i].likelihood, clusters);
    const Interval same = interval(rows[i].same_top, clusters), kl = interval(rows[i].kl, clusters);
    const Interval computed = interval(rows[i].computed, clusters);
    std::printf("%-30s %.3f (%.3f to %.3f)  %.2f (%.2f to %.2f)  %.2f (%.2f to %.2f) %8.3f %9.0f\n",
                all[i].name.c_str(), score.mean, score.low, score.high, likelihood.mean, likelihood.low,
                likelihood.high, same.mean, same.low, same.high, kl.mean, computed.mean);
    json.push_back({{"mode", all[i].name},
                    {"f1", rows[i].f1},
                    {"log_likelihood", rows[i].likelihood},
                    {"kl", rows[i].kl},
                    {"largest_difference", rows[i].difference},
                    {"same_top", rows[i].same_top},
                    {"computed", rows[i].computed}});
  }
  if (!options.json.empty()) write_file_atomically(options.json, json.dump(1) + "\n");
  return tool::done;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{
      "Quality of answers over reused attention states.\n  reuse_quality --llm FILE.gguf --squad xquad.en.json"};
  Options options;
  app.add_option("--llm", options.llm, "GGUF file or Hugging Face directory")->required();
  auto* squad = app.add_option("--squad", options.squad, "SQuAD JSON");
  app.add_option("--text", options.text, "any text, for perplexity")->excludes(squad);
  app.add_option("--passages", options.passages, "of the text, evenly spread")->capture_default_str();
  app.add_option("--questions", options.questions, "how many, drawn at random")->capture_default_str();
  app.add_option("--documents", options.documents, "in each prompt, one of them relevant")
      ->check(CLI::Range(1, 20))
      ->capture_default_str();
  app.add_option("--seed", options.seed)->capture_default_str();
  app.add_option("--threads", options.threads, "0: as many as there are cores")->capture_default_str();
  app.add_flag("--bf16", options.bf16, "weights and states in bf16");
  app.add_option("--json", options.json, "write every question's values");
  return tool::run(app, argc, argv, [&] {
    if (options.squad.empty() && options.text.empty()) throw CLI::RequiredError("--squad or --text");
    return measure(options);
  });
}
