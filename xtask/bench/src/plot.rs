//! Plots under `docs/benchmarks`, as SVG.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::prelude::*;

use crate::log::{CALLERS, Curves, OURS};

const SIZE: (u32, u32) = (760, 420);
const COLOURS: [RGBColor; 3] = [
    RGBColor(31, 119, 180),
    RGBColor(255, 127, 14),
    RGBColor(44, 160, 44),
];

/// A line of a plot.
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

/// What stands around the lines.
pub(crate) struct Frame<'a> {
    pub(crate) title: &'a str,
    pub(crate) x: &'a str,
    pub(crate) y: &'a str,
}

/// Events per second and latency over the number of callers.
pub(crate) fn append(curves: &Curves, folder: &Path) -> Result<()> {
    let names = contenders(curves);
    let lines = |of: &dyn Fn(&'static str, usize) -> Option<f64>| -> Vec<Line> {
        let points = |name| {
            CALLERS
                .iter()
                .filter_map(move |callers| Some((*callers as f64, of(name, *callers)?)))
        };
        names
            .iter()
            .map(|name| Line {
                name: (*name).to_owned(),
                points: points(name).collect(),
            })
            .collect()
    };
    let frame = Frame {
        title: "One event per command, PostgreSQL, fsync on",
        x: "concurrent callers",
        y: "events/s",
    };
    draw(
        &folder.join("log-append.svg"),
        &frame,
        &lines(&|name, callers| Some(curves.get(&(name, callers))?.per_s())),
    )?;
    let frame = Frame {
        y: "99th percentile, ms",
        ..frame
    };
    draw(
        &folder.join("log-latency.svg"),
        &frame,
        &lines(&|name, callers| Some(curves.get(&(name, callers))?.percentile_ms(99.0))),
    )
}

/// Ours first.
fn contenders(curves: &Curves) -> Vec<&'static str> {
    let mut names = vec![OURS];
    for (name, _) in curves.keys() {
        if !names.contains(name) {
            names.push(name);
        }
    }
    names
}

/// Draws lines over a logarithmic x axis, from zero on.
pub(crate) fn draw(file: &Path, frame: &Frame<'_>, lines: &[Line]) -> Result<()> {
    draw_svg(file, frame, lines).map_err(|e| anyhow!("{} can't be drawn: {e}", file.display()))
}

fn draw_svg(
    file: &Path,
    frame: &Frame<'_>,
    lines: &[Line],
) -> Result<(), Box<dyn std::error::Error>> {
    let points = || lines.iter().flat_map(|line| &line.points);
    let x_min = points().map(|point| point.0).fold(f64::INFINITY, f64::min);
    let x_max = points().map(|point| point.0).fold(x_min, f64::max);
    let y_max = points().map(|point| point.1).fold(0.0, f64::max);
    let root = SVGBackend::new(file, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption(frame.title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(42)
        .y_label_area_size(72)
        .build_cartesian_2d((x_min..x_max * 1.05).log_scale(), 0.0..y_max * 1.1)?;
    chart
        .configure_mesh()
        .x_desc(frame.x)
        .y_desc(frame.y)
        .light_line_style(WHITE)
        .draw()?;
    for (line, colour) in lines.iter().zip(COLOURS.iter().cycle()) {
        chart
            .draw_series(LineSeries::new(
                line.points.iter().copied(),
                colour.stroke_width(2),
            ))?
            .label(line.name.as_str())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
        chart.draw_series(
            line.points
                .iter()
                .map(|point| Circle::new(*point, 3, colour.filled())),
        )?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
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
            points: vec![(1.0, y), (512.0, 2.0 * y)],
        };
        let frame = Frame {
            title: "t",
            x: "callers",
            y: "events/s",
        };
        draw(&file, &frame, &[line("ours", 5.0), line("theirs", 2.0)]).unwrap();
        let svg = std::fs::read_to_string(file).unwrap();
        for text in ["ours", "theirs", "callers", "events/s"] {
            assert!(svg.contains(text), "{text}");
        }
        assert!(svg.matches("<polyline").count() >= 2);
    }
}
