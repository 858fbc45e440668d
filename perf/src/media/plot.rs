//! Cost and latency over load, drawn as SVG: three charts below each other, a line per relay. Both axes are
//! logarithmic, so that a ratio is the same distance everywhere.

use super::measured::{Measured, median};
use super::order::NOTHING;
use super::report::Row;
use std::fmt::Write;

/// Draws what was measured at several numbers of calls.
pub(super) fn draw<'r>(title: &str, rows: impl IntoIterator<Item = &'r Row>) -> String {
    let rows: Vec<&Row> = rows.into_iter().collect();
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} \
         {height}\" font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" \
         fill=\"white\"/>\n",
        height = HEAD + CHARTS.len() as f64 * HEIGHT
    );
    svg.push_str(&format!(
        "<text x=\"{LEFT}\" y=\"22\" font-size=\"14\" font-weight=\"bold\">{title}</text>\n"
    ));
    for (place, (title, of)) in CHARTS.iter().enumerate() {
        let top = HEAD + place as f64 * HEIGHT;
        Chart::new(&rows, top, *of).draw(&mut svg, title);
    }
    svg.push_str("</svg>\n");
    svg
}

/// What is drawn, with its unit.
const CHARTS: [(&str, Figure); 3] = [
    ("CPU time per packet, microseconds", |run| run.cpu_us_per_packet),
    ("added latency, median, milliseconds", |run| run.latency_us.p50 / 1e3),
    ("added latency, 99th percentile, milliseconds", |run| run.latency_us.p99 / 1e3),
];

/// One figure of a run.
type Figure = fn(&Measured) -> f64;

/// A line: the relay's name, and its values over the number of calls.
type Line = (String, Vec<(f64, f64)>);

struct Chart {
    lines: Vec<Line>,
    calls: Vec<u16>,
    x: Axis,
    y: Axis,
    top: f64,
}

impl Chart {
    fn new(rows: &[&Row], top: f64, of: Figure) -> Self {
        let lines = lines(rows, of);
        let calls: Vec<u16> = rows.iter().map(|row| row.calls).collect();
        let values = || lines.iter().flat_map(|(_, points)| points).map(|point| point.1);
        let (low, high) = (values().fold(f64::MAX, f64::min), values().fold(1e-3, f64::max));
        let fewest = calls.iter().copied().min().unwrap_or(1).into();
        let most = calls.iter().copied().max().unwrap_or(1).into();
        let x = Axis::new(fewest, most, LEFT, WIDTH - RIGHT);
        // Up is more.
        let y = Axis::new(low.min(high) / 1.2, high * 1.2, top + HEIGHT - BELOW, top + ABOVE);
        Self { lines, calls, x, y, top }
    }

    fn draw(&self, svg: &mut String, title: &str) {
        let Self { lines, calls, x, y, top } = self;
        let mut add = |text: &str| svg.push_str(text);
        add(&text(LEFT, top + 16.0, "start", title));
        let (bottom, right) = (top + HEIGHT - BELOW, WIDTH - RIGHT);
        for value in y.steps() {
            let at = y.at(value);
            add(&format!(
                "<line x1=\"{LEFT}\" x2=\"{right}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#ddd\"/>\n"
            ));
            add(&text(LEFT - 6.0, at + 4.0, "end", &short(value)));
        }
        for &calls in calls {
            let at = x.at(calls.into());
            add(&format!(
                "<line x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{:.1}\" y2=\"{bottom:.1}\" stroke=\"#eee\"/>\n",
                top + ABOVE
            ));
            add(&text(at, bottom + 16.0, "middle", &calls.to_string()));
        }
        add(&format!(
            "<path d=\"M{LEFT} {:.1}V{bottom:.1}H{right}\" fill=\"none\" stroke=\"#444\"/>\n",
            top + ABOVE
        ));
        add(&text((LEFT + right) / 2.0, bottom + 34.0, "middle", "calls at once"));
        for (place, (name, points)) in lines.iter().enumerate() {
            let look = &LOOKS[place % LOOKS.len()];
            let mut path = String::new();
            for &(calls, value) in points {
                // Writing to a string does not fail.
                let _ = write!(path, "{:.1},{:.1} ", x.at(calls), y.at(value));
            }
            add(&look.line(path.trim_end()));
            for &(calls, value) in points {
                let said = format!("{name}, {calls} calls: {value}");
                add(&look.mark(x.at(calls), y.at(value), &said));
            }
            let at = top + ABOVE + 8.0 + 20.0 * place as f64;
            let from = right + 12.0;
            add(&look.line(&format!("{from:.1},{at:.1} {:.1},{at:.1}", from + 28.0)));
            add(&look.mark(from + 14.0, at, name));
            add(&text(from + 36.0, at + 4.0, "start", name));
        }
    }
}

