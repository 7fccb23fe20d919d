//! Compressed inputs, recognized by their first bytes.

use std::io::{self, BufReader, Cursor, Read};

use flate2::read::MultiGzDecoder;
use zstd::stream::read::Decoder as ZstdDecoder;

/// How the beginning of a compressed input looks: gzip (RFC 1952), a Zstandard frame and a skippable one (RFC 8878), of
/// whose first byte the low four bits are free.
const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
const ZSTD_SKIPPABLE: &[u8] = &[0x50, 0x2a, 0x4d, 0x18];

/// Firehose compresses what CloudWatch has compressed; nobody does it more often.
const MAX_LAYERS: usize = 3;

/// The largest window of a Zstandard frame that is decompressed, as a power of two: 128 MiB, what its own command takes
/// without being asked.
const ZSTD_WINDOW_LOG: u32 = 27;

/// Whether an input that begins like this is compressed.
#[must_use]
pub fn is_compressed(start: &[u8]) -> bool {
    compression_of(start) != Compression::None
}

/// How an input is compressed, as its first bytes say.
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

/// What an input is when it is decompressed: gzip, Zstandard, several of them one after the other or in one another; any
/// other input as it is.
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

/// The first bytes, as many as it takes to tell: an input that waits for somebody to write more is not waited for.
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
