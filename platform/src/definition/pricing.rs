//! What a replica earns.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    amount::{Amount, Count},
    report::Report,
};

/// Fuel that `per_gfuel` is for.
const GFUEL: u64 = 1_000_000_000;
/// Workgroups that `per_mworkgroup` is for.
const MWORKGROUP: u64 = 1_000_000;
/// Bytes that `per_mib_out` is for.
const MIB: u64 = 1 << 20;

/// How the compute share is priced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "mode", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Pricing {
    /// Each accepted replica earns `price`.
    Fixed { price: Amount },
    /// Each accepted replica earns what its node asked for when it was leased. A node that asks for more, or publishes no ask for the type
    /// of task, does not get it.
    Ask { max_price: Amount },
    /// Each accepted replica earns by what the accepted ones used.
    Metered(Metered),
}

/// Unit prices, in micro-AEV. Only counters that a quorum can check have one, and no time that a node tells of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Metered {
    /// Whatever was used: what a node is certain to earn.
    #[serde(default, skip_serializing_if = "Amount::is_zero")]
    pub base: Amount,
    /// For 10^9 units of fuel.
    #[serde(default, skip_serializing_if = "Amount::is_zero")]
    pub per_gfuel: Amount,
    /// For 10^6 workgroups of the GPU.
    #[serde(default, skip_serializing_if = "Amount::is_zero")]
    pub per_mworkgroup: Amount,
    /// For one MiB of outputs and inline result.
    #[serde(default, skip_serializing_if = "Amount::is_zero")]
    pub per_mib_out: Amount,
    /// The most that a replica earns.
    pub max_price: Amount,
}

/// What is paid for of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Used {
    pub fuel: u64,
    pub workgroups: u64,
    /// Of outputs and inline result.
    pub bytes_out: u64,
}

impl Used {
    /// By a report; never more fuel than the run was granted.
    pub fn by(report: &Report, granted: Count) -> Self {
        let outputs = report.outputs.iter().map(|o| o.size.0);
        let bytes = outputs.fold(report.result.size.0, u64::saturating_add);
        Self {
            fuel: report.usage.fuel.0.min(granted.0),
            workgroups: report.usage.gpu_workgroups.0,
            bytes_out: bytes,
        }
    }

    /// What both have used.
    pub fn least(self, other: Self) -> Self {
        Self {
            fuel: self.fuel.min(other.fuel),
            workgroups: self.workgroups.min(other.workgroups),
            bytes_out: self.bytes_out.min(other.bytes_out),
        }
    }
}

impl Metered {
    /// What a replica earns for this, each part rounded down.
    pub fn price(&self, used: Used) -> Amount {
        let part = |price: Amount, used: u64, unit: u64| {
            i128::from(price.0) * i128::from(used) / i128::from(unit)
        };
        let parts = [
            part(self.per_gfuel, used.fuel, GFUEL),
            part(self.per_mworkgroup, used.workgroups, MWORKGROUP),
            part(self.per_mib_out, used.bytes_out, MIB),
        ];
        // Each part is below 2^127 / 10^6, so that they don't pass 128 bits together.
        let price = i128::from(self.base.0) + parts.iter().sum::<i128>();
        Amount(i64::try_from(price).unwrap_or(i64::MAX)).min(self.max_price)
    }

    /// Its prices, with their names.
    pub(crate) fn parts(&self) -> [(&'static str, Amount); 5] {
        [
            ("base", self.base),
            ("per_gfuel", self.per_gfuel),
            ("per_mworkgroup", self.per_mworkgroup),
            ("per_mib_out", self.per_mib_out),
            ("max_price", self.max_price),
        ]
    }
}

impl Pricing {
    /// The most that one replica can earn.
    pub fn max_price(&self) -> Amount {
        match self {
            Self::Fixed { price } => *price,
            Self::Ask { max_price } => *max_price,
            Self::Metered(metered) => metered.max_price,
        }
    }

    /// What one replica earns whatever it uses; where nodes ask, what they may ask for.
    pub fn least_price(&self) -> Amount {
        match self {
            Self::Fixed { price } => *price,
            Self::Ask { max_price } => *max_price,
            Self::Metered(metered) => metered.base.min(metered.max_price),
        }
    }

    /// Nodes are paid what they ask for.
    pub fn is_by_ask(&self) -> bool {
        match self {
            Self::Ask { .. } => true,
            Self::Fixed { .. } | Self::Metered(_) => false,
        }
    }

    /// Where the price is known with the lease only from above: by what accepted replicas used, the least of each counter among them.
    pub(crate) fn metered<'a>(
        &self,
        accepted: impl Iterator<Item = &'a Report>,
        granted: Count,
    ) -> Option<Amount> {
        match self {
            Self::Metered(metered) => {
                let used = accepted.map(|report| Used::by(report, granted));
                used.reduce(Used::least).map(|used| metered.price(used))
            }
            Self::Fixed { .. } | Self::Ask { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn metered() -> Metered {
        Metered {
            base: Amount(1_000),
            per_gfuel: Amount(200),
            per_mworkgroup: Amount(3_000),
            per_mib_out: Amount(10),
            max_price: Amount(1_000_000),
        }
    }

    #[test]
    fn the_example_of_the_documents() {
        let used = Used {
            fuel: 40_000_000_000,
            workgroups: 0,
            bytes_out: 3 * MIB + MIB / 2,
        };
        assert_eq!(metered().price(used), Amount(9_035));
        let most = Used {
            fuel: u64::MAX,
            workgroups: u64::MAX,
            bytes_out: u64::MAX,
        };
        assert_eq!(metered().price(most), Amount(1_000_000));
    }

    proptest! {
        /// What nodes ask for is what is certain to be left, and no more is paid for it than it takes.
        #[test]
        fn an_ask_is_grossed_up_by_the_least_that_covers_it(ask in 0i64..1_000_000_000_000, late_ppm in 0u32..1_000_000) {
            let price = Amount(ask).grossed_up(late_ppm);
            prop_assert!(price.less(late_ppm) >= Amount(ask));
            if price.0 > 0 {
                prop_assert!(Amount(price.0 - 1).less(late_ppm) < Amount(ask));
            }
        }
    }
}