/// A logarithmic axis between two places.
struct Axis {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Axis {
    fn new(low: f64, high: f64, from: f64, to: f64) -> Self {
        // One value alone stands in the middle.
        let (low, high) = if high / low > 1.01 { (low, high) } else { (low / 1.5, high * 1.5) };
        Self { low, high, from, to }
    }

    fn at(&self, value: f64) -> f64 {
        let share = (value / self.low).ln() / (self.high / self.low).ln();
        self.from + share * (self.to - self.from)
    }

    /// 1, 2 and 5 in each power of ten; only the powers where these are many.
    fn steps(&self) -> Vec<f64> {
        let (first, last) = (self.low.log10().floor() as i32, self.high.log10().ceil() as i32);
        let factors: &[f64] = if self.high / self.low > 1e3 { &[1.0] } else { &[1.0, 2.0, 5.0] };
        let all = (first..=last)
            .flat_map(|power| factors.iter().map(move |factor| factor * 10_f64.powi(power)));
        all.filter(|value| (self.low..=self.high).contains(value)).collect()
    }
}

/// How a line is told from others: by colour and, where there is none, by shade, dashes and marks.
struct Look {
    colour: &'static str,
    dashes: &'static str,
    mark: Mark,
}

enum Mark {
    Circle,
    Square,
    Triangle,
    Diamond,
    Ring,
    Cross,
}

impl Look {
    fn line(&self, points: &str) -> String {
        let dashes = match self.dashes {
            "" => String::new(),
            dashes => format!(" stroke-dasharray=\"{dashes}\""),
        };
        let colour = self.colour;
        format!(
            "<polyline points=\"{points}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"{dashes}/>\n"
        )
    }

    fn mark(&self, x: f64, y: f64, said: &str) -> String {
        let colour = self.colour;
        let shape = match self.mark {
            Mark::Circle | Mark::Ring => {
                format!("M{} {y:.1}a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z", round(x - 4.0))
            }
            Mark::Square => format!("M{} {:.1}h7v7h-7z", round(x - 3.5), y - 3.5),
            Mark::Triangle => format!("M{} {:.1}l5 9h-10z", round(x), y - 5.5),
            Mark::Diamond => format!("M{} {:.1}l5 5l-5 5l-5 -5z", round(x), y - 5.0),
            Mark::Cross => format!("M{} {:.1}l7 7m0 -7l-7 7", round(x - 3.5), y - 3.5),
        };
        let fill = if matches!(self.mark, Mark::Ring | Mark::Cross) { "white" } else { colour };
        format!(
            "<path d=\"{shape}\" fill=\"{fill}\" stroke=\"{colour}\" stroke-width=\"1.5\"><title>{said}</title></path>\n"
        )
    }
}

fn round(value: f64) -> String {
    format!("{value:.1}")
}

/// The medians of the rounds over the number of calls, by relay, in the order they took turns in.
fn lines(rows: &[&Row], of: Figure) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for row in rows {
        let mut names: Vec<&str> = Vec::new();
        for run in row.runs.iter().filter(|run| run.relay != NOTHING) {
            if !names.contains(&&*run.relay) {
                names.push(&run.relay);
            }
        }
        for name in names {
            let runs = row.runs.iter().filter(|run| run.relay == name).map(of);
            let value = median(runs.collect()).median;
            // What is not more than nothing has no place on this axis.
            if !value.is_finite() || value <= 0.0 {
                continue;
            }
            let point = (f64::from(row.calls), value);
            match lines.iter_mut().find(|(known, _)| known == name) {
                Some((_, points)) => points.push(point),
                None => lines.push((name.to_owned(), vec![point])),
            }
        }
    }
    lines
}

fn short(value: f64) -> String {
    if value >= 1.0 { format!("{value:.0}") } else { format!("{value}") }
}

fn text(x: f64, y: f64, anchor: &str, text: &str) -> String {
    format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>\n")
}

const WIDTH: f64 = 760.0;
const HEAD: f64 = 36.0;
const HEIGHT: f64 = 270.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 180.0;
const ABOVE: f64 = 28.0;
const BELOW: f64 = 46.0;
/// From dark to light and back, so that neighbours differ in grey.
const LOOKS: [Look; 7] = [
    Look { colour: "#777777", dashes: "6 4", mark: Mark::Cross },
    Look { colour: "#111111", dashes: "", mark: Mark::Square },
    Look { colour: "#d55e00", dashes: "", mark: Mark::Triangle },
    Look { colour: "#56b4e9", dashes: "", mark: Mark::Diamond },
    Look { colour: "#00527a", dashes: "", mark: Mark::Circle },
    Look { colour: "#009e73", dashes: "2 3", mark: Mark::Ring },
    Look { colour: "#aa4499", dashes: "8 3 2 3", mark: Mark::Square },
];

