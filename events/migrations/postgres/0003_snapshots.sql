-- States at positions: a cache for quick starts, never the truth. The newest two are kept.
CREATE TABLE snapshots (
    size     BIGINT PRIMARY KEY, -- how many entries are folded into it
    version  BYTEA  NOT NULL,    -- of the code that folded and wrote it
    root     BYTEA  NOT NULL,    -- RFC 6962 tree hash of those entries
    state    BYTEA  NOT NULL,    -- zstd: the end of the log, and the state, as JSON
    checksum BYTEA  NOT NULL,    -- SHA-256 over all of the above
    time     BIGINT NOT NULL     -- of the last entry, ms since the Unix epoch
);
-- Compressed already.
ALTER TABLE snapshots ALTER COLUMN state SET STORAGE EXTERNAL;
