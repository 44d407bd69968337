-- Conversations of the tutor, what it spent on models, and replies kept for the next time.

CREATE TABLE conversations (
    id         INTEGER PRIMARY KEY,
    student    TEXT NOT NULL,
    provider   TEXT NOT NULL,
    model      TEXT NOT NULL,
    state      TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(state)),
    created_at TEXT NOT NULL
) STRICT;

CREATE TABLE conversation_entries (
    conversation_id INTEGER NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
    position        INTEGER NOT NULL,
    at              TEXT NOT NULL,
    kind            TEXT NOT NULL,
    content         TEXT NOT NULL CHECK (json_valid(content)),
    PRIMARY KEY (conversation_id, position)
) STRICT;

ALTER TABLE model_calls ADD COLUMN student TEXT NOT NULL DEFAULT '';
ALTER TABLE model_calls ADD COLUMN conversation_id INTEGER REFERENCES conversations (id) ON DELETE CASCADE;
ALTER TABLE model_calls ADD COLUMN cached INTEGER NOT NULL DEFAULT 0 CHECK (cached IN (0, 1));
ALTER TABLE model_calls ADD COLUMN cost REAL NOT NULL DEFAULT 0;

CREATE TABLE response_cache (
    key        TEXT PRIMARY KEY CHECK (length(key) = 64),
    reply      TEXT NOT NULL CHECK (json_valid(reply)),
    created_at TEXT NOT NULL
) STRICT;

CREATE INDEX conversations_by_student ON conversations (student, id);
CREATE INDEX model_calls_by_student ON model_calls (student, id);
