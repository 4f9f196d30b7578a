//! Signed checkpoints beside the log in SQLite.

use async_trait::async_trait;
use sqlx::Connection as _;
use ulid::Ulid;

use super::SqliteLog;
use crate::{
    log::{CheckpointColumns, LogError, checkpoint_from_row, signed},
    tlog::{CHECKPOINTS_KEPT, CheckpointRow, CheckpointTable},
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
        let mut slot = self.writer.lock().await;
        let mut connection = self.connection(&mut slot).await?;
        let mut tx = connection.begin_with("BEGIN IMMEDIATE").await?;
        let inserted = sqlx::query(
            "INSERT INTO checkpoints (size, root, note, time) SELECT ?1, ?2, ?3, ?4
             FROM log_head WHERE leader = ?5 AND size >= ?1
             AND NOT EXISTS (SELECT 1 FROM checkpoints AS c WHERE c.size >= ?1)",
        )
        .bind(signed(row.size)?)
        .bind(row.root.as_ref())
        .bind(row.note.as_str())
        .bind(row.time.0)
        .bind(leader.to_bytes().to_vec())
        .execute(&mut *tx)
        .await?
        .rows_affected();
        sqlx::query(
            "DELETE FROM checkpoints WHERE size <=
             (SELECT size FROM checkpoints ORDER BY size DESC LIMIT 1 OFFSET ?1)",
        )
        .bind(CHECKPOINTS_KEPT)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        *slot = Some(connection);
        Ok(inserted == 1)
    }
}
