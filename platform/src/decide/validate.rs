//! The shape of a task definition: what can be told without looking at the state.

mod qos;

use std::collections::BTreeSet;

use serde_json::Value;

use super::{account::check_name, content::check_licence};
use crate::{
    amount::{Amount, PPM, parse_micro},
    definition::{
        CheckModule, DataSource, Limits, Method, Pricing, Publish, Sampling, TaskDefinition,
        Verifiers,
    },
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
/// Verifiers that a method draws at least: of one alone nobody could say that it lies.
const VERIFIERS_MIN: u32 = 2;
/// Files of a content, inputs and outputs of a task.
pub(crate) const FILES_MAX: usize = 64;

const ATTEMPTS_MAX: u32 = 16;
const METHODS_MAX: usize = 8;
const BOUNDS_MAX: usize = 16;
const POINTERS_MAX: usize = 16;
const DEPENDENCIES_MAX: usize = 16;
const MEMORY_MIB_MAX: u32 = 4_096;
const OUTPUT_MIB_MAX: u32 = 1 << 16;
/// As long as a node's sandbox runs anything.
const RUNTIME_S_MAX: u32 = 24 * 3_600;
/// As much fuel as a node's sandbox grants: weeks of computing.
const FUEL_MAX: u64 = 1_000_000_000_000_000;
/// Contract checks of all methods together: their outcomes stand in one entry.
const CHECKS_MAX: usize = 32;

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
    verification(definition)?;
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

fn params(pointer: &str, params: &Value) -> Result<(), Rejection> {
    exact(pointer, params)?;
    let bytes = params.to_string().len();
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

fn verification(definition: &TaskDefinition) -> Result<(), Rejection> {
    at_most("/verification", "checks", checks(definition), CHECKS_MAX)?;
    at_most(
        "/verification",
        "methods",
        definition.verification.len(),
        METHODS_MAX,
    )?;
    let (mut sampled, mut attested) = (false, false);
    for (i, method) in definition.verification.iter().enumerate() {
        let pointer = format!("/verification/{i}");
        match method {
            Method::Check {
                schema,
                bounds,
                module,
            } => {
                check(&pointer, schema.as_ref(), bounds, module.is_some())?;
                check_module(&pointer, module.as_deref())?;
            }
            Method::Attestation { .. } if attested => {
                return Err(Rejection::definition(
                    pointer,
                    "attestation stands twice: name it once",
                ));
            }
            Method::Attestation { verifiers: terms } => {
                attested = true;
                verifiers(&format!("{pointer}/verifiers"), terms)?;
            }
            Method::Sampling(_) if sampled => {
                return Err(Rejection::definition(
                    pointer,
                    "sampling stands twice: name it once",
                ));
            }
            Method::Sampling(terms) => {
                sampled = true;
                sampling(&pointer, terms)?;
            }
        }
    }
    Ok(())
}

/// How many outcomes the contract checks of a result have.
fn checks(definition: &TaskDefinition) -> usize {
    let methods = definition.verification.iter().map(|method| match method {
        Method::Check {
            schema,
            bounds,
            module,
        } => usize::from(schema.is_some()) + bounds.len() + usize::from(module.is_some()),
        Method::Attestation { .. } => 1,
        Method::Sampling(_) => 0,
    });
    methods.sum()
}

fn sampling(pointer: &str, terms: &Sampling) -> Result<(), Rejection> {
    in_range(&format!("{pointer}/replicas"), terms.replicas, REPLICAS_MAX)?;
    if terms.quorum > terms.replicas || u64::from(terms.quorum) * 2 <= u64::from(terms.replicas) {
        let detail = "the quorum is more than half of the replicas, and at most all of them";
        return Err(Rejection::definition(format!("{pointer}/quorum"), detail));
    }
    if !(terms.quorum..=terms.replicas).contains(&terms.initial()) {
        let detail = "the first round has between quorum and replicas";
        return Err(Rejection::definition(format!("{pointer}/initial"), detail));
    }
    if terms.adaptive && terms.replicas < 2 {
        let detail =
            "an adaptive sample has at least two replicas, for one has nothing to be compared with";
        return Err(Rejection::definition(format!("{pointer}/adaptive"), detail));
    }
    Ok(())
}

fn check_module(pointer: &str, check: Option<&CheckModule>) -> Result<(), Rejection> {
    let Some(check) = check else {
        return Ok(());
    };
    let at = |field: &str| format!("{pointer}/module/{field}");
    params(&at("params"), &check.params)?;
    limits(&at("limits"), &check.limits)?;
    verifiers(&at("verifiers"), &check.verifiers)
}

fn verifiers(pointer: &str, terms: &Verifiers) -> Result<(), Rejection> {
    let at = |field: &str| format!("{pointer}/{field}");
    in_range(&at("count"), terms.count, REPLICAS_MAX)?;
    if terms.count < VERIFIERS_MIN {
        let detail =
            format!("one verifier's word is nobody's to contradict: say {VERIFIERS_MIN} or more");
        return Err(Rejection::definition(at("count"), detail));
    }
    if terms.quorum > terms.count || u64::from(terms.quorum) * 2 <= u64::from(terms.count) {
        let detail = "the quorum is more than half of the verifiers, and at most all of them";
        return Err(Rejection::definition(at("quorum"), detail));
    }
    if terms.fee < Amount::ZERO {
        return Err(Rejection::definition(at("fee"), "a fee can't be negative"));
    }
    Ok(())
}

fn check(
    pointer: &str,
    schema: Option<&Value>,
    bounds: &[crate::definition::Bound],
    has_module: bool,
) -> Result<(), Rejection> {
    if schema.is_none() && bounds.is_empty() && !has_module {
        return Err(Rejection::definition(
            pointer,
            "a check needs a schema, bounds or a module",
        ));
    }
    if let Some(schema) = schema {
        let pointer = format!("{pointer}/schema");
        at_most(
            &pointer,
            "bytes",
            schema.to_string().len(),
            SCHEMA_BYTES_MAX,
        )?;
        exact(&pointer, schema)?;
        crate::check::compile(schema).map_err(|detail| Rejection::definition(pointer, detail))?;
    }
    at_most(
        &format!("{pointer}/bounds"),
        "bounds",
        bounds.len(),
        BOUNDS_MAX,
    )?;
    for (i, bound) in bounds.iter().enumerate() {
        let at = |field: &str| format!("{pointer}/bounds/{i}/{field}");
        if !is_file_name(&bound.metric) {
            return Err(Rejection::definition(
                at("metric"),
                "a metric's name is [A-Za-z0-9._-]{1,64}",
            ));
        }
        if bound.at_least.is_none() && bound.at_most.is_none() {
            return Err(Rejection::definition(
                at("at_least"),
                "a bound needs at_least or at_most",
            ));
        }
        for (field, text) in [("at_least", &bound.at_least), ("at_most", &bound.at_most)] {
            if let Some(text) = text {
                parse_micro(text).map_err(|e| Rejection::definition(at(field), e.to_string()))?;
            }
        }
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
fn exact(pointer: &str, value: &Value) -> Result<(), Rejection> {
    crate::json::readable(value).map_err(|detail| Rejection::definition(pointer, detail))
}
