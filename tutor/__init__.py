"""AstroTutor: retrieval with verified quotes, grading with evidence, examinations."""
