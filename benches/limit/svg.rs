//! A picture of the rows that count CPU time: a bar for each server, the rows each to their own scale.

use std::fmt::Write;

use super::report::{Line, Unit};

const WIDTH: f64 = 760.0;
/// Where bars begin, and how long the longest of a row is.
const BARS_AT: f64 = 190.0;
const LONGEST: f64 = 400.0;
const BAR_HEIGHT: f64 = 16.0;
/// From one bar to the next, and what a row's name takes beside its bars.
const STEP: f64 = 21.0;
const HEADING: f64 = 40.0;
const FOOT: f64 = 30.0;

/// Readable on white and on black.
const STYLE: &str =
    "text{font:13px system-ui,sans-serif;fill:#24292f}.row{font-weight:600}.peer{fill:#9aa4af}.callboard{fill:#0f766e}
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.peer{fill:#6e7681}.callboard{fill:#2dd4bf}}";

/// Draws the lines, which are in the order of their rows.
pub(crate) fn draw(lines: &[Line]) -> String {
    let lines: Vec<&Line> = lines.iter().filter(|line| line.unit == Unit::Micros).collect();
    let rows: Vec<&[&Line]> = lines.chunk_by(|one, next| one.row == next.row).collect();
    let mut y = 0.0;
    let mut body = String::new();
    for row in rows {
        y += HEADING;
        let Some(first) = row.first() else { continue };
        text(&mut body, 10.0, y - 12.0, "row", &first.row);
        let ours = first.medians()[0];
        let peers = row.iter().map(|line| (line.against.as_str(), line.medians()[1], Some(line.ratio()[1])));
        let bars: Vec<_> = std::iter::once(("Callboard", ours, None)).chain(peers).collect();
        let longest = bars.iter().map(|(_, micros, _)| *micros).fold(0.0, f64::max);
        for (name, micros, ratio) in bars {
            let length = LONGEST * micros / longest;
            let class = if ratio.is_none() { "callboard" } else { "peer" };
            // Writing to a string can't fail.
            let _ = writeln!(
                body,
                r#"<rect class="{class}" x="{BARS_AT}" y="{y}" width="{length:.1}" height="{BAR_HEIGHT}" rx="2"/>"#
            );
            let told = ratio.map_or_else(String::new, |ratio| format!(", Callboard is {ratio:.2} ×"));
            text(&mut body, 20.0, y + 13.0, "name", name);
            text(&mut body, BARS_AT + length + 6.0, y + 13.0, "figure", &format!("{micros:.1} µs{told}"));
            y += STEP;
        }
    }
    text(&mut body, 10.0, y + 20.0, "foot", "CPU time of the server per request. Each row has a scale of its own.");
    let height = y + FOOT;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\">\n\
        <style>{STYLE}</style>\n{body}</svg>\n"
    )
}

/// Names hold no markup.
fn text(body: &mut String, x: f64, y: f64, class: &str, text: &str) {
    let _ = writeln!(body, r#"<text class="{class}" x="{x:.1}" y="{y:.1}">{text}</text>"#);
}
