#pragma once

// Every public header of the serving half.
#include <promptcache/base/digest.hpp>
#include <promptcache/base/error.hpp>
#include <promptcache/base/file.hpp>
#include <promptcache/base/isa.hpp>
#include <promptcache/embed/transformer_embedder.hpp>
#include <promptcache/eval/classification.hpp>
#include <promptcache/eval/platt.hpp>
#include <promptcache/eval/roc.hpp>
#include <promptcache/index/flat_index.hpp>
#include <promptcache/index/similarity_index.hpp>
#include <promptcache/model/encoder_weights.hpp>
#include <promptcache/model/model_directory.hpp>
#include <promptcache/model/safetensors.hpp>
#include <promptcache/pairs/pair_file.hpp>
#include <promptcache/pairs/select.hpp>
#include <promptcache/pairs/similarity.hpp>
#include <promptcache/pairs/split.hpp>
#include <promptcache/text/tokenizer.hpp>
#include <promptcache/version.hpp>
