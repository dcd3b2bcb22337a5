#include "promptcache/train/trainer.hpp"

#include <torch/torch.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <numeric>

#include "promptcache/base/digest.hpp"
#include "promptcache/base/error.hpp"
#include "promptcache/base/file.hpp"
#include "promptcache/eval/platt.hpp"
#include "promptcache/eval/roc.hpp"
#include "promptcache/model/model_directory.hpp"
#include "promptcache/pairs/split.hpp"
#include "promptcache/train/adamw.hpp"
#include "promptcache/train/encoder.hpp"
#include "promptcache/train/losses.hpp"
#include "train/checkpoint.hpp"
#include "train/dataset.hpp"
#include "train/run_setup.hpp"
#include "train/sharded_encoder.hpp"

namespace promptcache::train {
namespace {

class Run {
 public:
  Run(const TrainOptions& options, const TrainCallbacks& callbacks)
      : options_(options),
        callbacks_(callbacks),
        directory_(ModelDirectory::open(options.model)),
        tokenizer_(open_tokenizer(directory_)),
        device_(parse_device(options.device)),
        max_tokens_(std::min(options.max_tokens, directory_.max_tokens())) {
    loss_ = parse_loss(options.loss);
    settings_ = settings_of(options, max_tokens_);
    load_pairs();
    sources_ = {{"base_model", sha256_file(directory_.file("model.safetensors")).hex()},
                {"train", sha256_file(options.train).hex()},
                {"valid", sha256_file(options.valid).hex()}};
    checkpoint_path_ = prepare_output(options);
    at::set_num_threads(static_cast<int>(options.threads));
    at::globalContext().setFlushDenormal(true);
    use_one_blas_thread();
    encoder_ = std::make_unique<Encoder>(directory_, load_encoder_weights(directory_), device_);
    sharded_ = std::make_unique<ShardedEncoder>(*encoder_, options.threads);
    std::vector<torch::Tensor> parameters = encoder_->parameters();
    std::vector<bool> decays;
    for (const std::string& name : encoder_->names()) {
      decays.push_back(name.find("bias") == std::string::npos && name.find("LayerNorm") == std::string::npos);
    }
    head_ = torch::zeros({2}, torch::TensorOptions().device(device_));
    head_.set_requires_grad(options.head == Head::learned);
    if (options.head == Head::learned) {
      parameters.push_back(head_);
      decays.push_back(false);
    }
    AdamW::Options adamw;
    adamw.weight_decay = options.weight_decay;
    optimizer_ = std::make_unique<AdamW>(parameters, decays, adamw);
    for (const torch::Tensor& parameter : parameters) best_.push_back(parameter.detach().clone());
    batches_a_epoch_ = (train_.items.size() + options.batch_size - 1) / options.batch_size;
  }

  TrainResult run() {
    if (options_.resume) {
      restore();
    } else {
      start();
    }
    TrainResult result;
    for (; epoch_ < options_.epochs && stale_ < options_.patience; ++epoch_) {
      if (!run_epoch()) {
        save();
        result.interrupted = true;
        break;
      }
      finish_epoch();
    }
    if (!result.interrupted) write_model();
    result.start_auc = start_auc_;
    result.best_auc = best_auc_;
    result.best_epoch = best_epoch_;
    result.epochs = epoch_;
    result.lambda = written_.lambda;
    result.offset = written_.offset;
    result.truncated_texts = train_.truncated + valid_.truncated;
    return result;
  }

 private:
  void note(LogLevel level, const std::string& text) const {
    if (callbacks_.log) callbacks_.log(level, text);
  }
  void record(const Json& line) const {
    if (callbacks_.record) callbacks_.record(line.dump());
  }

