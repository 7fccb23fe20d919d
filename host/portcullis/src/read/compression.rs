//! Decompresses inputs, which are recognized by their first bytes.

use std::io::{self, BufReader, Cursor, Read};

use flate2::read::MultiGzDecoder;
use zstd::stream::read::Decoder as ZstdDecoder;

/// First bytes of compressed inputs: gzip (RFC 1952), a Zstandard frame, and a skippable frame (RFC 8878), in whose
/// first byte the low four bits vary.
const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
const ZSTD_SKIPPABLE: &[u8] = &[0x50, 0x2a, 0x4d, 0x18];

/// Limit for nested compression. Firehose compresses what CloudWatch has compressed; nothing uses more layers.
const MAX_LAYERS: usize = 3;

/// Limit for the window of a Zstandard frame, as a power of two: 128 MiB, the default limit of the `zstd` command.
const ZSTD_WINDOW_LOG: u32 = 27;

/// Returns whether an input with these first bytes is compressed.
#[must_use]
pub fn is_compressed(start: &[u8]) -> bool {
    compression_of(start) != Compression::None
}

/// The compression of an input.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Compression {
    None,
    Gzip,
    Zstd,
}

fn compression_of(start: &[u8]) -> Compression {
    let skippable =
        |(first, rest): (&u8, &[u8])| first & 0xf0 == ZSTD_SKIPPABLE[0] && rest.starts_with(&ZSTD_SKIPPABLE[1..]);
    if start.starts_with(GZIP) {
        Compression::Gzip
    } else if start.starts_with(ZSTD) || start.split_first().is_some_and(skippable) {
        Compression::Zstd
    } else {
        Compression::None
    }
}

/// Returns the decompressed input: gzip, Zstandard, several of them one after the other or nested. Other inputs stay as
/// they are.
///
/// # Errors
/// The input cannot be read.
pub fn decompressed(input: Box<dyn Read + Send>) -> io::Result<Box<dyn Read + Send>> {
    let mut input = input;
    for _ in 0..MAX_LAYERS {
        let start = start(&mut input)?;
        let compression = compression_of(&start);
        let whole = Cursor::new(start).chain(input);
        input = match compression {
            Compression::Gzip => Box::new(MultiGzDecoder::new(BufReader::with_capacity(1 << 17, whole))),
            Compression::Zstd => {
                let mut decoder = ZstdDecoder::new(whole)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG)?;
                Box::new(decoder)
            }
            Compression::None => return Ok(Box::new(whole)),
        };
    }
    Ok(input)
}

/// Reads only as many first bytes as needed to recognize the compression, because an input may wait for more to be
/// written.
fn start(input: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut start = Vec::new();
    while start.len() < 4 {
        let may_be = |magic: &[u8]| magic.starts_with(&start);
        let skippable = start.first().is_none_or(|first| first & 0xf0 == ZSTD_SKIPPABLE[0]);
        if !(may_be(GZIP) && start.len() < GZIP.len() || may_be(ZSTD) || skippable) {
            break;
        }
        let mut byte = [0];
        match input.read(&mut byte) {
            Ok(0) => break,
            Ok(_) => start.push(byte[0]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(start)
}
