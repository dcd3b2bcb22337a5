set(promptcache_sources
  cache_policy.cpp calibrated_policy.cpp evidence_model.cpp judge.cpp logistic_evidence.cpp make_policy.cpp
  cascade_policy.cpp per_entry_policy.cpp threshold_policy.cpp
  guards.cpp guards/analysis.cpp guards/code_shape.cpp guards/compare.cpp guards/compare_numbers.cpp
  guards/compare_words.cpp guards/cutter.cpp guards/digits.cpp guards/english.cpp guards/lexicon.cpp
  guards/lexicon_builder.cpp guards/lexicon_reader.cpp guards/numbers.cpp guards/words.cpp
  verified/account.cpp verified/core.cpp verified/entries.cpp verified/levels.cpp verified/local_rates.cpp
  verified_policy.cpp)
