-- Of a stream that was pruned its line stays, so that its name is never given again: `pruned` is the row of the record that
-- says so (0: it was not), and `last` is then 0.
ALTER TABLE streams ADD COLUMN pruned INTEGER NOT NULL DEFAULT 0;

-- Every kind that a record here has, with its version: by them an older quell sees at its start what it would not understand.
CREATE TABLE kinds (
    kind TEXT    NOT NULL,
    v    INTEGER NOT NULL,
    PRIMARY KEY (kind, v)
) STRICT, WITHOUT ROWID;
INSERT INTO kinds (kind, v) SELECT DISTINCT kind, v FROM records;
