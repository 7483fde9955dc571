//! The picture: for each row two bars, how many times as good as Linux we are, on a logarithmic scale.

use std::fmt::Write;

use super::report::Report;

/// Pixels: the whole width, where bars begin and end, a bar's height, a row's, and what is above and below all rows.
const WIDTH: f64 = 900.0;
const LEFT: f64 = 330.0;
const RIGHT: f64 = 840.0;
const BAR: f64 = 10.0;
const ROW: f64 = 32.0;
const ABOVE: f64 = 72.0;
const BELOW: f64 = 34.0;

/// Colours that are seen on white and on black.
const TEXT: &str = "#7d868f";
const VALUE: &str = "#3f88c5";
const GUEST: &str = "#d98a2b";

/// Draws the rows that both guests have.
pub(super) fn svg(report: &Report) -> String {
    let rows: Vec<_> = report
        .rows
        .iter()
        .filter_map(|row| {
            let (value, guest) = row.better();
            Some((row, drawable(value)?, drawable(guest)))
        })
        .collect();
    let factors = rows
        .iter()
        .flat_map(|(_, value, guest)| [Some(*value), *guest])
        .flatten();
    let scale = Scale::of(factors);
    #[expect(clippy::cast_precision_loss, reason = "there are a few dozen rows")]
    let bottom = ABOVE + ROW * rows.len() as f64;
    let mut svg = Svg::new(bottom + BELOW);
    svg.text(
        20.0,
        24.0,
        "start",
        "bold",
        "xenlet beside Linux, on the same Xen",
    );
    for (x, colour, text) in [
        (20.0, VALUE, "rate, or time, or size"),
        (200.0, GUEST, "processor time of the guest"),
    ] {
        svg.rect(x, 38.0, BAR, BAR, colour, 1.0);
        svg.text(x + 16.0, 47.0, "start", "normal", text);
    }
    svg.text(RIGHT, 47.0, "end", "normal", "how many times as good");
    for tick in scale.ticks() {
        let x = scale.x(tick);
        let (width, opacity) = if tick == 1.0 { (1.5, 1.0) } else { (1.0, 0.25) };
        svg.rect(
            x - width / 2.0,
            ABOVE - 6.0,
            width,
            bottom - ABOVE + 6.0,
            TEXT,
            opacity,
        );
        svg.text(x, bottom + 16.0, "middle", "normal", &factor(tick));
    }
    let mut y = ABOVE;
    for (row, value, guest) in rows {
        svg.text(LEFT - 12.0, y + 14.0, "end", "normal", &row.title);
        for (place, better, colour) in [(0.0, Some(value), VALUE), (1.0, guest, GUEST)] {
            let Some(better) = better else { continue };
            let (from, to) = (scale.x(1.0), scale.x(better));
            let top = y + place * (BAR + 1.0);
            svg.rect(
                from.min(to),
                top,
                (to - from).abs().max(1.0),
                BAR,
                colour,
                1.0,
            );
            svg.text(
                from.max(to) + 4.0,
                top + 9.0,
                "start",
                "small",
                &factor(better),
            );
        }
        y += ROW;
    }
    svg.end()
}

/// A figure of nothing, or of an infinity, has no place on a scale.
fn drawable(factor: Option<f64>) -> Option<f64> {
    factor.filter(|factor| factor.is_finite() && *factor > 0.0)
}

fn factor(factor: f64) -> String {
    match factor {
        much if much >= 10.0 => format!("{much:.0}×"),
        whole if whole.fract() == 0.0 => format!("{whole}×"),
        little => format!("{little:.2}×"),
    }
}

/// A logarithmic scale from one round number to another, with 1 within it.
struct Scale {
    from: f64,
    to: f64,
}

/// Steps of a decade at which a line is drawn, where there are few decades.
const STEPS: [f64; 3] = [1.0, 2.0, 5.0];

