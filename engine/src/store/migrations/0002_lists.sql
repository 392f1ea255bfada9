-- What lists show, so that a list reads a line a run and not its records. Derived from the records alone, in the
-- transaction that brings them; whoever loses these tables loses nothing.

-- A line a run: `head` from its first record, `tail` from its last one. `began` is in nanoseconds of the wall clock.
CREATE TABLE runs (
    stream   INTEGER PRIMARY KEY,
    began    INTEGER NOT NULL,
    playbook TEXT    NOT NULL,
    place    TEXT    NOT NULL,
    image    TEXT    NOT NULL,
    counts   INTEGER NOT NULL,
    head     TEXT    NOT NULL,
    tail     TEXT
) STRICT;

-- A line an incident: `first` is its earliest event, `last` its last sign of life.
CREATE TABLE incidents (
    stream     INTEGER PRIMARY KEY,
    head       TEXT    NOT NULL,
    level      INTEGER NOT NULL,
    resolved   INTEGER NOT NULL,
    first      INTEGER NOT NULL,
    last       INTEGER NOT NULL,
    last_boot  INTEGER NOT NULL,
    detections INTEGER NOT NULL,
    losses     INTEGER NOT NULL
) STRICT;

-- The runs of an incident, in the order of the records that name them.
CREATE TABLE members (
    incident INTEGER NOT NULL,
    run      TEXT    NOT NULL,
    row      INTEGER NOT NULL,
    PRIMARY KEY (incident, run)
) STRICT, WITHOUT ROWID;

-- Records of the system's stream that concern whatever goes on at their time: losses, pauses, the breaker, detections
-- that were held back.
CREATE TABLE marks (
    row  INTEGER PRIMARY KEY,
    kind TEXT    NOT NULL,
    at   INTEGER NOT NULL
) STRICT;
CREATE INDEX marks_at ON marks (kind, at);
