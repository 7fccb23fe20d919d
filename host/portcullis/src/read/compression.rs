//! Decompresses inputs, which are recognized by their first bytes.

use std::io::{self, BufReader, Cursor, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use flate2::read::MultiGzDecoder;
use thiserror::Error;
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

/// Bytes that each of several layers may produce in any case.
const FREE: u64 = 1 << 20;

/// Bytes that each of several layers may produce for each byte of the input. Audit logs shrink to a tenth or less, but
/// hardly to a hundredth.
const RATIO: u64 = 1000;

/// Returns the decompressed input: gzip, Zstandard, several of them one after the other or nested. Other inputs stay as
/// they are. If it is compressed in layers, reading fails when a layer produces more than a thousand times the input.
///
/// # Errors
/// The input cannot be read.
pub fn decompressed(input: Box<dyn Read + Send>) -> io::Result<Box<dyn Read + Send>> {
    decompressed_within(input, None)
}

/// Returns the decompressed input like [`decompressed`]. Reading fails with an error for which [`is_too_large`] holds
/// when a layer produces more than this many bytes.
///
/// # Errors
/// The input cannot be read.
pub fn decompressed_at_most(input: Box<dyn Read + Send>, most: u64) -> io::Result<Box<dyn Read + Send>> {
    decompressed_within(input, Some(most))
}

/// Returns whether an error of reading means that the decompressed input is larger than a limit.
#[must_use]
pub fn is_too_large(error: &io::Error) -> bool {
    error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<TooLarge>)
}

/// Returns the decompressed input like [`decompressed_at_most`], with the count of the bytes of all layers. To recognize a
/// layer, the one around it is read, so that bytes may be counted even if this fails.
pub(super) fn decompressed_counted(
    input: Box<dyn Read + Send>,
    most: u64,
) -> (io::Result<Box<dyn Read + Send>>, Arc<Limit>) {
    let limit = Arc::new(Limit { most: Some(most), ..Limit::default() });
    (decompressed_layers(input, &limit), limit)
}

fn decompressed_within(input: Box<dyn Read + Send>, most: Option<u64>) -> io::Result<Box<dyn Read + Send>> {
    decompressed_layers(input, &Arc::new(Limit { most, ..Limit::default() }))
}

fn decompressed_layers(input: Box<dyn Read + Send>, limit: &Arc<Limit>) -> io::Result<Box<dyn Read + Send>> {
    let mut input: Box<dyn Read + Send> = Box::new(Source { input, limit: Arc::clone(limit) });
    for layer in 0..MAX_LAYERS {
        let start = start(&mut input)?;
        let compression = compression_of(&start);
        let whole = Cursor::new(start).chain(input);
        let decoder: Box<dyn Read + Send> = match compression {
            Compression::Gzip => Box::new(MultiGzDecoder::new(BufReader::with_capacity(1 << 17, whole))),
            Compression::Zstd => {
                let mut decoder = ZstdDecoder::new(whole)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG)?;
                Box::new(decoder)
            }
            Compression::None => return Ok(Box::new(whole)),
        };
        limit.is_nested.store(layer > 0, Ordering::Relaxed);
        input = Box::new(Layer { decoder, produced: 0, limit: Arc::clone(limit) });
    }
    Ok(input)
}

/// The limit for each layer of an input, and the count of the bytes of all layers.
#[derive(Default)]
pub(super) struct Limit {
    /// The most bytes, if that does not depend on the input.
    most: Option<u64>,
    /// The number of bytes of the input that were read.
    read: AtomicU64,
    /// Whether there are several layers. A single one may shrink to any part: it costs only what it gives.
    is_nested: AtomicBool,
    produced: AtomicU64,
}

impl Limit {
    /// Returns the number of bytes that all layers have produced.
    pub(super) fn produced(&self) -> u64 {
        self.produced.load(Ordering::Relaxed)
    }

    fn now(&self) -> u64 {
        match self.most {
            Some(most) => most,
            None if self.is_nested.load(Ordering::Relaxed) => {
                FREE + RATIO.saturating_mul(self.read.load(Ordering::Relaxed))
            }
            None => u64::MAX,
        }
    }
}

/// The input itself, whose bytes are counted.
struct Source {
    input: Box<dyn Read + Send>,
    limit: Arc<Limit>,
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        self.limit.read.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// A decompressed layer, whose bytes are counted even if the next layer makes nothing of them.
struct Layer {
    decoder: Box<dyn Read + Send>,
    produced: u64,
    limit: Arc<Limit>,
}

impl Read for Layer {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.decoder.read(buffer)?;
        self.produced += read as u64;
        self.limit.produced.fetch_add(read as u64, Ordering::Relaxed);
        let limit = self.limit.now();
        if self.produced > limit {
            return Err(io::Error::new(io::ErrorKind::InvalidData, TooLarge { limit }));
        }
        Ok(read)
    }
}

/// A layer produces too many bytes.
#[derive(Debug, Error)]
#[error("a layer of its compression has more than {limit} bytes when decompressed; is it a decompression bomb?")]
struct TooLarge {
    limit: u64,
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

/// Returns bytes as gzip makes them smallest, for the tests of bombs.
#[cfg(test)]
pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).expect("written to memory");
    encoder.finish().expect("written to memory")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns how many bytes come out of an input, and whether an error ended it.
    fn read(input: Vec<u8>, most: Option<u64>) -> (u64, Option<io::Error>) {
        let mut input = match decompressed_within(Box::new(Cursor::new(input)), most) {
            Ok(input) => input,
            // A layer that yields nothing is read to recognize the next one.
            Err(error) => return (0, Some(error)),
        };
        let (mut length, mut buffer) = (0, vec![0; 1 << 16]);
        loop {
            match input.read(&mut buffer) {
                Ok(0) => return (length, None),
                Ok(read) => length += read as u64,
                Err(error) => return (length, Some(error)),
            }
        }
    }

    #[test]
    fn a_layer_in_a_layer_produces_a_bounded_multiple_of_the_input() {
        let zeros = vec![0; 64 << 20];
        let (once, error) = read(gzip(&zeros), None);
        assert!(once == 64 << 20 && error.is_none(), "a single layer costs what it gives");
        let bomb = gzip(&gzip(&zeros));
        assert!(bomb.len() < 1 << 10, "{}", bomb.len());
        let (twice, error) = read(bomb, None);
        assert!(twice <= 2 << 20 && error.as_ref().is_some_and(is_too_large), "{twice} {error:?}");
    }

    #[test]
    fn a_layer_that_yields_nothing_is_bounded_too() {
        let nothing = gzip(b"").repeat(1 << 20);
        let bomb = gzip(&nothing);
        let (length, error) = read(bomb.clone(), Some(1 << 20));
        assert_eq!(length, 0);
        assert!(error.as_ref().is_some_and(is_too_large), "{error:?}");
        // Twenty megabytes of it are more than a thousand times the input, too.
        let (length, error) = read(gzip(&bomb), None);
        assert_eq!(length, 0);
        assert!(error.as_ref().is_some_and(is_too_large), "{error:?}");
    }

    #[test]
    fn logs_in_two_layers_are_read() {
        let logs = (0..100_000).map(|n| format!("{{\"auditID\":\"{n}\"}}\n")).collect::<String>();
        let (length, error) = read(gzip(&gzip(logs.as_bytes())), None);
        assert!(length == logs.len() as u64 && error.is_none());
    }
}
