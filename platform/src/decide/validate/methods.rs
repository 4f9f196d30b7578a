//! What is asked of the methods by which a result is verified.

use super::{
    REPLICAS_MAX, SCHEMA_BYTES_MAX, at_most, exact, in_range, is_file_name, limits, params,
};
use crate::{
    amount::{Amount, parse_micro},
    check::{self, Patterns},
    definition::{
        Bound, Comparator, Method, Sampling, TaskDefinition, Tolerance, VerifierModule, Verifiers,
    },
    json::Json,
    rejection::Rejection,
};

/// Verifiers that a method draws at least: of one alone nobody could say that it lies.
const VERIFIERS_MIN: u32 = 2;
/// Contract checks of all methods together: their outcomes stand in one entry.
const CHECKS_MAX: usize = 32;
const METHODS_MAX: usize = 8;
const BOUNDS_MAX: usize = 16;
/// Replicas of a sample whose results are compared: each two of them may have to be, ten times.
const COMPARED_REPLICAS_MAX: u32 = 5;
/// Outputs that a tolerance is for.
const COMPARED_OUTPUTS_MAX: usize = 16;

/// Checks all of them.
pub(super) fn check(definition: &TaskDefinition) -> Result<(), Rejection> {
    at_most("/verification", "checks", checks(definition), CHECKS_MAX)?;
    at_most(
        "/verification",
        "methods",
        definition.verification.len(),
        METHODS_MAX,
    )?;
    comparable(definition)?;
    let (mut sampled, mut attested) = (false, false);
    let mut patterns = Patterns::default();
    for (i, method) in definition.verification.iter().enumerate() {
        let pointer = format!("/verification/{i}");
        match method {
            Method::Check {
                schema,
                bounds,
                module,
            } => {
                if let Some(schema) = schema {
                    contract(&format!("{pointer}/schema"), schema, &mut patterns)?;
                } else if bounds.is_empty() && module.is_none() {
                    let detail = "a check needs a schema, bounds or a module";
                    return Err(Rejection::definition(pointer, detail));
                }
                self::bounds(&pointer, bounds)?;
                verifier_module(&format!("{pointer}/module"), module.as_deref())?;
            }
            Method::Attestation { .. } if attested => {
                return Err(Rejection::definition(
                    pointer,
                    "attestation stands twice: name it once",
                ));
            }
            Method::Attestation { verifiers: terms } => {
                attested = true;
                let pointer = format!("{pointer}/verifiers");
                verifiers(&pointer, terms)?;
                if terms.fee == Amount::ZERO {
                    let detail = "who may cost a node its stake is paid for his word, so that he loses by a wrong one: 1 micro-AEV at least";
                    return Err(Rejection::definition(format!("{pointer}/fee"), detail));
                }
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
    comparator(pointer, terms)
}

/// What results are compared by that are not equal.
fn comparator(pointer: &str, terms: &Sampling) -> Result<(), Rejection> {
    if terms.comparator.is_bitwise() {
        return Ok(());
    }
    let at = |field: &str| format!("{pointer}/{field}");
    if terms.adaptive {
        let detail = "an adaptive sample is compared bit by bit: leave `comparator` or this out";
        return Err(Rejection::definition(at("adaptive"), detail));
    }
    if terms.replicas < 2 {
        let detail =
            "one result has nothing to be compared with: leave it out, or take more replicas";
        return Err(Rejection::definition(at("comparator"), detail));
    }
    if terms.replicas > COMPARED_REPLICAS_MAX {
        let detail = format!(
            "each two of {} results may have to be compared: take {COMPARED_REPLICAS_MAX} replicas at most, or leave `comparator` out",
            terms.replicas
        );
        return Err(Rejection::definition(at("replicas"), detail));
    }
    match &terms.comparator {
        Comparator::Bitwise => Ok(()),
        Comparator::Module(module) => verifier_module(&at("comparator/module"), Some(module)),
        Comparator::Tolerance(terms) => tolerance(&at("comparator/tolerance"), terms),
    }
}

fn tolerance(pointer: &str, terms: &Tolerance) -> Result<(), Rejection> {
    let at = |field: &str| format!("{pointer}/{field}");
    let names = &terms.outputs;
    at_most(&at("outputs"), "outputs", names.len(), COMPARED_OUTPUTS_MAX)?;
    if names.is_empty() || !names.iter().all(|name| is_file_name(name)) {
        let detail = "it names the outputs that are compared, each [A-Za-z0-9._-]{1,64}";
        return Err(Rejection::definition(at("outputs"), detail));
    }
    for (field, number) in [("absolute", &terms.absolute), ("relative", &terms.relative)] {
        if number.to_string().starts_with('-') {
            let detail = "no difference is smaller than nothing: say 0 or more";
            return Err(Rejection::definition(at(field), detail));
        }
    }
    limits(&at("limits"), &terms.limits)?;
    verifiers(&at("verifiers"), &terms.verifiers)
}

/// Results of one run on one class of hardware are equal bit by bit, or wrong: a comparator would never be asked.
fn comparable(definition: &TaskDefinition) -> Result<(), Rejection> {
    let mut methods = definition.verification.iter();
    let at = methods.position(
        |method| matches!(method, Method::Sampling(terms) if !terms.comparator.is_bitwise()),
    );
    let Some(at) = at else {
        return Ok(());
    };
    if definition.qos.gpu.is_none() && definition.runtime.is_reproducible() {
        let detail = "without a GPU, results in the profile det/1 are equal bit by bit or wrong, so that nothing is compared: leave it out, or ask for `runtime` fast/1";
        let pointer = format!("/verification/{at}/comparator");
        return Err(Rejection::definition(pointer, detail));
    }
    Ok(())
}

fn verifier_module(pointer: &str, module: Option<&VerifierModule>) -> Result<(), Rejection> {
    let Some(module) = module else {
        return Ok(());
    };
    let at = |field: &str| format!("{pointer}/{field}");
    params(&at("params"), &module.params)?;
    limits(&at("limits"), &module.limits)?;
    verifiers(&at("verifiers"), &module.verifiers)
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

fn contract(pointer: &str, schema: &Json, patterns: &mut Patterns) -> Result<(), Rejection> {
    at_most(pointer, "bytes", schema.text().len(), SCHEMA_BYTES_MAX)?;
    exact(pointer, schema)?;
    check::submit(schema, patterns)
        .map_err(|misfit| Rejection::definition(format!("{pointer}{}", misfit.at), misfit.detail))
}

fn bounds(pointer: &str, bounds: &[Bound]) -> Result<(), Rejection> {
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
        let limit = |text: &Option<String>| parse_micro(text.as_deref()?).ok();
        if let (Some(least), Some(most)) = (limit(&bound.at_least), limit(&bound.at_most))
            && least > most
        {
            let detail = format!("no metric is at least {least} and at most {most} micro-units");
            return Err(Rejection::definition(at("at_most"), detail));
        }
    }
    Ok(())
}
