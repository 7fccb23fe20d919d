//! Writes made-up records, one a line, to measure with a file of your own:
//!
//! ```sh
//! cargo run --release --example records -- 500000 >records.ndjson
//! ```

#[path = "../benches/support/records.rs"]
mod records;

use std::io::{self, BufWriter, Write as _};

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<u64>().ok());
    let Some(count) = arguments.next().flatten() else {
        eprintln!("usage: records COUNT [SEED]");
        std::process::exit(2);
    };
    let mut output = BufWriter::new(io::stdout().lock());
    for record in
        records::records(arguments.next().flatten().unwrap_or(1), usize::try_from(count).unwrap_or(usize::MAX))
    {
        writeln!(output, "{record}")?;
    }
    output.flush()
}
