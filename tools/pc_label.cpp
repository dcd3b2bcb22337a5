#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <mutex>
#include <optional>

#include "http_endpoint.hpp"
#include "interrupt.hpp"
#include "label_report.hpp"
#include "progress_bar.hpp"
#include "promptcache/base/error.hpp"
#include "promptcache/base/file.hpp"
#include "promptcache/pairs/chat_teacher.hpp"
#include "tool.hpp"

namespace {

using promptcache::Error;
using promptcache::ErrorCode;
using promptcache::LabelEnd;
using promptcache::LabelPrompt;
using promptcache::LabelResult;
using promptcache::PairFile;

struct Options {
  std::string pairs, out, endpoint, key_env = "OPENAI_API_KEY", template_path, answer = "yes-no", ca_file, audit, json;
  bool no_key = false, dry_run = false, partial = false, print_template = false, audit_given = false;
  double deadline = 60;
  promptcache::LabelOptions label;
  tool::Prices prices;
};

/// The key of the environment; empty with --no-key, or where none is set and the endpoint may do without.
std::string key_of(const Options& options, const tool::Url& url) {
  if (options.no_key) return "";
  const char* const value = std::getenv(options.key_env.c_str());
  if (value != nullptr && *value != '\0') return value;
  if (url.https) {
    throw Error(ErrorCode::usage, {options.key_env}, "no key in this environment variable",
                "the endpoint's key there (--key-env names another variable, --no-key sends none)");
  }
  return "";
}

void check_paths(const Options& options) {
  std::error_code ignored;
  if (std::filesystem::is_directory(options.out, ignored)) {
    throw Error(ErrorCode::access, {options.out}, "a directory", "a file to write");
  }
  if (std::filesystem::equivalent(options.pairs, options.out, ignored)) {
    throw Error(ErrorCode::usage, {"--out"}, "the file of --pairs", "another one");
  }
}

promptcache::LabelAudit audit(const Options& options, const PairFile& file, const LabelResult& result) {
  std::vector<double> human, teacher;
  if (options.audit.empty()) {
    for (const promptcache::Pair& pair : file.pairs) human.push_back(pair.label);
  } else {
    human = tool::human_labels(file.pairs, promptcache::read_pair_file(options.audit).pairs);
  }
  for (const promptcache::PairLabel& label : result.labels) teacher.push_back(label.label);
  return promptcache::audit_labels(human, teacher, tool::similarity_column(file));
}

/// What must be in order before the first request is paid for.
void check_audit(const Options& options, const PairFile& file) {
  if (!options.audit_given) return;
  if (!options.audit.empty()) {
    promptcache::read_pair_file(options.audit);
  } else if (file.column("label") == PairFile::npos) {
    throw Error(ErrorCode::usage, {file.path}, "no column 'label' to compare with",
                "that column, or --audit FILE with people's labels");
  }
  tool::similarity_column(file);
}

int label(const Options& options, const std::string& command) {
  check_paths(options);
  const auto form = promptcache::answer_form_from(options.answer, "--answer");
  const LabelPrompt prompt =
      options.template_path.empty() ? LabelPrompt::builtin(form) : LabelPrompt::open(options.template_path, form);
  const PairFile file = promptcache::read_pair_file(options.pairs, promptcache::PairLabels::optional);
  check_audit(options, file);
  const tool::Url url = tool::completions_url(options.endpoint, "--endpoint");
  const promptcache::LabelPlan plan = plan_labels(file.pairs, prompt, options.label);
  nlohmann::ordered_json json = {{"model", options.label.model},
                                 {"endpoint", url.origin()},
                                 {"prompt_version", prompt.version()},
                                 {"answer", options.answer}};
  const auto write_json = [&] {
    if (!options.json.empty()) promptcache::write_file_atomically(options.json, json.dump(2) + "\n");
  };
  if (options.dry_run) {
    std::cout << tool::plan_text(plan, file.pairs.size(), options.label.requests_per_minute, options.label.parallel,
                                 options.prices);
    json.update(tool::to_json(plan, options.prices));
    write_json();
    return tool::done;
  }

  tool::ProgressBar bar;
  std::mutex drawing;
  promptcache::LabelCallbacks callbacks;
  callbacks.progress = [&](const promptcache::Progress& progress) {
    const std::lock_guard lock(drawing);
    bar(progress);
  };
  callbacks.log = [&](promptcache::LogLevel level, std::string_view text) {
    const std::lock_guard lock(drawing);
    bar.finish();
    std::cerr << (level == promptcache::LogLevel::info ? "" : "warning: ") << text << std::endl;
  };
  callbacks.stop = [&, told = false]() mutable {
    if (tool::interrupt_requested() && !std::exchange(told, true)) {
      callbacks.log(promptcache::LogLevel::info, "stopping after the requests in flight; Ctrl-C again does not wait");
    }
    return tool::interrupt_requested();
  };

  // With nothing left to ask, no key is needed.
  const std::string key = plan.requests > 0 ? key_of(options, url) : "";
  if (!key.empty() && !url.https && !url.local()) {
    callbacks.log(promptcache::LogLevel::warning, "the key is sent unencrypted to " + url.origin());
  }
  tool::HttpEndpoint endpoint(
      {.url = url,
       .key = key,
       .ca_file = options.ca_file,
       .deadline = std::chrono::milliseconds(static_cast<std::int64_t>(1000 * options.deadline))});
  const promptcache::Teacher teacher = make_chat_teacher([&](const std::string& body) { return endpoint.post(body); },
                                                         {.model = options.label.model,
                                                          .form = form,
                                                          .temperature = options.label.temperature,
                                                          .max_answer_tokens = options.label.max_answer_tokens,
                                                          .secret = key},
                                                         callbacks.log);
  tool::catch_interrupts();
  const LabelResult result = label_pairs(file.pairs, prompt, teacher, options.label, callbacks);
  bar.finish();

  const bool write = result.end == LabelEnd::complete || (options.partial && result.end != LabelEnd::interrupted);
  if (write) {
    const std::size_t unanswered = tool::write_labelled(
        file, result, {options.label.model, prompt.version(), options.label.both_orders}, options.out);
    std::cout << options.out << ": " << file.pairs.size() - unanswered << " pairs";
    if (unanswered > 0) std::cout << "; " << unanswered << " without a label in " << options.out << ".unanswered.tsv";
    std::cout << "\n";
  }
  std::cout << tool::summary_text(result, options.label.both_orders, options.prices);
  json.update(tool::to_json(result, options.label.both_orders, options.prices));
  if (options.audit_given) {
    const promptcache::LabelAudit against_people = audit(options, file, result);
    std::cout << tool::audit_text(against_people);
    json["audit"] = tool::to_json(against_people);
  }
  std::cout << std::flush;
  write_json();
  if (result.end == LabelEnd::complete) return tool::done;
  std::cerr << "pc-label: " << (result.end == LabelEnd::interrupted ? "interrupted" : result.why)
            << "\nEvery answer so far is in " << options.label.journal << ". To go on:\n  " << command << std::endl;
  if (result.end == LabelEnd::interrupted) return tool::interrupted;
  return options.partial && result.end == LabelEnd::out_of_budget ? tool::done : tool::failed;
}

void add_options(CLI::App& app, Options& options) {
  promptcache::LabelOptions& label = options.label;
  app.add_option("--pairs", options.pairs, "TSV or JSON lines with q1, q2; may be gzip; other columns are kept");
  app.add_option("--out", options.out,
                 "TSV file to write when every pair was asked; answers go to <out>.journal.jsonl");
  app.add_option("--endpoint", options.endpoint,
                 "OpenAI-compatible endpoint, as http://127.0.0.1:8000 or https://host/v1");
  app.add_option("--model", label.model, "the teacher, as the endpoint calls it");
  app.add_option("--key-env", options.key_env, "environment variable with the endpoint's key")->capture_default_str();
  app.add_flag("--no-key", options.no_key, "send no key");
  app.add_option("--ca-file", options.ca_file, "certificates (PEM) to trust for https:// instead of the system's");
  app.add_option("--answer", options.answer, "what the teacher answers: yes-no, graded (0 to 4), percent, json")
      ->capture_default_str();
  app.add_option("--template", options.template_path, "file with your own question; {q1} and {q2} are the two prompts");
  app.add_flag("--print-template", options.print_template, "print the built-in question for --answer, and end");
  app.add_flag("--both-orders", label.both_orders, "ask (q1, q2) and (q2, q1); the label is their mean");
  app.add_option("--temperature", label.temperature, "of the teacher")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 2.0));
  app.add_option("--max-answer-tokens", label.max_answer_tokens, "room for an answer (default: 8, json 32)")
      ->check(CLI::Range(1, 100000));
  app.add_option("--parallel", label.parallel, "requests in flight at once")
      ->capture_default_str()
      ->check(CLI::Range(1, 1024));
  app.add_option("--rate", label.requests_per_minute, "requests a minute at most, evenly spaced")
      ->check(CLI::Range(0.001, 1e9));
  app.add_option("--deadline", options.deadline, "seconds for a whole request")
      ->capture_default_str()
      ->check(CLI::Range(0.001, 86400.0));
  app.add_option("--retries", label.retries, "of a question while the endpoint is busy, broken or out of reach")
      ->capture_default_str()
      ->check(CLI::Range(0, 100));
  app.add_option("--budget-requests", label.budget_requests, "requests this call may make, retries included")
      ->check(CLI::PositiveNumber);
  app.add_option("--budget-tokens", label.budget_tokens, "tokens this call may use, prompts and answers")
      ->check(CLI::PositiveNumber);
  app.add_flag("--resume", label.resume, "go on from the journal if there is one");
  app.add_flag("--ask-again", label.ask_again, "with --resume: ask once more what got no usable answer");
  app.add_flag("--partial", options.partial,
               "write what is labelled also when the budget or the endpoint ends the run");
  app.add_flag("--dry-run", options.dry_run, "send nothing; print requests, tokens, cost, time and the first question");
  app.add_option("--price-in", options.prices.in, "price of a million prompt tokens")->check(CLI::Range(0.0, 1e9));
  app.add_option("--price-out", options.prices.out, "price of a million answer tokens")->check(CLI::Range(0.0, 1e9));
  app.add_option("--audit", options.audit,
                 "compare with people: FILE with q1, q2, label, or without FILE the column 'label' of --pairs")
      ->expected(0, 1);
  app.add_option("--json", options.json, "write the figures to this file");
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);  // a server that closes is an error of one request
  std::signal(SIGXFSZ, SIG_IGN);  // and a file over the limit an error like a full disk
  CLI::App app{
      "Asks a teacher LLM whether one response serves both prompts of each pair, and writes its answers as labels.\n"
      "Example: pc-label --pairs mined.tsv --out labelled.tsv --endpoint https://api.openai.com --model gpt-4o-mini "
      "--audit people.tsv\n"
      "The key comes from the environment (--key-env). Try --dry-run first.",
      "pc-label"};
  Options options;
  add_options(app, options);
  return tool::run(app, argc, argv, [&] {
    if (options.print_template) {
      const auto form = promptcache::answer_form_from(options.answer, "--answer");
      std::cout << LabelPrompt::builtin(form).text() << "\n";
      return static_cast<int>(tool::done);
    }
    for (const char* name : {"--pairs", "--out", "--endpoint", "--model"}) {
      if (app.count(name) == 0) throw CLI::RequiredError(name);
    }
    options.audit_given = app.count("--audit") > 0;
    options.label.journal = options.out + ".journal.jsonl";
    return label(options, tool::resume_command(argc, argv));
  });
}
