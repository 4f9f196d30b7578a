//! The shape of a task definition: what can be told without looking at the state.

mod methods;
mod qos;

use std::collections::BTreeSet;

use super::{account::check_name, content::check_licence};
use crate::{
    amount::{Amount, PPM},
    definition::{DataSource, Limits, Pricing, Publish, TaskDefinition},
    json::Json,
    rejection::Rejection,
};

/// A definition's canonical JSON: it must fit an entry of the log together with its envelope.
pub const DEFINITION_BYTES_MAX: usize = 40 * 1024;
/// `params` as JSON text.
pub const PARAMS_BYTES_MAX: usize = 16 * 1024;
/// One inline input.
pub const INLINE_BYTES_MAX: usize = 16 * 1024;
/// A check's JSON Schema.
pub const SCHEMA_BYTES_MAX: usize = 8 * 1024;
/// An inline result: part of it may be published in an entry of the log.
pub const RESULT_BYTES_MAX: usize = 32 * 1024;
/// Replicas of one task.
pub const REPLICAS_MAX: u32 = 9;
/// Files of a content, inputs and outputs of a task.
pub(crate) const FILES_MAX: usize = 64;

const ATTEMPTS_MAX: u32 = 16;
const POINTERS_MAX: usize = 16;
const DEPENDENCIES_MAX: usize = 16;
const MEMORY_MIB_MAX: u32 = 4_096;
const OUTPUT_MIB_MAX: u32 = 1 << 16;
/// As long as a node's sandbox runs anything.
const RUNTIME_S_MAX: u32 = 24 * 3_600;
/// As much fuel as a node's sandbox grants: weeks of computing.
const FUEL_MAX: u64 = 1_000_000_000_000_000;

