#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "promptcache/base/log.hpp"
#include "promptcache/base/progress.hpp"

namespace promptcache::train {

/// How lambda and c of P = sigma(s / lambda - c) come about (arXiv 2402.01173).
enum class Head {
  fixed,    ///< as given
  platt,    ///< fitted to the untouched model's similarities on the training pairs, and once more, for serving, to the
            ///< trained model's on the validation pairs
  learned,  ///< trained along, from the Platt fit or the given values; lambda as its logarithm
};

/// What is trained.
enum class Kind {
  encoder,  ///< one text, one vector: pairs are judged by the cosine of two
  pair,     ///< a `PairScorer`: two texts read together, a logit
};

/// A further set of pairs to train on.
struct MixedSet {
  std::string path;
  double weight = 1;  ///< so many of its pairs come to each pair of the first set
};

/// Everything that decides a training run.
struct TrainOptions {
  std::string model;  ///< model directory to start from
  std::string train;  ///< pair files
  std::string valid;
  std::string out;  ///< directory for the result; absent or empty unless `resume`

  /// A pair scorer is made from an encoder, with a new head, or goes on from one. It takes the first three losses and a
  /// `max_tokens` for both texts together; there is nothing it should keep, so guards, blends and `preserve` are
  /// refused. lambda and c are fitted to its logits on the validation pairs.
  Kind kind = Kind::encoder;
  std::vector<MixedSet> mix;

  /// Pair files on which the AUC may fall by no more than `guard_slack` below the untouched model's. What breaks that
  /// is taken back: of the weights on the way from the untouched to the trained ones, at `blends` even steps, those
  /// with the best validation AUC that keep to it are written (weight interpolation as of Wortsman et al. 2022).
  std::vector<std::string> guards;
  double guard_slack = 0.005;
  std::size_t blends = 1;  ///< 1: the trained weights only; at least 5 with guards

  std::string loss = "bce";   ///< bce, sld, sld-symmetric (arXiv 2402.01173), cosine, contrastive or triplet
  double temperature = 0.05;  ///< of the contrastive loss
  double margin = 0.2;        ///< of the triplet loss, in cosine
  double preserve = 0;        ///< weight of `preservation_loss`; 0: none
  Head head = Head::platt;
  std::optional<double> lambda;  ///< default of a fixed head: 0.01, made for E5
  std::optional<double> offset;  ///< c; default of a fixed head: 88
  double eps = 1e-3;             ///< clipping of SLD's targets

  std::size_t epochs = 3;
  std::size_t batch_size = 32;  ///< pairs
  double learning_rate = 2e-5;
  double layer_decay = 1;  ///< rate of each layer over that of the next one; the embeddings count as the first
  double warm_up = 0.1;    ///< share of all steps; then linear decay to zero
  double weight_decay = 0.01;
  double gradient_clip = 1.0;  ///< largest global norm
  std::size_t max_tokens = 64;
  std::size_t patience = 2;  ///< epochs without a better validation AUC before stopping early
  std::uint64_t seed = 1;
  double share = 1;  ///< of the training pairs that is used, whole components; smaller shares are part of larger ones
  std::size_t threads = 1;
  std::string device = "auto";  ///< auto, cpu or cuda
  std::string precision =
      "auto";           ///< f32; bf16: matrix products in bf16, weights and all else in f32; auto: bf16 on CUDA
  bool resume = false;  ///< go on from the checkpoint in `out`
  /// Between two checkpoints within an epoch, so that a crash costs no more; there is one at the end of each anyway.
  std::chrono::seconds checkpoint_every{600};
};

/// What a run came to.
struct TrainResult {
  bool interrupted = false;  ///< stopped by the caller; a checkpoint is in `out`
  double start_auc = 0;      ///< validation AUC of the untouched model
  double best_auc = 0;
  double blend = 1;            ///< where the written weights lie between the untouched, 0, and the trained ones, 1
  std::size_t best_epoch = 0;  ///< 0: training never beat the untouched model, whose weights were written
  std::size_t pairs = 0;       ///< training pairs used
  std::size_t epochs = 0;      ///< epochs run, those before a resume included
  double lambda = 0;
  double offset = 0;
  std::size_t truncated_texts = 0;  ///< distinct texts cut to `max_tokens`
};

/// Where a run reports to; all optional. `stop` is asked after each step.
struct TrainCallbacks {
  ProgressCallback progress;
  LogCallback log;
  std::function<void(const std::string& json_line)> record;  ///< one JSON object a step and an epoch
  std::function<bool()> stop;
};

/// Fine-tunes an encoder or a pair scorer on labelled pairs and writes a model directory that sentence-transformers
/// loads (SentenceTransformer, CrossEncoder), with promptcache.json beside it. On the CPU the same options, data and
/// thread count give the same bytes, also over interruptions. Throws `Error`: see pair files and model directories;
/// usage for options out of range, an output directory that is not empty, or a validation file of one class; diverged
/// when the loss is no longer finite.
TrainResult train(const TrainOptions& options, const TrainCallbacks& callbacks = {});

}  // namespace promptcache::train
