#pragma once

#include "promptcache/eval/platt.hpp"

namespace promptcache {

// Upper bounds of E|P^ - P*|, the mean distance of the estimated probability from the true one, for the minimiser of a
// loss over `pairs` independent training pairs. A derivation of our own (docs/bounds.md), not the
// paper's. They hold with probability 1 - delta when some member of the class is the truth (P = P*), the class is
// finite, lambda and c are those of the truth, and the minimum over the class has been found. Training an encoder
// grants none of the last three; even so the bounds say how far theory is from practice.

/// B: no log P or log(1 - P) of this head is below -B, since |cosine| <= 1. B = 1 / lambda + |c| + log 2.
double log_probability_limit(const Calibration& head);

/// Logarithm of the number of encoders with this many parameters of so many bits: the finite class that a neural
/// encoder, being a file of numbers, always belongs to. bits * parameters * log 2.
double log_class_size_of_weights(double parameters, double bits = 32);

/// For cross entropy on labels drawn from P*: sqrt(B) (log(2 |class| / delta) / (2 N))^(1/4). May exceed 1, and then
/// says nothing; below 1/2 it says more than that P = 1/2 for all pairs would do as well.
/// Throws `Error(usage)` for pairs, B or log_class_size below 0 or delta outside (0, 1).
double bound_bce(double pairs, double limit, double log_class_size, double delta);

/// For the squared log difference (SLD) on soft labels that are P* itself: B (log(|class| / delta) / (2 N))^(1/4).
double bound_sld(double pairs, double limit, double log_class_size, double delta);

/// Pairs from which on the bound is at most `error`.
double pairs_for_bound_bce(double error, double limit, double log_class_size, double delta);
double pairs_for_bound_sld(double error, double limit, double log_class_size, double delta);

}  // namespace promptcache
