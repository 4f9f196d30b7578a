//! Between the wire's text and the domain's types. What belongs to one route family stands beside it.

use std::str::FromStr;

use aevir_events::Timestamp;
use aevir_platform::{
    amount::Count,
    json::pointer_token,
    report::{Artifact, BlobRef},
};
use aevir_wire as wire;
use serde::{Serialize, de::DeserializeOwned};

use crate::error::{ApiError, ApiResult, Code};

/// The public name of a domain enum's unit variant, such as `tasks:write`.
pub(crate) fn name_of<T: Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => name,
        // Only unit variants are named.
        Ok(_) | Err(_) => String::new(),
    }
}

/// Reads a domain enum's unit variant from its public name.
pub(crate) fn from_name<T: DeserializeOwned>(pointer: &str, name: &str) -> ApiResult<T> {
    serde_json::from_value(name.into())
        .map_err(|e| ApiError::new(Code::FieldInvalid, e.to_string()).at(pointer))
}

/// Parses a field of the request's body.
pub(crate) fn parse<T: FromStr<Err: std::fmt::Display>>(pointer: &str, text: &str) -> ApiResult<T> {
    text.parse()
        .map_err(|e: T::Err| ApiError::new(Code::FieldInvalid, e.to_string()).at(pointer))
}

/// Reads a domain structure out of the wire structure of the same shape, whose text it parses; `pointer` is where
/// it stands in the request's body.
pub(crate) fn into_domain<T: DeserializeOwned>(
    pointer: &str,
    value: &impl Serialize,
) -> ApiResult<T> {
    let json = serde_json::to_value(value)
        .map_err(|e| ApiError::new(Code::FieldInvalid, e.to_string()).at(pointer))?;
    serde_path_to_error::deserialize(json).map_err(|e| {
        let pointer = format!("{pointer}{}", json_pointer(e.path()));
        ApiError::new(Code::FieldInvalid, e.into_inner().to_string()).at(pointer)
    })
}

/// Writes a domain structure as the wire structure of the same shape. The shapes are held together by tests.
pub(crate) fn to_wire<T: DeserializeOwned>(value: &impl Serialize) -> ApiResult<T> {
    serde_json::to_value(value)
        .and_then(serde_json::from_value)
        .map_err(|e| ApiError::internal("a domain value does not fit its wire type", &e))
}

/// A serde path as a JSON pointer (RFC 6901).
pub(crate) fn json_pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    let segments = path.iter().filter_map(|segment| match segment {
        Segment::Seq { index } => Some(index.to_string()),
        Segment::Map { key } => Some(pointer_token(key)),
        // An enum's variant or an unknown place has no name in the document.
        Segment::Enum { .. } | Segment::Unknown => None,
    });
    segments.fold(String::new(), |pointer, segment| {
        format!("{pointer}/{segment}")
    })
}

pub(crate) fn time(time: Timestamp) -> String {
    time.to_string()
}

pub(crate) fn blob(blob: &BlobRef) -> wire::BlobRef {
    wire::BlobRef {
        digest: blob.digest.to_string(),
        size: blob.size.to_string(),
    }
}

pub(crate) fn artifact(artifact: &Artifact) -> wire::Artifact {
    wire::Artifact {
        name: artifact.name.clone(),
        digest: artifact.digest.to_string(),
        size: artifact.size.to_string(),
    }
}

pub(crate) fn artifacts(artifacts: &[Artifact]) -> Vec<wire::Artifact> {
    artifacts.iter().map(artifact).collect()
}

/// A size in bytes.
pub(crate) fn size(bytes: u64) -> Count {
    Count(bytes)
}
