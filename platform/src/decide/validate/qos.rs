//! What a definition asks of nodes.

use std::collections::BTreeMap;

use super::{super::account::check_name, at_most, in_range};
use crate::{
    definition::{GPU_FEATURES, GpuNeed, Qos},
    rejection::Rejection,
};

pub(super) const LABELS_MAX: usize = 16;
const CLASSES_MAX: usize = 16;
/// 1 TiB: as much as a node's sandbox grants, and more than any single card has.
const GPU_MEMORY_MIB_MAX: u32 = 1 << 20;
/// The largest buffer that a node's sandbox makes is one word less than 4 GiB: WGSL indexes bytes with 32 bits.
const GPU_BUFFER_MIB_MAX: u32 = 4_095;
/// A node that has everything needs lease, start, commitment and reveal, each a call and an entry of the log: below this nothing is ever in
/// time, and all that lateness costs would come back each time.
const MAX_LATENCY_MS_MIN: u32 = 100;

pub(super) fn check(qos: &Qos) -> Result<(), Rejection> {
    if let Some(ms) = qos.max_latency_ms.filter(|ms| *ms < MAX_LATENCY_MS_MIN) {
        let detail = format!("{ms} ms is too short for any node: say {MAX_LATENCY_MS_MIN} or more");
        return Err(Rejection::definition("/qos/max_latency_ms", detail));
    }
    if let Some(gpu) = &qos.gpu {
        check_gpu(gpu)?;
    }
    qos_labels(qos)
}

fn check_gpu(gpu: &GpuNeed) -> Result<(), Rejection> {
    in_range("/qos/gpu/memory_mib", gpu.memory_mib, GPU_MEMORY_MIB_MAX)?;
    if let Some(buffer_mib) = gpu.buffer_mib {
        in_range("/qos/gpu/buffer_mib", buffer_mib, GPU_BUFFER_MIB_MAX)?;
    }
    for (n, feature) in gpu.features.iter().enumerate() {
        let pointer = format!("/qos/gpu/features/{n}");
        if !GPU_FEATURES.contains(&feature.as_str()) {
            let known = GPU_FEATURES.join(", ");
            let detail = format!("there is no feature `{feature}`; there are {known}");
            return Err(Rejection::definition(pointer, detail));
        }
        if gpu.features[..n].contains(feature) {
            let detail = format!("the feature `{feature}` is named twice");
            return Err(Rejection::definition(pointer, detail));
        }
    }
    at_most(
        "/qos/gpu/classes",
        "classes",
        gpu.classes.len(),
        CLASSES_MAX,
    )
}

/// What the task asks of labels, and the bounds of it.
fn qos_labels(qos: &Qos) -> Result<(), Rejection> {
    at_most("/qos/labels", "labels", qos.labels.len(), LABELS_MAX)?;
    labels("/qos/labels", &qos.labels)?;
    for (pointer, lists) in [
        ("/qos/labels_any", &qos.labels_any),
        ("/qos/labels_not", &qos.labels_not),
    ] {
        at_most(pointer, "labels", lists.len(), LABELS_MAX)?;
        for (name, values) in lists {
            at_most(pointer, "values of a label", values.len(), LABELS_MAX)?;
            if values.is_empty() {
                let detail = format!("label `{name}` has no values: name some, or leave it out");
                return Err(Rejection::definition(pointer, detail));
            }
            for text in std::iter::once(name).chain(values) {
                check_name("a label", text)
                    .map_err(|e| Rejection::definition(pointer, e.to_string()))?;
            }
        }
    }
    Ok(())
}

pub(super) fn labels(pointer: &str, labels: &BTreeMap<String, String>) -> Result<(), Rejection> {
    for (name, value) in labels {
        for text in [name, value] {
            check_name("a label", text)
                .map_err(|e| Rejection::definition(pointer, e.to_string()))?;
        }
    }
    Ok(())
}
