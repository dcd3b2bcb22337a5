#include "label_report.hpp"

#include <cmath>
#include <cstdarg>
#include <cstdio>

namespace tool {
namespace {

using promptcache::Agreement;
using promptcache::LabelAudit;
using promptcache::LabelPlan;
using promptcache::LabelResult;
using promptcache::PairLabel;
using Json = nlohmann::ordered_json;

[[gnu::format(printf, 1, 2)]] std::string format(const char* pattern, ...) {
  char text[512];
  std::va_list arguments;
  va_start(arguments, pattern);
  std::vsnprintf(text, sizeof(text), pattern, arguments);
  va_end(arguments);
  return text;
}

double percent(std::size_t part, std::size_t whole) {
  return whole == 0 ? 0.0 : 100.0 * static_cast<double>(part) / static_cast<double>(whole);
}

std::string duration_text(double seconds) {
  if (seconds < 120) return format("%.0f s", seconds);
  if (seconds < 7200) return format("%.0f min", seconds / 60);
  return format("%.1f h", seconds / 3600);
}

Json number(double value) { return std::isnan(value) ? Json() : Json(value); }

Json to_json(const Agreement& agreement) {
  return {{"pairs", agreement.pairs()},
          {"agreement", number(agreement.share)},
          {"kappa", number(agreement.kappa)},
          {"kappa_low", number(agreement.kappa_low)},
          {"kappa_high", number(agreement.kappa_high)},
          {"human_no_teacher_no", agreement.counts[0][0]},
          {"human_no_teacher_yes", agreement.counts[0][1]},
          {"human_yes_teacher_no", agreement.counts[1][0]},
          {"human_yes_teacher_yes", agreement.counts[1][1]}};
}

}  // namespace

LabelCounts::LabelCounts(const LabelResult& result) {
  std::size_t both = 0;
  for (const PairLabel& label : result.labels) {
    switch (label.state) {
      case PairLabel::State::answered:
        ++labelled;
        if (label.label >= 0.5) ++positive;
        break;
      case PairLabel::State::unparsable: ++unparsable; break;
      case PairLabel::State::refused: ++refused; break;
      case PairLabel::State::rejected: ++rejected; break;
      case PairLabel::State::unasked: ++unasked; break;
    }
    if (std::isnan(label.forward) || std::isnan(label.reverse)) continue;
    mean_difference += std::abs(label.forward - label.reverse);
    ++both;
  }
  if (both > 0) mean_difference /= static_cast<double>(both);
}

std::string summary_text(const LabelResult& result, bool both_orders, const Prices& prices) {
  const LabelCounts counts(result);
  std::string text = format("labelled         %8zu of %zu pairs, %zu positive (%.1f %%)\n", counts.labelled,
                            result.labels.size(), counts.positive, percent(counts.positive, counts.labelled));
  text += format("without a label  %8zu: %zu unparsable, %zu refused, %zu rejected, %zu not asked\n",
                 result.labels.size() - counts.labelled, counts.unparsable, counts.refused, counts.rejected,
                 counts.unasked);
  text += format("questions        %8zu distinct, %zu from the journal, %zu settled now, %zu given up\n",
                 result.questions, result.resumed, result.asked, result.failed);
  if (both_orders) {
    text += format("both orders      %8zu pairs disagree (%.1f %%), mean difference %.3f\n", result.disagreements,
                   percent(result.disagreements, counts.labelled), counts.mean_difference);
  }
  text += format("requests         %8zu, %zu of them again\n", result.requests, result.retries);
  text += format("tokens           %8zu in, %zu out", result.prompt_tokens, result.answer_tokens);
  if (result.estimated > 0) text += format(" (%zu answers estimated)", result.estimated);
  text += "\n";
  if (prices.given()) {
    text += format("cost             %8.4f\n", prices.cost(result.prompt_tokens, result.answer_tokens));
  }
  return text;
}

std::string plan_text(const LabelPlan& plan, std::size_t pairs, double requests_per_minute, std::size_t parallel,
                      const Prices& prices) {
  std::string text = format("pairs            %8zu\n", pairs);
  text += format("questions        %8zu distinct, %zu known from the journal\n", plan.questions, plan.resumed);
  text += format("requests         %8zu, retries not counted\n", plan.requests);
  text += format(
      "tokens           %8zu in, at most %zu out; estimated: 4 ASCII characters or 1 other are a token,\n"
      "                          and 8 a request for what the teacher wraps around\n",
      plan.prompt_tokens, plan.answer_tokens);
  if (prices.given()) {
    text += format("cost             %8.4f at most, at these prices\n",
                   prices.cost(plan.prompt_tokens, plan.answer_tokens));
  } else {
    text += "cost              unknown without --price-in and --price-out\n";
  }
  const auto requests = static_cast<double>(plan.requests);
  if (requests_per_minute > 0) {
    text += "time              " + duration_text(requests / requests_per_minute * 60) + " at least, at this rate\n";
  } else {
    text += "time              " + duration_text(requests / static_cast<double>(parallel)) + " with " +
            std::to_string(parallel) + " at once, if an answer takes 1 s; no --rate\n";
  }
  if (!plan.example.empty()) text += "\nThe first question:\n\n" + plan.example + "\n";
  return text;
}

std::string audit_text(const LabelAudit& audit) {
  const Agreement& all = audit.all;
  std::string text = format("against people   %8zu pairs; %zu they judged have no label, %zu they did not judge\n",
                            all.pairs(), audit.unanswered, audit.without_human);
  if (all.pairs() == 0) return text;
  text += format("agreement        %8.1f %%\n", 100 * all.share);
  if (std::isnan(all.kappa)) {
    text += "kappa             undefined: both always say the same one thing\n";
  } else if (std::isnan(all.kappa_low)) {
    text += format("kappa            %8.3f, no interval: one side always says the same\n", all.kappa);
  } else {
    text += format("kappa            %8.3f, 95 %% interval %.3f to %.3f\n", all.kappa, all.kappa_low, all.kappa_high);
  }
  const auto row = [](const std::string& name, const Agreement& agreement) {
    std::string line =
        format("%-18s %9zu %9zu %9zu %9zu %9.1f %%", name.c_str(), agreement.counts[1][1], agreement.counts[1][0],
               agreement.counts[0][1], agreement.counts[0][0], 100 * agreement.share);
    line += std::isnan(agreement.kappa_low) ? "         -" : format(" %9.3f", agreement.kappa);
    return line + "\n";
  };
  text += "person/teacher       yes/yes    yes/no    no/yes     no/no   agreement    kappa\n";
  text += row("all", all);
  for (const LabelAudit::Band& band : audit.bands) {
    text += row(format("%.3f to %.3f", band.low, band.high), band.agreement);
  }
  return text;
}

Json to_json(const LabelResult& result, bool both_orders, const Prices& prices) {
  const LabelCounts counts(result);
  Json json = {{"end", to_string(result.end)}};
  if (!result.why.empty()) json["why"] = result.why;
  json["pairs"] = result.labels.size();
  json["labelled"] = counts.labelled;
  json["positive"] = counts.positive;
  json["unparsable"] = counts.unparsable;
  json["refused"] = counts.refused;
  json["rejected"] = counts.rejected;
  json["unasked"] = counts.unasked;
  json["questions"] = result.questions;
  json["resumed"] = result.resumed;
  json["asked"] = result.asked;
  json["given_up"] = result.failed;
  if (both_orders) {
    json["both_orders"] = {{"disagreements", result.disagreements}, {"mean_difference", counts.mean_difference}};
  }
  json["requests"] = result.requests;
  json["retries"] = result.retries;
  json["tokens"] = {
      {"in", result.prompt_tokens}, {"out", result.answer_tokens}, {"answers_estimated", result.estimated}};
  if (prices.given()) json["cost"] = prices.cost(result.prompt_tokens, result.answer_tokens);
  return json;
}

Json to_json(const LabelPlan& plan, const Prices& prices) {
  Json json = {{"end", "dry run"},
               {"questions", plan.questions},
               {"resumed", plan.resumed},
               {"requests", plan.requests},
               {"tokens", {{"in", plan.prompt_tokens}, {"out", plan.answer_tokens}}}};
  if (prices.given()) json["cost"] = prices.cost(plan.prompt_tokens, plan.answer_tokens);
  return json;
}

Json to_json(const LabelAudit& audit) {
  Json json = to_json(audit.all);
  json["unanswered"] = audit.unanswered;
  json["without_human_label"] = audit.without_human;
  json["bands"] = Json::array();
  for (const LabelAudit::Band& band : audit.bands) {
    Json entry = {{"similarity_low", band.low}, {"similarity_high", band.high}};
    entry.update(to_json(band.agreement));
    json["bands"].push_back(std::move(entry));
  }
  return json;
}

}  // namespace tool
