-- One database for grading, review and examinations. Students appear by pseudonym only.

CREATE TABLE submissions (
    id          INTEGER PRIMARY KEY,
    student     TEXT NOT NULL,
    assignment  TEXT NOT NULL,
    sha256      TEXT NOT NULL CHECK (length(sha256) = 64),
    received_at TEXT NOT NULL,
    UNIQUE (student, assignment, sha256)
) STRICT;

CREATE TABLE runs (
    id          INTEGER PRIMARY KEY,
    kind        TEXT NOT NULL,
    assignment  TEXT NOT NULL,
    started_at  TEXT NOT NULL,
    finished_at TEXT,
    versions    TEXT NOT NULL CHECK (json_valid(versions))
) STRICT;

-- A result is identified by everything it depends on; the same key never has to be computed twice.
CREATE TABLE results (
    key           TEXT PRIMARY KEY,
    submission_id INTEGER NOT NULL REFERENCES submissions (id) ON DELETE CASCADE,
    run_id        INTEGER NOT NULL REFERENCES runs (id),
    created_at    TEXT NOT NULL,
    schema        INTEGER NOT NULL,
    executed      INTEGER NOT NULL CHECK (executed IN (0, 1)),
    flags         TEXT NOT NULL CHECK (json_valid(flags)),
    versions      TEXT NOT NULL CHECK (json_valid(versions))
) STRICT;

-- Which results a run delivers: its own and those it found already computed.
CREATE TABLE run_results (
    run_id     INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    result_key TEXT NOT NULL REFERENCES results (key) ON DELETE CASCADE,
    PRIMARY KEY (run_id, result_key)
) STRICT;

CREATE TABLE test_results (
    result_key TEXT NOT NULL REFERENCES results (key) ON DELETE CASCADE,
    position   INTEGER NOT NULL,
    name       TEXT NOT NULL,
    title      TEXT NOT NULL,
    visibility TEXT NOT NULL CHECK (visibility IN ('public', 'hidden')),
    status     TEXT NOT NULL,
    points     REAL NOT NULL,
    max_points REAL NOT NULL,
    message    TEXT NOT NULL,
    seconds    REAL NOT NULL,
    PRIMARY KEY (result_key, position)
) STRICT;

CREATE TABLE criterion_results (
    result_key   TEXT NOT NULL REFERENCES results (key) ON DELETE CASCADE,
    position     INTEGER NOT NULL,
    criterion    TEXT NOT NULL,
    question     TEXT NOT NULL,
    points       REAL NOT NULL,
    max_points   REAL NOT NULL,
    evidence     TEXT NOT NULL CHECK (json_valid(evidence)),
    distribution TEXT NOT NULL CHECK (json_valid(distribution)),
    source       TEXT NOT NULL,
    status       TEXT NOT NULL CHECK (status IN ('draft', 'approved')),
    needs_human  INTEGER NOT NULL CHECK (needs_human IN (0, 1)),
    flags        TEXT NOT NULL CHECK (json_valid(flags)),
    feedback     TEXT NOT NULL,
    versions     TEXT NOT NULL CHECK (json_valid(versions)),
    PRIMARY KEY (result_key, position)
) STRICT;

CREATE TABLE human_grades (
    id            INTEGER PRIMARY KEY,
    submission_id INTEGER NOT NULL REFERENCES submissions (id) ON DELETE CASCADE,
    criterion     TEXT NOT NULL,
    grader        TEXT NOT NULL,
    points        REAL NOT NULL CHECK (points >= 0),
    comment       TEXT NOT NULL DEFAULT '',
    saw_draft     INTEGER NOT NULL CHECK (saw_draft IN (0, 1)),
    seconds       REAL,
    created_at    TEXT NOT NULL
) STRICT;

CREATE TABLE model_calls (
    id             INTEGER PRIMARY KEY,
    run_id         INTEGER REFERENCES runs (id) ON DELETE CASCADE,
    created_at     TEXT NOT NULL,
    provider       TEXT NOT NULL,
    model          TEXT NOT NULL,
    purpose        TEXT NOT NULL,
    request_sha256 TEXT NOT NULL,
    request        TEXT NOT NULL CHECK (json_valid(request)),
    response       TEXT,
    error          TEXT,
    prompt_tokens  INTEGER,
    answer_tokens  INTEGER,
    seconds        REAL
) STRICT;

CREATE TABLE ai_use (
    id            INTEGER PRIMARY KEY,
    submission_id INTEGER NOT NULL REFERENCES submissions (id) ON DELETE CASCADE,
    position      INTEGER NOT NULL,
    entry         TEXT NOT NULL CHECK (json_valid(entry)),
    UNIQUE (submission_id, position)
) STRICT;

CREATE TABLE exams (
    id          INTEGER PRIMARY KEY,
    student     TEXT NOT NULL,
    assignment  TEXT NOT NULL,
    state       TEXT NOT NULL,
    seed        INTEGER NOT NULL,
    plan        TEXT NOT NULL CHECK (json_valid(plan)),
    created_at  TEXT NOT NULL,
    finished_at TEXT
) STRICT;

CREATE TABLE exam_events (
    exam_id       INTEGER NOT NULL REFERENCES exams (id),
    position      INTEGER NOT NULL,
    at            TEXT NOT NULL,
    kind          TEXT NOT NULL,
    content       TEXT NOT NULL CHECK (json_valid(content)),
    previous_hash TEXT NOT NULL,
    hash          TEXT NOT NULL,
    PRIMARY KEY (exam_id, position)
) STRICT;

CREATE TABLE events (
    id      INTEGER PRIMARY KEY,
    run_id  INTEGER REFERENCES runs (id),
    at      TEXT NOT NULL,
    kind    TEXT NOT NULL,
    content TEXT NOT NULL CHECK (json_valid(content))
) STRICT;

-- Logs are written once.
CREATE TRIGGER exam_events_no_update BEFORE UPDATE ON exam_events
BEGIN SELECT RAISE(ABORT, 'exam_events is append-only'); END;
CREATE TRIGGER exam_events_no_delete BEFORE DELETE ON exam_events
BEGIN SELECT RAISE(ABORT, 'exam_events is append-only'); END;
CREATE TRIGGER events_no_update BEFORE UPDATE ON events
BEGIN SELECT RAISE(ABORT, 'events is append-only'); END;
CREATE TRIGGER events_no_delete BEFORE DELETE ON events
BEGIN SELECT RAISE(ABORT, 'events is append-only'); END;

CREATE INDEX results_by_submission ON results (submission_id);
CREATE INDEX human_grades_by_submission ON human_grades (submission_id, criterion);
CREATE INDEX events_by_run ON events (run_id);
