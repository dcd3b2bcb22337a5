#include "promptcache/model/pair_head.hpp"

#include <cmath>
#include <filesystem>
#include <numeric>

#include "base/random.hpp"
#include "model/json_file.hpp"
#include "promptcache/base/file.hpp"
#include "promptcache/model/model_directory.hpp"
#include "promptcache/model/safetensors.hpp"

namespace promptcache {
namespace {

struct Names {
  const char* encoder;  ///< in front of every tensor of the encoder
  const char* dense;
  const char* output;
  const char* architecture;
};

Names names_of(Architecture architecture) {
  if (architecture == Architecture::bert)
    return {"bert.", "bert.pooler.dense", "classifier", "BertForSequenceClassification"};
  return {"roberta.", "classifier.dense", "classifier.out_proj", "XLMRobertaForSequenceClassification"};
}

std::string architecture_in(const JsonFile& config) {
  const Json& list = json_at(config.json(), "architectures");
  return list.is_array() && !list.empty() && list[0].is_string() ? list[0].get<std::string>() : "";
}

bool names_classifier(const std::string& architecture) {
  constexpr std::string_view kind = "ForSequenceClassification";
  return architecture.size() >= kind.size() &&
         architecture.compare(architecture.size() - kind.size(), kind.size(), kind) == 0;
}

void require_one_output(const JsonFile& config) {
  constexpr const char* wanted = "a sequence classifier with one output, as pc-train --kind pair writes it";
  const std::string name = architecture_in(config);
  if (!names_classifier(name)) {
    throw Error(ErrorCode::unsupported, {config.path()}, name.empty() ? "no architecture" : "architecture " + name,
                wanted);
  }
  const Json& labels = json_at(config.json(), "id2label");
  const std::size_t outputs = config.size_or("num_labels", labels.is_object() ? labels.size() : 2);
  if (outputs != 1) throw Error(ErrorCode::unsupported, {config.path()}, std::to_string(outputs) + " labels", wanted);
}

}  // namespace

float PairHead::logit(std::span<const float> first_token) const {
  const std::size_t width = first_token.size();
  float sum = output_bias[0];
  for (std::size_t i = 0; i < width; ++i) {
    const float* row = &dense_weight[i * width];
    const float dense = std::inner_product(row, row + width, first_token.begin(), dense_bias[i]);
    sum += output_weight[i] * std::tanh(dense);
  }
  return sum;
}

void for_each_head_tensor(const EncoderConfig& config, PairHead& head, const EncoderTensorVisitor& visit) {
  const Names names = names_of(config.architecture);
  const std::size_t h = config.hidden_size;
  const std::string dense = names.dense, output = names.output;
  visit(dense + ".weight", {h, h}, head.dense_weight);
  visit(dense + ".bias", {h}, head.dense_bias);
  visit(output + ".weight", {1, h}, head.output_weight);
  visit(output + ".bias", {1}, head.output_bias);
}

bool is_sequence_classifier(const ModelDirectory& directory) {
  return names_classifier(architecture_in(JsonFile(directory.file("config.json"))));
}

PairHead starting_pair_head(const ModelDirectory& directory, std::uint64_t seed) {
  const std::size_t width = directory.encoder().hidden_size;
  std::uint64_t draws = 0;
  const auto normal = [&](std::size_t count) {
    std::vector<float> values(count);
    for (float& value : values) value = static_cast<float>(0.02 * base::normal(seed, draws++));
    return values;
  };
  PairHead head{normal(width * width), std::vector<float>(width), normal(width), {0}};
  const SafetensorsFile file = SafetensorsFile::open(directory.file("model.safetensors"));
  for (const char* prefix : {"", "bert."}) {
    const std::string name = prefix + std::string("pooler.dense");
    if (!file.contains(name + ".weight") || !file.contains(name + ".bias")) continue;
    const std::size_t square[] = {width, width};
    head.dense_weight = file.read_f32(name + ".weight", square);
    head.dense_bias = file.read_f32(name + ".bias", {square, 1});
  }
  return head;
}

PairHead load_pair_head(const ModelDirectory& directory) {
  require_one_output(JsonFile(directory.file("config.json")));
  const SafetensorsFile file = SafetensorsFile::open(directory.file("model.safetensors"));
  PairHead head;
  for_each_head_tensor(directory.encoder(), head,
                       [&](const std::string& name, const std::vector<std::size_t>& shape, std::vector<float>& values) {
                         values = file.read_f32(name, shape);
                       });
  return head;
}

void write_pair_scorer_weights(const std::string& path, const ModelDirectory& source, EncoderWeights& weights,
                               PairHead& head) {
  std::vector<NamedTensor> tensors;
  const std::string prefix = names_of(source.encoder().architecture).encoder;
  for_each_encoder_tensor(
      source.encoder(), weights,
      [&](const std::string& name, const std::vector<std::size_t>& shape, std::vector<float>& values) {
        tensors.push_back({prefix + name, shape, values});
      });
  for_each_head_tensor(source.encoder(), head,
                       [&](const std::string& name, const std::vector<std::size_t>& shape, std::vector<float>& values) {
                         tensors.push_back({name, shape, values});
                       });
  write_safetensors(path, tensors, {{"format", "pt"}});
}

void copy_pair_scorer_files(const ModelDirectory& source, const std::string& target) {
  std::error_code status;
  std::filesystem::create_directories(target, status);
  if (status) throw system_error({target}, status.value(), "a directory that can be created");
  nlohmann::ordered_json config = nlohmann::ordered_json::parse(read_file(source.file("config.json")));
  config["architectures"] = {names_of(source.encoder().architecture).architecture};
  config["id2label"] = {{"0", "LABEL_0"}};
  config["label2id"] = {{"LABEL_0", 0}};
  config.erase("num_labels");
  write_file_atomically(target + "/config.json", config.dump(2) + "\n");
  for (const char* name : {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt",
                           "sentencepiece.bpe.model", "added_tokens.json"}) {
    if (source.has_file(name)) write_file_atomically(target + "/" + name, read_file(source.file(name)));
  }
}

}  // namespace promptcache
