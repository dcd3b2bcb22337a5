// Time to the first token, from text to logits, and tokens a second behind it.
//
//     OPENBLAS_NUM_THREADS=1 reuse_benchmark --llm FILE.gguf --text FILE [--tokens 1024 --share 0.99 --threads 1]
//
// A prompt is a text of so many tokens, the first share of which is known: as the beginning of an earlier prompt, or as
// a schema of a header and four modules, in memory or in a file. What is new is another text in every run. Rows: no
// cache (all is computed), prefix, modules, file. Predicted is what its multiplications and additions take at the rate
// of LibTorch's product of matrices (whose threads only the environment sets, where its BLAS is OpenBLAS).
// compare/reuse_peers.py runs others on the same texts.

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>

#include "promptcache/base/error.hpp"
#include "promptcache/base/file.hpp"
#include "promptcache/reuse/prompt_modules.hpp"
#include "promptcache/reuse/torch_decoder.hpp"
#include "tool.hpp"

namespace {

using namespace promptcache;
using namespace promptcache::reuse;
using Tokens = std::vector<std::int32_t>;
using Clock = std::chrono::steady_clock;

struct Options {
  std::string llm, text, json, modes = "none,prefix,modules,file";
  std::vector<std::size_t> tokens = {1024};
  std::vector<double> shares = {0.99};
  std::size_t runs = 20, long_runs = 3, decode = 63, sequences = 4;
  int threads = 1;
  bool bf16 = false;
};

double milliseconds_since(Clock::time_point begin) {
  return std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
}

/// Times of one row, in milliseconds, the parts in their order.
struct Times {
  std::vector<double> total, parse, lookup, prefill;

  void add(double of_parse, double of_lookup, double of_prefill) {
    parse.push_back(of_parse);
    lookup.push_back(of_lookup);
    prefill.push_back(of_prefill);
    total.push_back(of_parse + of_lookup + of_prefill);
  }
};

double quantile(std::vector<double> values, double share) {
  std::ranges::sort(values);
  return values[static_cast<std::size_t>(share * static_cast<double>(values.size() - 1) + 0.5)];
}

class Bench {
 public:
  explicit Bench(const Options& options)
      : options_(options),
        file_(DecoderFile::open(options.llm)),
        tokenizer_(file_.tokenizer()),
        decoder_(make_torch_decoder(file_, {.weights = options.bf16 ? WeightType::bf16 : WeightType::f32,
                                            .kv = options.bf16 ? KvType::bf16 : KvType::f32})),
        text_(tokenizer_->encode(read_file(options.text))) {
    const at::Tensor a = at::full({256, 576}, 0.5F), b = at::full({576, 3072}, 0.5F);
    double best = std::numeric_limits<double>::infinity();
    for (int i = 0; i < 20; ++i) {
      const auto begin = Clock::now();
      at::mm(a, b);
      best = std::min(best, milliseconds_since(begin));
    }
    operations_per_ms_ = 2.0 * 256 * 576 * 3072 / best;
  }

  /// Of a product of matrices that stay in the cache: what this machine can do with as many threads.
  double operations_per_ms() const { return operations_per_ms_; }