#[cfg(test)]
mod tests {
    use super::super::measured::Percentiles;
    use super::*;
    use serde_json::Value;

    fn run(relay: &str, round: u32, us: f64) -> Measured {
        Measured {
            relay: relay.to_owned(),
            round,
            cpu_us_per_packet: us,
            latency_us: Percentiles { p50: 70.0 * us, p99: 900.0 * us, p999: 5000.0 * us },
            ..Measured::default()
        }
    }

    fn rows() -> Vec<Row> {
        [100, 500, 2000]
            .into_iter()
            .map(|calls| {
                let us = 1.0 + f64::from(calls) / 400.0;
                let runs = [("nothing", 0.1), ("floor", 4.0), ("rtpengine", 13.0), ("xdp", 1.5)];
                let runs = runs.into_iter().flat_map(|(relay, factor)| {
                    [1.0, 1.3, 0.9]
                        .into_iter()
                        .zip(1..)
                        .map(move |(drift, round)| run(relay, round, us * factor * drift))
                });
                Row::new(calls, runs.collect(), Vec::new())
            })
            .collect()
    }

    /// The middle of three rounds, as somebody finds it who has nothing but the JSON.
    fn in_json(json: &Value, calls: u64, relay: &str, of: &str, factor: f64) -> f64 {
        let rows = json.as_array().unwrap();
        let row = rows.iter().find(|row| row["calls"] == calls).unwrap();
        let runs = row["runs"].as_array().unwrap().iter().filter(|run| run["relay"] == relay);
        let mut values: Vec<f64> =
            runs.map(|run| run.pointer(of).unwrap().as_f64().unwrap() / factor).collect();
        values.sort_by(f64::total_cmp);
        values[1]
    }

    #[test]
    fn each_point_is_a_figure_of_the_json_and_stands_where_its_axis_has_it() {
        let rows = rows();
        let json: Value = serde_json::from_str(&serde_json::to_string(&rows).unwrap()).unwrap();
        let svg = draw("a title", &rows);
        let said: Vec<&str> = svg
            .lines()
            .filter_map(|line| line.split_once("<title>")?.1.split_once("</title>"))
            .map(|(said, _)| said)
            .filter(|said| said.contains("calls"))
            .collect();
        let mut points = said.iter();
        let charts =
            [("/cpu_us_per_packet", 1.0), ("/latency_us/p50", 1e3), ("/latency_us/p99", 1e3)];
        for (of, factor) in charts {
            for relay in ["floor", "rtpengine", "xdp"] {
                for calls in [100, 500, 2000] {
                    let value = in_json(&json, calls, relay, of, factor);
                    let (what, drawn) = points.next().unwrap().rsplit_once(": ").unwrap();
                    assert_eq!(what, format!("{relay}, {calls} calls"));
                    let drawn: f64 = drawn.parse().unwrap();
                    assert!((drawn / value - 1.0).abs() < 1e-9, "{what}: {drawn}, {value}");
                }
            }
        }
        assert_eq!(points.next(), None);
        // A line goes through the same points that its axis gives.
        let chart = Chart::new(&rows.iter().collect::<Vec<_>>(), 0.0, |run| run.cpu_us_per_packet);
        let (_, points) = &chart.lines[2];
        let drawn: Vec<String> = points
            .iter()
            .map(|&(calls, value)| format!("{:.1},{:.1}", chart.x.at(calls), chart.y.at(value)))
            .collect();
        let mut svg = String::new();
        chart.draw(&mut svg, "");
        assert!(svg.contains(&drawn.join(" ")), "{svg}");
    }

    #[test]
    fn ten_times_as_much_is_the_same_distance_everywhere() {
        let axis = Axis::new(0.1, 1000.0, 500.0, 100.0);
        assert_eq!([axis.at(0.1), axis.at(1000.0)], [500.0, 100.0]);
        let step = axis.at(1.0) - axis.at(0.1);
        assert!((axis.at(100.0) - axis.at(10.0) - step).abs() < 1e-9);
        assert_eq!(axis.steps().len(), 5, "the powers of ten");
        assert_eq!(Axis::new(1.0, 9.0, 0.0, 1.0).steps(), [1.0, 2.0, 5.0]);
        let one = Axis::new(7.0, 7.0, 0.0, 1.0);
        assert!((one.at(7.0) - 0.5).abs() < 1e-9);
    }

    #[test]
    fn what_was_not_measured_is_not_drawn() {
        let rows =
            vec![Row::new(100, vec![run("floor", 1, f64::NAN), run("xdp", 1, -0.1)], Vec::new())];
        assert!(lines(&[&rows[0]], |run| run.cpu_us_per_packet).is_empty());
        assert!(!draw("", &rows).contains("NaN"));
        assert!(!draw("", &[]).contains("NaN"));
    }
}
