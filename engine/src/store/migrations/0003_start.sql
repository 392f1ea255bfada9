-- What a start needs of the past, so that it reads that and no more.

-- Streams that go on.
CREATE INDEX IF NOT EXISTS streams_open ON streams (id) WHERE over = 0;

-- Intents of what may still stand: images that may not start, and what is frozen. Few among all records; for the others
-- the index costs a look at their kind.
CREATE INDEX IF NOT EXISTS records_block ON records (id)
    WHERE kind = 'StepIntended' AND instr(body, '"action":"process.block_exec"') > 0;
CREATE INDEX IF NOT EXISTS records_freeze ON records (id)
    WHERE kind = 'StepIntended' AND instr(body, '"action":"process.freeze"') > 0;
