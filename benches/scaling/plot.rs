//! `docs/benchmarks/scaling.svg`: what memory is worth, and what looking at sites costs.

use super::rows::{BUDGETS, REPLICAS, SITES, SKEWS, look_rows};
use super::world::Measured;

/// Readable on white and on black. Lines differ in their dashes as well as in their colours.
const STYLE: &str = "\
text { font: 12px system-ui, sans-serif; fill: #24292f } .title { font-weight: 600 } .end { text-anchor: end }
.middle { text-anchor: middle } .grid { stroke: #8c959f; stroke-opacity: .35 } .line { fill: none; stroke-width: 2 }
.a { stroke: #0969da } .b { stroke: #bc4c00; stroke-dasharray: 7 3 } .c { stroke: #1a7f37; stroke-dasharray: 2 3 }
.formula { stroke-width: 1; stroke-opacity: .6 }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .a { stroke: #58a6ff } .b { stroke: #f0883e } .c { stroke: #56d364 } }";

const CLASSES: [&str; 3] = ["a", "b", "c"];

/// A field with axes, in pixels.
struct Panel {
    left: f64,
    top: f64,
    width: f64,
    height: f64,
}

impl Panel {
    /// Where a point is that lies so far along both axes, each from 0 to 1.
    fn at(&self, (x, y): (f64, f64)) -> (f64, f64) {
        (self.left + x * self.width, self.top + (1.0 - y) * self.height)
    }

    fn frame(&self, title: &str, below: &str, xs: &[(f64, String)], ys: &[(f64, String)]) -> String {
        let (right, bottom) = (self.left + self.width, self.top + self.height);
        let mut svg =
            format!("<text class=\"title\" x=\"{}\" y=\"{}\">{title}</text>\n", self.left - 40.0, self.top - 14.0);
        for (share, text) in ys {
            let (_, y) = self.at((0.0, *share));
            svg += &format!("<path class=\"grid\" d=\"M{} {y:.1}H{right}\"/>", self.left);
            svg += &format!("<text class=\"end\" x=\"{}\" y=\"{:.1}\">{text}</text>\n", self.left - 6.0, y + 4.0);
        }
        for (share, text) in xs {
            let (x, _) = self.at((*share, 0.0));
            svg += &format!("<text class=\"middle\" x=\"{x:.1}\" y=\"{}\">{text}</text>\n", bottom + 18.0);
        }
        svg + &format!(
            "<text class=\"middle\" x=\"{}\" y=\"{}\">{below}</text>\n",
            self.left + self.width / 2.0,
            bottom + 38.0
        )
    }

    fn line(&self, class: &str, points: impl Iterator<Item = (f64, f64)>) -> String {
        let path: Vec<String> = points.map(|point| self.at(point)).map(|(x, y)| format!("{x:.1} {y:.1}")).collect();
        format!("<path class=\"line {class}\" d=\"M{}\"/>\n", path.join("L"))
    }

    fn legend(&self, number: usize, class: &str, text: &str) -> String {
        let (x, y) = (self.left + self.width + 12.0, self.top + 12.0 + 20.0 * number as f64);
        format!(
            "<path class=\"line {}\" d=\"M{x} {y}h22\"/><text x=\"{}\" y=\"{}\">{text}</text>\n",
            class,
            x + 28.0,
            y + 4.0
        )
    }
}

/// The whole picture.
pub(crate) fn svg(memory: &[Measured], looks: &[Measured]) -> String {
    let mut svg =
        format!("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 960 320\">\n<style>{STYLE}</style>\n");
    svg += &memory_panel(memory);
    svg += &looks_panel(looks);
    svg + "</svg>\n"
}

fn memory_panel(measured: &[Measured]) -> String {
    let panel = Panel { left: 60.0, top: 40.0, width: 290.0, height: 220.0 };
    let x = |number: usize| number as f64 / (BUDGETS.len() - 1) as f64;
    let xs: Vec<_> = BUDGETS.iter().enumerate().map(|(number, budget)| (x(number), budget.to_string())).collect();
    let ys: Vec<_> = (0..=5).map(|fifth| (f64::from(fifth) / 5.0, format!("{} %", fifth * 20))).collect();
    let mut svg = panel.frame("Answered from memory", "cache.memory.maxBytes, MiB", &xs, &ys);
    let rows = SKEWS.iter().zip(measured.chunks(BUDGETS.len())).zip(CLASSES);
    for (number, ((skew, row), class)) in rows.enumerate() {
        let points = row.iter().enumerate().map(|(place, measured)| (x(place), measured.memory_ratio()));
        svg += &panel.line(class, points);
        svg += &panel.legend(number, class, &format!("Zipf {skew}"));
    }
    svg
}

fn looks_panel(measured: &[Measured]) -> String {
    let panel = Panel { left: 530.0, top: 40.0, width: 290.0, height: 220.0 };
    // Both axes are logarithmic: 100 to 10,000 sites, 1 to 10,000 looks.
    let x = |sites: usize| (sites as f64 / 100.0).log10() / 2.0;
    let y = |looks: f64| looks.max(1.0).log10() / 4.0;
    let xs: Vec<_> = SITES.iter().map(|sites| (x(*sites), sites.to_string())).collect();
    let ys: Vec<_> = (0..=4).map(|power| (f64::from(power) / 4.0, 10_u32.pow(power as u32).to_string())).collect();
    let mut svg = panel.frame("Looks at sites a second, without Redis", "sites", &xs, &ys);
    let scenarios = look_rows();
    let rows = scenarios.chunks(SITES.len()).zip(measured.chunks(SITES.len()));
    for (number, ((scenarios, measured), (replicas, class))) in rows.zip(REPLICAS.iter().zip(CLASSES)).enumerate() {
        let looked = SITES.iter().zip(measured).map(|(sites, row)| (x(*sites), y(row.rate(row.asked.looks))));
        svg += &panel.line(class, looked);
        let formula = SITES.iter().zip(scenarios).map(|(sites, row)| (x(*sites), y(row.predicted().looks)));
        svg += &panel.line(&format!("{class} formula"), formula);
        let s = if *replicas == 1 { "" } else { "s" };
        svg += &panel.legend(number, class, &format!("{replicas} replica{s}"));
    }
    svg
}