  void load_pairs() {
    const PairFile train = read_pair_file(options_.train);
    const PairFile valid = read_pair_file(options_.valid);
    const auto positives = [](const PairFile& file) {
      return static_cast<std::size_t>(
          std::count_if(file.pairs.begin(), file.pairs.end(), [](const Pair& pair) { return pair.positive(); }));
    };
    for (const PairFile* file : {&valid, &train}) {
      if (file == &train && options_.head == Head::fixed) continue;  // one class can be trained on, but not fitted to
      if (positives(*file) != 0 && positives(*file) != file->pairs.size()) continue;
      throw Error(ErrorCode::usage, {file->path}, positives(*file) == 0 ? "negative pairs only" : "positive pairs only",
                  "pairs of both classes");
    }
    if (const std::size_t shared = shared_questions(train.pairs, valid.pairs); shared > 0) {
      note(LogLevel::warning, std::to_string(shared) + " questions of " + options_.valid + " are in " + options_.train +
                                  " too: the validation AUC will flatter (split with pc-mine split)");
    }
    train_ = make_dataset(train.pairs, *tokenizer_, directory_.prefix(), max_tokens_);
    valid_ = make_dataset(valid.pairs, *tokenizer_, directory_.prefix(), max_tokens_);
    if (train_.truncated + valid_.truncated > 0) {
      note(LogLevel::warning, std::to_string(train_.truncated + valid_.truncated) + " texts were longer than " +
                                  std::to_string(max_tokens_) + " tokens and are cut");
    }
  }

  /// Facts that a checkpoint must share with the run that goes on from it.
  std::string fingerprint() const { return Json{{"settings", settings_}, {"sha256", sources_}}.dump(); }

  void start() {
    start_auc_ = best_auc_ = validation_auc();
    Calibration head{options_.lambda.value_or(0.01), options_.offset.value_or(88)};
    if (options_.head != Head::fixed && !(options_.lambda && options_.offset)) {
      head = starting_head(similarities(train_, "fitting the head"), labels(train_));
      head.lambda = options_.lambda.value_or(head.lambda);
      head.offset = options_.offset.value_or(head.offset);
    }
    set_head(head);
    note(LogLevel::info, "validation AUC before training " + std::to_string(start_auc_) + ", head " +
                             name_of(options_.head) + " with lambda " + std::to_string(head.lambda) + ", c " +
                             std::to_string(head.offset));
    record({{"event", "start"}, {"valid_auc", start_auc_}, {"lambda", head.lambda}, {"c", head.offset}});
    best_.back() = options_.head == Head::learned ? head_.detach().clone() : best_.back();
  }

  void set_head(const Calibration& head) {
    const torch::NoGradGuard no_grad;
    head_[0] = std::log(head.lambda);
    head_[1] = head.offset;
  }
  Calibration head() const { return {std::exp(head_[0].item<double>()), head_[1].item<double>()}; }

  /// One pass over the rest of an epoch's batches; false when the caller asked to stop.
  bool run_epoch() {
    const auto batches = epoch_batches(train_, options_.batch_size, options_.seed, epoch_ + 1);
    const std::string stage = "epoch " + std::to_string(epoch_ + 1) + "/" + std::to_string(options_.epochs);
    for (; step_in_epoch_ < batches.size(); ++step_in_epoch_) {
      if (callbacks_.stop && callbacks_.stop()) return false;
      train_step(batches[step_in_epoch_]);
      char text[48];
      std::snprintf(text, sizeof(text), "loss %.4f", loss_sum_ / static_cast<double>(step_in_epoch_ + 1));
      if (callbacks_.progress) {
        const std::size_t done = std::min((step_in_epoch_ + 1) * options_.batch_size, train_.items.size());
        callbacks_.progress({stage, step_in_epoch_ + 1 == batches.size() ? train_.items.size() : done,
                             train_.items.size(), "pairs", text});
      }
    }
    return true;
  }

  double learning_rate_now() const {
    const double total = static_cast<double>(options_.epochs * batches_a_epoch_);
    const double step = static_cast<double>(epoch_ * batches_a_epoch_ + step_in_epoch_);
    const double warm = std::max(1.0, std::floor(options_.warm_up * total));
    const double share = step < warm ? (step + 1) / warm : (total - step) / std::max(1.0, total - warm);
    return options_.learning_rate * share;
  }

  /// The distinct texts of a batch in order of length, and where each pair's two stand among them.
  struct BatchTexts {
    std::vector<const std::vector<std::int32_t>*> sequences;
    torch::Tensor first, second;  // int64 [pairs]
  };

