//! What runs earn in the model: a fixed price, what was asked for, or by what was used.

use aevir_platform::{
    definition::{Pricing, TaskDefinition},
    report::Report,
};

/// What an accepted run has used: fuel, workgroups, bytes of what it brought.
pub(super) type Used = [i128; 3];

/// The most that a run earns.
pub(super) fn most(definition: &TaskDefinition) -> i64 {
    match &definition.economics.pricing {
        Pricing::Fixed { price } => price.0,
        Pricing::Ask { max_price } => max_price.0,
        Pricing::Metered(terms) => terms.max_price.0,
    }
}

/// What a run is worth when it is leased, and whether its node's ask says so: the least of which the ask is left, however late it is.
pub(super) fn leased(definition: &TaskDefinition, ask: Option<i64>) -> (i64, bool) {
    let Pricing::Ask { max_price } = &definition.economics.pricing else {
        return (most(definition), false);
    };
    let ask = i128::from(ask.expect("who asks for nothing gets no such task"));
    let late = match definition.qos.max_latency_ms {
        Some(_) => i128::from(definition.economics.late_refund_ppm),
        None => 0,
    };
    let left = |price: i128| price - price * late / 1_000_000;
    // Near it, and then step by step.
    let mut price = ask * 1_000_000 / (1_000_000 - late) + 2;
    while price > 0 && left(price - 1) >= ask {
        price -= 1;
    }
    assert!(price <= i128::from(max_price.0), "nobody is paid more");
    (price as i64, true)
}

pub(super) fn used(report: &Report, definition: &TaskDefinition) -> Used {
    let outputs: u64 = report.outputs.iter().map(|o| o.size.0).sum();
    [
        i128::from(report.usage.fuel.0.min(definition.limits.fuel.0)),
        i128::from(report.usage.gpu_workgroups.0),
        i128::from(outputs + report.result.size.0),
    ]
}

/// What each accepted run earns where that goes by use: by the least of each counter.
pub(super) fn by_use(definition: &TaskDefinition, accepted: &[Used]) -> Option<i64> {
    let Pricing::Metered(terms) = &definition.economics.pricing else {
        return None;
    };
    let least = |n: usize| accepted.iter().map(|used| used[n]).min();
    let [fuel, groups, bytes] = [least(0)?, least(1)?, least(2)?];
    let parts = i128::from(terms.per_gfuel.0) * fuel / 1_000_000_000
        + i128::from(terms.per_mworkgroup.0) * groups / 1_000_000
        + i128::from(terms.per_mib_out.0) * bytes / 1_048_576;
    let price = i128::from(terms.base.0) + parts;
    Some(price.min(i128::from(terms.max_price.0)) as i64)
}
