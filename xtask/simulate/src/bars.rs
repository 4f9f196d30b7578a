//! The bars that a market has to pass, and what a strategy's runs make of them.

use serde::{Deserialize, Serialize};

use crate::{
    figures::{Figures, part},
    strategy::Strategy,
};

/// A figure of all seeds together: the mean, and the worst.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Spread {
    pub(crate) mean: f64,
    pub(crate) worst: f64,
}

/// A bar and whether every seed passes it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Bar {
    pub(crate) figure: String,
    /// What the worst of the seeds must stay below (or at, for the replication factor).
    pub(crate) limit: f64,
    pub(crate) worst: f64,
    pub(crate) passed: bool,
}

/// A strategy over all its seeds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Summary {
    pub(crate) strategy: Strategy,
    /// The part of the nodes that follow it.
    pub(crate) share: f64,
    pub(crate) seeds: Vec<u64>,
    /// Of all seeds together: wrong results that matured by all that did.
    pub(crate) wrong_matured_rate: f64,
    /// Means of the seeds.
    pub(crate) replication_factor: f64,
    pub(crate) replication_factor_after_bootstrap: f64,
    pub(crate) cheater_income_ratio: Option<f64>,
    pub(crate) cheater_profit_ratio: Option<f64>,
    pub(crate) ejected: Option<f64>,
    pub(crate) hours_to_eject: Option<f64>,
    pub(crate) utilisation: f64,
    pub(crate) queue_mean_s: f64,
    pub(crate) queue_p99_s: f64,
    pub(crate) bars: Vec<Bar>,
    pub(crate) runs: Vec<Figures>,
}

/// Wrong results that mature: of the independent, the patient, hit-and-run and sybils.
const WRONG_RATE: f64 = 1e-4;
/// Of a cartel of a tenth.
const WRONG_RATE_CARTEL: f64 = 1e-3;
/// Cheating must bring less than work.
const RATIO: f64 = 1.0;
/// Sealed results for an accepted one, after the bootstrap, where a tenth lies independently.
pub(crate) const REPLICATION: f64 = 1.5;

fn wrong_limit(strategy: Strategy) -> Option<f64> {
    match strategy {
        Strategy::Independent | Strategy::Patient | Strategy::HitAndRun | Strategy::Sybil => {
            Some(WRONG_RATE)
        }
        Strategy::Colluding10 | Strategy::StakedSybil => Some(WRONG_RATE_CARTEL),
        // Reported, without a bar.
        Strategy::Honest
        | Strategy::Occasional
        | Strategy::Colluding30
        | Strategy::LazyCopier
        | Strategy::Flaky
        | Strategy::Slow
        | Strategy::Vanishing
        | Strategy::SilentVerifiers
        | Strategy::CheatingVerifiers => None,
    }
}

impl Summary {
    /// Of the runs of one strategy, of which there is one at least.
    pub(crate) fn of(strategy: Strategy, runs: Vec<Figures>) -> Self {
        let mean =
            |of: &dyn Fn(&Figures) -> f64| part(runs.iter().map(of).sum(), runs.len() as f64);
        let known = |of: &dyn Fn(&Figures) -> Option<f64>| -> Option<Spread> {
            let values: Vec<f64> = runs.iter().filter_map(of).collect();
            (!values.is_empty()).then(|| Spread {
                mean: part(values.iter().sum(), values.len() as f64),
                worst: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            })
        };
        let sum = |of: &dyn Fn(&Figures) -> u64| runs.iter().map(of).sum::<u64>() as f64;
        let income = known(&|f| f.cheater_income_ratio);
        let profit = known(&|f| f.cheater_profit_ratio);
        let wrong = known(&|f| Some(f.wrong_matured_rate));
        let replication = known(&|f| Some(f.replication_factor_after_bootstrap));
        let mut bars = Vec::new();
        let mut bar = |figure: &str, limit: Option<f64>, found: Option<Spread>, or_equal: bool| {
            if let (Some(limit), Some(found)) = (limit, found) {
                let worst = found.worst;
                let passed = worst < limit || or_equal && worst <= limit;
                bars.push(Bar {
                    figure: String::from(figure),
                    limit,
                    worst,
                    passed,
                });
            }
        };
        bar("wrong_matured_rate", wrong_limit(strategy), wrong, false);
        bar("cheater_income_ratio", Some(RATIO), income, false);
        bar("cheater_profit_ratio", Some(RATIO), profit, false);
        let limit = (strategy == Strategy::Independent).then_some(REPLICATION);
        bar(
            "replication_factor_after_bootstrap",
            limit,
            replication,
            true,
        );
        Self {
            strategy,
            share: f64::from(strategy.share_ppm()) / 1e6,
            seeds: runs.iter().map(|f| f.seed).collect(),
            wrong_matured_rate: part(sum(&|f| f.wrong_matured), sum(&|f| f.matured)),
            replication_factor: mean(&|f| f.replication_factor),
            replication_factor_after_bootstrap: mean(&|f| f.replication_factor_after_bootstrap),
            cheater_income_ratio: income.map(|s| s.mean),
            cheater_profit_ratio: profit.map(|s| s.mean),
            ejected: known(&|f| f.ejected).map(|s| s.mean),
            hours_to_eject: known(&|f| f.hours_to_eject).map(|s| s.mean),
            utilisation: mean(&|f| f.utilisation),
            queue_mean_s: mean(&|f| f.queue_mean_s),
            queue_p99_s: mean(&|f| f.queue_p99_s),
            bars,
            runs,
        }
    }
}
