//! Cost and latency over load, drawn as SVG: two charts below each other, a line per relay.

use super::measured::{Measured, median};
use super::report::Report;
use std::fmt::Write;

/// Draws a report.
pub(super) fn draw(report: &Report) -> String {
    let cost = |run: &Measured| run.cpu_us_per_packet;
    let p50 = |run: &Measured| run.latency_us.p50 / 1e3;
    let p99 = |run: &Measured| run.latency_us.p99 / 1e3;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
        3.0 * HEIGHT
    );
    chart(&mut svg, report, 0.0, "CPU microseconds per packet", cost);
    chart(&mut svg, report, HEIGHT, "added latency, p50, ms", p50);
    chart(&mut svg, report, 2.0 * HEIGHT, "added latency, p99, ms", p99);
    svg.push_str("</svg>\n");
    svg
}

fn chart(svg: &mut String, report: &Report, top: f64, title: &str, of: impl Fn(&Measured) -> f64) {
    let lines = lines(report, of);
    let points = || lines.iter().flat_map(|(_, points)| points);
    let widest = points().map(|point| point.0).fold(1.0, f64::max);
    let highest = points().map(|point| point.1).fold(0.0, f64::max).max(1e-3);
    let x = |calls: f64| LEFT + calls / widest * (WIDTH - LEFT - RIGHT);
    let y = |value: f64| top + HEIGHT - BELOW - value / highest * (HEIGHT - ABOVE - BELOW);
    let mut add = |text: &str| svg.push_str(text);
    add(&text(LEFT, top + 20.0, "start", title));
    for step in 0..=4 {
        let value = highest * f64::from(step) / 4.0;
        let at = y(value);
        add(&format!(
            "<line x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#ddd\"/>\n",
            WIDTH - RIGHT
        ));
        add(&text(LEFT - 6.0, at + 4.0, "end", &format!("{value:.2}")));
    }
    for row in &report.rows {
        let at = x(f64::from(row.calls));
        add(&text(at, top + HEIGHT - BELOW + 16.0, "middle", &row.calls.to_string()));
    }
    add(&text(WIDTH - RIGHT, top + HEIGHT - 8.0, "end", "calls"));
    for (place, (name, points)) in lines.iter().enumerate() {
        let colour = COLOURS[place % COLOURS.len()];
        let mut path = String::new();
        for &(calls, value) in points {
            // Writing to a string does not fail.
            let _ = write!(path, "{:.1},{:.1} ", x(calls), y(value));
            add(&format!(
                "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\" fill=\"{colour}\"/>\n",
                x(calls),
                y(value)
            ));
        }
        let path = path.trim_end();
        add(&format!(
            "<polyline points=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\n"
        ));
        let at = top + ABOVE + 16.0 * place as f64;
        add(&format!(
            "<text x=\"{:.1}\" y=\"{at:.1}\" fill=\"{colour}\">{name}</text>\n",
            WIDTH - RIGHT + 8.0
        ));
    }
}

/// The medians of the rounds over the number of calls, by relay.
fn lines(report: &Report, of: impl Fn(&Measured) -> f64) -> Vec<(String, Vec<(f64, f64)>)> {
    let mut lines: Vec<(String, Vec<(f64, f64)>)> = Vec::new();
    for row in &report.rows {
        for name in row.cost_us.keys().filter(|name| *name != "nothing") {
            let runs = row.runs.iter().filter(|run| run.relay == *name).map(&of);
            let value = median(runs.collect()).median;
            if !value.is_finite() {
                continue;
            }
            let point = (f64::from(row.calls), value);
            match lines.iter_mut().find(|(known, _)| known == name) {
                Some((_, points)) => points.push(point),
                None => lines.push((name.clone(), vec![point])),
            }
        }
    }
    lines
}

fn text(x: f64, y: f64, anchor: &str, text: &str) -> String {
    format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>\n")
}

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 110.0;
const ABOVE: f64 = 36.0;
const BELOW: f64 = 44.0;
const COLOURS: [&str; 5] = ["#888888", "#1f77b4", "#d62728", "#2ca02c", "#9467bd"];
