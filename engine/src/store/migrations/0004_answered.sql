-- Whether a playbook has answered this very thing before: asked of what a start finds already running.
CREATE INDEX IF NOT EXISTS runs_per ON runs (playbook, json_extract(head, '$.per'));
