//! What runs have to say to the platform, several in one request: whatever waits while earlier requests are under way goes
//! with the next one, so that an idle node waits for nothing and a busy one asks seldom.

use std::sync::Arc;

use aevir_wire::{
    BATCH_ITEMS_MAX, Batch, BatchAnswer, BatchItem, Client, ClientError, Commit, Fail,
    JSON_VALUES_MAX, NodeCall, Reveal,
};
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::retry::{full, may_pass};

/// Requests under way at once: a reveal whose result is being stored must not hold up a start.
const REQUESTS_MAX: usize = 4;
/// Items that may wait; who has more waits to say so.
const WAITING_MAX: usize = 1_024;
/// Bytes of one request, but of one with a single item: it has no more JSON values than the platform reads, whatever results are made of.
const BATCH_BYTES: usize = JSON_VALUES_MAX;
/// What an item takes beside the results that it carries, in bytes.
const ITEM_BYTES: usize = 512;
/// A status that says to come back later, for requests that failed as a whole.
const LATER: u16 = 503;
/// One that does not.
const NEVER: u16 = 400;

/// Something that waits to be sent, and who waits for the answer.
#[derive(Debug)]
struct Waiting {
    item: BatchItem,
    bytes: usize,
    answer: oneshot::Sender<Result<(), ClientError>>,
}

/// The way to the platform for starts, commits, reveals, failures and returns.
#[derive(Debug, Clone)]
pub(crate) struct Submitter(mpsc::Sender<Waiting>);

impl Submitter {
    /// Starts sending in the background, until this and its clones are gone.
    pub(crate) fn new(client: Client) -> Self {
        let (sender, waiting) = mpsc::channel(WAITING_MAX);
        tokio::spawn(send_all(client, waiting));
        Self(sender)
    }

    pub(crate) async fn start(&self, assignment: &str) -> Result<(), ClientError> {
        self.send(assignment, NodeCall::Start, 0).await
    }

    pub(crate) async fn commit(
        &self,
        assignment: &str,
        commit: &Commit,
    ) -> Result<(), ClientError> {
        self.send(assignment, NodeCall::Commit(commit.clone()), 0)
            .await
    }

    pub(crate) async fn reveal(
        &self,
        assignment: &str,
        reveal: &Reveal,
    ) -> Result<(), ClientError> {
        let bytes = serde_json::to_vec(reveal).map_err(ClientError::Json)?.len();
        self.send(
            assignment,
            NodeCall::Reveal(Box::new(reveal.clone())),
            bytes,
        )
        .await
    }

    pub(crate) async fn fail(&self, assignment: &str, fail: &Fail) -> Result<(), ClientError> {
        self.send(assignment, NodeCall::Fail(fail.clone()), 0).await
    }

    pub(crate) async fn give_back(&self, assignment: &str) -> Result<(), ClientError> {
        self.send(assignment, NodeCall::Return, 0).await
    }

    async fn send(
        &self,
        assignment: &str,
        call: NodeCall,
        bytes: usize,
    ) -> Result<(), ClientError> {
        let (answer, answered) = oneshot::channel();
        let waiting = Waiting {
            item: BatchItem {
                assignment: assignment.to_owned(),
                call,
            },
            bytes: ITEM_BYTES + bytes,
            answer,
        };
        let gone = || failed_as_a_whole(LATER, "the agent is stopping".into());
        self.0.send(waiting).await.map_err(|_| gone())?;
        answered.await.unwrap_or_else(|_| Err(gone()))
    }
}

async fn send_all(client: Client, mut waiting: mpsc::Receiver<Waiting>) {
    let requests = Arc::new(Semaphore::new(REQUESTS_MAX));
    let mut next: Option<Waiting> = None;
    loop {
        // First a free request, then what waits by then.
        let Ok(permit) = Arc::clone(&requests).acquire_owned().await else {
            return;
        };
        let first = match next.take() {
            Some(first) => first,
            None => match waiting.recv().await {
                Some(first) => first,
                None => return,
            },
        };
        let mut bytes = first.bytes;
        let mut items = vec![first];
        while items.len() < BATCH_ITEMS_MAX
            && let Ok(one) = waiting.try_recv()
        {
            if bytes + one.bytes > BATCH_BYTES {
                next = Some(one);
                break;
            }
            bytes += one.bytes;
            items.push(one);
        }
        let client = client.clone();
        tokio::spawn(async move {
            send(&client, items).await;
            drop(permit);
        });
    }
}

/// Sends a batch, and gives each its answer. Who does not wait any more misses nothing.
async fn send(client: &Client, waiting: Vec<Waiting>) {
    let (items, answers): (Vec<_>, Vec<_>) =
        waiting.into_iter().map(|w| (w.item, w.answer)).unzip();
    let assignments: Vec<String> = items.iter().map(|item| item.assignment.clone()).collect();
    let sent = client.node_batch(&Batch { items }).await;
    let mut told = match &sent {
        Ok(told) if told.answers.len() == answers.len() => Some(told.answers.iter()),
        Ok(_) | Err(_) => None,
    };
    for (assignment, answer) in assignments.iter().zip(answers) {
        let own = told.as_mut().and_then(Iterator::next);
        let result = match (own, &sent) {
            (Some(own), _) if own.assignment == *assignment => of_item(own),
            (_, Err(error)) => Err(of_batch(error)),
            (_, Ok(_)) => Err(failed_as_a_whole(
                NEVER,
                "the answers are not those to the batch".into(),
            )),
        };
        let _ = answer.send(result);
    }
}

fn of_item(answer: &BatchAnswer) -> Result<(), ClientError> {
    match &answer.problem {
        None => Ok(()),
        Some(problem) => Err(ClientError::Problem(Box::new(problem.clone()))),
    }
}

/// The failure of a request, for one of its items.
fn of_batch(error: &ClientError) -> ClientError {
    if let ClientError::Problem(problem) = error {
        return ClientError::Problem(problem.clone());
    }
    let status = if may_pass(error) { LATER } else { NEVER };
    failed_as_a_whole(status, full(error))
}

fn failed_as_a_whole(status: u16, reason: String) -> ClientError {
    ClientError::Unexpected { status, reason }
}
