//! One measured figure, in the form that every bench of the project prints.

use serde::Serialize;

use crate::report;

/// A figure, with the peer that was measured beside it where there is one.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Figure {
    pub(crate) bench: &'static str,
    /// Dotted, the unit left out: `append.postgres.128`.
    pub(crate) metric: String,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
    pub(crate) peer: Option<String>,
    pub(crate) peer_value: Option<f64>,
    /// `value` over `peer_value`.
    pub(crate) ratio: Option<f64>,
    /// What it should be; not part of the line.
    #[serde(skip)]
    pub(crate) target: Option<Target>,
}

/// What a figure is held to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Target {
    RatioAtLeast(f64),
    RatioAtMost(f64),
    AtLeast(f64),
    Below(f64),
}

/// What a bench has found so far.
pub(crate) struct Found {
    json: bool,
    figures: Vec<Figure>,
}

impl Found {
    /// Nothing yet. `json`: one line per figure on stdout, and nothing else.
    pub(crate) fn new(json: bool) -> Self {
        Self {
            json,
            figures: Vec::new(),
        }
    }

    /// Takes a figure in; with `json` it is printed at once.
    #[allow(clippy::expect_used, reason = "a figure is numbers and texts")]
    pub(crate) fn add(&mut self, figure: Figure) {
        if self.json {
            println!(
                "{}",
                serde_json::to_string(&figure).expect("a figure is JSON")
            );
        }
        self.figures.push(figure);
    }

    /// All of them, in the order in which they were found.
    pub(crate) fn all(&self) -> &[Figure] {
        &self.figures
    }

    /// Prints their table, unless they went out as lines.
    pub(crate) fn show(&self) {
        if !self.json {
            println!("{}", report::table(&self.figures));
        }
    }
}

impl Figure {
    /// A figure of the log without a peer.
    pub(crate) fn alone(metric: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self::of("log", metric, value, unit)
    }

    /// A figure of any bench without a peer.
    pub(crate) fn of(
        bench: &'static str,
        metric: impl Into<String>,
        value: f64,
        unit: &'static str,
    ) -> Self {
        Self {
            bench,
            metric: metric.into(),
            value,
            unit,
            peer: None,
            peer_value: None,
            ratio: None,
            target: None,
        }
    }

    /// The same figure beside a peer's.
    pub(crate) fn beside(self, peer: impl Into<String>, peer_value: f64) -> Self {
        Self {
            peer: Some(peer.into()),
            peer_value: Some(peer_value),
            ratio: (peer_value > 0.0).then_some(self.value / peer_value),
            ..self
        }
    }

    /// With what it is held to.
    pub(crate) fn target(self, target: Target) -> Self {
        Self {
            target: Some(target),
            ..self
        }
    }

    /// Whether it is what it should be; `None` where nothing is asked of it.
    pub(crate) fn is_met(&self) -> Option<bool> {
        self.target.map(|target| match target {
            Target::RatioAtLeast(least) => self.ratio.is_some_and(|ratio| ratio >= least),
            Target::RatioAtMost(most) => self.ratio.is_some_and(|ratio| ratio <= most),
            Target::AtLeast(least) => self.value >= least,
            Target::Below(most) => self.value < most,
        })
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::RatioAtLeast(least) => write!(f, "≥ {least}x"),
            Self::RatioAtMost(most) => write!(f, "≤ {most}x"),
            Self::AtLeast(least) => write!(f, "≥ {}", number(*least)),
            Self::Below(most) => write!(f, "< {}", number(*most)),
        }
    }
}

/// Three significant digits, thousands set apart.
pub(crate) fn number(value: f64) -> String {
    if value.abs() < 100.0 {
        let decimals = if value.abs() < 10.0 { 2 } else { 1 };
        return format!("{value:.decimals$}");
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        let left = digits.len() - index;
        if index > 0 && left.is_multiple_of(3) && text != "-" {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The middle one; the upper of two.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_line_has_the_fields_that_every_bench_prints() {
        let figure = Figure::alone("append.postgres.128", 12.0, "events/s")
            .beside("bigserial", 6.0)
            .target(Target::RatioAtLeast(2.0));
        assert_eq!(
            serde_json::to_string(&figure).unwrap(),
            concat!(
                r#"{"bench":"log","metric":"append.postgres.128","value":12.0,"unit":"events/s","#,
                r#""peer":"bigserial","peer_value":6.0,"ratio":2.0}"#
            )
        );
        assert_eq!(figure.is_met(), Some(true));
    }

    #[test]
    fn targets_are_held_against_the_right_number() {
        let figure = Figure::alone("m", 10.0, "s").beside("p", 20.0);
        for (target, met) in [
            (Target::RatioAtLeast(0.5), true),
            (Target::RatioAtLeast(0.6), false),
            (Target::RatioAtMost(0.5), true),
            (Target::RatioAtMost(0.4), false),
            (Target::AtLeast(10.0), true),
            (Target::Below(10.0), false),
        ] {
            assert_eq!(
                figure.clone().target(target).is_met(),
                Some(met),
                "{target}"
            );
        }
        assert_eq!(figure.is_met(), None);
    }

    #[test]
    fn numbers_are_readable() {
        for (value, text) in [
            (1.5, "1.50"),
            (12.34, "12.3"),
            (999.6, "1,000"),
            (1_234_567.0, "1,234,567"),
            (-123.0, "-123"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn the_median_is_of_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![]), 0.0);
    }
}
