set(promptcache_sources
  chat_teacher.cpp gzip_reader.cpp http_reply.cpp label_audit.cpp label_journal.cpp label_plan.cpp label_prompt.cpp
  label_questions.cpp labelling.cpp neighbours.cpp nearest_graph.cpp pair_file.cpp pair_sample.cpp prompt_log.cpp
  select.cpp similarity.cpp similarity_blocks.cpp split.cpp)
