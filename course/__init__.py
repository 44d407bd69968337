"""The course: assignments, what a student may have of them, and their schema."""