/// `[A-Za-z0-9._-]{1,64}`, and neither `.` nor `..`, which stand for folders in paths and addresses.
pub(crate) fn is_file_name(name: &str) -> bool {
    !matches!(name, "." | "..")
        && (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

/// Checks a definition by itself.
///
/// # Errors
/// `definition-invalid` with the JSON pointer of the first mistake.
pub fn validate(definition: &TaskDefinition) -> Result<(), Rejection> {
    let bytes = serde_json_canonicalizer::to_vec(&definition.without_inline())
        .map_err(|e| Rejection::definition("", format!("it has no JSON form: {e}")))?;
    at_most("", "bytes", bytes.len(), DEFINITION_BYTES_MAX)?;
    params("/params", &definition.params)?;
    inputs(definition)?;
    model(definition)?;
    limits("/limits", &definition.limits)?;
    qos::check(&definition.qos)?;
    economics(definition)?;
    methods::check(definition)?;
    if definition.must_be_reproducible() && !definition.runtime.is_reproducible() {
        let detail = "results are compared bit by bit, which needs `det/1`: leave `runtime` out";
        return Err(Rejection::definition("/runtime", detail));
    }
    if let Publish::Pointers(pointers) = &definition.privacy.publish {
        at_most(
            "/privacy/publish/pointers",
            "pointers",
            pointers.len(),
            POINTERS_MAX,
        )?;
        if let Some(bad) = pointers
            .iter()
            .position(|p| !p.starts_with('/') || p.len() > 256)
        {
            let at = format!("/privacy/publish/pointers/{bad}");
            return Err(Rejection::definition(
                at,
                "a JSON pointer starts with `/` and has at most 256 bytes",
            ));
        }
    }
    in_range(
        "/retry/max_attempts",
        definition.retry.max_attempts,
        ATTEMPTS_MAX,
    )?;
    at_most(
        "/labels",
        "labels",
        definition.labels.len(),
        qos::LABELS_MAX,
    )?;
    qos::labels("/labels", &definition.labels)
}

fn economics(definition: &TaskDefinition) -> Result<(), Rejection> {
    let economics = &definition.economics;
    pricing(&economics.pricing)?;
    if economics.budget < Amount::ZERO {
        let detail = "a budget can't be negative";
        return Err(Rejection::definition("/economics/budget", detail));
    }
    if economics
        .contents_max
        .is_some_and(|most| most < Amount::ZERO)
    {
        let detail = "what contents may cost can't be negative: 0 or more";
        return Err(Rejection::definition("/economics/contents_max", detail));
    }
    let refund = economics.late_refund_ppm;
    if i64::from(refund) > PPM {
        let detail = format!("at most all of it comes back: 0 to {PPM}");
        return Err(Rejection::definition("/economics/late_refund_ppm", detail));
    }
    if refund > 0 && definition.qos.max_latency_ms.is_none() {
        let detail =
            "without `qos.max_latency_ms` nothing is ever late: say one, or leave this out";
        return Err(Rejection::definition("/economics/late_refund_ppm", detail));
    }
    Ok(())
}

fn pricing(pricing: &Pricing) -> Result<(), Rejection> {
    let at = |field: &str| format!("/economics/pricing/{field}");
    let negative = |(field, amount): (&str, Amount)| {
        (amount < Amount::ZERO)
            .then(|| Rejection::definition(at(field), "a price can't be negative"))
    };
    let found = match pricing {
        Pricing::Fixed { price } => negative(("price", *price)),
        Pricing::Ask { max_price } => negative(("max_price", *max_price)),
        Pricing::Metered(metered) => {
            let per_unit = [
                metered.per_gfuel,
                metered.per_mworkgroup,
                metered.per_mib_out,
            ];
            let idle = per_unit.iter().all(|price| *price == Amount::ZERO);
            let idle = idle.then(|| {
                let detail =
                    "name a price above 0 for fuel, workgroups or output, or use the mode `fixed`";
                Rejection::definition(at("per_gfuel"), detail)
            });
            let over = (metered.base > metered.max_price).then(|| {
                let detail =
                    "the base is within `max_price`, which is the most that a replica earns";
                Rejection::definition(at("base"), detail)
            });
            metered
                .parts()
                .into_iter()
                .find_map(negative)
                .or(idle)
                .or(over)
        }
    };
    found.map_or(Ok(()), Err)
}

fn inputs(definition: &TaskDefinition) -> Result<(), Rejection> {
    at_most("/data", "inputs", definition.data.len(), FILES_MAX)?;
    at_most(
        "/depends_on",
        "dependencies",
        definition.depends_on.len(),
        DEPENDENCIES_MAX,
    )?;
    let data = definition
        .data
        .iter()
        .enumerate()
        .map(|(i, d)| (format!("/data/{i}/name"), d.name.as_str()));
    let outputs = definition.depends_on.iter().enumerate();
    let outputs =
        outputs.filter_map(|(i, d)| Some((format!("/depends_on/{i}/as"), d.input_name()?)));
    let mut names = BTreeSet::new();
    for (pointer, name) in data.chain(outputs) {
        if !is_file_name(name) {
            return Err(Rejection::definition(
                pointer,
                format!("`{name}` is no input name: [A-Za-z0-9._-]{{1,64}}"),
            ));
        }
        if !names.insert(name) {
            return Err(Rejection::definition(
                pointer,
                format!("two inputs are named `{name}`"),
            ));
        }
    }
    for (i, input) in definition.data.iter().enumerate() {
        if let DataSource::Inline(text) = &input.from {
            at_most(
                &format!("/data/{i}/from/inline"),
                "bytes",
                text.len(),
                INLINE_BYTES_MAX,
            )?;
        }
    }
    Ok(())
}

fn model(definition: &TaskDefinition) -> Result<(), Rejection> {
    let Some(target) = definition.model.as_ref().and_then(|m| m.target.as_ref()) else {
        return Ok(());
    };
    for (field, text) in [("name", &target.name), ("version", &target.version)] {
        check_name("a model's name or version", text)
            .map_err(|e| Rejection::definition(format!("/model/target/{field}"), e.to_string()))?;
    }
    check_licence(&target.licence)
        .map_err(|detail| Rejection::definition("/model/target/licence", detail))?;
    let outputs = &target.outputs;
    if outputs.is_empty() || outputs.len() > FILES_MAX || !outputs.iter().all(|o| is_file_name(o)) {
        return Err(Rejection::definition(
            "/model/target/outputs",
            "name 1 to 64 of the task's outputs",
        ));
    }
    let distinct: BTreeSet<_> = outputs.iter().collect();
    if distinct.len() != outputs.len() {
        return Err(Rejection::definition(
            "/model/target/outputs",
            "an output is named twice",
        ));
    }
    Ok(())
}

fn params(pointer: &str, params: &Json) -> Result<(), Rejection> {
    exact(pointer, params)?;
    let bytes = params.text().len();
    at_most(pointer, "bytes", bytes, PARAMS_BYTES_MAX)
}

fn limits(pointer: &str, limits: &Limits) -> Result<(), Rejection> {
    let at = |field: &str| format!("{pointer}/{field}");
    in_range(&at("memory_mib"), limits.memory_mib, MEMORY_MIB_MAX)?;
    in_range(&at("output_mib"), limits.output_mib, OUTPUT_MIB_MAX)?;
    in_range(&at("runtime_s"), limits.runtime_s, RUNTIME_S_MAX)?;
    if !(1..=FUEL_MAX).contains(&limits.fuel.0) {
        let detail = format!("{} is not in 1 to {FUEL_MAX}", limits.fuel);
        return Err(Rejection::definition(at("fuel"), detail));
    }
    Ok(())
}

fn at_most(pointer: &str, what: &str, have: usize, most: usize) -> Result<(), Rejection> {
    if have <= most {
        Ok(())
    } else {
        Err(Rejection::definition(
            pointer,
            format!("{have} {what}; at most {most}"),
        ))
    }
}

fn in_range(pointer: &str, value: u32, most: u32) -> Result<(), Rejection> {
    if (1..=most).contains(&value) {
        Ok(())
    } else {
        Err(Rejection::definition(
            pointer,
            format!("{value} is not in 1 to {most}"),
        ))
    }
}

/// The log's canonical JSON holds doubles, and its readers stop at a depth: what they could not read back is refused.
fn exact(pointer: &str, json: &Json) -> Result<(), Rejection> {
    crate::json::readable(&json.value()).map_err(|detail| Rejection::definition(pointer, detail))
}
