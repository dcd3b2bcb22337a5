#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "golden.hpp"
#include "promptcache/base/file.hpp"
#include "support.hpp"

namespace test {

/// A complete directory of one of the tiny scorers, whose tokenizer is that of the tiny encoder.
class TinyScorer {
 public:
  explicit TinyScorer(const std::string& encoder) : encoder_(encoder) {
    namespace fs = std::filesystem;
    for (const std::string& source : {encoder, encoder + "_pair"}) {
      for (const auto& file : fs::directory_iterator(data_file(source))) {
        const std::string name = file.path().filename().string();
        const bool wanted = name == "config.json" || name == "model.safetensors" || name.rfind("tokenizer", 0) == 0 ||
                            name == "vocab.txt" || name == "sentencepiece.bpe.model";
        if (wanted) fs::copy_file(file.path(), path() + "/" + name, fs::copy_options::overwrite_existing);
      }
    }
  }
  const std::string& path() const { return directory_.path(); }
  nlohmann::json golden() const { return test::golden_json(encoder_ + "_pair_scores.json.gz"); }

  /// Changes config.json.
  template <class Change>
  void configure(Change change) const {
    nlohmann::json config = nlohmann::json::parse(promptcache::read_file(path() + "/config.json"));
    change(config);
    promptcache::write_file_atomically(path() + "/config.json", config.dump());
  }

 private:
  std::string encoder_;
  TemporaryDirectory directory_;
};

}  // namespace test
