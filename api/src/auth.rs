//! Who is asking: the account, and for a node's key the node, behind a bearer secret.
//!
//! A secret has 256 random bits and is looked up by its SHA-256, so that neither a stolen log nor the time that a
//! look-up takes tells anything about it.

use aevir_platform::{
    Actor,
    command::Scope,
    digest::Digest,
    ids::{AccountId, NodeId},
};
use axum::{
    extract::FromRequestParts,
    http::{header, request::Parts},
};
use tracing::{Span, field::display};

use crate::{
    app::App,
    convert::name_of,
    error::{ApiError, ApiResult, Code},
};

/// Longest `Authorization` header that is looked at.
const SECRET_BYTES_MAX: usize = 512;

/// An authenticated caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) account: AccountId,
    pub(crate) scopes: Vec<Scope>,
    node: Option<NodeId>,
}

impl Caller {
    pub(crate) fn has(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }

    /// # Errors
    /// `scope-missing` where the key lacks the scope.
    pub(crate) fn require(&self, scope: Scope) -> ApiResult<()> {
        self.require_one_of(&[scope])
    }

    /// # Errors
    /// `scope-missing` where the key has none of the scopes.
    pub(crate) fn require_one_of(&self, scopes: &[Scope]) -> ApiResult<()> {
        if scopes.iter().any(|s| self.has(*s)) {
            return Ok(());
        }
        let names: Vec<String> = scopes.iter().map(name_of).collect();
        let detail = format!(
            "this API key lacks the scope `{}`: use one that has it",
            names.join("` or `")
        );
        Err(ApiError::new(Code::ScopeMissing, detail))
    }

    /// Sees the objects of every account.
    pub(crate) fn sees_all(&self) -> bool {
        self.has(Scope::Audit) || self.has(Scope::Admin)
    }

    /// The node that the key acts for.
    pub(crate) fn node(&self) -> Option<NodeId> {
        self.node.filter(|_| self.has(Scope::Node))
    }

    /// The actor that the log records.
    pub(crate) fn actor(&self) -> Actor {
        Actor::Account(self.account)
    }
}

impl FromRequestParts<App> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> ApiResult<Self> {
        let secret = bearer(parts)?;
        let hash = Digest::of(secret.as_bytes());
        let caller = app.log.read(|state, _| {
            let (_, key) = state.live_key(hash)?;
            Some(Self {
                account: key.account,
                scopes: key.scopes.iter().copied().collect(),
                node: key.node,
            })
        });
        let caller = caller.ok_or_else(|| {
            ApiError::new(
                Code::Unauthenticated,
                "this API key does not exist or was revoked",
            )
        })?;
        Span::current().record("account", display(caller.account));
        if let Some(node) = caller.node {
            Span::current().record("node", display(node));
        }
        Ok(caller)
    }
}

/// A caller where there is one, for routes that are open under some settings.
pub(crate) struct MaybeCaller(pub(crate) ApiResult<Caller>);

impl FromRequestParts<App> for MaybeCaller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> ApiResult<Self> {
        Ok(Self(Caller::from_request_parts(parts, app).await))
    }
}

fn bearer(parts: &Parts) -> ApiResult<&str> {
    let missing = || {
        ApiError::new(
            Code::Unauthenticated,
            "send your API key as `Authorization: Bearer aevk_...`",
        )
    };
    let value = parts
        .headers
        .get(header::AUTHORIZATION)
        .ok_or_else(missing)?;
    let value = value.to_str().map_err(|_| missing())?;
    let (scheme, secret) = value.split_once(' ').ok_or_else(missing)?;
    let secret = secret.trim();
    if scheme.eq_ignore_ascii_case("bearer")
        && !secret.is_empty()
        && secret.len() <= SECRET_BYTES_MAX
    {
        Ok(secret)
    } else {
        Err(missing())
    }
}

/// A caller whose key acts for a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NodeCaller {
    pub(crate) node: NodeId,
}

impl NodeCaller {
    /// The actor that the log records.
    pub(crate) fn actor(&self) -> Actor {
        Actor::Node(self.node)
    }
}

impl FromRequestParts<App> for NodeCaller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> ApiResult<Self> {
        let caller = Caller::from_request_parts(parts, app).await?;
        match caller.node {
            Some(node) if caller.has(Scope::Node) => Ok(Self { node }),
            Some(_) | None => Err(ApiError::new(
                Code::NotANode,
                "this API key belongs to no node: use the one that the node registered with",
            )),
        }
    }
}
