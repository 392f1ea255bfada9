-- The journal: one row about itself, one a stream, one a record.

-- `applied` is the last ticket of the slate whose records are in `records`: it moves in the transaction that brings
-- them, so that a slate is never copied twice.
CREATE TABLE journal (
    one     INTEGER PRIMARY KEY CHECK (one = 1),
    id      BLOB    NOT NULL,
    applied INTEGER NOT NULL
) STRICT;
INSERT INTO journal (one, id, applied) VALUES (1, randomblob(16), 0);

-- Where each stream stands: its last number, that record's chained sum and row, and whether it has ended.
CREATE TABLE streams (
    id   INTEGER PRIMARY KEY,
    name TEXT    NOT NULL UNIQUE,
    seq  INTEGER NOT NULL,
    hash BLOB    NOT NULL,
    last INTEGER NOT NULL,
    over INTEGER NOT NULL
) STRICT;

-- Append-only and without a second index, which would cost more than the record: `before` is the row of the stream's
-- record before this one (0: there is none), and a stream is read along it.
CREATE TABLE records (
    id      INTEGER PRIMARY KEY,
    stream  INTEGER NOT NULL,
    seq     INTEGER NOT NULL,
    before  INTEGER NOT NULL,
    v       INTEGER NOT NULL,
    at_wall TEXT    NOT NULL,
    at_boot INTEGER NOT NULL,
    kind    TEXT    NOT NULL,
    prev    BLOB    NOT NULL,
    salt    BLOB    NOT NULL,
    body    TEXT    NOT NULL
) STRICT;
