#include <filesystem>
#include <nlohmann/json.hpp>

#include "promptcache/base/file.hpp"
#include "tools/run_tool.hpp"

namespace {

std::string pairs(int first) {
  std::string text = "q1\tq2\tlabel\n";
  for (int i = first; i < first + 60; ++i) {
    text += "reset password " + std::to_string(i) + "\tchange address " + std::to_string(i) + "\t" +
            std::to_string(i % 2) + "\n";
  }
  return text;
}

}  // namespace

TEST_CASE("pc-train runs end to end, logs, and stops on Ctrl-C with the way to go on") {
  const test::TemporaryDirectory directory;
  const std::string arguments = "pc-train --model " + test::data_file("tiny_bert") + " --train " +
                                directory.write("t.tsv", pairs(0)) + " --valid " + directory.write("v.tsv", pairs(100));
  const test::ToolResult done =
      test::run_tool(arguments + " --epochs 1 --out " + directory.file("a") + " --log " + directory.file("log.jsonl"));
  INFO(done.output);
  CHECK(done.code == 0);
  CHECK(done.output.find("validation AUC") != std::string::npos);
  CHECK(std::filesystem::exists(directory.file("a/promptcache.json")));
  CHECK(promptcache::read_file(directory.file("log.jsonl")).find("\"event\":\"epoch\"") != std::string::npos);

  const test::ToolResult again = test::run_tool(arguments + " --out " + directory.file("a"));
  CHECK(again.code == 2);
  CHECK(again.output.find("something there already") != std::string::npos);

  // Interrupted once the log shows a step, however slow the machine is.
  const std::string log = directory.file("cut.jsonl");
  const test::ToolResult cut =
      test::run_tool(arguments + " --epochs 100000 --patience 100000 --out " + directory.file("b") + " --log " + log +
                     " & tool=$!; for i in $(seq 600); do grep -q step " + log +
                     " 2>/dev/null && break; sleep 0.1; done; kill -INT $tool; wait $tool");
  INFO(cut.output.substr(cut.output.size() > 2000 ? cut.output.size() - 2000 : 0));
  CHECK(cut.code == 130);
  CHECK(cut.output.find("--resume") != std::string::npos);
  CHECK(std::filesystem::exists(directory.file("b/checkpoint.safetensors")));
}
