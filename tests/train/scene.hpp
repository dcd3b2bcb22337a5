#pragma once

#include <filesystem>
#include <random>
#include <string>

#include "promptcache/base/file.hpp"
#include "promptcache/embed/transformer_embedder.hpp"
#include "promptcache/train/trainer.hpp"
#include "support.hpp"

namespace test {

/// Pairs whose label says whether one word is the same, so that a tiny model can learn them.
inline std::string word_pairs(std::size_t count, unsigned seed, bool shuffled = false) {
  std::mt19937 random(seed);
  const char* words[] = {"password", "address",  "order",  "train", "river",
                         "cache",    "question", "answer", "eggs",  "town"};
  const char* others[] = {"the", "old", "new", "other", "same", "my", "next", "first"};
  std::string text = "q1\tq2\tlabel\n";
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t a = random() % 10;
    const bool same = i % 2 == 0;
    const std::size_t b = same ? a : (a + 1 + random() % 9) % 10;
    const bool label = shuffled ? random() % 2 == 0 : same;
    text += std::string("how ") + words[a] + " " + others[random() % 8] + "\twhere is my " + words[b] + " " +
            others[random() % 8] + "\t" + (label ? "1" : "0") + "\n";
  }
  return text;
}

/// A tiny model with pairs that it can learn, and options under which it does so in seconds.
struct Scene {
  TemporaryDirectory directory;
  promptcache::train::TrainOptions options;

  explicit Scene(const std::string& out = "out") {
    // Mean pooling: the CLS vector of random weights says too little about the words.
    options.model = directory.file("model");
    std::filesystem::copy(data_file("tiny_bert"), options.model, std::filesystem::copy_options::recursive);
    directory.write("model/1_Pooling/config.json", R"({"pooling_mode": "mean"})");
    options.train = directory.write("train.tsv", word_pairs(256, 1));
    options.valid = directory.write("valid.tsv", word_pairs(100, 2));
    options.out = directory.file(out);
    options.learning_rate = 3e-3;
    options.epochs = 6;
    options.patience = 10;
    options.batch_size = 16;
    options.threads = 2;
  }
  std::string weights() const { return promptcache::read_file(options.out + "/model.safetensors"); }
};

}  // namespace test
