#include "provenance.hpp"

#include <chrono>
#include <ctime>
#include <filesystem>
#include <system_error>

#include "promptcache/base/digest.hpp"
#include "promptcache/version.hpp"

namespace tool {
namespace {

std::string last_part(const std::string& path) {
  const std::filesystem::path clean = std::filesystem::path(path + "/.").lexically_normal().parent_path();
  return clean.filename().empty() ? path : clean.filename().string();
}

std::string digest_of(const std::string& path) {
  std::error_code status;
  return std::filesystem::is_regular_file(path, status) ? promptcache::sha256_file(path).hex() : "";
}

std::string date() {
  const std::time_t now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  std::tm parts{};
  ::gmtime_r(&now, &parts);
  char text[32];
  std::strftime(text, sizeof(text), "%Y-%m-%d %H:%M UTC", &parts);
  return text;
}

}  // namespace

Provenance::Provenance(int argc, const char* const* argv) {
  for (int i = 0; i < argc; ++i) {
    const std::string argument = argv[i];
    const std::size_t value = argument.rfind("--", 0) == 0 ? argument.find('=') + 1 : 0;  // --model=models/tuned
    const bool path = argument.find('/', value) != std::string::npos;
    command_ += (i == 0 ? "" : " ") + argument.substr(0, value) +
                (path ? last_part(argument.substr(value)) : argument.substr(value));
  }
}

void Provenance::add_file(const std::string& role, const std::string& path) {
  items_.push_back({role, last_part(path), digest_of(path)});
}

void Provenance::add_model(const std::string& role, const std::string& directory) {
  items_.push_back({role, last_part(directory), digest_of(directory + "/model.safetensors")});
}

void Provenance::add_to(Page& page) const {
  page.section("Provenance");
  Table table{{"", "name", "SHA-256 (of a model: of its weights)"}, {}, 1};
  for (const Item& item : items_) table.rows.push_back({item.role, item.name, item.sha256});
  if (!items_.empty()) page.table(std::move(table));
  if (!command_.empty()) page.paragraph("Command, without directories: " + command_);
  const std::string gnuplot = gnuplot_version();
  page.paragraph("promptcache " PROMPTCACHE_VERSION + std::string(gnuplot.empty() ? "" : ", gnuplot " + gnuplot) +
                 ", " + date());
}

nlohmann::ordered_json Provenance::json() const {
  nlohmann::ordered_json json;
  json["version"] = PROMPTCACHE_VERSION;
  json["date"] = date();
  json["command"] = command_;
  for (const Item& item : items_) {
    json["files"].push_back({{"role", item.role}, {"name", item.name}, {"sha256", item.sha256}});
  }
  return json;
}

}  // namespace tool
