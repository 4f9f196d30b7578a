//! Task definitions for tests.

use aevir_wire::{Client, SubmittedTask};
use serde_json::{Value, json};

/// A definition under construction.
#[derive(Clone)]
pub(crate) struct Definition(pub(crate) Value);

/// An inference task of one replica with one inline input, for one AEV.
pub(crate) fn single(module: &str) -> Definition {
    Definition(json!({
        "type": "inference",
        "module": module,
        "params": {"b": 2, "a": 1},
        "data": [{"name": "image", "from": {"inline": "0 1 2 3"}}],
        "economics": {"budget": "10000000", "pricing": {"mode": "fixed", "price": "1000000"}},
    }))
}

impl Definition {
    pub(crate) fn with(mut self, field: &str, value: Value) -> Self {
        self.0[field] = value;
        self
    }

    /// Verified by sampling: `initial` replicas start at once, for runs of ten minutes have no time for one after the other.
    pub(crate) fn sampled(mut self, replicas: u32, quorum: u32, initial: u32) -> Self {
        self.0["qos"]["max_latency_ms"] = 600_000.into();
        let sampling = json!({"method": "sampling", "replicas": replicas, "quorum": quorum, "initial": initial});
        self.with("verification", json!([sampling]))
    }

    pub(crate) async fn submit(&self, client: &Client) -> SubmittedTask {
        client.submit_task(&self.0, None).await.unwrap()
    }
}
