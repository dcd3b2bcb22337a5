#pragma once

#include <functional>
#include <memory>

#include "embed/encoder.hpp"
#include "embed/weights_notes.hpp"
#include "promptcache/embed/transformer_embedder.hpp"
#include "promptcache/model/model_directory.hpp"

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

/// The encoder of a model directory in a precision; with `Precision::automatic` the fastest that passes the check.
/// Packed weights are mapped where an earlier opening kept them. Throws `Error(unsupported)` for bf16 without its
/// instructions, and what reading the weights throws.
OpenedEncoder open_encoder(const ModelDirectory& directory, WeightsNotes& notes, Precision precision, int threads,
                           const SelfCheck& check);

/// Checks a number of threads or callers. Throws `Error(usage)` naming `place`.
std::size_t checked_threads(const char* place, std::size_t value);

/// Of `options`, or what stands for 0. Throws `Error(usage)`.
std::size_t parallel_callers(const EmbedderOptions& options);

/// Longest input: `wanted`, or the model's own for 0. Throws `Error(usage)` unless it lies between `least` and what the
/// model's positions allow.
std::size_t chosen_max_tokens(const ModelDirectory& directory, std::size_t wanted, std::size_t least);

/// Texts of many kinds, so that an encoder that works in f32 only shows it.
std::span<const std::string_view> probe_texts();

}  // namespace promptcache::embed
