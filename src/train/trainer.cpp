#include "promptcache/train/trainer.hpp"

#include <torch/torch.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "promptcache/base/error.hpp"
#include "promptcache/base/file.hpp"
#include "promptcache/eval/platt.hpp"
#include "promptcache/model/model_directory.hpp"
#include "promptcache/model/pair_head.hpp"
#include "promptcache/train/adamw.hpp"
#include "promptcache/train/encoder.hpp"
#include "promptcache/train/losses.hpp"
#include "train/batch.hpp"
#include "train/checkpoint.hpp"
#include "train/dataset.hpp"
#include "train/inputs.hpp"
#include "train/run_setup.hpp"
#include "train/scoring.hpp"
#include "train/sharded_encoder.hpp"

namespace promptcache::train {
namespace {

class Run {
 public:
  Run(const TrainOptions& options, const TrainCallbacks& callbacks)
      : options_(options),
        callbacks_(callbacks),
        directory_(ModelDirectory::open(options.model)),
        device_(parse_device(options.device)),
        bf16_(parse_bf16(options.precision, device_)),
        max_tokens_(std::min(options.max_tokens, directory_.max_tokens())),
        loss_(parse_loss(options.loss)),
        blends_(options.guards.empty() ? options.blends : std::max<std::size_t>(options.blends, 5)),
        settings_(settings_of(options, max_tokens_)),
        reading_(options.kind == Kind::pair ? std::optional(PairReading{directory_.encoder().architecture, max_tokens_})
                                            : std::nullopt),
        inputs_(read_inputs(options, directory_, max_tokens_, reading_, callbacks.log)),
        train_(inputs_.train),
        judge_(inputs_.judge) {
    checkpoint_path_ = prepare_output(options);
    at::set_num_threads(static_cast<int>(options.threads));
    at::globalContext().setFlushDenormal(true);
    use_one_blas_thread();
    encoder_ = std::make_unique<Encoder>(directory_, load_encoder_weights(directory_), device_, pair_head());
    sharded_ = std::make_unique<ShardedEncoder>(*encoder_, options.threads);
    std::vector<torch::Tensor> parameters = encoder_->parameters();
    std::vector<bool> decays;
    std::vector<double> rates;
    for (const std::string& name : encoder_->names()) {
      decays.push_back(name.find("bias") == std::string::npos && name.find("LayerNorm") == std::string::npos);
      rates.push_back(rate_of_layer(name));
    }
    head_ = torch::zeros({2}, torch::TensorOptions().device(device_));
    head_.set_requires_grad(options.head == Head::learned);
    if (options.head == Head::learned) {
      parameters.push_back(head_);
      decays.push_back(false);
      rates.push_back(1);
    }
    AdamW::Options adamw;
    adamw.weight_decay = options.weight_decay;
    optimizer_ = std::make_unique<AdamW>(parameters, decays, adamw, rates);
    for (const torch::Tensor& parameter : parameters) best_.push_back(parameter.detach().clone());
    if (blends_ > 1) base_ = copies_of(encoder_->parameters());
    if (options.preserve > 0) {
      before_ = embed_texts(*sharded_, train_, "embedding", callbacks.progress);
    }
    if (loss_ == Loss::contrastive || loss_ == Loss::triplet) groups_ = positive_groups(train_);
    batches_a_epoch_ = (train_.pairs_an_epoch() + options.batch_size - 1) / options.batch_size;
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
    result.start_auc = start_.auc;
    result.best_auc = best_verdict_.auc;
    result.blend = best_blend_;
    result.best_epoch = best_epoch_;
    result.pairs = train_.sets.front().end;
    result.epochs = epoch_;
    result.lambda = written_.lambda;
    result.offset = written_.offset;
    result.truncated_texts = inputs_.truncated;
    return result;
  }

 private:
  void note(LogLevel level, const std::string& text) const {
    if (callbacks_.log) callbacks_.log(level, text);
  }
  void record(const Json& line) const {
    if (callbacks_.record) callbacks_.record(line.dump());
  }

  std::optional<PairHead> pair_head() const {
    if (!reading_) return std::nullopt;
    return is_sequence_classifier(directory_) ? load_pair_head(directory_)
                                              : starting_pair_head(directory_, options_.seed);
  }

