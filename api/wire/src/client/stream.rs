//! Streams of JSON lines.

use bytes::Bytes;
use futures::{StreamExt as _, stream::BoxStream};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio_util::io::StreamReader;

use super::{Client, ClientError, call::Call};
use crate::tasks::TaskUpdate;

/// Longest line: the log's largest entry has 64 KiB, a task with all its parts less than 4 MiB.
const LINE_BYTES_MAX: u64 = 8 * 1024 * 1024;

type Body = StreamReader<BoxStream<'static, std::io::Result<Bytes>>, Bytes>;

/// JSON documents, one a line, for as long as the server sends them.
pub struct NdjsonStream {
    reader: BufReader<Body>,
}

impl std::fmt::Debug for NdjsonStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NdjsonStream").finish_non_exhaustive()
    }
}

impl NdjsonStream {
    fn new(response: reqwest::Response) -> Self {
        let bytes = response.bytes_stream();
        let bytes = bytes
            .map(|chunk| chunk.map_err(std::io::Error::other))
            .boxed();
        Self {
            reader: BufReader::new(StreamReader::new(bytes)),
        }
    }

    /// The next line without its line feed, byte for byte; `None` at the end. Keep-alives are left out.
    pub async fn next_line(&mut self) -> Option<Result<Vec<u8>, ClientError>> {
        loop {
            let mut line = Vec::new();
            let mut limited = (&mut self.reader).take(LINE_BYTES_MAX);
            match limited.read_until(b'\n', &mut line).await {
                Err(e) => return Some(Err(ClientError::Stream(e))),
                Ok(0) => return None,
                Ok(_) if line == b"\n" => {}
                Ok(_) if line.last() == Some(&b'\n') => {
                    line.pop();
                    return Some(Ok(line));
                }
                Ok(_) => {
                    let torn = std::io::Error::other("the last line is torn or too long");
                    return Some(Err(ClientError::Stream(torn)));
                }
            }
        }
    }
}

/// What happens to one task; ends after the task has.
#[derive(Debug)]
pub struct TaskUpdates {
    lines: NdjsonStream,
}

impl TaskUpdates {
    /// The next update; `None` at the end.
    pub async fn next_update(&mut self) -> Option<Result<TaskUpdate, ClientError>> {
        let line = match self.lines.next_line().await? {
            Ok(line) => line,
            Err(e) => return Some(Err(e)),
        };
        Some(
            serde_json::from_slice(&line).map_err(|e| ClientError::Unexpected {
                status: 200,
                reason: e.to_string(),
            }),
        )
    }
}

impl Client {
    /// The log's entries from a position on, byte for byte as stored: at most `limit`, or on and on with `follow`.
    /// Scope `audit`.
    pub async fn events(
        &self,
        from: u64,
        limit: Option<u64>,
        follow: bool,
    ) -> Result<NdjsonStream, ClientError> {
        let call = Call::get("/v1/events")
            .query("from", Some(from))
            .query("limit", limit)
            .query("follow", follow.then_some(true));
        Ok(NdjsonStream::new(self.send(&call).await?))
    }

    /// Follows a task: first the task as it is, then what happens, at last the task as it ended.
    pub async fn watch_task(&self, task: &str) -> Result<TaskUpdates, ClientError> {
        let response = self
            .send(&Call::get(format!("/v1/tasks/{task}/events")))
            .await?;
        Ok(TaskUpdates {
            lines: NdjsonStream::new(response),
        })
    }
}
