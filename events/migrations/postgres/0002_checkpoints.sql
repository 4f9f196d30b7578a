-- Checkpoints that were signed, each before it was published; sizes only grow. The newest are kept.
CREATE TABLE checkpoints (
    size BIGINT PRIMARY KEY, -- number of entries that it covers
    root BYTEA  NOT NULL,    -- RFC 6962 tree hash over them
    note TEXT   NOT NULL,    -- the signed note, as published
    time BIGINT NOT NULL     -- ms since the Unix epoch
);
