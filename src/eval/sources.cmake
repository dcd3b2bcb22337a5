set(promptcache_sources
  calibrate.cpp calibrate_cascade.cpp calibration_error.cpp calibration_record.cpp classification.cpp cluster_bootstrap.cpp
  fit_evidence.cpp guard_precision.cpp hit_bound.cpp learning_curve.cpp platt.cpp policy_laws.cpp prompt_clusters.cpp replay.cpp roc.cpp
  sample_bounds.cpp simulation.cpp stream.cpp)
