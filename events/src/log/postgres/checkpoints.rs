//! Signed checkpoints beside the log in PostgreSQL.

use async_trait::async_trait;
use ulid::Ulid;

use super::{LOCK_TIMEOUT, PostgresLog, in_time};
use crate::{
    log::{CheckpointColumns, LogError, checkpoint_from_row, signed},
    tlog::{CHECKPOINTS_KEPT, CheckpointRow, CheckpointTable},
};

/// The advisory lock under which checkpoints are recorded, so that two replicas do it one after the other: the bytes
/// of "aevirlog".
const ORDER_LOCK: i64 = i64::from_be_bytes(*b"aevirlog");

#[async_trait]
impl CheckpointTable for PostgresLog {
    async fn latest_checkpoint(&self) -> Result<Option<CheckpointRow>, LogError> {
        let query = sqlx::query_as::<_, CheckpointColumns>(
            "SELECT size, root, note, time FROM checkpoints ORDER BY size DESC LIMIT 1",
        );
        let row = in_time(query.fetch_optional(&self.readers)).await?;
        row.map(checkpoint_from_row).transpose()
    }

    async fn record_checkpoint(&self, leader: Ulid, row: &CheckpointRow) -> Result<bool, LogError> {
        let size = signed(row.size)?;
        in_time(async {
            let mut tx = self.readers.begin().await?;
            sqlx::query("SELECT set_config('lock_timeout', $1, true)")
                .bind(LOCK_TIMEOUT)
                .execute(&mut *tx)
                .await?;
            sqlx::query("SELECT pg_advisory_xact_lock($1)")
                .bind(ORDER_LOCK)
                .execute(&mut *tx)
                .await?;
            let inserted = sqlx::query(
                "INSERT INTO checkpoints (size, root, note, time) SELECT $1, $2, $3, $4
             FROM log_head WHERE leader = $5 AND size >= $1
             AND NOT EXISTS (SELECT 1 FROM checkpoints AS c WHERE c.size >= $1)",
            )
            .bind(size)
            .bind(row.root.as_ref())
            .bind(row.note.as_str())
            .bind(row.time.0)
            .bind(leader.to_bytes())
            .execute(&mut *tx)
            .await?
            .rows_affected();
            sqlx::query(
                "DELETE FROM checkpoints WHERE size <=
             (SELECT size FROM checkpoints ORDER BY size DESC LIMIT 1 OFFSET $1)",
            )
            .bind(CHECKPOINTS_KEPT)
            .execute(&mut *tx)
            .await?;
            tx.commit().await?;
            Ok(inserted == 1)
        })
        .await
    }
}
