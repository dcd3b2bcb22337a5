#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "promptcache/pairs/pair_file.hpp"

namespace promptcache {

/// The form in which two questions count as the same one: ASCII letters lower-cased, white space and punctuation at
/// both ends dropped, runs of white space as one space.
std::string normalized_question(std::string_view question);

/// The side of a split a pair falls on.
enum class Side : std::uint8_t { train, valid, test };

/// Assigns each pair a side such that no question is on two sides: pairs linked by a question (directly or over others)
/// form one component, and components are dealt out whole, in an order drawn from `seed`, largest first, each to the
/// side that is furthest behind its share of positives and negatives. Deterministic.
///
/// A component with more pairs than the smallest side is to have, such as most of the nearest neighbours in a log, is
/// cut into groups of questions first: questions are joined along positive pairs, then along the closest ones
/// (`closeness` of each pair, if there is any), as long as groups stay below a hundredth of the smallest side. Pairs
/// between groups stay where both are on the training side, and have no side otherwise: so the other sides keep many
/// small clusters. `ratios` are the shares of train, valid, test, not all zero. Throws `Error(usage)` for negative or
/// all-zero ratios, and for another number of closeness values than pairs.
std::vector<std::optional<Side>> split_by_question(const std::vector<Pair>& pairs, std::array<double, 3> ratios,
                                                   std::uint64_t seed, std::span<const double> closeness = {});

/// Number of the component of each pair, counted from 0 in order of appearance.
std::vector<std::size_t> components_of(const std::vector<Pair>& pairs);

/// How many distinct questions of `second` occur in `first` too.
std::size_t shared_questions(const std::vector<Pair>& first, const std::vector<Pair>& second);

}  // namespace promptcache
