#include <ATen/Parallel.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>

#include "interrupt.hpp"
#include "promptcache/base/error.hpp"
#include "promptcache/base/file.hpp"
#include "promptcache/reuse/generation.hpp"
#include "promptcache/reuse/pml.hpp"
#include "promptcache/reuse/prompt_modules.hpp"
#include "promptcache/reuse/torch_decoder.hpp"
#include "tool.hpp"

namespace {

using namespace promptcache::reuse;
using promptcache::BpeTokenizer;
using promptcache::Error;
using promptcache::ErrorCode;
using Clock = std::chrono::steady_clock;

struct Options {
  std::string llm, text, system, chat, json, store;
  std::vector<std::string> schemas, prompts, sets;
  bool compare = false, ahead = false, store_read_only = false;
  std::size_t memory = 1024, store_size = 4096;  // MiB
  int threads = 0;
  TorchDecoderOptions decoder;
  ModuleOptions modules;
  GenerationOptions generation;
};

double milliseconds_since(Clock::time_point begin) {
  return std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
}

struct Model {
  DecoderFile file;
  std::shared_ptr<const BpeTokenizer> tokenizer;
  ChatTags tags;
  Tokenize tokenize;
  std::shared_ptr<const Decoder> decoder;
  std::shared_ptr<KvStore> store;

