//! Bytes as text.

/// The text that the bytes are, with what the processor has for looking at many of them at once.
pub(crate) fn utf8(bytes: &[u8]) -> Option<&str> {
    #[cfg(not(target_arch = "wasm32"))]
    return simdutf8::basic::from_utf8(bytes).ok();
    #[cfg(target_arch = "wasm32")]
    std::str::from_utf8(bytes).ok()
}
