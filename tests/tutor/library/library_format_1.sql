-- a library of format 1, as its program wrote it
BEGIN TRANSACTION;
CREATE TABLE chunks (
    id INTEGER PRIMARY KEY,
    document INTEGER NOT NULL REFERENCES documents (id) ON DELETE CASCADE,
    ordinal INTEGER NOT NULL,
    section TEXT NOT NULL,
    text TEXT NOT NULL,
    "start" INTEGER NOT NULL,
    "end" INTEGER NOT NULL,
    UNIQUE (document, ordinal)
) STRICT;
INSERT INTO "chunks" VALUES(1,1,0,'','Stars shine.',0,12);
INSERT INTO "chunks" VALUES(2,2,0,'','Planets orbit.',0,14);
CREATE TABLE documents (
    id INTEGER PRIMARY KEY,
    source_id TEXT NOT NULL UNIQUE,
    title TEXT NOT NULL,
    text TEXT NOT NULL,
    kind TEXT NOT NULL,
    origin TEXT NOT NULL,
    details TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    generation INTEGER NOT NULL
) STRICT;
INSERT INTO "documents" VALUES(1,'a','Stars','Stars shine.','abstract','','{"year": 2020}','6ec3d100222a62522e3377c370725e3858ae9e934ceb15690577c49f521b39f1',1);
INSERT INTO "documents" VALUES(2,'b','Planets','Planets orbit.','abstract','','{}','bbbcb877215bb1d51344af0016e0718ffd68bd02d13f743f66caac8b0b0984b0',1);
CREATE TABLE manifest (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
INSERT INTO "manifest" VALUES('format','1');
INSERT INTO "manifest" VALUES('generation','1');
INSERT INTO "manifest" VALUES('corpus_sha256','e6bb2d48daaf279dc847b81dd04986b68c89324b265af39c05d889329d9fab54');
COMMIT;
