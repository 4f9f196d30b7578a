-- Which generation of each projection there is, and how far it is. One text for both databases.

-- One row, written first by whatever creates, swaps or drops generations, so that those happen one after the other.
CREATE TABLE projection_changes (
    one   BIGINT PRIMARY KEY,
    count BIGINT NOT NULL
);
INSERT INTO projection_changes VALUES (1, 0);

CREATE TABLE projections (
    name       TEXT   NOT NULL,
    generation BIGINT NOT NULL, -- names the tables: <table>_g<generation>
    version    BIGINT NOT NULL, -- of the code that folds
    layout     TEXT   NOT NULL, -- hash of the tables' columns
    tables     TEXT   NOT NULL, -- their names, parted by spaces
    state      TEXT   NOT NULL, -- building | live | retired
    position   BIGINT NOT NULL, -- number of events folded = next position; moves with the rows in one transaction
    anchor     TEXT   NOT NULL, -- leaf hash of the last entry folded: another one there means another log
    fence      BIGINT NOT NULL, -- bumped by whoever takes over the folding
    failed_at  BIGINT,          -- position of the event that could not be applied
    error      TEXT,            -- why
    updated    BIGINT NOT NULL, -- ms since the Unix epoch
    PRIMARY KEY (name, generation)
);