  BatchTexts texts_of(const std::vector<std::size_t>& batch) const {
    std::vector<std::size_t> texts;
    for (std::size_t item : batch) {
      texts.push_back(train_.items[item].first);
      texts.push_back(train_.items[item].second);
    }
    const auto shorter = [&](std::size_t a, std::size_t b) {
      return std::pair(train_.texts[a].size(), a) < std::pair(train_.texts[b].size(), b);
    };
    std::sort(texts.begin(), texts.end(), shorter);
    texts.erase(std::unique(texts.begin(), texts.end()), texts.end());
    const auto places = [&](auto text_of) {
      std::vector<std::int64_t> result;
      for (std::size_t item : batch) {
        const auto place = std::lower_bound(texts.begin(), texts.end(), text_of(train_.items[item]), shorter);
        result.push_back(place - texts.begin());
      }
      return torch::tensor(result, torch::kInt64).to(device_);
    };
    BatchTexts result;
    for (std::size_t text : texts) result.sequences.push_back(&train_.texts[text]);
    result.first = places([](const Dataset::Item& item) { return item.first; });
    result.second = places([](const Dataset::Item& item) { return item.second; });
    return result;
  }

  void train_step(const std::vector<std::size_t>& batch) {
    const auto begin = std::chrono::steady_clock::now();
    // Dropout draws from a generator seeded anew each step: a resumed run needs no saved generator state.
    const std::uint64_t seed = (options_.seed * 1'000'003 + epoch_) * 1'000'003 + step_in_epoch_;
    torch::manual_seed(seed);
    head_.mutable_grad() = torch::Tensor();

    const BatchTexts texts = texts_of(batch);
    const torch::Tensor vectors = sharded_->forward(texts.sequences, seed);
    const torch::Tensor similarity =
        (vectors.index_select(0, texts.first) * vectors.index_select(0, texts.second)).sum(1);
    std::vector<float> label_values;
    for (std::size_t item : batch) label_values.push_back(train_.items[item].label);
    const torch::Tensor label_tensor = torch::tensor(label_values, torch::kFloat32).to(device_);
    const torch::Tensor logits = similarity * torch::exp(-head_[0]) - head_[1];
    const torch::Tensor loss = loss_of(loss_, logits, label_tensor, options_.eps);
    const double loss_value = loss.item<double>();
    if (!std::isfinite(loss_value)) {
      throw Error(ErrorCode::diverged,
                  {"epoch " + std::to_string(epoch_ + 1) + ", step " + std::to_string(step_in_epoch_ + 1)},
                  "loss " + std::to_string(loss_value), "a finite loss (a smaller learning rate may help)");
    }
    loss.backward();
    double norm = sharded_->backward(vectors);
    if (head_.grad().defined()) norm = std::hypot(norm, head_.grad().norm().item<double>());
    const double rate = learning_rate_now();
    optimizer_->step(rate, norm > options_.gradient_clip ? options_.gradient_clip / norm : 1.0);
    loss_sum_ += loss_value;
    record({{"event", "step"},
            {"epoch", epoch_ + 1},
            {"step", step_in_epoch_ + 1},
            {"loss", loss_value},
            {"gradient_norm", norm},
            {"learning_rate", rate},
            {"pairs", batch.size()},
            {"seconds", std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count()}});
  }

  std::int64_t directory_width() const { return static_cast<std::int64_t>(directory_.encoder().hidden_size); }

  std::vector<double> similarities(const Dataset& data, const char* stage) const {
    torch::Tensor vectors = torch::empty({static_cast<std::int64_t>(data.texts.size()), directory_width()});
    constexpr std::size_t block = 2048;  // between reports of progress
    for (std::size_t begin = 0; begin < data.texts.size(); begin += block) {
      const std::size_t end = std::min(data.texts.size(), begin + block);
      std::vector<const std::vector<std::int32_t>*> sequences;
      for (std::size_t i = begin; i < end; ++i) sequences.push_back(&data.texts[i]);
      vectors.slice(0, static_cast<std::int64_t>(begin), static_cast<std::int64_t>(end))
          .copy_(sharded_->embed(sequences));
      if (callbacks_.progress) callbacks_.progress({stage, end, data.texts.size(), "texts", ""});
    }
    const auto width = directory_width();
    std::vector<double> result;
    const float* values = vectors.data_ptr<float>();
    for (const Dataset::Item& item : data.items) {
      const float* a = values + item.first * static_cast<std::size_t>(width);
      const float* b = values + item.second * static_cast<std::size_t>(width);
      result.push_back(std::inner_product(a, a + width, b, 0.0));
    }
    return result;
  }

