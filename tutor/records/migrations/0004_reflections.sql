-- What a student says of her use of AI in one homework, in her own words.

CREATE TABLE reflections (
    student    TEXT NOT NULL,
    assignment TEXT NOT NULL,
    entry      TEXT NOT NULL CHECK (json_valid(entry)),
    changed_at TEXT NOT NULL,
    PRIMARY KEY (student, assignment)
) STRICT;