  nlohmann::ordered_json row(const std::string& mode, std::size_t tokens, double share) {
    const auto known = static_cast<std::size_t>(share * static_cast<double>(tokens));
    const bool full = mode == "none";
    const std::size_t runs = (full ? tokens : tokens - known) >= 400 ? options_.long_runs : options_.runs;
    const std::size_t needed = tokens + runs * (tokens - known) + 64;
    if (needed > text_.size()) {
      throw Error(ErrorCode::usage, {options_.text}, std::to_string(text_.size()) + " tokens", std::to_string(needed));
    }
    Times times;
    double decoding = 0, decoding_side_by_side = 0;
    KvStoreOptions kept{.memory_bytes = std::size_t{8} << 30};
    const std::string path = std::filesystem::temp_directory_path() / "reuse_benchmark.kv";
    if (mode == "file") {
      kept = {.memory_bytes = 1, .file = path, .file_bytes = std::size_t{1} << 30, .decoder = decoder_->identity()};
    }
    auto store = std::make_shared<KvStore>(decoder_->kv_shape(), kept);
    PromptModules modules(decoder_, tokenize_with(tokenizer_), store, {.encoding = Encoding::behind_header});
    if (mode == "modules" || mode == "file") {
      modules.add(schema(known));
      modules.encode("s");
    }
    if (mode == "prefix") {
      Chain first(decoder_, store);
      first.append(std::span(text_).first(known));
    }
    std::size_t reused = 0, computed = 0;
    for (std::size_t run = 0; run < runs; ++run) {
      const std::string fresh = text(tokens + run * (tokens - known), tokens - known);
      Chain chain(decoder_, mode == "prefix" ? store : nullptr);
      if (full || mode == "prefix") {
        const std::string whole = text(0, known) + fresh;
        const auto begin = Clock::now();
        const Tokens ids = tokenizer_->encode(whole);
        const double parse = milliseconds_since(begin);
        chain.append(ids);
        chain.logits();
        times.add(parse, 0, milliseconds_since(begin) - parse);
        reused = chain.counts().tokens_reused;
        computed = chain.counts().tokens_computed;
      } else {
        ModulePrefill prefill =
            modules.prefill({"s", {Import{"m0"}, Import{"m1"}, Import{"m2"}, Import{"m3"}, Text(fresh)}});
        times.add(prefill.times.layout * 1000, prefill.times.modules * 1000, prefill.times.prefill * 1000);
        reused = prefill.counts.tokens_reused;
        computed = prefill.counts.tokens_computed;
        chain = std::move(prefill.chain);
      }
      if (run > 0) continue;
      const std::vector<Chain> copies(options_.sequences, chain);
      decoding = tokens_per_second({chain});
      decoding_side_by_side = tokens_per_second(copies);
    }
    if (mode == "file") std::filesystem::remove(path);
    const auto median = [](const std::vector<double>& values) { return quantile(values, 0.5); };
    const double last = median(times.total) + 1000 * static_cast<double>(options_.decode) / decoding;
    const double predicted = operations(computed, tokens) / operations_per_ms_;
    std::printf("%-8s %6zu %5.2f %8zu %8zu %9.1f %9.1f %9.1f %8.2f %8.2f %9.1f %8.1f %8.1f %8.0f\n", mode.c_str(),
                tokens, share, reused, computed, median(times.total), quantile(times.total, 0.95), predicted,
                median(times.parse), median(times.lookup), median(times.prefill), decoding, decoding_side_by_side,
                last);
    std::fflush(stdout);
    return {{"mode", mode},
            {"tokens", tokens},
            {"share", share},
            {"reused", reused},
            {"computed", computed},
            {"runs", runs},
            {"ms", median(times.total)},
            {"ms_p95", quantile(times.total, 0.95)},
            {"ms_all", times.total},
            {"ms_predicted", predicted},
            {"parse", median(times.parse)},
            {"lookup", median(times.lookup)},
            {"prefill", median(times.prefill)},
            {"tokens_per_second", decoding},
            {"sequences", options_.sequences},
            {"tokens_per_second_of_sequences", decoding_side_by_side},
            {"ms_to_last_token", last},
            {"store_bytes", store->stats().bytes + store->stats().file_bytes}};
  }

 private:
  /// Multiplications and additions of the last `computed` tokens of a text, and of one token's logits.
  double operations(std::size_t computed, std::size_t tokens) const {
    const DecoderConfig& model = decoder_->config();
    const std::size_t matrices = model.width * (2 * model.query_width() + 2 * model.kv_width()) +
                                 (model.family == DecoderFamily::llama ? 3 : 2) * model.width * model.inner;
    const double seen = static_cast<double>(tokens) - static_cast<double>(computed) / 2;
    const double of_token = 2.0 * static_cast<double>(matrices) + 4.0 * static_cast<double>(model.query_width()) * seen;
    return static_cast<double>(model.layers) * static_cast<double>(computed) * of_token +
           2.0 * static_cast<double>(model.width) * static_cast<double>(model.vocabulary);
  }

