//! What operators and administrators do about nodes, accounts, contents and modules.

use super::{Client, ClientError, call::Call};
use crate::{
    batch::{Batch, BatchAnswers},
    node::Node,
    node_life::{
        ChangeProfile, ChangeStake, NodeTerms, RevokeNode, RotateKey, Suspend, SuspensionList,
    },
};

impl Client {
    /// The node finishes what it has and gets nothing new. With the owner's key or the node's own.
    pub async fn drain_node(&self, id: &str) -> Result<Node, ClientError> {
        self.node_verb(id, "drain").await
    }

    /// The node takes work again. With the owner's key or the node's own.
    pub async fn resume_node(&self, id: &str) -> Result<Node, ClientError> {
        self.node_verb(id, "resume").await
    }

    /// The node drains, and is gone for good once nothing of it is open. With the owner's key or the node's own.
    pub async fn leave_market(&self, id: &str) -> Result<Node, ClientError> {
        self.node_verb(id, "leave").await
    }

    async fn node_verb(&self, id: &str, verb: &str) -> Result<Node, ClientError> {
        self.fetch(Call::post(format!("/v1/nodes/{id}/{verb}")).repeatable())
            .await
    }

    /// Puts money up for the node's results. With its owner's key.
    pub async fn stake(&self, id: &str, request: &ChangeStake) -> Result<Node, ClientError> {
        let call = Call::post(format!("/v1/nodes/{id}/stake"));
        self.fetch(call.keyed(None).json(request)?).await
    }

    /// Takes back what covers no result. With its owner's key.
    pub async fn unstake(&self, id: &str, request: &ChangeStake) -> Result<Node, ClientError> {
        let call = Call::post(format!("/v1/nodes/{id}/unstake"));
        self.fetch(call.keyed(None).json(request)?).await
    }

    /// Shuts the node out for good. With its owner's key, or the scope `admin`.
    pub async fn revoke_node(&self, id: &str, request: &RevokeNode) -> Result<Node, ClientError> {
        let call = Call::post(format!("/v1/nodes/{id}/revoke"));
        self.fetch(call.keyed(None).json(request)?).await
    }

    /// Sets the terms on which the node is offered. With the owner's key or the node's own.
    pub async fn set_node_terms(&self, id: &str, terms: &NodeTerms) -> Result<Node, ClientError> {
        let call = Call::put(format!("/v1/nodes/{id}/terms"));
        self.fetch(call.json(terms)?).await
    }

    /// Tells that the machine has changed. With the node's own key.
    pub async fn change_profile(&self, request: &ChangeProfile) -> Result<(), ClientError> {
        self.execute(Call::put("/v1/node/profile").json(request)?)
            .await
    }

    /// Gives the node another signing key. With the node's own key.
    pub async fn rotate_key(&self, request: &RotateKey) -> Result<(), ClientError> {
        self.execute(Call::post("/v1/node/key").repeatable().json(request)?)
            .await
    }

    /// Many starts, commits, reveals and failures at once, each answered apart.
    pub async fn node_batch(&self, request: &Batch) -> Result<BatchAnswers, ClientError> {
        let call = Call::post("/v1/node/assignments").repeatable();
        self.fetch(call.json(request)?).await
    }

    /// Stops what is new of an account, a node, a content or a module. Scope `admin`.
    pub async fn suspend(&self, request: &Suspend) -> Result<(), ClientError> {
        let call = Call::post("/v1/suspensions");
        self.execute(call.keyed(None).json(request)?).await
    }

    /// Releases it again. Scope `admin`.
    pub async fn release(&self, request: &Suspend) -> Result<(), ClientError> {
        let call = Call::post("/v1/releases");
        self.execute(call.keyed(None).json(request)?).await
    }

    /// The suspensions in force. Scope `admin` or `audit`.
    pub async fn suspensions(&self) -> Result<SuspensionList, ClientError> {
        self.fetch(Call::get("/v1/suspensions")).await
    }
}
