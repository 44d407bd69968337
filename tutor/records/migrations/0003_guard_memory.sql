-- What of an assignment's solution a student has been shown, over all conversations.
-- The row of no assignment ('') holds the last words said. All of it is hashes and a few
-- thousand characters a student: the guard keeps no more than its fingerprints can hold.

CREATE TABLE guard_memory (
    student    TEXT NOT NULL,
    assignment TEXT NOT NULL,
    memory     TEXT NOT NULL CHECK (json_valid(memory)),
    PRIMARY KEY (student, assignment)
) STRICT;
