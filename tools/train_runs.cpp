#include "train_runs.hpp"

#include <cmath>
#include <cstdio>

namespace tool {
namespace {

using Json = nlohmann::ordered_json;

std::string of(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.4f", value);
  return text;
}

const char* name_of(const std::string& group) { return group.empty() ? "as given" : group.c_str(); }

struct Spread {
  std::size_t count = 0;
  double mean = 0;
  double deviation = 0;  ///< of the sample
};

Spread spread_of(const std::vector<double>& values) {
  Spread spread{values.size(), 0, 0};
  for (const double value : values) spread.mean += value / static_cast<double>(values.size());
  for (const double value : values) spread.deviation += (value - spread.mean) * (value - spread.mean);
  if (values.size() > 1) spread.deviation = std::sqrt(spread.deviation / static_cast<double>(values.size() - 1));
  return spread;
}

struct Group {
  std::string name;
  std::vector<double> valid, test;
};

/// In order of appearance; runs of a group follow one another.
std::vector<Group> groups_of(const std::vector<TrainedRun>& runs) {
  std::vector<Group> groups;
  for (const TrainedRun& run : runs) {
    if (groups.empty() || groups.back().name != run.group) groups.push_back({run.group, {}, {}});
    groups.back().valid.push_back(run.valid_auc);
    if (run.test_auc) groups.back().test.push_back(*run.test_auc);
  }
  return groups;
}

Json json_of(const std::vector<double>& values) {
  if (values.empty()) return {};
  const Spread spread = spread_of(values);
  Json json = {{"runs", spread.count}, {"mean", spread.mean}};
  json["deviation"] = spread.count > 1 ? Json(spread.deviation) : Json();
  return json;
}

}  // namespace

std::string runs_table(const std::vector<TrainedRun>& runs) {
  std::string text;
  char line[256];
  std::snprintf(line, sizeof(line), "  %-32s %6s %8s %6s  %-16s %s\n", "runs", "seed", "pairs", "epoch",
                "validation AUC", "test AUC");
  text += line;
  for (const TrainedRun& run : runs) {
    std::snprintf(line, sizeof(line), "  %-32s %6llu %8zu %6zu  %-16s %s\n", name_of(run.group),
                  static_cast<unsigned long long>(run.seed), run.pairs, run.best_epoch, of(run.valid_auc).c_str(),
                  run.test_auc ? of(*run.test_auc).c_str() : "-");
    text += line;
  }
  for (const Group& group : groups_of(runs)) {
    if (group.valid.size() < 2) continue;
    const auto with_spread = [&](const std::vector<double>& values) {
      if (values.empty()) return std::string("-");
      const Spread spread = spread_of(values);
      return of(spread.mean) + " +- " + of(spread.deviation);
    };
    std::snprintf(line, sizeof(line), "  %-32s %6s %8s %6s  %-16s %s\n", name_of(group.name), "mean", "", "",
                  with_spread(group.valid).c_str(), with_spread(group.test).c_str());
    text += line;
  }
  return text + "  +-: standard deviation over seeds\n";
}

Json runs_json(const std::vector<TrainedRun>& runs) {
  Json json;
  json["runs"] = Json::array();
  for (const TrainedRun& run : runs) {
    json["runs"].push_back({{"group", run.group},
                            {"seed", run.seed},
                            {"pairs", run.pairs},
                            {"best_epoch", run.best_epoch},
                            {"epochs", run.epochs},
                            {"blend", run.blend},
                            {"start_auc", run.start_auc},
                            {"valid_auc", run.valid_auc},
                            {"test_auc", run.test_auc ? Json(*run.test_auc) : Json()}});
  }
  json["groups"] = Json::array();
  for (const Group& group : groups_of(runs)) {
    json["groups"].push_back(
        {{"group", group.name}, {"valid_auc", json_of(group.valid)}, {"test_auc", json_of(group.test)}});
  }
  return json;
}

std::string learning_curve_tsv(const std::vector<TrainedRun>& runs) {
  std::string text = "pairs\tauc\tseed\n";
  for (const TrainedRun& run : runs) {
    text += std::to_string(run.pairs) + "\t" + Json(run.test_auc.value_or(run.valid_auc)).dump() + "\t" +
            std::to_string(run.seed) + "\n";
  }
  return text;
}

}  // namespace tool
