//! Nodes, and the protocol that a node speaks. All of the protocol's calls may be repeated: the server answers a
//! second start, commit or reveal like the first.

use std::path::Path;

use bytes::Bytes;

use super::{
    Client, ClientError,
    call::{Body, Call},
};
use crate::{
    challenge::{ChallengeIndices, ChallengeOpenings, ChallengeRoot},
    contents::{Artifact, BlobRef},
    heartbeat::Heartbeats,
    node::{
        Ask, Checkpointed, Commit, Directives, Fail, Leases, Node, NodeList, RegisterNode,
        RegisteredNode, Reveal,
    },
    report,
};

/// Which nodes to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeFilter {
    /// `online` or `offline`.
    pub availability: Option<String>,
    /// Scope `audit` or `admin` for another account than one's own.
    pub owner: Option<String>,
    /// 1 to 200; 50 when absent.
    pub limit: Option<u32>,
    /// The last page's `next`.
    pub after: Option<String>,
}

impl Client {
    /// Joins a node; needs no key. Not repeated by itself: a token can be used once.
    pub async fn register_node(
        &self,
        request: &RegisterNode,
    ) -> Result<RegisteredNode, ClientError> {
        self.fetch(Call::post("/v1/nodes").json(request)?).await
    }

    /// The caller's nodes, page by page. A node's own key shows that node, whatever the filter.
    pub async fn nodes(&self, filter: &NodeFilter) -> Result<NodeList, ClientError> {
        let call = Call::list("/v1/nodes")
            .query("availability", filter.availability.as_deref())
            .query("owner", filter.owner.as_deref())
            .query("limit", filter.limit)
            .query("after", filter.after.as_deref());
        self.fetch(call).await
    }

    pub async fn node(&self, id: &str) -> Result<Node, ClientError> {
        self.fetch(Call::get(format!("/v1/nodes/{id}"))).await
    }

    /// Long poll: answers as soon as there is a lease or a directive, or after `wait_ms` with neither.
    pub async fn lease(&self, request: &Ask) -> Result<Leases, ClientError> {
        let call = Call::post("/v1/node/leases").repeatable();
        self.fetch(call.json(request)?).await
    }

    /// Not repeated by itself: the next one comes soon enough, with newer progress.
    pub async fn heartbeat(&self, request: &Heartbeats) -> Result<Directives, ClientError> {
        self.fetch(Call::post("/v1/node/heartbeats").json(request)?)
            .await
    }

    /// Tells that a challenge is computed; answers which values to open.
    pub async fn challenge_root(
        &self,
        challenge: &str,
        request: &ChallengeRoot,
    ) -> Result<ChallengeIndices, ClientError> {
        let call = Call::post(format!("/v1/node/challenges/{challenge}/root")).repeatable();
        self.fetch(call.json(request)?).await
    }

    /// Opens these values.
    pub async fn challenge_openings(
        &self,
        challenge: &str,
        request: &ChallengeOpenings,
    ) -> Result<(), ClientError> {
        let call = Call::post(format!("/v1/node/challenges/{challenge}/openings")).repeatable();
        self.execute(call.json(request)?).await
    }

    /// Tells that the run begins.
    pub async fn start(&self, assignment: &str) -> Result<(), ClientError> {
        self.execute(Call::post(at(assignment, "start")).repeatable())
            .await
    }

    pub async fn commit(&self, assignment: &str, request: &Commit) -> Result<(), ClientError> {
        let call = Call::post(at(assignment, "commit")).repeatable();
        self.execute(call.json(request)?).await
    }

    pub async fn reveal(&self, assignment: &str, request: &Reveal) -> Result<(), ClientError> {
        let call = Call::post(at(assignment, "reveal")).repeatable();
        self.execute(call.json(request)?).await
    }

    pub async fn fail(&self, assignment: &str, request: &Fail) -> Result<(), ClientError> {
        let call = Call::post(at(assignment, "fail")).repeatable();
        self.execute(call.json(request)?).await
    }

    /// Gives an assignment back, because the node is about to stop.
    pub async fn give_back(&self, assignment: &str) -> Result<(), ClientError> {
        self.execute(Call::post(at(assignment, "return")).repeatable())
            .await
    }

    /// Saves a checkpoint of the run; at most 64 MiB.
    pub async fn save_checkpoint(
        &self,
        assignment: &str,
        checkpoint: impl Into<Bytes>,
    ) -> Result<Checkpointed, ClientError> {
        let bytes = checkpoint.into();
        let digest = report::digest(&bytes);
        let call = Call::post(at(assignment, "checkpoint")).repeatable();
        let call = call.query("digest", Some(digest)).body(Body::Bytes(bytes));
        self.fetch(call).await
    }

    /// Uploads an output from a file. It may be sent any time between start and reveal.
    pub async fn put_output_file(
        &self,
        assignment: &str,
        digest: &str,
        file: &Path,
    ) -> Result<BlobRef, ClientError> {
        let call = Call::put(at(assignment, &format!("outputs/{digest}")));
        self.fetch(call.body(Body::File(file.to_owned()))).await
    }

    /// Uploads an output from memory.
    pub async fn put_output(
        &self,
        assignment: &str,
        bytes: impl Into<Bytes>,
    ) -> Result<BlobRef, ClientError> {
        let bytes = bytes.into();
        let call = Call::put(at(
            assignment,
            &format!("outputs/{}", report::digest(&bytes)),
        ));
        self.fetch(call.body(Body::Bytes(bytes))).await
    }

    /// Downloads an input of a lease into a file.
    pub async fn download_input(
        &self,
        assignment: &str,
        input: &Artifact,
        to: &Path,
    ) -> Result<u64, ClientError> {
        // What a verifier opens has a folder before its name.
        let name = input.name.replace('/', "%2F");
        let path = at(assignment, &format!("inputs/{name}"));
        self.download(path, &input.digest, to).await
    }

    /// Downloads the module of a lease into a file.
    pub async fn download_module(
        &self,
        assignment: &str,
        module: &BlobRef,
        to: &Path,
    ) -> Result<u64, ClientError> {
        self.download(at(assignment, "module"), &module.digest, to)
            .await
    }

    /// Downloads the checkpoint that a lease resumes from into a file.
    pub async fn download_checkpoint(
        &self,
        assignment: &str,
        checkpoint: &BlobRef,
        to: &Path,
    ) -> Result<u64, ClientError> {
        self.download(at(assignment, "checkpoint"), &checkpoint.digest, to)
            .await
    }
}

fn at(assignment: &str, what: &str) -> String {
    format!("/v1/node/assignments/{assignment}/{what}")
}
