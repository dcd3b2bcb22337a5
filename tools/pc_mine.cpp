#include "pc_mine.hpp"

#include <CLI/CLI.hpp>
#include <charconv>

#include "tool.hpp"

namespace mine {

double parse_number(promptcache::ErrorCode code, const promptcache::Where& where, std::string_view text,
                    const std::string& wanted) {
  double value = 0;
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (status != std::errc() || end != text.data() + text.size()) {
    throw promptcache::Error(code, where, "'" + std::string(text) + "'", wanted);
  }
  return value;
}

}  // namespace mine

int main(int argc, char** argv) {
  CLI::App app{
      "Makes training and evaluation sets: pairs of a prompt log to label, and splits and slices of labelled pairs.\n"
      "Split first, then select inside each side: the other order leaks.\n"
      "Example: pc-mine neighbours --model models/all-MiniLM-L6-v2 --prompts log.tsv --k 3 --out pairs.tsv",
      "pc-mine"};
  app.require_subcommand(1);
  const mine::Command commands[] = {mine::add_neighbours(app), mine::add_split(app), mine::add_select(app)};
  return tool::run(app, argc, argv, [&] {
    for (const mine::Command& command : commands) {
      if (command.app->parsed()) return command.run();
    }
    return static_cast<int>(tool::wrong_input);  // not reached: a command is required
  });
}
