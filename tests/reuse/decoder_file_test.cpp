#include "promptcache/reuse/decoder_file.hpp"

#include <cmath>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>

#include "promptcache/base/file.hpp"
#include "promptcache/model/safetensors.hpp"
#include "support.hpp"

namespace {

using namespace promptcache;
using namespace promptcache::reuse;
using Json = nlohmann::json;

/// A copy of a model of tests/data that may be spoilt.
struct Copy {
  test::TemporaryDirectory directory;
  Json config;

  explicit Copy(const std::string& name) {
    std::filesystem::copy(test::data_file(name), directory.path(), std::filesystem::copy_options::recursive);
    config = Json::parse(read_file(directory.file("config.json")));
  }
  DecoderFile open() const {
    directory.write("config.json", config.dump());
    return DecoderFile::open(directory.path());
  }
};

void refused(const std::string& name, ErrorCode code, std::initializer_list<std::string> pieces,
             const std::function<void(Json&)>& change) {
  Copy copy(name);
  change(copy.config);
  test::require_error(code, pieces, [&] { copy.open(); });
}

}  // namespace

TEST_CASE("decoder file: shapes of the three families") {
  const DecoderFile llama = DecoderFile::open(test::data_file("tiny_llama"));
  CHECK(llama.config().family == DecoderFamily::llama);
  CHECK(llama.config().head_size == 8);
  CHECK(llama.config().kv_heads == 2);
  CHECK(llama.config().ends == std::vector<std::int32_t>{2});
  CHECK(llama.shape(DecoderPart::key) == std::vector<std::size_t>{16, 32});
  CHECK_FALSE(llama.has(DecoderPart::query_bias));
  // Scaled as in Llama 3.1: the fastest as they are, the slowest a quarter.
  CHECK(llama.config().rope[0] == Approx(1));
  CHECK(llama.config().rope[3] == Approx(std::pow(1000.0, -0.75) / 4));
  const DecoderFile gpt2 = DecoderFile::open(test::data_file("tiny_gpt2"));
  CHECK(gpt2.config().rope.empty());
  CHECK(gpt2.has(DecoderPart::query_bias, 1));
  CHECK_FALSE(gpt2.has(DecoderPart::gate));
  CHECK(gpt2.read(DecoderPart::value_bias, 1).size() == 32);
  const DecoderFile mpt = DecoderFile::open(test::data_file("tiny_mpt"));
  CHECK(mpt.config().alibi ==
        std::vector<float>{0.0625F, 0.00390625F, 0.25F});  // three heads: every other one of four first
  CHECK(llama.identity() != gpt2.identity());
  CHECK(llama.identity() == DecoderFile::open(test::data_file("tiny_llama")).identity());
}

TEST_CASE("decoder file: what a model asks for beyond this is refused by name") {
  refused("tiny_llama", ErrorCode::unsupported, {"config.json", "model_type 'mamba'", "llama, gpt2 or mpt"},
          [](Json& c) { c["model_type"] = "mamba"; });
  refused("tiny_llama", ErrorCode::unsupported, {"hidden_act \"gelu\""}, [](Json& c) { c["hidden_act"] = "gelu"; });
  refused("tiny_llama", ErrorCode::unsupported, {"of type \"yarn\"", "linear or llama3"},
          [](Json& c) { c["rope_parameters"]["rope_type"] = "yarn"; });
  refused("tiny_llama", ErrorCode::format, {"low_freq_factor"},
          [](Json& c) { c["rope_parameters"]["low_freq_factor"] = 9.0; });
  refused("tiny_llama", ErrorCode::unsupported, {"quantised"}, [](Json& c) {
    c["quantization_config"] = {{"bits", 4}};
  });
  refused("tiny_llama", ErrorCode::format, {"4 heads of 8, 3 of keys"}, [](Json& c) { c["num_key_value_heads"] = 3; });
  refused("tiny_llama", ErrorCode::format, {"no 'hidden_size'"}, [](Json& c) { c.erase("hidden_size"); });
  refused("tiny_llama", ErrorCode::format, {"an epsilon of 0"}, [](Json& c) { c["rms_norm_eps"] = 0; });
  refused("tiny_gpt2", ErrorCode::unsupported, {"scale_attn_by_inverse_layer_idx true"},
          [](Json& c) { c["scale_attn_by_inverse_layer_idx"] = true; });
  refused("tiny_mpt", ErrorCode::unsupported, {"without alibi"}, [](Json& c) { c["attn_config"]["alibi"] = false; });
  refused("tiny_mpt", ErrorCode::unsupported, {"clip_qkv"}, [](Json& c) { c["attn_config"]["clip_qkv"] = 6; });
  test::require_error(ErrorCode::not_found, {"nothing there"}, [] { DecoderFile::open("/no/such/model"); });
  test::require_error(ErrorCode::not_found, {"tiny.gguf", "llama.embedding_length"},
                      [] { DecoderFile::open(test::data_file("tiny.gguf")); });
}