  /// Layers count from 1, the embeddings are 0, a head is as the last layer.
  double rate_of_layer(const std::string& name) const {
    if (name.find("pooler") != std::string::npos || name.find("classifier") != std::string::npos) return 1;
    const std::size_t place = name.find("layer.");
    const double layer = place == std::string::npos ? 0 : std::stod(name.substr(place + 6)) + 1;
    return std::pow(options_.layer_decay, static_cast<double>(directory_.encoder().layers) - layer);
  }

  static std::vector<torch::Tensor> copies_of(const std::vector<torch::Tensor>& tensors) {
    std::vector<torch::Tensor> copies;
    for (const torch::Tensor& tensor : tensors) copies.push_back(tensor.detach().clone());
    return copies;
  }

  /// Facts that a checkpoint must share with the run that goes on from it.
  std::string fingerprint() const { return Json{{"settings", settings_}, {"sha256", inputs_.digests}}.dump(); }

  void start() {
    start_ = best_verdict_ = judge_.judge(*sharded_, "the untouched model", callbacks_.progress);
    Calibration head{options_.lambda.value_or(0.01), options_.offset.value_or(88)};
    if (reading_) {
      head = {1, 0};  // logits as they are
    } else if (options_.head != Head::fixed && !(options_.lambda && options_.offset)) {
      constexpr std::size_t enough = 4096;                                     // pairs for two numbers
      std::vector<std::size_t> items = epoch_items(train_, options_.seed, 1);  // as the sets are mixed
      items.resize(std::min(items.size(), enough));
      const Dataset sample = part_of(train_, items);
      const torch::Tensor vectors = embed_texts(*sharded_, sample, "embedding", callbacks_.progress);
      head = starting_head(similarities(vectors, sample), labels_of(sample));
      head.lambda = options_.lambda.value_or(head.lambda);
      head.offset = options_.offset.value_or(head.offset);
    }
    set_head(head);
    note(LogLevel::info, "validation AUC before training " + std::to_string(start_.auc) + ", head " +
                             name_of(options_.head) + " with lambda " + std::to_string(head.lambda) + ", c " +
                             std::to_string(head.offset));
    record({{"event", "start"},
            {"valid_auc", start_.auc},
            {"guard_aucs", start_.guards},
            {"lambda", head.lambda},
            {"c", head.offset}});
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
        const std::size_t done = std::min((step_in_epoch_ + 1) * options_.batch_size, train_.pairs_an_epoch());
        callbacks_.progress({stage, done, train_.pairs_an_epoch(), "pairs", text});
      }
      if (std::chrono::steady_clock::now() - saved_ >= options_.checkpoint_every &&
          step_in_epoch_ + 1 < batches.size()) {
        ++step_in_epoch_;  // the checkpoint belongs to the next batch's start
        save();
        --step_in_epoch_;
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

  torch::Tensor loss_of_batch(const torch::Tensor& vectors, const BatchPairs& pairs) const {
    if (loss_ == Loss::contrastive) return contrastive_loss(vectors, pairs, options_.temperature);
    if (loss_ == Loss::triplet) return triplet_loss(vectors, pairs, options_.margin);
    const torch::Tensor similarity =
        (vectors.index_select(0, pairs.first) * vectors.index_select(0, pairs.second)).sum(1);
    if (loss_ == Loss::cosine) return cosine_loss(similarity, pairs.labels);
    return loss_of(loss_, similarity * torch::exp(-head_[0]) - head_[1], pairs.labels, options_.eps);
  }

  torch::Tensor loss_on_texts(const std::vector<std::size_t>& batch, std::uint64_t seed, torch::Tensor& vectors) {
    const TextBatch texts = text_batch(train_, batch, groups_, device_);
    vectors = sharded_->forward(texts.sequences, seed, bf16_);
    const torch::Tensor loss = loss_of_batch(vectors, texts.pairs);
    if (options_.preserve == 0) return loss;
    const torch::Tensor before = before_.index_select(0, texts.numbers).to(device_);
    return loss + options_.preserve * preservation_loss(vectors, before, texts.pairs);
  }

  torch::Tensor loss_on_pairs(const std::vector<std::size_t>& batch, std::uint64_t seed, torch::Tensor& logits) {
    const PairBatch pairs = pair_batch(train_, batch, *reading_, seed, device_);
    logits = sharded_->forward(pairs.sequences(), seed, bf16_);
    return loss_of(loss_, logits.view({-1}), pairs.labels, options_.eps);
  }

  void train_step(const std::vector<std::size_t>& batch) {
    const auto begin = std::chrono::steady_clock::now();
    // Dropout draws from a generator seeded anew each step: a resumed run needs no saved generator state.
    const std::uint64_t seed = (options_.seed * 1'000'003 + epoch_) * 1'000'003 + step_in_epoch_;
    torch::manual_seed(seed);
    head_.mutable_grad() = torch::Tensor();

    torch::Tensor outputs;
    const torch::Tensor loss = reading_ ? loss_on_pairs(batch, seed, outputs) : loss_on_texts(batch, seed, outputs);
    const double loss_value = loss.item<double>();
    if (!std::isfinite(loss_value)) {
      throw Error(ErrorCode::diverged,
                  {"epoch " + std::to_string(epoch_ + 1) + ", step " + std::to_string(step_in_epoch_ + 1)},
                  "loss " + std::to_string(loss_value), "a finite loss (a smaller learning rate may help)");
    }
    loss.backward();
    double norm = sharded_->backward(outputs);
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

  std::vector<torch::Tensor> trained() const {
    std::vector<torch::Tensor> tensors = encoder_->parameters();
    if (options_.head == Head::learned) tensors.push_back(head_);
    return tensors;
  }

  /// Puts weights between the untouched (0) and the given ones (1) into the encoder.
  void set_blend(const std::vector<torch::Tensor>& trained_weights, double share) {
    const torch::NoGradGuard no_grad;
    for (std::size_t i = 0; i < base_.size(); ++i) {
      torch::Tensor parameter = encoder_->parameters()[i];
      parameter.copy_(share < 1 ? torch::lerp(base_[i], trained_weights[i], share) : trained_weights[i]);
    }
  }

  void finish_epoch() {
    const std::vector<torch::Tensor> now =
        blends_ > 1 ? copies_of(encoder_->parameters()) : std::vector<torch::Tensor>();
    bool better = false;
    Json tried = Json::array();
    for (std::size_t step = blends_; step > 0; --step) {
      const double share = static_cast<double>(step) / static_cast<double>(blends_);
      if (share < 1) set_blend(now, share);
      const Verdict verdict = judge_.judge(*sharded_, "epoch " + std::to_string(epoch_ + 1), callbacks_.progress);
      tried.push_back({{"blend", share}, {"valid_auc", verdict.auc}, {"guard_aucs", verdict.guards}});
      if (!judge_.better(verdict, best_verdict_, start_)) continue;
      better = true;
      best_verdict_ = verdict;
      best_blend_ = share;
      const std::vector<torch::Tensor> candidate = trained();
      for (std::size_t i = 0; i < candidate.size(); ++i) best_[i].copy_(candidate[i].detach());
    }
    if (blends_ > 1) set_blend(now, 1);
    if (better) {
      best_epoch_ = epoch_ + 1;
      stale_ = 0;
    } else {
      ++stale_;
    }
    const double mean_loss = loss_sum_ / static_cast<double>(batches_a_epoch_);
    const double auc = tried[0].at("valid_auc");
    Json line = {{"epoch", epoch_ + 1}, {"loss", mean_loss}, {"valid_auc", auc}};
    if (judge_.guards() > 0 || blends_ > 1) line["blends"] = tried;
    history_.push_back(line);
    Json event = {{"event", "epoch"}};
    event.update(line);
    record(event);
    note(LogLevel::info, "epoch " + std::to_string(epoch_ + 1) + ": loss " + std::to_string(mean_loss) +
                             ", validation AUC " + std::to_string(auc) + (better ? "" : ", not better") +
                             blend_text(better));
    step_in_epoch_ = 0;
    loss_sum_ = 0;
    ++epoch_;  // the checkpoint belongs to the next epoch's start
    save();
    --epoch_;
  }

  std::string blend_text(bool better) const {
    if (!better || blends_ == 1) return "";
    char text[96];
    std::snprintf(text, sizeof(text), "; kept: %.2f of the way, AUC %.6f", best_blend_, best_verdict_.auc);
    std::string result = text;
    for (std::size_t i = 0; i < start_.guards.size(); ++i) {
      std::snprintf(text, sizeof(text), "%s %.4f -> %.4f", i == 0 ? ", guards" : ",", start_.guards[i],
                    best_verdict_.guards[i]);
      result += text;
    }
    return result;
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
                        {"start_auc", start_.auc},
                        {"start_guards", start_.guards},
                        {"best_auc", best_verdict_.auc},
                        {"best_guards", best_verdict_.guards},
                        {"best_blend", best_blend_},
                        {"best_epoch", best_epoch_},
                        {"stale", stale_},
                        {"history", history_},
                        {"log_lambda", head_[0].item<float>()},
                        {"c", head_[1].item<float>()}};
    state.facts = {{"run", fingerprint()}, {"state", facts.dump()}};
    save_checkpoint(checkpoint_path_, state);
    saved_ = std::chrono::steady_clock::now();
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
    start_ = {json.at("start_auc"), json.at("start_guards")};
    best_verdict_ = {json.at("best_auc"), json.at("best_guards")};
    best_blend_ = json.at("best_blend");
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
    // A learned head belongs to the trained weights, not to what lies on the way to them.
    if (options_.head == Head::platt || (options_.head == Head::learned && best_blend_ < 1)) {
      const Dataset& valid = judge_.valid();
      const std::vector<double> scores = scores_of(*sharded_, valid, reading_, "calibrating", callbacks_.progress);
      if (const auto fit = try_fit_platt(scores, labels_of(valid))) {
        written_ = *fit;
      } else {
        note(LogLevel::warning,
             "scores of the validation pairs do not rise with the label: lambda and c are those "
             "of training");
      }
    }
    EncoderWeights weights = encoder_->weights();
    const std::string weights_path = options_.out + "/model.safetensors";
    if (reading_) {
      PairHead pair_head = encoder_->head();
      copy_pair_scorer_files(directory_, options_.out);
      write_pair_scorer_weights(weights_path, directory_, weights, pair_head);
    } else {
      copy_companion_files(directory_, options_.out);
      write_encoder_weights(weights_path, directory_, weights);
    }
    Json json = {{"lambda", written_.lambda},
                 {"c", written_.offset},
                 {"training_head", {{"lambda", training_head.lambda}, {"c", training_head.offset}}}};
    json.update(settings_);
    json["sha256"] = inputs_.digests;
    json["pairs"] = {{"train", train_.sets.front().end}, {"valid", judge_.valid().items.size()}};
    for (std::size_t i = 1; i < train_.sets.size(); ++i) {
      json["pairs"]["mix"].push_back(train_.sets[i].end - train_.sets[i].begin);
    }
    json["validation"] = {
        {"auc_before", start_.auc}, {"auc", best_verdict_.auc},       {"best_epoch", best_epoch_},
        {"blend", best_blend_},     {"guards_before", start_.guards}, {"guards", best_verdict_.guards},
        {"epochs", history_}};
    write_file_atomically(options_.out + "/promptcache.json", json.dump(2) + "\n");
    std::error_code ignored;  // a checkpoint left behind harms nothing
    std::filesystem::remove(checkpoint_path_, ignored);
  }

  const TrainOptions& options_;
  const TrainCallbacks& callbacks_;
  ModelDirectory directory_;
  torch::Device device_;
  bool bf16_;
  std::size_t max_tokens_;
  Loss loss_;
  std::size_t blends_;
  Json settings_;                       // as checkpoints and promptcache.json keep them
  std::optional<PairReading> reading_;  // of a pair scorer
  Inputs inputs_;
  const Dataset& train_;
  const Judge& judge_;
  std::vector<std::size_t> groups_;  // of the training texts, where the loss asks
  std::string checkpoint_path_;
  std::unique_ptr<Encoder> encoder_;
  std::unique_ptr<ShardedEncoder> sharded_;
  torch::Tensor head_;  // [log lambda, c]
  std::unique_ptr<AdamW> optimizer_;
  std::vector<torch::Tensor> best_;  // copies of what validated best
  std::vector<torch::Tensor> base_;  // the untouched weights, where blends are tried
  torch::Tensor before_;             // the untouched model's vectors of the training texts, where they are wanted
  std::size_t batches_a_epoch_ = 0;
  std::chrono::steady_clock::time_point saved_ = std::chrono::steady_clock::now();

  // What a checkpoint holds beside the tensors.
  std::size_t epoch_ = 0;
  std::size_t step_in_epoch_ = 0;
  double loss_sum_ = 0;
  Verdict start_, best_verdict_;
  double best_blend_ = 1;
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
