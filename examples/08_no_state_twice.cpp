// What a server looks at before it computes anything: the response cache, the beginning of the conversation, modules of
// the prompt, and only then the model. Arguments: directory of the encoder, GGUF file of the language model.
#include <promptcache/promptcache.hpp>
#include <promptcache/reuse/generation.hpp>
#include <promptcache/reuse/prompt_modules.hpp>
#include <promptcache/reuse/torch_decoder.hpp>

#include <iostream>
#include <optional>

namespace pc = promptcache;
namespace reuse = promptcache::reuse;

namespace {

/// Documents that customers ask about; each prompt imports one of them.
reuse::Schema handbook(const reuse::ChatTags& tags) {
  using reuse::Module, reuse::Text, reuse::Union;
  Text header(tags.system.open);
  header.pieces.push_back({"You answer questions about a shop in one short sentence."});
  for (const auto* pieces : {&tags.system.close, &tags.user.open}) {
    header.pieces.insert(header.pieces.end(), pieces->begin(), pieces->end());
  }
  return {"handbook",
          {header,
           Union{{{"returns", {"Returns are free for thirty days. Opened food and gift cards cannot be returned. "}},
                  {"delivery", {"Delivery takes two working days. It is free above forty euros. "}}}}}};
}

class Server {
 public:
  Server(const std::string& encoder, const std::string& llm)
      : cache_({.embedder = pc::TransformerEmbedder::open(encoder),
                .policy = std::make_shared<pc::ThresholdPolicy>(0.85)}),
        file_(reuse::DecoderFile::open(llm)),
        tokenizer_(file_.tokenizer()),
        tags_(file_.chat()),
        decoder_(reuse::make_torch_decoder(file_, {.weights = reuse::WeightType::bf16})),
        store_(std::make_shared<reuse::KvStore>(decoder_->kv_shape())),
        modules_(decoder_, reuse::tokenize_with(tokenizer_), store_) {
    modules_.add(handbook(tags_));
  }

  void ask(const std::string& document, const std::string& question) {
    std::cout << "> " << question << "\n";
    const pc::Reply reply = cache_.get_or_compute({.prompt = question, .scope = pc::Scope().system(document)}, [&] {
      reuse::Text end("\n" + question);
      for (const auto* pieces : {&tags_.user.close, &tags_.assistant.open}) {
        end.pieces.insert(end.pieces.end(), pieces->begin(), pieces->end());
      }
      reuse::ModulePrefill prefill = modules_.prefill({"handbook", {reuse::Import{document}, end}});
      say("modules", prefill.counts);
      conversation_ = std::move(prefill.chain);
      return answer();
    });
    if (reply.outcome != pc::Outcome::miss) std::cout << "  response cache: nothing computed\n";
    std::cout << "  " << reply.response << "\n";
  }

  /// A question that only makes sense in the conversation.
  void go_on(const std::string& question) {
    std::cout << "> " << question << "\n";
    const reuse::ReuseCounts before = conversation_->counts();
    conversation_->append(reuse::tokenize_with(tokenizer_)(reuse::render_next(tags_, {"user", question})));
    reuse::ReuseCounts counts{conversation_->end(), conversation_->counts().tokens_computed - before.tokens_computed};
    counts.tokens_reused -= counts.tokens_computed;
    say("beginning", counts);
    std::cout << "  " << answer() << "\n";
  }

 private:
  static void say(const char* what, const reuse::ReuseCounts& counts) {
    std::cout << "  " << what << ": " << counts.tokens_reused << " tokens reused, " << counts.tokens_computed
              << " computed\n";
  }

  std::string answer() {
    return reuse::generate(*conversation_, *tokenizer_, {.most_tokens = 24, .ends = file_.config().ends}).text;
  }

  pc::Cache cache_;
  reuse::DecoderFile file_;
  std::shared_ptr<const pc::BpeTokenizer> tokenizer_;
  reuse::ChatTags tags_;
  std::shared_ptr<const reuse::Decoder> decoder_;
  std::shared_ptr<reuse::KvStore> store_;
  reuse::PromptModules modules_;
  std::optional<reuse::Chain> conversation_;
};

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 3) throw std::runtime_error("usage: 08_no_state_twice ENCODER_DIRECTORY LLM.gguf");
  Server server(argv[1], argv[2]);
  server.ask("returns", "Can I return a gift card?");      // the model: nothing is known yet
  server.ask("returns", "How long can I return things?");  // the document's states are known
  server.ask("delivery", "How long does delivery take?");  // another document behind the same header
  server.ask("returns", "Can I return gift cards?");       // answered before
  server.go_on("And what about food?");                    // the conversation so far is known
  return 0;
} catch (const std::exception& error) {
  std::cerr << error.what() << "\n";
  return 1;
}
