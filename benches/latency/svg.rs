//! The plot: a line a row, from the median to the slowest, on a scale of powers of ten.

use std::fmt::Write;
use std::time::Duration;

use crate::report::{QUANTILES, Report, Row};

const WIDTH: f64 = 960.0;
/// Where the scale begins and ends.
const LEFT: f64 = 330.0;
const RIGHT: f64 = WIDTH - 30.0;
const TOP: f64 = 74.0;
const LINE: f64 = 20.0;
/// Between scenarios.
const GAP: f64 = 10.0;

/// What the scale reaches, as powers of ten of a second.
const LEAST: i32 = -5;
const MOST: i32 = 1;

const NAMES_OF_POWERS: [&str; 7] = ["10 µs", "100 µs", "1 ms", "10 ms", "100 ms", "1 s", "10 s"];

/// Colours that are told apart on white and on black.
const STYLE: &str = "\
text { font: 12px system-ui, sans-serif; fill: #1f2328; } .quiet { fill: #59636e; } .grid { stroke: #d1d9e0; } \
.span { stroke: #818b98; stroke-width: 2; } .ours { stroke: #0969da; stroke-width: 3; } .bold { font-weight: 600; } \
.p50 { fill: #1a7f37; } .p99 { fill: #9a6700; } .p999 { fill: #cf222e; } .max { fill: none; stroke: #cf222e; stroke-width: 1.5; } \
@media (prefers-color-scheme: dark) { text { fill: #f0f6fc; } .quiet { fill: #9198a1; } .grid { stroke: #3d444d; } \
.span { stroke: #656c76; } .ours { stroke: #4493f8; } .p50 { fill: #3fb950; } .p99 { fill: #d29922; } .p999 { fill: #f85149; } \
.max { stroke: #f85149; } }";

const CLASSES: [&str; 3] = ["p50", "p99", "p999"];

/// The plot of all rows.
pub(crate) fn plot(report: &Report) -> String {
    let rows = report.all_rows();
    let mut body = String::new();
    let mut y = TOP;
    let mut scenario = "";
    for row in rows {
        if row.scenario != scenario {
            if !scenario.is_empty() {
                y += GAP;
            }
            scenario = &row.scenario;
            body.push_str(&text(12.0, y + 4.0, "", scenario));
        }
        body.push_str(&line(row, y));
        y += LINE;
    }
    let height = y + 14.0;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\" \
         aria-label=\"Latencies at a fixed rate\"><style>{STYLE}</style>\n{}{}{body}</svg>\n",
        legend(),
        grid(y)
    )
}

fn line(row: &Row, y: f64) -> String {
    let latency = row.latency();
    let at = |time: Duration| place(time.as_secs_f64());
    let is_ours = row.server == "Callboard";
    let (from, to) = (at(latency.quantile(0.5)), at(latency.largest()));
    let mut drawn = text(LEFT - 130.0, y + 4.0, if is_ours { "bold" } else { "quiet" }, row.server);
    // Writing to a string can't fail.
    let _ = writeln!(
        drawn,
        "<line class=\"{}\" x1=\"{from:.1}\" x2=\"{to:.1}\" y1=\"{y}\" y2=\"{y}\"/><circle class=\"max\" cx=\"{to:.1}\" cy=\"{y}\" r=\"4\"/>",
        if is_ours { "ours" } else { "span" }
    );
    for ((_, share), class) in QUANTILES.iter().zip(CLASSES) {
        let x = at(latency.quantile(*share));
        let _ = writeln!(drawn, "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y}\" r=\"4\"/>");
    }
    drawn
}

fn legend() -> String {
    let mut drawn = text(12.0, 24.0, "bold", "From the time a request was to be sent until its answer's last byte");
    let mut x = LEFT + 180.0;
    for ((name, _), class) in QUANTILES.iter().zip(CLASSES).chain([(&("max", 1.0), "max")]) {
        let _ = write!(drawn, "<circle class=\"{class}\" cx=\"{x}\" cy=\"20\" r=\"4\"/>");
        drawn.push_str(&text(x + 10.0, 24.0, "", name));
        x += 64.0;
    }
    drawn
}

fn grid(bottom: f64) -> String {
    let mut drawn = String::new();
    for (power, name) in (LEAST..=MOST).zip(NAMES_OF_POWERS) {
        let x = place(10_f64.powi(power));
        let _ =
            writeln!(drawn, "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{}\" y2=\"{bottom}\"/>", TOP - 16.0);
        let _ = writeln!(
            drawn,
            "<text class=\"quiet\" text-anchor=\"middle\" x=\"{x:.1}\" y=\"{}\">{name}</text>",
            TOP - 22.0
        );
    }
    drawn
}

fn place(seconds: f64) -> f64 {
    let share = (seconds.log10() - f64::from(LEAST)) / f64::from(MOST - LEAST);
    LEFT + share.clamp(0.0, 1.0) * (RIGHT - LEFT)
}

fn text(x: f64, y: f64, class: &str, text: &str) -> String {
    format!("<text class=\"{class}\" x=\"{x}\" y=\"{y}\">{}</text>\n", text.replace('&', "&amp;").replace('<', "&lt;"))
}
