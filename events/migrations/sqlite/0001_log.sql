-- The log. Positions, ids of streams and of event types are never reused; nothing here is updated but the head.

-- One row. Every append is a compare-and-set on its epoch and size: two writers can't both succeed.
CREATE TABLE log_head (
    one      INTEGER PRIMARY KEY CHECK (one = 1),
    epoch    INTEGER NOT NULL, -- bumped whenever leadership is taken or confirmed after an unknown outcome
    leader   BLOB,             -- ULID of the executor that holds the epoch
    size     INTEGER NOT NULL, -- number of entries = next position
    root     BLOB    NOT NULL, -- RFC 6962 tree hash of the first `size` entries
    frontier BLOB    NOT NULL  -- hashes of the complete subtrees, the largest first
) STRICT;
INSERT INTO log_head VALUES
    (1, 0, NULL, 0, x'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855', x'');

-- Interned names: a text key in `events` costs most of the insert rate. The id is the position of the first
-- event that used the name.
CREATE TABLE streams (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;
CREATE TABLE event_types (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE events (
    position INTEGER PRIMARY KEY,
    stream   INTEGER NOT NULL, -- streams.id
    revision INTEGER NOT NULL, -- gapless within the stream, from 0
    id       BLOB    NOT NULL, -- ULID
    type     INTEGER NOT NULL, -- event_types.id
    schema   INTEGER NOT NULL,
    time     INTEGER NOT NULL, -- ms since the Unix epoch
    entry    BLOB    NOT NULL, -- canonical JSON of the envelope
    leaf     BLOB    NOT NULL, -- SHA-256(0x00 || entry)
    UNIQUE (stream, revision)
) STRICT;

-- Idempotency: the outcome of every command that came with a key.
CREATE TABLE commands (
    id       BLOB    PRIMARY KEY, -- SHA-256 over actor and key
    payload  BLOB    NOT NULL,    -- SHA-256 of the command
    position INTEGER NOT NULL,    -- of its first event
    events   INTEGER NOT NULL     -- how many, from there on
) STRICT, WITHOUT ROWID;