  /// Greedy, all chains in one step at a time.
  double tokens_per_second(std::vector<Chain> chains) const {
    std::vector<Chain*> all;
    for (Chain& chain : chains) all.push_back(&chain);
    const auto begin = Clock::now();
    for (std::size_t i = 0; i < options_.decode; ++i) {
      Tokens next;
      for (Chain& chain : chains) {
        const std::vector<float>& logits = chain.logits();
        next.push_back(static_cast<std::int32_t>(std::ranges::max_element(logits) - logits.begin()));
      }
      Chain::push(all, next);
    }
    return 1000 * static_cast<double>(options_.decode * chains.size()) / milliseconds_since(begin);
  }

  std::string text(std::size_t first, std::size_t count) const {
    return tokenizer_->decode(std::span(text_).subspan(first, count));
  }

  /// A header of 16 tokens and four modules that share the rest.
  Schema schema(std::size_t known) const {
    const std::size_t header = std::min<std::size_t>(16, known / 5 + 1);
    Schema result{"s", {Text(text(0, header))}};
    const std::size_t each = (known - header) / 4;
    for (std::size_t i = 0; i < 4; ++i) {
      result.children.emplace_back(
          Module{"m" + std::to_string(i), {Text(text(header + i * each, std::max<std::size_t>(each, 1)))}});
    }
    return result;
  }

  const Options& options_;
  DecoderFile file_;
  std::shared_ptr<const BpeTokenizer> tokenizer_;
  std::shared_ptr<const Decoder> decoder_;
  Tokens text_;
  double operations_per_ms_ = 0;
};

int measure(const Options& options) {
  at::set_num_threads(options.threads);
  Bench bench(options);
  std::printf("%.1f GFLOP/s in a product of 256 rows\n", bench.operations_per_ms() / 1e6);
  std::printf("%-8s %6s %5s %8s %8s %9s %9s %9s %8s %8s %9s %8s %8s %8s\n", "", "tokens", "known", "reused", "computed",
              "median ms", "p95 ms", "predicted", "parse", "lookup", "prefill", "then t/s",
              ("of " + std::to_string(options.sequences)).c_str(),
              ("ms to " + std::to_string(options.decode + 1)).c_str());
  auto json = nlohmann::ordered_json::array();
  for (const std::size_t tokens : options.tokens) {
    for (const std::string& mode : CLI::detail::split(options.modes, ',')) {
      if (mode == "none") {
        json.push_back(bench.row(mode, tokens, 0));
        continue;
      }
      for (const double share : options.shares) json.push_back(bench.row(mode, tokens, share));
    }
  }
  if (!options.json.empty()) write_file_atomically(options.json, json.dump(1) + "\n");
  return tool::done;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{
      "Time to the first token with and without reuse.\n  reuse_benchmark --llm FILE.gguf --text wiki.valid.tokens"};
  Options options;
  app.add_option("--llm", options.llm, "GGUF file or Hugging Face directory")->required();
  app.add_option("--text", options.text, "any long text")->required();
  app.add_option("--tokens", options.tokens, "lengths of prompts")->capture_default_str();
  app.add_option("--share", options.shares, "known parts of them")
      ->check(CLI::Range(0.01, 0.999))
      ->capture_default_str();
  app.add_option("--modes", options.modes, "of none, prefix, modules, file")->capture_default_str();
  app.add_option("--runs", options.runs, "of each row")->capture_default_str();
  app.add_option("--long-runs", options.long_runs, "of rows that compute 400 tokens or more")->capture_default_str();
  app.add_option("--decode", options.decode, "tokens behind the first prompt")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  app.add_option("--sequences", options.sequences, "that decode side by side, in another column")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  app.add_option("--threads", options.threads)->check(CLI::Range(1, 1024))->capture_default_str();
  app.add_flag("--bf16", options.bf16, "weights and states in bf16");
  app.add_option("--json", options.json, "write the rows");
  return tool::run(app, argc, argv, [&] { return measure(options); });
}