  explicit Model(const Options& options)
      : file(DecoderFile::open(options.llm)),
        tokenizer(file.tokenizer()),
        tags(file.chat()),
        tokenize(tokenize_with(tokenizer)),
        decoder(make_torch_decoder(file, options.decoder)),
        store(std::make_shared<KvStore>(
            decoder->kv_shape(),
            KvStoreOptions{.memory_bytes = options.memory << 20,
                           .file = options.store,
                           .file_bytes = options.store_size << 20,
                           .file_read_only = options.store_read_only,
                           .log = [](promptcache::LogLevel,
                                     std::string_view text) { std::cerr << "pc-run: " << text << std::endl; },
                           .decoder = decoder->identity()})) {}
};

/// What the time to the first token was made of, in milliseconds.
struct Report {
  double parse = 0, lookup = 0, prefill = 0;
  ReuseCounts counts;
  std::size_t tokens_again = 0;
  bool exact = true;
  std::string answer;
  double tokens_per_second = 0;
  std::optional<double> full;  ///< time without reuse
  Divergence divergence;
  std::string full_answer;
};

/// Answers behind a chain, as it comes.
void answer(const Model& model, const Options& options, Chain& chain, bool show, Report& report) {
  GenerationOptions how = options.generation;
  how.ends = model.file.config().ends;
  how.receive = [&](std::string_view text) {
    if (show) {
      std::fwrite(text.data(), 1, text.size(), stdout);
      std::fflush(stdout);
    }
    return !tool::interrupt_requested();
  };
  const auto begin = Clock::now();
  const Generation generation = generate(chain, *model.tokenizer, how);
  const double seconds = milliseconds_since(begin) / 1000;
  report.tokens_per_second = generation.tokens.empty() ? 0 : static_cast<double>(generation.tokens.size()) / seconds;
  report.answer = generation.text;
  if (show) std::printf("\n");
  if (generation.end == GenerationEnd::context) std::fprintf(stderr, "the model's context is full\n");
}

void print(const Options& options, const Report& report) {
  std::fprintf(
      stderr,
      "first token after %.1f ms: parse %.1f, lookup and modules %.1f, prefill %.1f; %zu tokens reused, %zu computed",
      report.parse + report.lookup + report.prefill, report.parse, report.lookup, report.prefill,
      report.counts.tokens_reused, report.counts.tokens_computed);
  if (report.tokens_again > 0) std::fprintf(stderr, " (%zu of them again)", report.tokens_again);
  std::fprintf(stderr, "; %s; then %.1f tokens/s\n", report.exact ? "exact" : "approximate", report.tokens_per_second);
  if (!options.compare || !report.full) return;
  std::fprintf(stderr, "without reuse after %.1f ms; logits differ by %.3g at most, KL %.3g nats, likeliest token %s\n",
               *report.full, report.divergence.largest_difference, report.divergence.kl,
               report.divergence.same_top ? "the same" : "another");
  std::fprintf(stderr, "its answer%s\n",
               report.answer == report.full_answer ? " is the same" : (":\n" + report.full_answer).c_str());
}

nlohmann::ordered_json json_of(const Report& report) {
  nlohmann::ordered_json json = {
      {"answer", report.answer},
      {"first_token_ms", {{"parse", report.parse}, {"lookup", report.lookup}, {"prefill", report.prefill}}},
      {"tokens_reused", report.counts.tokens_reused},
      {"tokens_computed", report.counts.tokens_computed},
      {"tokens_again", report.tokens_again},
      {"bytes_reused", report.counts.bytes_reused},
      {"exact", report.exact},
      {"tokens_per_second", report.tokens_per_second}};
  if (report.full) {
    json["without_reuse"] = {{"first_token_ms", *report.full},
                             {"largest_difference", report.divergence.largest_difference},
                             {"kl", report.divergence.kl},
                             {"same_top", report.divergence.same_top},
                             {"answer", report.full_answer}};
  }
  return json;
}

/// The same without reuse: `full` computes all of it.
void compare(const Model& model, const Options& options, const std::vector<float>& logits, Report& report,
             const std::function<Chain()>& full) {
  const auto begin = Clock::now();
  Chain chain = full();
  report.full = milliseconds_since(begin);
  report.divergence = divergence(chain.logits(), logits);
  Report other;
  answer(model, options, chain, false, other);
  report.full_answer = other.answer;
}

Report run_prompt(const Model& model, const Options& options, PromptModules& modules, const std::string& path) {
  const auto begin = Clock::now();
  const Prompt prompt = read_prompt(path, {.chat = model.tags});
  Report report;
  const double reading = milliseconds_since(begin);
  ModulePrefill prefill = modules.prefill(prompt);
  report.parse = reading + prefill.times.layout * 1000;
  report.lookup = prefill.times.modules * 1000;
  report.prefill = prefill.times.prefill * 1000;
  report.counts = prefill.counts;
  report.tokens_again = prefill.tokens_again;
  report.exact = prefill.exact;
  const std::vector<float> logits = prefill.chain.logits();
  answer(model, options, prefill.chain, true, report);
  if (options.compare) {
    compare(model, options, logits, report, [&] { return modules.full_attention(prefill.tokens); });
  }
  return report;
}

/// Goes on in a conversation with these pieces.
Report run_text(const Model& model, const Options& options, Chain& chain, const std::vector<Piece>& pieces) {
  const auto begin = Clock::now();
  const std::vector<std::int32_t> tokens = model.tokenize(pieces);
  Report report;
  report.parse = milliseconds_since(begin);
  const ReuseCounts before = chain.counts();
  chain.append(tokens);
  chain.logits();
  report.prefill = milliseconds_since(begin) - report.parse;
  report.counts.tokens_reused = chain.counts().tokens_reused - before.tokens_reused;
  report.counts.tokens_computed = chain.counts().tokens_computed - before.tokens_computed;
  report.counts.bytes_reused = chain.counts().bytes_reused - before.bytes_reused;
  const std::vector<float> logits = chain.logits();
  answer(model, options, chain, true, report);
  chain.keep();
  if (options.compare) {
    compare(model, options, logits, report, [&] {
      Chain full(model.decoder, nullptr);
      full.append(tokens);
      return full;
    });
  }
  return report;
}

std::vector<ChatMessage> read_chat(const std::string& path) {
  const auto json = nlohmann::json::parse(promptcache::read_file(path), nullptr, false);
  const bool object = json.is_object() && json.contains("messages");
  const nlohmann::json& list = object ? json["messages"] : json;
  if (!list.is_array() || list.empty()) throw Error(ErrorCode::format, {path}, "no messages", "a list of them");
  std::vector<ChatMessage> messages;
  for (const auto& message : list) {
    const bool sound = message.is_object() && message.contains("role") && message["role"].is_string() &&
                       message.contains("content") && message["content"].is_string();
    if (!sound) throw Error(ErrorCode::format, {path}, message.dump().substr(0, 60), "a message with role and content");
    messages.push_back({message["role"].get<std::string>(), message["content"].get<std::string>()});
  }
  return messages;
}

std::vector<ChatMessage> with_system(const Options& options, ChatMessage message) {
  std::vector<ChatMessage> messages;
  if (!options.system.empty()) messages.push_back({"system", options.system});
  messages.push_back(std::move(message));
  return messages;
}

/// Lines are messages, until there are no more.
std::vector<Report> converse(const Model& model, Options options) {
  const bool terminal = ::isatty(STDIN_FILENO) == 1;
  Chain chain(model.decoder, model.store);
  std::vector<Report> reports;
  for (std::string line; !tool::interrupt_requested();) {
    if (terminal) std::fprintf(stderr, "> ");
    if (!std::getline(std::cin, line)) break;
    if (line.empty()) continue;
    const ChatMessage message{"user", line};
    const auto pieces = chain.blocks().empty() ? render_chat(model.tags, with_system(options, message))
                                               : render_next(model.tags, message);
    reports.push_back(run_text(model, options, chain, pieces));
    print(options, reports.back());
  }
  return reports;
}

std::vector<Report> run(const Model& model, const Options& options) {
  std::vector<Report> reports;
  if (!options.prompts.empty()) {
    PromptModules modules(model.decoder, model.tokenize, model.store, options.modules);
    for (const std::string& path : options.schemas) {
      const Schema schema = read_schema(path, {.chat = model.tags});
      modules.add(schema);
      if (!options.ahead) continue;
      const auto begin = Clock::now();
      const ReuseCounts counts = modules.encode(schema.name);
      std::fprintf(stderr, "schema '%s': %zu tokens encoded in %.1f ms\n", schema.name.c_str(), counts.tokens_computed,
                   milliseconds_since(begin));
    }
    for (const std::string& path : options.prompts) {
      reports.push_back(run_prompt(model, options, modules, path));
      print(options, reports.back());
      if (tool::interrupt_requested()) break;
    }
    return reports;
  }
  if (options.text.empty() && options.chat.empty()) {
    if (options.compare) throw CLI::ExcludesError("--compare", "a conversation");
    return converse(model, options);
  }
  Chain chain(model.decoder, model.store);
  const auto messages = options.chat.empty() ? with_system(options, {"user", options.text}) : read_chat(options.chat);
  reports.push_back(run_text(model, options, chain, render_chat(model.tags, messages)));
  print(options, reports.back());
  return reports;
}

/// An option that takes one of some names; the first is the default.
template <class T>
void add_choice(CLI::App& app, const std::string& name, T& value, const std::string& text,
                const std::vector<std::pair<std::string, T>>& choices) {
  std::vector<std::string> names;
  for (const auto& [choice, chosen] : choices) names.push_back(choice);
  value = choices.front().second;
  app.add_option_function<std::string>(
         name,
         [&value, choices](const std::string& wanted) {
           for (const auto& [choice, chosen] : choices) {
             if (choice == wanted) value = chosen;
           }
         },
         text)
      ->check(CLI::IsMember(names))
      ->default_str(names.front());
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{
      "Answers prompts with a language model, and computes no attention states twice: what prompts begin with, and\n"
      "modules of schemas wherever they stand. Answers go to standard output, times and counts to standard error.\n"
      "  pc-run --llm SmolLM2-135M-Instruct.Q4_1.gguf                                   a conversation\n"
      "  pc-run --llm SmolLM2-135M-Instruct.Q4_1.gguf --text \"Name three rivers.\"\n"
      "  pc-run --llm SmolLM2-135M-Instruct.Q4_1.gguf --schema trip.pml --prompt rome.pml --prompt oslo.pml --compare"};
  Options options;
  app.add_option("--llm", options.llm, "GGUF file or Hugging Face directory")->required();
  auto* schema = app.add_option("--schema", options.schemas, "PML file with a schema; may be repeated");
  auto* prompt = app.add_option("--prompt", options.prompts, "PML file with a prompt; may be repeated")->needs(schema);
  schema->needs(prompt);
  auto* text = app.add_option("--text", options.text, "a user's message")->excludes(prompt);
  app.add_option("--system", options.system, "the system's message in front of it")->excludes(prompt);
  app.add_option("--chat", options.chat, "JSON file with a list of messages, or a chat completion request")
      ->excludes(prompt)
      ->excludes(text);
  app.add_flag("--compare", options.compare, "run each prompt without reuse, too, and say how far apart they are");
  app.add_flag("--encode-ahead", options.ahead, "encode all modules before the first prompt")->needs(schema);
  add_choice(app, "--encoding", options.modules.encoding, "what modules see when they are encoded",
             {{"behind_header", Encoding::behind_header},
              {"isolated", Encoding::isolated},
              {"schema_scaffold", Encoding::schema_scaffold}});
  add_choice(app, "--visibility", options.modules.visibility, "what new text sees",
             {{"position_causal", Visibility::position_causal}, {"index_causal", Visibility::index_causal}});
  app.add_option("--scaffold-set", options.sets, "modules to be encoded together, as a,b/c; may be repeated");
  app.add_option("--recompute-first", options.modules.recompute_first,
                 "compute the first tokens of each module again, with all in sight")
      ->capture_default_str();
  app.add_option("--recompute-share", options.modules.recompute_share,
                 "compute this share of module tokens again, those that deviate most")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  add_choice(app, "--weights", options.decoder.weights, "number format of the weights",
             {{"f32", WeightType::f32}, {"bf16", WeightType::bf16}});
  add_choice(app, "--kv", options.decoder.kv, "number format of keys and values",
             {{"f32", KvType::f32}, {"bf16", KvType::bf16}});
  app.add_option("--device", options.decoder.device, "as LibTorch names them")->capture_default_str();
  app.add_option("--threads", options.threads, "0: as many as there are cores")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  app.add_option("--memory", options.memory, "MiB of attention states to keep")
      ->check(CLI::Range(1, 1 << 30))
      ->capture_default_str();
  auto* const store = app.add_option("--store", options.store, "file that keeps attention states from call to call");
  app.add_flag("--store-read-only", options.store_read_only, "only read it, while another process may write it")
      ->needs(store);
  app.add_option("--store-size", options.store_size, "MiB of a new one")
      ->check(CLI::Range(1, 1 << 30))
      ->capture_default_str();
  app.add_option("--max-tokens", options.generation.most_tokens, "longest answer")->capture_default_str();
  app.add_option("--temperature", options.generation.sampling.temperature, "0: always the likeliest token")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--top-k", options.generation.sampling.top_k, "only among so many tokens; 0: all")
      ->capture_default_str();
  app.add_option("--top-p", options.generation.sampling.top_p,
                 "only among the likeliest with this probability together")
      ->capture_default_str();
  app.add_option("--seed", options.generation.sampling.seed, "of the choices")->capture_default_str();
  app.add_option("--stop", options.generation.stop, "text that ends the answer; may be repeated");
  app.add_option("--json", options.json, "write answers, times and counts as JSON");
  return tool::run(app, argc, argv, [&] {
    for (const std::string& set : options.sets) options.modules.scaffold_sets.push_back(CLI::detail::split(set, ','));
    if (options.threads > 0) at::set_num_threads(options.threads);
    tool::catch_interrupts();
    const Model model(options);
    const std::vector<Report> reports = run(model, options);
    if (!options.json.empty()) {
      auto json = nlohmann::ordered_json::array();
      for (const Report& report : reports) json.push_back(json_of(report));
      promptcache::write_file_atomically(options.json,
                                         json.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
    }
    return tool::interrupt_requested() ? tool::interrupted : tool::done;
  });
}