TEST_CASE("decoder file: weights that are missing, cut off or of another shape are named") {
  Copy copy("tiny_llama");
  copy.config["intermediate_size"] = 40;
  const DecoderFile other = copy.open();
  test::require_error(ErrorCode::mismatch, {"model.safetensors", "mlp.up_proj.weight", "[48, 32]", "[40, 32]"},
                      [&] { other.read(DecoderPart::up); });
  test::require_error(ErrorCode::not_found, {"model.layers.7.mlp.up_proj.weight"},
                      [&] { other.read(DecoderPart::up, 7); });
  test::require_error(ErrorCode::not_found, {"does not have"}, [&] { other.read(DecoderPart::positions); });
  const std::string weights = copy.directory.file("model.safetensors");
  std::filesystem::resize_file(weights, std::filesystem::file_size(weights) - 100);
  test::require_error(ErrorCode::format, {"model.safetensors"}, [&] { copy.open(); });
  std::filesystem::remove(weights);
  test::require_error(ErrorCode::not_found, {"model.safetensors"}, [&] { copy.open(); });
}

TEST_CASE("decoder file: weights in shards are found in theirs") {
  Copy copy("tiny_llama");
  const DecoderFile whole = DecoderFile::open(test::data_file("tiny_llama"));
  Json map;
  {
    const SafetensorsFile file = SafetensorsFile::open(copy.directory.file("model.safetensors"));
    std::vector<NamedTensor> parts[2];
    std::vector<std::vector<float>> values;
    values.reserve(file.tensors().size());
    for (const auto& [name, tensor] : file.tensors()) {
      values.push_back(file.read_f32(name, tensor.shape));
      const std::size_t shard = values.size() % 2;
      parts[shard].push_back({name, tensor.shape, values.back()});
      map[name] = "part-" + std::to_string(shard) + ".safetensors";
    }
    for (const std::size_t shard : {0, 1})
      write_safetensors(copy.directory.file("part-" + std::to_string(shard) + ".safetensors"), parts[shard]);
  }
  std::filesystem::remove(copy.directory.file("model.safetensors"));
  copy.directory.write("model.safetensors.index.json", Json{{"weight_map", map}}.dump());
  const DecoderFile sharded = copy.open();
  for (const DecoderPart part : {DecoderPart::words, DecoderPart::query, DecoderPart::down, DecoderPart::final_norm}) {
    CHECK(sharded.read(part, 0) == whole.read(part, 0));
  }
  map.begin().value() = "../elsewhere.safetensors";
  copy.directory.write("model.safetensors.index.json", Json{{"weight_map", map}}.dump());
  test::require_error(ErrorCode::format, {"index.json", "elsewhere"}, [&] { copy.open(); });
}

TEST_CASE("decoder file: the chat template is told by its marks, and others are refused") {
  const auto name_of = [](const std::string& text) {
    const Copy copy("tiny_llama");
    copy.directory.write("tokenizer_config.json", Json{{"chat_template", text}}.dump());
    return copy.open().chat().name;
  };
  CHECK(name_of("{% for m in messages %}<|im_start|>{{ m.role }}") == "chatml");
  CHECK(name_of("<|start_header_id|>{{ m.role }}") == "llama3");
  CHECK(name_of("[INST] <<SYS>>") == "llama2");
  test::require_error(ErrorCode::unsupported, {"begins '<start_of_turn>", "ChatML, Llama-2 or Llama-3"},
                      [&] { name_of("<start_of_turn>user"); });
  test::require_error(ErrorCode::not_found, {"no chat template"},
                      [] { DecoderFile::open(test::data_file("tiny_llama")).chat(); });
}

TEST_CASE("decoder file: a tokenizer with more tokens than the model is refused") {
  const Copy copy("tiny_llama");
  copy.directory.write("tokenizer.json", read_file(test::data_file("tiny_bpe_smollm.json")));
  test::require_error(ErrorCode::mismatch, {"a tokenizer of 700 tokens", "300 of the model"},
                      [&] { copy.open().tokenizer(); });
}
