#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "promptcache/pairs/pair_file.hpp"

namespace promptcache {

/// The boundary slice of arXiv 2402.01173: walks the pairs by rising similarity and keeps one whenever its label
/// (positive when >= 0.5) differs from that of the last one kept. The kept pairs alternate, so the AUC of these
/// similarities on them is (n-1)/2n or (n+1)/2n, or 1/2 with odd counts, by construction. Returns positions in order of
/// similarity; equal similarities keep their input order. Throws `Error`: usage for unequal lengths, numeric for NaN or
/// infinity.
std::vector<std::size_t> select_boundary(std::span<const double> similarities, std::span<const double> labels);

/// As many positive pairs as negative ones in each of `strata` parts of the pairs in order of similarity, of about
/// equal size (equal similarities are in one part): the larger class of a part is thinned at random by `seed`. More
/// pairs and more of the range stay than in the boundary slice. The AUC of these similarities on them is about 1/2 by
/// construction as well: only pairs of one part add to the difference, `strata` parts of equal size at most
/// 1/(2 strata). Returns positions in order of similarity, equal ones in input order; none when no part has both
/// labels. Throws `Error` as `select_boundary`, and usage for no strata.
std::vector<std::size_t> select_stratified(std::span<const double> similarities, std::span<const double> labels,
                                           std::size_t strata, std::uint64_t seed);

/// Throws `Error(format)` naming the file and the label when all its pairs have the same one.
void require_both_labels(const PairFile& file);

}  // namespace promptcache
