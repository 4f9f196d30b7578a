//! Sending the commitment of a sealed result, signed with the key that the node has by then.

use std::sync::{Mutex, PoisonError};

use aevir_wire::ClientError;
use tokio_util::sync::CancellationToken;

use crate::{
    agent::Shared,
    identity::NodeKey,
    journal::Sealed,
    report::{Author, sign},
    retry::{Tried, full, until_answered},
    rotation::newer_key,
};

/// Changes of the key that one commitment lives through.
const RESIGNED_MAX: u32 = 8;

/// The key that the node signs with, which may change while it works.
#[derive(Debug)]
pub(crate) struct CurrentKey(Mutex<NodeKey>);

impl CurrentKey {
    pub(crate) fn new(key: NodeKey) -> Self {
        Self(Mutex::new(key))
    }

    pub(crate) fn get(&self) -> NodeKey {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn set(&self, key: NodeKey) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = key;
    }
}

/// What the node says of itself in a report, with `key`.
pub(crate) fn author<'a>(shared: &'a Shared, key: &'a NodeKey, spoil: bool) -> Author<'a> {
    Author {
        node: &shared.node,
        key,
        gpu_class: shared.profile.gpu.as_ref().map(|gpu| gpu.class.as_str()),
        spoil,
    }
}

/// Sends the commitment until there is an answer. One that was signed with a key from before a rotation is signed anew.
pub(crate) async fn commit(
    shared: &Shared,
    mut sealed: Sealed,
    stop: &CancellationToken,
) -> Tried<()> {
    let assignment = sealed.report.assignment.clone();
    for _ in 0..RESIGNED_MAX {
        let call = || shared.submitter.commit(&assignment, &sealed.commit);
        let error = match until_answered("commit", stop, call).await {
            Tried::Refused(error) if is_of_another_key(&error) => error,
            answer => return answer,
        };
        match sign_anew(shared, &sealed).await {
            Some(anew) => sealed = anew,
            None => return Tried::Refused(error),
        }
    }
    let call = || shared.submitter.commit(&assignment, &sealed.commit);
    until_answered("commit", stop, call).await
}

fn is_of_another_key(error: &ClientError) -> bool {
    matches!(error.code(), Some("bad-signature" | "wrong-node-key"))
}

/// The same result, signed with the key of today where that is another one; kept before it is sent.
async fn sign_anew(shared: &Shared, sealed: &Sealed) -> Option<Sealed> {
    let mut key = shared.key.get();
    let mut commit = sign(&sealed.report, &key).ok()?;
    if commit == sealed.commit {
        let data_dir = &shared.config.data_dir;
        key = newer_key(&shared.client, &shared.node, data_dir, &key).await?;
        commit = sign(&sealed.report, &key).ok()?;
        shared.key.set(key);
    }
    let anew = Sealed {
        commit,
        ..sealed.clone()
    };
    tracing::info!(
        assignment = sealed.assignment(),
        "signed anew with the node's new key"
    );
    if let Err(error) = shared.journal.save(&anew) {
        tracing::warn!(error = full(&error), "the result signed anew can't be kept");
    }
    Some(anew)
}
