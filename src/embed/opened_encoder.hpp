#pragma once

#include <functional>
#include <memory>

#include "embed/encoder.hpp"
#include "embed/weights_notes.hpp"
#include "promptcache/embed/transformer_embedder.hpp"
#include "promptcache/model/model_directory.hpp"
#include "promptcache/text/tokenizer.hpp"

namespace promptcache::embed {

struct OpenedEncoder {
  Precision precision = Precision::f32;  ///< never automatic
  std::unique_ptr<const Encoder> encoder;
};

/// How far what a model makes of an encoder agrees with what it makes of the one in f32, 1 being perfectly; what is not
/// at least `enough` will not do.
struct SelfCheck {
  std::string name;  ///< under which the outcome is kept beside the weights
  double enough = 0;
  std::function<double(const Encoder& encoder, const Encoder& f32)> agreement;
};

/// The encoder of a model directory in the precision of `options`; with `Precision::automatic` the fastest that passes
/// the check. Packed weights are mapped where an earlier opening kept them, and what was found out is noted. Prepared
/// for inputs of `usual_tokens`. Throws `Error`: usage for a number of threads out of range, unsupported for bf16
/// without its instructions, and what reading the weights throws.
OpenedEncoder open_encoder(const ModelDirectory& directory, WeightsNotes& notes, const EmbedderOptions& options,
                           std::size_t usual_tokens, const SelfCheck& check);

/// The part of an identity that all users of an encoder share, begun with the name of the user.
Sha256 encoder_fields(std::string_view user, const ModelDirectory& directory, const WeightsNotes& notes,
                      const Tokenizer& tokenizer);

/// Of `options`, or what stands for 0. Throws `Error(usage)`.
std::size_t parallel_callers(const EmbedderOptions& options);

/// Longest input: `wanted`, or the model's own for 0. Throws `Error(usage)` unless it lies between `least` and what the
/// model's positions allow.
std::size_t chosen_max_tokens(const ModelDirectory& directory, std::size_t wanted, std::size_t least);

/// Texts of many kinds, so that an encoder that works in f32 only shows it.
std::span<const std::string_view> probe_texts();

}  // namespace promptcache::embed
