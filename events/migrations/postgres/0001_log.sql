-- The log. Positions, ids of streams and of event types are never reused; nothing here is updated but the head.

-- One row. Every append is a compare-and-set on its epoch and size: two writers can't both succeed.
CREATE TABLE log_head (
    one      INTEGER PRIMARY KEY CHECK (one = 1),
    epoch    BIGINT NOT NULL, -- bumped whenever leadership is taken or confirmed after an unknown outcome
    leader   BYTEA,           -- ULID of the executor that holds the epoch
    size     BIGINT NOT NULL, -- number of entries = next position
    root     BYTEA  NOT NULL, -- RFC 6962 tree hash of the first `size` entries
    frontier BYTEA  NOT NULL  -- hashes of the complete subtrees, the largest first
) WITH (fillfactor = 10); -- room for updates in place: the row changes with every commit
INSERT INTO log_head VALUES
    (1, 0, NULL, 0, '\xe3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855', '');

-- Interned names: a text key in `events` costs most of the insert rate. The id is the position of the first
-- event that used the name.
CREATE TABLE streams (
    id   BIGINT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
);
CREATE TABLE event_types (
    id   BIGINT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
);

CREATE TABLE events (
    position BIGINT  PRIMARY KEY,
    stream   BIGINT  NOT NULL, -- streams.id
    revision BIGINT  NOT NULL, -- gapless within the stream, from 0
    id       BYTEA   NOT NULL, -- ULID
    type     BIGINT  NOT NULL, -- event_types.id
    schema   INTEGER NOT NULL,
    time     BIGINT  NOT NULL, -- ms since the Unix epoch
    entry    BYTEA   NOT NULL, -- canonical JSON of the envelope
    leaf     BYTEA   NOT NULL, -- SHA-256(0x00 || entry)
    UNIQUE (stream, revision)
);

-- Idempotency: the outcome of every command that came with a key.
CREATE TABLE commands (
    id       BYTEA   PRIMARY KEY, -- SHA-256 over actor and key
    payload  BYTEA   NOT NULL,    -- SHA-256 of the command
    position BIGINT  NOT NULL,    -- of its first event
    events   INTEGER NOT NULL     -- how many, from there on
);
