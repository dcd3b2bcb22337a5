#pragma once

#include <cmath>
#include <cstddef>
#include <random>
#include <vector>

namespace test {

inline void normalize(std::vector<float>& vector) {
  double square = 0;
  for (const float value : vector) square += static_cast<double>(value) * static_cast<double>(value);
  for (float& value : vector) value = static_cast<float>(static_cast<double>(value) / std::sqrt(square));
}

inline std::vector<float> unit_vector(std::size_t width, std::mt19937& random) {
  std::normal_distribution<float> normal;
  std::vector<float> vector(width);
  for (float& value : vector) value = normal(random);
  normalize(vector);
  return vector;
}

/// As prompts lie: in clusters about common centres, one in ten of them twice.
class ClusteredVectors {
 public:
  ClusteredVectors(std::size_t width, std::size_t clusters, unsigned seed) : random_(seed), width_(width) {
    for (std::size_t i = 0; i < clusters; ++i) centres_.push_back(unit_vector(width, random_));
  }

  std::vector<float> next() {
    if (!last_.empty() && random_() % 10 == 0) return last_[random_() % last_.size()];
    std::vector<float> vector = centres_[random_() % centres_.size()];
    const std::vector<float> offset = unit_vector(width_, random_);
    const float spread = 0.1F + 0.9F * static_cast<float>(random_() % 1000) / 1000;  // tight ones and loose ones
    for (std::size_t i = 0; i < width_; ++i) vector[i] += spread * offset[i];
    normalize(vector);
    if (last_.size() < 500) {
      last_.push_back(vector);
    } else {
      last_[random_() % last_.size()] = vector;
    }
    return vector;
  }

  std::mt19937& random() { return random_; }

 private:
  std::mt19937 random_;
  std::size_t width_;
  std::vector<std::vector<float>> centres_;
  std::vector<std::vector<float>> last_;
};

}  // namespace test
