#include "promptcache/model/model_directory.hpp"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "promptcache/base/file.hpp"
#include "promptcache/model/encoder_weights.hpp"
#include "promptcache/model/safetensors.hpp"
#include "support.hpp"

namespace {

using namespace promptcache;
using Json = nlohmann::json;

/// A copy of a tiny model that a test may change.
class Copy : public test::TemporaryDirectory {
 public:
  explicit Copy(const std::string& model) {
    std::filesystem::copy(test::data_file(model), path(), std::filesystem::copy_options::recursive);
  }
  void change(const std::string& name, const std::string& key, const Json& value) const {
    Json json = Json::parse(read_file(file(name)));
    json[key] = value;
    write(name, json.dump());
  }
  void require_refused(ErrorCode code, std::initializer_list<std::string> pieces) const {
    test::require_error(code, pieces, [&] { ModelDirectory::open(path()); });
  }
};

}  // namespace

TEST_CASE("a BERT directory with CLS pooling and a default prompt") {
  const ModelDirectory model = ModelDirectory::open(test::data_file("tiny_bert"));
  CHECK(model.encoder().architecture == Architecture::bert);
  CHECK(model.encoder().hidden_size == 32);
  CHECK(model.encoder().layers == 2);
  CHECK(model.pooling() == Pooling::cls);
  CHECK_FALSE(model.normalizes());
  CHECK(model.prefix() == "query: ");
  CHECK(model.max_tokens() == 48);
  CHECK_FALSE(model.extras().lambda.has_value());
}

TEST_CASE("an XLM-RoBERTa directory") {
  const ModelDirectory model = ModelDirectory::open(test::data_file("tiny_xlmr"));
  CHECK(model.encoder().architecture == Architecture::xlm_roberta);
  CHECK(model.encoder().position_offset == 2);
  CHECK(model.encoder().max_positions() == 50);
  CHECK(model.pooling() == Pooling::mean);
  CHECK(model.normalizes());
  CHECK(model.prefix().empty());
  CHECK(model.prompts().at("passage") == "passage: ");
}

TEST_CASE("a plain directory without modules.json has mean pooling and no normalisation") {
  const Copy copy("tiny_bert");
  std::filesystem::remove(copy.file("modules.json"));
  CHECK(ModelDirectory::open(copy.path()).pooling() == Pooling::mean);
  CHECK_FALSE(ModelDirectory::open(copy.path()).normalizes());
}

TEST_CASE("the new form of the pooling configuration") {
  const Copy copy("tiny_bert");
  copy.write("1_Pooling/config.json", R"({"embedding_dimension": 32, "pooling_mode": "mean"})");
  CHECK(ModelDirectory::open(copy.path()).pooling() == Pooling::mean);
  copy.write("1_Pooling/config.json", R"({"pooling_mode": "lasttoken"})");
  copy.require_refused(ErrorCode::unsupported, {"lasttoken", "mean"});
}

