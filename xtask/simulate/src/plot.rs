//! Plots of a simulation, as SVG: how often tasks are computed, and how many wrong results mature, hour by hour.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::prelude::*;

use crate::{bars::Summary, figures::Figures, report::Document};

const SIZE: (u32, u32) = (860, 480);

/// A line of a plot.
struct Line {
    name: String,
    points: Vec<(f64, f64)>,
}

/// Draws all plots into a folder.
///
/// # Errors
/// When one can't be written.
pub(crate) fn draw(document: &Document, folder: &Path) -> Result<()> {
    let lines = |of: &dyn Fn(&Figures) -> Vec<f64>| -> Vec<Line> {
        let strategies = document.strategies.iter();
        strategies.map(|summary| mean_line(summary, of)).collect()
    };
    let replication = lines(&|f| f.replication_by_hour.clone());
    let wrong = lines(&|f| {
        let matured = f.matured.max(1) as f64;
        let rate = |wrong: &u64| *wrong as f64 * 1e6 / matured;
        f.wrong_by_hour.iter().map(rate).collect()
    });
    let plots = [
        (
            "simulate-replication.svg",
            "Results for each accepted one, by the hour in which tasks came in",
            "sealed results",
            replication,
        ),
        (
            "simulate-wrong.svg",
            "Wrong results that matured, summed, by the hour in which their tasks came in",
            "of a million matured",
            wrong,
        ),
    ];
    for (file, title, y, lines) in plots {
        let file = folder.join(file);
        svg(&file, (title, y), &lines)
            .map_err(|e| anyhow!("{} can't be drawn: {e}", file.display()))?;
    }
    Ok(())
}

/// The mean of a strategy's seeds, hour by hour.
fn mean_line(summary: &Summary, of: &dyn Fn(&Figures) -> Vec<f64>) -> Line {
    let runs: Vec<Vec<f64>> = summary.runs.iter().map(of).collect();
    let hours = runs.iter().map(Vec::len).min().unwrap_or(0);
    let mean = |hour: usize| runs.iter().map(|run| run[hour]).sum::<f64>() / runs.len() as f64;
    Line {
        name: summary.strategy.name(),
        points: (0..hours)
            .map(|hour| (hour as f64 + 0.5, mean(hour)))
            .collect(),
    }
}

fn svg(
    file: &Path,
    (title, y): (&str, &str),
    lines: &[Line],
) -> Result<(), Box<dyn std::error::Error>> {
    let points = || lines.iter().flat_map(|line| &line.points);
    let x_max = points().map(|point| point.0).fold(1.0, f64::max);
    let y_max = points().map(|point| point.1).fold(0.0, f64::max);
    let root = SVGBackend::new(file, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(42)
        .y_label_area_size(72)
        // The names of the lines stand on the right.
        .build_cartesian_2d(0.0..x_max * 1.35, 0.0..y_max.max(1e-9) * 1.1)?;
    chart
        .configure_mesh()
        .x_desc("hour")
        .y_desc(y)
        .light_line_style(WHITE)
        .draw()?;
    for (n, line) in lines.iter().enumerate() {
        let hue = n as f64 / lines.len().max(1) as f64;
        let colour = HSLColor(hue, 0.75, 0.42);
        chart
            .draw_series(LineSeries::new(
                line.points.iter().copied(),
                colour.stroke_width(2),
            ))?
            .label(line.name.as_str())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK)
        .draw()?;
    root.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_line_is_drawn_and_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("plot.svg");
        let line = |name: &str, y| Line {
            name: name.to_owned(),
            points: vec![(0.5, y), (23.5, 2.0 * y)],
        };
        svg(
            &file,
            ("t", "results"),
            &[line("one", 1.0), line("two", 2.0)],
        )
        .unwrap();
        let svg = std::fs::read_to_string(file).unwrap();
        for text in ["one", "two", "hour", "results"] {
            assert!(svg.contains(text), "{text}");
        }
        assert!(svg.matches("<polyline").count() >= 2);
    }
}
