#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "embed/encoder.hpp"  // Shared
#include "promptcache/base/digest.hpp"

namespace promptcache::embed {

/// An encoder's packed weights in a file beside the model, so that the next opening only maps them. `key` stands for
/// all that decides the bytes: weights, configuration, arithmetic, kernels.
///
/// The bytes of the file, on a boundary of 64; nothing when there is no such file, it has another key or size, or its
/// digest is not that of its content.
std::optional<Shared<std::byte>> map_packed_weights(const std::string& path, const Digest& key);

/// Replaces the file, whole or not at all: of two processes one wins. Does nothing where it cannot be written.
void save_packed_weights(const std::string& path, const Digest& key, std::span<const std::byte> packed) noexcept;

}  // namespace promptcache::embed
