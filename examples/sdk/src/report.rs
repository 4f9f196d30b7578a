//! What a task says while it runs: log lines, progress, metrics.

use crate::bindings::aevir::task::context;

pub use context::Level;

const MILLION: u64 = 1_000_000;

/// Writes a line to the requester's log; [`debug!`](crate::debug), [`info!`](crate::info), [`warn!`](crate::warn) and
/// [`error!`](crate::error) format one. Lines beyond the run's log limit are dropped.
pub fn log(level: Level, text: &str) {
    context::log(level, text);
}

/// Says that `done` of `total` steps are finished.
pub fn progress(done: u64, total: u64, note: &str) {
    context::progress(parts_per_million(done, total), note);
}

fn parts_per_million(done: u64, total: u64) -> u32 {
    if total == 0 {
        return MILLION as u32;
    }
    let ppm = u128::from(done.min(total)) * u128::from(MILLION) / u128::from(total);
    ppm as u32
}

/// Reports a metric's value at a step. The last value of each name is part of the result; it is recorded to six decimals.
/// A value that is not finite ends the run, so look first.
pub fn metric(name: &str, step: u64, value: f64) {
    context::metric(name, step, value);
}

/// Says how far the task is: `progress!(done, total)`, or with a formatted note: `progress!(done, total, "epoch {epoch}")`.
#[macro_export]
macro_rules! progress {
    ($done:expr, $total:expr $(,)?) => { $crate::progress($done, $total, "") };
    ($done:expr, $total:expr, $($note:tt)+) => { $crate::progress($done, $total, &::std::format!($($note)+)) };
}

/// Reports a metric: `metric!("loss", step, value)`, or without steps `metric!("accuracy", value)`.
#[macro_export]
macro_rules! metric {
    ($name:expr, $value:expr $(,)?) => {
        $crate::metric($name, 0, f64::from($value))
    };
    ($name:expr, $step:expr, $value:expr $(,)?) => {
        $crate::metric($name, u64::from($step), f64::from($value))
    };
}

/// Logs a formatted line at level debug.
#[macro_export]
macro_rules! debug {
    ($($text:tt)+) => { $crate::log($crate::Level::Debug, &::std::format!($($text)+)) };
}

/// Logs a formatted line at level info.
#[macro_export]
macro_rules! info {
    ($($text:tt)+) => { $crate::log($crate::Level::Info, &::std::format!($($text)+)) };
}

/// Logs a formatted line at level warn.
#[macro_export]
macro_rules! warn {
    ($($text:tt)+) => { $crate::log($crate::Level::Warn, &::std::format!($($text)+)) };
}

/// Logs a formatted line at level error.
#[macro_export]
macro_rules! error {
    ($($text:tt)+) => { $crate::log($crate::Level::Error, &::std::format!($($text)+)) };
}

#[cfg(test)]
mod tests {
    use super::parts_per_million;

    #[test]
    fn progress_is_in_parts_per_million_and_never_over() {
        assert_eq!(parts_per_million(0, 3), 0);
        assert_eq!(parts_per_million(1, 3), 333_333);
        assert_eq!(parts_per_million(3, 3), 1_000_000);
        assert_eq!(parts_per_million(5, 3), 1_000_000);
        assert_eq!(parts_per_million(0, 0), 1_000_000);
        assert_eq!(parts_per_million(u64::MAX, u64::MAX), 1_000_000);
    }
}
