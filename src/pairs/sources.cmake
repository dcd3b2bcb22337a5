set(promptcache_sources gzip_reader.cpp pair_file.cpp select.cpp similarity.cpp split.cpp
  chat_teacher.cpp http_reply.cpp label_audit.cpp label_journal.cpp label_plan.cpp label_prompt.cpp label_questions.cpp
  labelling.cpp)