  static std::vector<double> labels(const Dataset& data) {
    std::vector<double> result;
    for (const Dataset::Item& item : data.items) result.push_back(static_cast<double>(item.label));
    return result;
  }

  double validation_auc() const {
    std::vector<std::uint8_t> positive;
    for (const Dataset::Item& item : valid_.items) positive.push_back(item.label >= 0.5F ? 1 : 0);
    const std::vector<double> scores = similarities(valid_, "validating");
    for (double score : scores) {
      if (!std::isfinite(score)) {
        throw Error(ErrorCode::diverged, {"epoch " + std::to_string(epoch_ + 1)}, "a similarity that is no number",
                    "finite vectors (a smaller learning rate may help)");
      }
    }
    return roc_auc(scores, positive);
  }

  std::vector<torch::Tensor> trained() const {
    std::vector<torch::Tensor> tensors = encoder_->parameters();
    if (options_.head == Head::learned) tensors.push_back(head_);
    return tensors;
  }

  void finish_epoch() {
    const double auc = validation_auc();
    const bool better = auc > best_auc_;
    if (better) {
      best_auc_ = auc;
      best_epoch_ = epoch_ + 1;
      stale_ = 0;
      const std::vector<torch::Tensor> now = trained();
      for (std::size_t i = 0; i < now.size(); ++i) best_[i].copy_(now[i].detach());
    } else {
      ++stale_;
    }
    const double mean_loss = loss_sum_ / static_cast<double>(batches_a_epoch_);
    history_.push_back({{"epoch", epoch_ + 1}, {"loss", mean_loss}, {"valid_auc", auc}});
    record({{"event", "epoch"}, {"epoch", epoch_ + 1}, {"loss", mean_loss}, {"valid_auc", auc}});
    note(LogLevel::info, "epoch " + std::to_string(epoch_ + 1) + ": loss " + std::to_string(mean_loss) +
                             ", validation AUC " + std::to_string(auc) + (better ? "" : ", not better"));
    step_in_epoch_ = 0;
    loss_sum_ = 0;
    ++epoch_;  // the checkpoint belongs to the next epoch's start
    save();
    --epoch_;
  }

  Checkpoint checkpoint() {
    Checkpoint result;
    const std::vector<torch::Tensor> now = trained();
    std::vector<std::string> names = encoder_->names();
    if (options_.head == Head::learned) names.emplace_back("head");
    for (std::size_t i = 0; i < now.size(); ++i) {
      result.tensors.emplace_back("now." + names[i], now[i]);
      result.tensors.emplace_back("best." + names[i], best_[i]);
      result.tensors.emplace_back("first." + names[i], optimizer_->first_moments()[i]);
      result.tensors.emplace_back("second." + names[i], optimizer_->second_moments()[i]);
    }
    return result;
  }

  void save() {
    Checkpoint state = checkpoint();
    const Json facts = {{"epoch", epoch_},
                        {"step", step_in_epoch_},
                        {"steps", optimizer_->steps()},
                        {"loss_sum", loss_sum_},
                        {"start_auc", start_auc_},
                        {"best_auc", best_auc_},
                        {"best_epoch", best_epoch_},
                        {"stale", stale_},
                        {"history", history_},
                        {"log_lambda", head_[0].item<float>()},
                        {"c", head_[1].item<float>()}};
    state.facts = {{"run", fingerprint()}, {"state", facts.dump()}};
    save_checkpoint(checkpoint_path_, state);
  }

