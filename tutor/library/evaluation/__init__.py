"""Does search find what it should, and does the tutor keep silent where it should?

benchmark  questions with graded relevance, run in three ways   measures  nDCG and its kin
The questions are ours: ``course.jsonl`` (the course and the docs), ``abstracts.jsonl`` (real papers,
by arXiv id), ``unanswerable.jsonl``.
"""
