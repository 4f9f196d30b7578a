-- States at positions: a cache for quick starts, never the truth. The newest two are kept.
CREATE TABLE snapshots (
    size     INTEGER PRIMARY KEY, -- how many entries are folded into it
    version  BLOB    NOT NULL,    -- of the code that folded and wrote it
    root     BLOB    NOT NULL,    -- RFC 6962 tree hash of those entries
    state    BLOB    NOT NULL,    -- zstd: the end of the log, and the state, as JSON
    checksum BLOB    NOT NULL,    -- SHA-256 over all of the above
    time     INTEGER NOT NULL     -- of the last entry, ms since the Unix epoch
) STRICT;
