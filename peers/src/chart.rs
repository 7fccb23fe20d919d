//! Draws the comparison as a chart: one bar for each engine, on a logarithmic scale.

use crate::engines::Input;
use crate::measure::{Results, Row};
use crate::report::{format_number, input_name};

/// Width of the drawing. All lengths here are in the drawing's own units.
const WIDTH: f64 = 760.0;
/// Where the bars begin, to the right of the names.
const LEFT: f64 = 240.0;
/// Where the scale ends. The space to its right is for the longest bar's label.
const RIGHT: f64 = 630.0;
/// Where the first bar's row begins.
const TOP: f64 = 78.0;
const ROW: f64 = 44.0;
const BAR: f64 = 24.0;

/// Colors for readers who prefer dark pages. The drawing's own colors are for light pages; the background is the
/// page's.
const DARK: &str = "\
@media (prefers-color-scheme: dark) {
text { fill: #f0f6fc; }
.note { fill: #9198a1; }
.line { stroke: #3d444d; }
.ours { fill: #4493f8; }
.other { fill: #656c76; }
}";

/// Attributes of the smaller texts.
const NOTE: &str = "class=\"note\" font-size=\"11.5\" fill=\"#59636e\"";

/// Returns the chart as an SVG document.
pub(crate) fn svg(results: &Results) -> String {
    let scale = Scale::of(&results.rows);
    let (mut bars, mut bottom) = (String::new(), TOP);
    for row in &results.rows {
        bars += &bar(row, &scale, bottom);
        bottom += ROW;
    }
    let height = bottom + 46.0;
    let mut lines = String::new();
    for decade in scale.first..=scale.last {
        let (value, x) = (10_f64.powi(decade), scale.x(10_f64.powi(decade)));
        lines += &format!("<path class=\"line\" stroke=\"#d1d9e0\" d=\"M{x:.1} {:.1}V{bottom:.1}\"/>\n", TOP - 6.0);
        lines +=
            &format!("<text {NOTE} x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{value} µs</text>\n", bottom + 16.0);
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
         role=\"img\" aria-labelledby=\"title desc\" font-family=\"system-ui, -apple-system, Segoe UI, sans-serif\" \
         font-size=\"13\" fill=\"#1f2328\">\n\
         <title id=\"title\">Time for one audit record and two rules</title>\n\
         <desc id=\"desc\">{}</desc>\n\
         <style>\n{DARK}\n</style>\n\
         <text font-size=\"16\" font-weight=\"600\" x=\"16\" y=\"28\">Time for one audit record and two rules</text>\n\
         <text {NOTE} x=\"16\" y=\"48\">Normalized events are prepared before the measurement; normalizing takes {} µs \
         per record.</text>\n\
         {lines}{bars}\
         <text {NOTE} x=\"{LEFT}\" y=\"{:.1}\">× compares with Portcullis. Logarithmic scale: each line is ten times the \
         line before it.</text>\n\
         </svg>\n",
        description(results),
        format_number(results.normalizing),
        bottom + 36.0,
    )
}

/// Draws one engine's row.
fn bar(row: &Row, scale: &Scale, y: f64) -> String {
    let (end, middle) = (scale.x(row.microseconds), y + BAR / 2.0);
    let (class, color) = if row.is_portcullis() { ("ours", "#0969da") } else { ("other", "#818b98") };
    format!(
        "<text font-weight=\"600\" x=\"16\" y=\"{:.1}\">{}</text>\n\
         <text {NOTE} x=\"16\" y=\"{:.1}\">{} {}</text>\n\
         <rect class=\"{class}\" fill=\"{color}\" x=\"{LEFT}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{BAR}\" rx=\"3\"/>\n\
         <text x=\"{:.1}\" y=\"{:.1}\">{}</text>\n",
        middle - 2.0,
        row.name,
        middle + 13.0,
        row.version,
        match row.input {
            Input::Raw => "on raw records",
            Input::Normalized => "on normalized events",
        },
        end - LEFT,
        end + 8.0,
        middle + 4.5,
        label(row),
    )
}

/// Returns a bar's label: the time per record, and its ratio to Portcullis's time.
fn label(row: &Row) -> String {
    let time = format!("{} µs", format_number(row.microseconds));
    if row.is_portcullis() { time } else { format!("{time}, {} ×", format_number(row.ratio)) }
}

/// Describes the chart in words, for readers who cannot see it.
fn description(results: &Results) -> String {
    let rows = results.rows.iter();
    let rows = rows.map(|row| format!("{} {}, {}: {}.", row.name, row.version, input_name(row.input), label(row)));
    let rows: Vec<String> = rows.collect();
    format!(
        "Microseconds per record, and the ratio to Portcullis's time. {} Normalizing takes {} µs.",
        rows.join(" "),
        format_number(results.normalizing)
    )
}

/// The scale: powers of ten, one grid line each.
struct Scale {
    first: i32,
    last: i32,
}

impl Scale {
    /// Returns a scale from the power of ten below the smallest time to the one above the largest.
    fn of(rows: &[Row]) -> Self {
        let mut scale = Self { first: 0, last: 1 };
        for row in rows {
            while 10_f64.powi(scale.first) * 1.2 > row.microseconds {
                scale.first -= 1;
            }
            while 10_f64.powi(scale.last) < row.microseconds {
                scale.last += 1;
            }
        }
        scale
    }

    /// Returns the position of a time on the scale.
    fn x(&self, microseconds: f64) -> f64 {
        let (first, last) = (f64::from(self.first), f64::from(self.last));
        LEFT + (microseconds.log10() - first) / (last - first) * (RIGHT - LEFT)
    }
}