TEST_CASE("the layout that sentence-transformers 6 writes") {
  const Copy copy("tiny_bert");
  copy.write("modules.json", R"([
    {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.base.modules.transformer.Transformer"},
    {"idx": 1, "name": "1", "path": "1_Pooling",
     "type": "sentence_transformers.sentence_transformer.modules.pooling.Pooling"},
    {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.base.modules.normalize.Normalize"}])");
  copy.write("1_Pooling/config.json", R"({"embedding_dimension": 32, "pooling_mode": "cls", "include_prompt": true})");
  copy.write("sentence_bert_config.json", R"({"transformer_task": "feature-extraction", "modality_config":
    {"text": {"method": "forward", "method_output_name": "last_hidden_state"}},
    "module_output_name": "token_embeddings"})");
  copy.change("tokenizer_config.json", "model_max_length", 40);  // where the limit stands now
  const ModelDirectory model = ModelDirectory::open(copy.path());
  CHECK(model.pooling() == Pooling::cls);
  CHECK(model.normalizes());
  CHECK(model.max_tokens() == 40);
  CHECK(model.prefix() == "query: ");
  copy.change("sentence_bert_config.json", "transformer_task", "fill-mask");
  copy.require_refused(ErrorCode::unsupported, {"sentence_bert_config.json", "fill-mask"});
}

TEST_CASE("values of another type than the format demands are refused, not followed") {
  const Copy copy("tiny_bert");
  const auto refused = [&](const std::string& name, const std::string& text) {
    const std::string before = read_file(copy.file(name));
    copy.write(name, text);
    INFO(name << " " << text.substr(0, 100));
    CHECK_THROWS_AS(ModelDirectory::open(copy.path()), Error);
    copy.write(name, before);
  };
  std::string deep(200'000, '[');
  for (const char* name : {"config.json", "modules.json", "1_Pooling/config.json", "sentence_bert_config.json",
                           "config_sentence_transformers.json", "tokenizer_config.json"}) {
    for (const std::string& text : {std::string(), std::string("1"), std::string("\"a\""), std::string("\xff"), deep,
                                    "{\"type\":" + deep, std::string("{")}) {
      refused(name, text);
    }
  }
  refused("modules.json", R"([{"type": 1}])");
  refused("modules.json", R"([{"type": "x.Transformer", "path": 7}, {"type": "x.Pooling", "path": 7}])");
  refused("1_Pooling/config.json", R"({"pooling_mode": ["mean", "cls"]})");
  refused("config_sentence_transformers.json", R"({"prompts": "query: "})");
  refused("config_sentence_transformers.json", R"({"prompts": {"query": 1}})");
  refused("config_sentence_transformers.json", R"({"prompts": {}, "default_prompt_name": "query"})");
  refused("sentence_bert_config.json", R"({"max_seq_length": -1})");
  refused("sentence_bert_config.json", R"({"max_seq_length": 2})");
}

TEST_CASE("lambda and c come from promptcache.json, both or none") {
  const Copy copy("tiny_bert");
  copy.write("promptcache.json", R"({"lambda": 0.05, "c": 12.5})");
  CHECK(ModelDirectory::open(copy.path()).extras().lambda == 0.05);
  CHECK(ModelDirectory::open(copy.path()).extras().offset == 12.5);
  copy.write("promptcache.json", R"({"lambda": 0.05})");
  copy.require_refused(ErrorCode::format, {"promptcache.json"});
  copy.write("promptcache.json", R"({"lambda": -1, "c": 2})");
  copy.require_refused(ErrorCode::format, {"promptcache.json"});
}

TEST_CASE("what is not supported is named") {
  const Copy copy("tiny_bert");
  const std::string config = read_file(copy.file("config.json"));
  copy.change("config.json", "model_type", "mpnet");
  copy.require_refused(ErrorCode::unsupported, {"config.json", "mpnet", "bert"});
  copy.change("config.json", "model_type", "roberta");
  copy.require_refused(ErrorCode::unsupported, {"'roberta'", "xlm-roberta"});
  copy.write("config.json", config);
  copy.change("config.json", "position_embedding_type", "relative_key");
  copy.require_refused(ErrorCode::unsupported, {"relative_key"});
  copy.write("config.json", config);
  copy.change("config.json", "hidden_act", "swish");
  copy.require_refused(ErrorCode::unsupported, {"swish"});
  copy.write("config.json", config);
  copy.change("config.json", "num_attention_heads", 5);
  copy.require_refused(ErrorCode::format, {"num_attention_heads 5"});
  copy.write("config.json", config);
  copy.change("config.json", "hidden_size", "many");
  copy.require_refused(ErrorCode::format, {"hidden_size", "many"});
  copy.write("config.json", config);
  Json modules = Json::parse(read_file(copy.file("modules.json")));
  modules.push_back({{"idx", 2}, {"name", "2"}, {"path", "2_Dense"}, {"type", "sentence_transformers.models.Dense"}});
  copy.write("modules.json", modules.dump());
  copy.require_refused(ErrorCode::unsupported, {"modules.json", "Dense"});
}

TEST_CASE("a missing, empty or broken directory is named") {
  test::require_error(ErrorCode::not_found, {"/nowhere"}, [] { ModelDirectory::open("/nowhere"); });
  const test::TemporaryDirectory empty;
  test::require_error(ErrorCode::not_found, {"config.json"}, [&] { ModelDirectory::open(empty.path()); });
  test::require_error(ErrorCode::not_found, {"a file"}, [&] { ModelDirectory::open(empty.write("x", "y")); });
  empty.write("config.json", "{");
  test::require_error(ErrorCode::format, {"config.json"}, [&] { ModelDirectory::open(empty.path()); });
}

TEST_CASE("weights: a wrong shape, a cut file and other formats are named") {
  const Copy copy("tiny_bert");
  copy.change("config.json", "intermediate_size", 65);
  test::require_error(ErrorCode::mismatch, {"intermediate.dense", "[64, 32]", "[65, 32]"},
                      [&] { load_encoder_weights(ModelDirectory::open(copy.path())); });
  const std::string bytes = read_file(copy.file("model.safetensors"));
  copy.write("model.safetensors", bytes.substr(0, bytes.size() - 100));
  test::require_error(ErrorCode::format, {"model.safetensors"},
                      [&] { load_encoder_weights(ModelDirectory::open(copy.path())); });
  std::filesystem::remove(copy.file("model.safetensors"));
  test::require_error(ErrorCode::not_found, {"model.safetensors"},
                      [&] { load_encoder_weights(ModelDirectory::open(copy.path())); });
  copy.write("pytorch_model.bin", "x");
  test::require_error(ErrorCode::unsupported, {"pytorch_model.bin"},
                      [&] { load_encoder_weights(ModelDirectory::open(copy.path())); });
}

TEST_CASE("weights: the pooler of the source is kept") {
  const Copy copy("tiny_bert");
  const SafetensorsFile plain = SafetensorsFile::open(copy.file("model.safetensors"));
  const std::vector<float> row(32, 0.25F);
  const std::vector<float> matrix(32 * 32, 0.5F);
  std::vector<std::vector<float>> values;
  for (const auto& [name, view] : plain.tensors()) values.push_back(plain.read_f32(name, view.shape));
  std::vector<NamedTensor> tensors;
  for (const auto& [name, view] : plain.tensors()) tensors.push_back({name, view.shape, values[tensors.size()]});
  tensors.push_back({"pooler.dense.weight", {32, 32}, matrix});
  tensors.push_back({"pooler.dense.bias", {32}, row});
  write_safetensors(copy.file("model.safetensors"), tensors);
  const ModelDirectory source = ModelDirectory::open(copy.path());
  EncoderWeights weights = load_encoder_weights(source);
  const test::TemporaryDirectory target;
  write_encoder_weights(target.file("model.safetensors"), source, weights);
  const SafetensorsFile written = SafetensorsFile::open(target.file("model.safetensors"));
  CHECK(written.read_f32("pooler.dense.weight", std::vector<std::size_t>{32, 32}) == matrix);
  CHECK(written.read_f32("pooler.dense.bias", std::vector<std::size_t>{32}) == row);
  CHECK(written.tensors().size() == tensors.size());
}

TEST_CASE("weights written beside the companion files make the same model again") {
  const ModelDirectory source = ModelDirectory::open(test::data_file("tiny_xlmr"));
  const test::TemporaryDirectory target;
  copy_companion_files(source, target.path());
  EncoderWeights weights = load_encoder_weights(source);
  write_encoder_weights(target.file("model.safetensors"), source, weights);
  const ModelDirectory copy = ModelDirectory::open(target.path());
  const EncoderWeights again = load_encoder_weights(copy);
  CHECK(again.word_embeddings == weights.word_embeddings);
  CHECK(again.layers.at(1).output_norm_bias == weights.layers.at(1).output_norm_bias);
  CHECK(copy.pooling() == source.pooling());
  CHECK(copy.max_tokens() == source.max_tokens());
}