  void restore() {
    Checkpoint state = checkpoint();
    const std::map<std::string, std::string> facts = load_checkpoint(checkpoint_path_, state);
    const Json json = Json::parse(facts.count("state") != 0 ? facts.at("state") : "", nullptr, false);
    if (!json.is_object())
      throw Error(ErrorCode::format, {checkpoint_path_}, "no training state", "a checkpoint of pc-train");
    if (facts.at("run") != fingerprint()) {
      throw Error(ErrorCode::mismatch, {checkpoint_path_}, "a run of other options or data: " + facts.at("run"),
                  fingerprint());
    }
    epoch_ = json.at("epoch");
    step_in_epoch_ = json.at("step");
    optimizer_->set_steps(json.at("steps"));
    loss_sum_ = json.at("loss_sum");
    start_auc_ = json.at("start_auc");
    best_auc_ = json.at("best_auc");
    best_epoch_ = json.at("best_epoch");
    stale_ = json.at("stale");
    history_ = json.at("history");
    const torch::NoGradGuard no_grad;
    head_[0] = json.at("log_lambda").get<float>();
    head_[1] = json.at("c").get<float>();
    note(LogLevel::info,
         "resumed in epoch " + std::to_string(epoch_ + 1) + " after " + std::to_string(step_in_epoch_) + " batches");
  }

  void write_model() {
    {
      const torch::NoGradGuard no_grad;
      const std::vector<torch::Tensor> now = trained();
      for (std::size_t i = 0; i < now.size(); ++i) now[i].copy_(best_[i]);
    }
    const Calibration training_head = head();
    written_ = training_head;
    if (options_.head == Head::platt) {
      if (const auto fit = try_fit_platt(similarities(valid_, "calibrating"), labels(valid_))) {
        written_ = *fit;
      } else {
        note(LogLevel::warning,
             "similarities of the validation pairs do not rise with the label: lambda and c are those "
             "of training");
      }
    }
    copy_companion_files(directory_, options_.out);
    EncoderWeights weights = encoder_->weights();
    write_encoder_weights(options_.out + "/model.safetensors", directory_, weights);
    Json json = {{"lambda", written_.lambda},
                 {"c", written_.offset},
                 {"training_head", {{"lambda", training_head.lambda}, {"c", training_head.offset}}}};
    json.update(settings_);
    json["sha256"] = sources_;
    json["pairs"] = {{"train", train_.items.size()}, {"valid", valid_.items.size()}};
    json["validation"] = {
        {"auc_before", start_auc_}, {"auc", best_auc_}, {"best_epoch", best_epoch_}, {"epochs", history_}};
    write_file_atomically(options_.out + "/promptcache.json", json.dump(2) + "\n");
    std::error_code ignored;  // a checkpoint left behind harms nothing
    std::filesystem::remove(checkpoint_path_, ignored);
  }

  const TrainOptions& options_;
  const TrainCallbacks& callbacks_;
  ModelDirectory directory_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  torch::Device device_;
  std::size_t max_tokens_;
  Loss loss_ = Loss::bce;
  Json settings_, sources_;  // as checkpoints and promptcache.json keep them
  Dataset train_, valid_;
  std::string checkpoint_path_;
  std::unique_ptr<Encoder> encoder_;
  std::unique_ptr<ShardedEncoder> sharded_;
  torch::Tensor head_;  // [log lambda, c]
  std::unique_ptr<AdamW> optimizer_;
  std::vector<torch::Tensor> best_;  // copies of what validated best
  std::size_t batches_a_epoch_ = 0;

  // What a checkpoint holds beside the tensors.
  std::size_t epoch_ = 0;
  std::size_t step_in_epoch_ = 0;
  double loss_sum_ = 0;
  double start_auc_ = 0;
  double best_auc_ = 0;
  std::size_t best_epoch_ = 0;
  std::size_t stale_ = 0;
  Json history_ = Json::array();
  Calibration written_;
};

}  // namespace

TrainResult train(const TrainOptions& options, const TrainCallbacks& callbacks) {
  check_options(options);
  return Run(options, callbacks).run();
}

}  // namespace promptcache::train
