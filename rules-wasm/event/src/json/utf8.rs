//! Validation of UTF-8.

/// Returns bytes as text, if they are UTF-8. Uses SIMD where it can.
pub(crate) fn utf8(bytes: &[u8]) -> Option<&str> {
    #[cfg(not(target_arch = "wasm32"))]
    return simdutf8::basic::from_utf8(bytes).ok();
    #[cfg(target_arch = "wasm32")]
    std::str::from_utf8(bytes).ok()
}
