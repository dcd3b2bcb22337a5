#include "embed/opened_encoder.hpp"

#include <algorithm>
#include <thread>

#include "embed/packed_file.hpp"
#include "promptcache/base/error.hpp"
#include "promptcache/base/isa.hpp"
#include "promptcache/model/encoder_weights.hpp"

namespace promptcache::embed {
namespace {

constexpr std::size_t most_threads = 1024;

Arithmetic arithmetic_of(Precision precision) {
  if (precision == Precision::bf16) return Arithmetic::bf16;
  return precision == Precision::int8 ? Arithmetic::int8 : Arithmetic::f32;
}

/// What decides the bytes of packed weights.
Digest packed_key(const EncoderConfig& config, const Digest& weights) {
  Sha256 hash;
  hash.field("packed", "int8").field("kernels", kernel_versions()).field("weights", weights.hex());
  for (const std::size_t size : {config.hidden_size, config.layers, config.heads, config.intermediate_size,
                                 config.vocabulary_size, config.position_rows, config.type_vocabulary_size}) {
    hash.field("size", std::to_string(size));
  }
  return hash.finish();
}

/// Maps the weights as they were packed by an earlier opening, or packs them.
std::unique_ptr<const Encoder> open_as(const ModelDirectory& directory, const WeightsNotes& notes, Precision precision,
                                       int threads) {
  const EncoderConfig& config = directory.encoder();
  const Arithmetic arithmetic = arithmetic_of(precision);
  const bool kept = precision == Precision::int8;
  const std::string path = directory.file("promptcache-int8-" + std::string(active_isa()) + ".bin");
  const Digest key = kept ? packed_key(config, notes.digest()) : Digest();
  if (kept) {
    const auto words = map_word_embeddings(directory);
    auto packed = words ? map_packed_weights(path, key) : std::nullopt;
    if (packed) {
      return std::make_unique<const Encoder>(config, Shared<float>{words->file, words->values}, std::move(*packed),
                                             arithmetic, threads);
    }
  }
  auto packed_now = std::make_unique<const Encoder>(config, load_encoder_weights(directory), arithmetic, threads);
  if (kept && notes.settled()) save_packed_weights(path, key, packed_now->packed());
  return packed_now;
}

std::size_t checked_threads(const char* place, std::size_t value) {
  if (value >= 1 && value <= most_threads) return value;
  throw Error(ErrorCode::usage, {place}, std::to_string(value), "1 to " + std::to_string(most_threads));
}

OpenedEncoder open_fastest(const ModelDirectory& directory, WeightsNotes& notes, Precision precision, int threads,
                           const SelfCheck& check) {
  if (!has_arithmetic(arithmetic_of(precision))) {
    throw Error(ErrorCode::unsupported, {"EmbedderOptions.precision"},
                "bf16 on a processor without its instructions, or kept from them by PROMPTCACHE_ISA",
                "automatic, f32 or int8");
  }
  if (precision != Precision::automatic) return {precision, open_as(directory, notes, precision, threads)};
  std::unique_ptr<const Encoder> f32;
  for (const Precision candidate : {Precision::int8, Precision::bf16}) {
    if (!has_arithmetic(arithmetic_of(candidate))) continue;
    const std::string name = to_string(candidate) + check.name;
    std::optional<double> agreement = notes.agreement(name);
    std::unique_ptr<const Encoder> opened;
    if (!agreement) {
      if (!f32) f32 = open_as(directory, notes, Precision::f32, threads);
      opened = open_as(directory, notes, candidate, threads);
      agreement = check.agreement(*opened, *f32);
      notes.set_agreement(name, *agreement);
    }
    if (!(*agreement >= check.enough)) continue;
    return {candidate, opened ? std::move(opened) : open_as(directory, notes, candidate, threads)};
  }
  return {Precision::f32, f32 ? std::move(f32) : open_as(directory, notes, Precision::f32, threads)};
}

}  // namespace

OpenedEncoder open_encoder(const ModelDirectory& directory, WeightsNotes& notes, const EmbedderOptions& options,
                           std::size_t usual_tokens, const SelfCheck& check) {
  const std::size_t threads = checked_threads("EmbedderOptions.threads_per_call", options.threads_per_call);
  OpenedEncoder opened = open_fastest(directory, notes, options.precision, static_cast<int>(threads), check);
  notes.save();
  opened.encoder->prepare(usual_tokens);
  return opened;
}

Sha256 encoder_fields(std::string_view user, const ModelDirectory& directory, const WeightsNotes& notes,
                      const Tokenizer& tokenizer) {
  const EncoderConfig& config = directory.encoder();
  Sha256 hash;
  hash.field(user, "transformer")
      .field("weights", notes.digest().hex())
      .field("tokenizer", tokenizer.identity().hex())
      .field("architecture", config.architecture == Architecture::bert ? "bert" : "xlm_roberta")
      .field("heads", std::to_string(config.heads))
      .field("activation", std::to_string(static_cast<int>(config.activation)))
      .field("layer_norm_eps", std::to_string(static_cast<double>(config.layer_norm_eps) * 1e12));
  return hash;
}

std::size_t parallel_callers(const EmbedderOptions& options) {
  return checked_threads("EmbedderOptions.parallel_callers",
                         options.parallel_callers != 0 ? options.parallel_callers
                                                       : std::max<std::size_t>(1, std::thread::hardware_concurrency()));
}

std::size_t chosen_max_tokens(const ModelDirectory& directory, std::size_t wanted, std::size_t least) {
  if (wanted == 0) return directory.max_tokens();
  const std::size_t most = directory.encoder().max_positions();
  if (wanted >= least && wanted <= most) return wanted;
  throw Error(ErrorCode::usage, {"EmbedderOptions.max_tokens"}, std::to_string(wanted),
              "0, or " + std::to_string(least) + " to " + std::to_string(most) + " for this model");
}

std::span<const std::string_view> probe_texts() {
  static constexpr std::string_view texts[] = {
      "How do I reset my password?",
      "cancel order 48213 and refund it to the old card",
      "Why does my build fail with 'undefined reference to pthread_create'?",
      "Is it safe to take ibuprofen and paracetamol together, and how many hours must lie between them?",
      "enable two-factor authentication",
      "SELECT name FROM users WHERE age > 30 ORDER BY name;",
      "the weather in Paris on 3 May",
      "no",
  };
  return texts;
}

}  // namespace promptcache::embed
