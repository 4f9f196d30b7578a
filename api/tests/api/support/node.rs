//! A node that speaks the protocol and runs nothing: what it computes, the test decides. The program's own tests
//! (`cli/tests/e2e`) attack with it, too.

use std::time::Duration;

use aevir_wire::{
    Action, Artifact, Ask, BlobRef, Client, ClientError, Commit, Heartbeat, Heartbeats,
    IssueJoinToken, Lease, MetricValue, NodeProfile, RegisterNode, Report, Reveal, Secret, Usage,
    canonical, commit_message, digest,
};
use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::Value;

/// How long a test waits for something that must happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// A node of a test.
#[derive(Clone)]
pub(crate) struct FakeNode {
    pub(crate) id: String,
    pub(crate) client: Client,
    pub(crate) owner: Client,
    pub(crate) key: Secret,
    signing: SigningKey,
}

/// What a run brings.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    pub(crate) result: Value,
    pub(crate) outputs: Vec<(&'static str, Vec<u8>)>,
    /// Name and micro-units.
    pub(crate) metrics: Vec<(&'static str, i64)>,
}

impl Outcome {
    pub(crate) fn of(result: Value) -> Self {
        Self {
            result,
            outputs: vec![("answer", b"42".to_vec())],
            metrics: vec![("accuracy", 970_000)],
        }
    }
}

pub(crate) fn profile(name: &str) -> NodeProfile {
    NodeProfile {
        name: name.into(),
        cpu_cores: 2,
        memory_mib: 4_096,
        storage_mib: 8_192,
        slots: 2,
        gpu: None,
        runtime: "det/1".into(),
        cpu_mfuel_s: None,
        labels: [].into(),
        confinement: None,
    }
}

impl FakeNode {
    /// Joins a platform for an owner.
    pub(crate) async fn join(url: &str, owner: &Client, name: &str) -> Self {
        let signing = SigningKey::from_bytes(&rand::random());
        let key = Secret::new_key();
        let issue = IssueJoinToken::default();
        let token = owner.issue_join_token(&issue).await.unwrap();
        let request = RegisterNode {
            token: token.token,
            public_key: hex::encode(signing.verifying_key().to_bytes()),
            key_hash: key.hash(),
            profile: profile(name),
        };
        let anyone = Client::new(url, None).unwrap();
        let registered = anyone.register_node(&request).await.unwrap();
        assert_eq!(registered.owner, owner.account().await.unwrap().account);
        Self {
            id: registered.node,
            client: anyone.with_key(key.clone()),
            owner: owner.clone(),
            key,
            signing,
        }
    }

    /// The key that it signs with.
    pub(crate) fn signing(&self) -> &SigningKey {
        &self.signing
    }

    /// Signs with another key from now on.
    pub(crate) fn sign_with(&mut self, key: SigningKey) {
        self.signing = key;
    }

    /// Talks to a server that was started again.
    pub(crate) fn moved(self, client: Client) -> Self {
        Self { client, ..self }
    }

    /// Shows that the node is there, without taking work.
    pub(crate) async fn appear(&self) {
        self.client.heartbeat(&Heartbeats::default()).await.unwrap();
    }

    /// The next lease, which must come.
    pub(crate) async fn lease(&self) -> Lease {
        let leased = async {
            loop {
                let ask = Ask {
                    max: 1,
                    wait_ms: 5_000,
                    holding: Vec::new(),
                    stopping: false,
                    challenge: None,
                };
                if let Some(lease) = self.client.lease(&ask).await.unwrap().leases.pop() {
                    return lease;
                }
            }
        };
        tokio::time::timeout(PATIENCE, leased)
            .await
            .expect("a lease")
    }

    pub(crate) async fn beat(&self, assignment: &str) -> Action {
        let beats = Heartbeats {
            assignments: vec![Heartbeat {
                assignment: assignment.into(),
                ..Heartbeat::default()
            }],
            stopping: false,
        };
        let answer = self.client.heartbeat(&beats).await.unwrap();
        answer.directives.into_iter().next().unwrap().action
    }

    /// Waits by long poll until the node is told what to do with an assignment.
    pub(crate) async fn directive(&self, assignment: &str) -> Action {
        let told = async {
            loop {
                let ask = Ask {
                    max: 0,
                    wait_ms: 5_000,
                    holding: vec![assignment.into()],
                    stopping: false,
                    challenge: None,
                };
                let answer = self.client.lease(&ask).await.unwrap();
                if let Some(directive) = answer.directives.into_iter().next() {
                    assert_eq!(directive.assignment, assignment);
                    return directive.action;
                }
            }
        };
        tokio::time::timeout(PATIENCE, told)
            .await
            .expect("a directive")
    }

    /// The report of a run.
    pub(crate) fn report(&self, lease: &Lease, outcome: &Outcome) -> Report {
        let artifact = |(name, bytes): &(&'static str, Vec<u8>)| Artifact {
            name: (*name).into(),
            digest: digest(bytes),
            size: bytes.len().to_string(),
        };
        let metric = |(name, value): &(&'static str, i64)| MetricValue {
            name: (*name).into(),
            step: "0".into(),
            value: value.to_string(),
        };
        let result = canonical(&outcome.result).unwrap();
        Report {
            task: lease.task.clone(),
            assignment: lease.assignment.clone(),
            node: self.id.clone(),
            outputs: outcome.outputs.iter().map(artifact).collect(),
            result: BlobRef {
                digest: digest(&result),
                size: result.len().to_string(),
            },
            metrics: outcome.metrics.iter().map(metric).collect(),
            usage: Usage {
                fuel: "1234".into(),
                ..Usage::default()
            },
            trace_root: None,
            class: match lease.runtime == aevir_wire::RUNTIME_FAST {
                true => "cpu+fast/1".into(),
                false => "cpu".into(),
            },
            resumed_from: lease.checkpoint.as_ref().map(|c| c.digest.clone()),
            salt: hex::encode(rand::random::<[u8; 32]>()),
        }
    }

    /// The signed commitment to a report.
    pub(crate) fn seal(&self, report: &Report) -> Commit {
        self.sign(report.commitment().unwrap())
    }

    /// Signs a commitment, whatever it commits to.
    pub(crate) fn sign(&self, commitment: [u8; 32]) -> Commit {
        let signature = self.signing.sign(&commit_message(commitment));
        Commit {
            commitment: hex::encode(commitment),
            signature: hex::encode(signature.to_bytes()),
        }
    }

    /// Starts, uploads and commits; answers what is to be revealed.
    pub(crate) async fn run(&self, lease: &Lease, outcome: &Outcome) -> Reveal {
        self.client.start(&lease.assignment).await.unwrap();
        for (_, bytes) in &outcome.outputs {
            let put = self.client.put_output(&lease.assignment, bytes.clone());
            put.await.unwrap();
        }
        let report = self.report(lease, outcome);
        let commit = self.seal(&report);
        self.client
            .commit(&lease.assignment, &commit)
            .await
            .unwrap();
        let result = outcome.result.clone();
        Reveal { report, result }
    }

    /// Waits until it is told to reveal, and does.
    pub(crate) async fn reveal(&self, reveal: &Reveal) -> Result<(), ClientError> {
        let id = &reveal.report.assignment;
        assert_eq!(self.directive(id).await, Action::Reveal);
        self.client.reveal(id, reveal).await
    }

    /// A whole run: lease, start, upload, commit, reveal.
    pub(crate) async fn work(&self, outcome: &Outcome) -> Lease {
        let lease = self.lease().await;
        let reveal = self.run(&lease, outcome).await;
        self.reveal(&reveal).await.unwrap();
        lease
    }
}

/// Waits until a task is in a state, which must come.
pub(crate) async fn until(client: &Client, task: &str, state: &str) -> aevir_wire::Task {
    let reached = async {
        loop {
            let task = client.task(task).await.unwrap();
            if task.state == state {
                return task;
            }
            assert!(!task.ended, "the task ended as `{}`: {task:?}", task.state);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let reached = tokio::time::timeout(PATIENCE, reached).await;
    reached.unwrap_or_else(|_| panic!("the task did not become `{state}`"))
}