impl Scale {
    fn of(factors: impl Iterator<Item = f64>) -> Self {
        let (mut from, mut to) = (1.0_f64, 2.0_f64);
        for factor in factors {
            from = from.min(factor);
            to = to.max(factor);
        }
        let decade = |number: f64| 10_f64.powf(number.log10().floor());
        let below = STEPS.iter().rev().map(|step| step * decade(from));
        let above = STEPS.iter().chain(&[10.0]).map(|step| step * decade(to));
        Self {
            from: below.into_iter().find(|&line| line <= from).unwrap_or(from),
            to: above.into_iter().find(|&line| line >= to).unwrap_or(to),
        }
    }

    fn x(&self, factor: f64) -> f64 {
        let part = (factor / self.from).log10() / (self.to / self.from).log10();
        LEFT + part * (RIGHT - LEFT)
    }

    fn ticks(&self) -> Vec<f64> {
        let steps: &[f64] = if self.to / self.from > 100.0 {
            &[1.0]
        } else {
            &STEPS
        };
        let lines =
            (-6..9).flat_map(|decade| steps.iter().map(move |step| step * 10_f64.powi(decade)));
        let within = |line: &f64| *line >= self.from * 0.999 && *line <= self.to * 1.001;
        lines.filter(within).collect()
    }
}

/// A picture, as it grows.
struct Svg(String);

impl Svg {
    fn new(height: f64) -> Self {
        Self(format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
             font-family=\"system-ui, sans-serif\" font-size=\"13\">\n\
             <style>.bold {{ font-size: 16px; font-weight: 600 }} .small {{ font-size: 10px }}</style>\n"
        ))
    }

    fn rect(&mut self, x: f64, y: f64, width: f64, height: f64, colour: &str, opacity: f64) {
        // Writing to a string can't fail.
        let _ = writeln!(
            self.0,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{colour}\" opacity=\"{opacity}\"/>"
        );
    }

    fn text(&mut self, x: f64, y: f64, anchor: &str, class: &str, text: &str) {
        let text = escape(text);
        let _ = writeln!(
            self.0,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" class=\"{class}\" fill=\"{TEXT}\">{text}</text>"
        );
    }

    fn end(mut self) -> String {
        self.0.push_str("</svg>\n");
        self.0
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::{measured, report};
    use super::*;

    #[test]
    fn each_row_that_both_have_is_two_bars() {
        let svg = svg(&report(vec![
            measured("page-16", Some((200.0, 10.0)), Some((100.0, 80.0))),
            measured("lookup", Some((50.0, 1.0)), None),
        ]));
        let count = |text: &str| svg.matches(text).count();
        // One each is in the legend.
        assert_eq!((count(VALUE), count(GUEST)), (2, 2), "{svg}");
        assert!(svg.contains(">2×<") && svg.contains(">8×<"), "{svg}");
        assert!(!svg.contains("lookup") && !svg.contains("NaN") && svg.ends_with("</svg>\n"));
    }

    #[test]
    fn what_is_worse_goes_to_the_left_and_nothing_leaves_the_scale() {
        for factors in [vec![0.3, 4.0], vec![290.0, 3700.0], vec![0.004], vec![]] {
            let scale = Scale::of(factors.iter().copied());
            for factor in factors.iter().copied().chain([1.0]) {
                let x = scale.x(factor);
                assert!((LEFT..=RIGHT).contains(&x), "{factor}: {x}");
                assert_eq!(x < scale.x(1.0), factor < 1.0);
            }
            let ticks = scale.ticks();
            assert!(ticks.contains(&1.0) && ticks.len() < 12, "{ticks:?}");
        }
    }

    #[test]
    fn a_figure_of_nothing_is_not_drawn() {
        let svg = svg(&report(vec![
            measured("page-16", Some((0.0, 10.0)), Some((0.0, 80.0))),
            measured("page-64", Some((1.0, 0.0)), Some((1.0, 80.0))),
        ]));
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }

    #[test]
    fn text_is_escaped() {
        assert_eq!(escape("a<b>&c"), "a&lt;b&gt;&amp;c");
    }
}
