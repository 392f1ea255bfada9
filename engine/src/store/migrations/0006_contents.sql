-- Values that are too large for a record lie here, once each by the sum of their JSON (`hash`), which has so many `bytes`; `packed`
-- is that JSON as one zstd frame. The record has the sum in its body, so that the chain covers them.
CREATE TABLE contents (
    id     INTEGER PRIMARY KEY,
    hash   BLOB    NOT NULL UNIQUE,
    bytes  INTEGER NOT NULL,
    packed BLOB    NOT NULL
) STRICT;

-- Which row refers to which. Moved in the transaction that brings or takes the row; what no row holds goes with the last that did.
CREATE TABLE holds (
    row     INTEGER NOT NULL,
    content INTEGER NOT NULL,
    PRIMARY KEY (row, content)
) STRICT, WITHOUT ROWID;
CREATE INDEX holds_content ON holds (content);
