//! Signed checkpoints beside the log in SQLite.

use async_trait::async_trait;
use ulid::Ulid;

use super::SqliteLog;
use crate::{
    log::{CheckpointColumns, LogError, checkpoint_from_row},
    tlog::{CheckpointRow, CheckpointTable},
};

#[async_trait]
impl CheckpointTable for SqliteLog {
    async fn latest_checkpoint(&self) -> Result<Option<CheckpointRow>, LogError> {
        sqlx::query_as::<_, CheckpointColumns>(
            "SELECT size, root, note, time FROM checkpoints ORDER BY size DESC LIMIT 1",
        )
        .fetch_optional(&self.readers)
        .await?
        .map(checkpoint_from_row)
        .transpose()
    }

    async fn record_checkpoint(&self, leader: Ulid, row: &CheckpointRow) -> Result<bool, LogError> {
        // By the appender's connection: a second one would wait for the write lock by polling.
        let row = row.clone();
        self.write(move |writer| writer.record_checkpoint(leader, &row))
            .await
    }
}
