//! The functions that Fluent Bit's `filter_wasm` calls. The filter takes six numbers, and returns the address of a text
//! that ends in a zero byte. A null address, an empty text and a trap drop the record.

use std::alloc::{Layout, alloc, dealloc};
use std::cell::Cell;
use std::ptr::null_mut;

use portcullis_detect::{Buffers, filter};

use crate::format::note_on_format;
use crate::numbers::within_bounds;

/// State that is kept between records.
#[derive(Default)]
struct State {
    buffers: Buffers,
    /// The last output. Fluent Bit copies it before the next call, and does not free it.
    output: Vec<u8>,
}

thread_local! {
    /// Each call takes the state out of the cell. A call that traps, for example because the stack is too small, then
    /// does not break the calls after it.
    static STATE: Cell<Option<Box<State>>> = const { Cell::new(None) };
}

/// Filters a record: `length` bytes of JSON, followed by a zero byte.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn portcullis(
    _tag: *const u8,
    _tag_length: u32,
    _seconds: u32,
    _nanoseconds: u32,
    record: *const u8,
    length: u32,
) -> *const u8 {
    let mut state = STATE.take().unwrap_or_default();
    let output = state.filter(record, length as usize);
    STATE.set(Some(state));
    output
}

impl State {
    /// Returns the address of the output. A record without alerts is its own output, if a zero byte follows it.
    fn filter(&mut self, record: *const u8, length: usize) -> *const u8 {
        let Self { buffers, output } = self;
        output.clear();
        let Some(bytes) = readable(record, length) else {
            // The record itself is unreachable, so the output says that one is missing.
            let note = format!("a record of {length} bytes did not reach the filter");
            let object = format!("{{\"log\":\"{note}\",\"portcullis\":{{\"error\":\"{note}\"}}}}\0");
            output.extend_from_slice(object.as_bytes());
            return output.as_ptr();
        };
        if let Some(note) = note_on_format(bytes) {
            output.extend_from_slice(&note);
            output.push(0);
            return output.as_ptr();
        }
        let bounded = within_bounds(bytes);
        let passed_on = bounded.as_deref().map_or(bytes, str::as_bytes);
        if let Some(annotated) = filter(passed_on, buffers) {
            output.extend_from_slice(annotated.as_bytes());
        } else if bounded.is_none() && readable(record, length + 1).is_some_and(|with_end| with_end[length] == 0) {
            return record;
        } else {
            output.extend_from_slice(passed_on);
        }
        output.push(0);
        output.as_ptr()
    }
}

/// Returns the bytes at an address, if all of them are within the memory.
fn readable<'m>(begin: *const u8, length: usize) -> Option<&'m [u8]> {
    const PAGE: usize = 64 << 10;
    let end = (begin as usize).checked_add(length)?;
    if begin.is_null() || end.div_ceil(PAGE) > core::arch::wasm32::memory_size(0) {
        return None;
    }
    // SAFETY: the range is within the memory, where every byte is readable. Nothing else writes to it during a call.
    Some(unsafe { std::slice::from_raw_parts(begin, length) })
}

/// Size of the header before each allocation, which has the allocation's size.
const HEADER: usize = 8;

/// Allocates memory for a record. Without this function, Fluent Bit cannot pass large records.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn malloc(size: usize) -> *mut u8 {
    let layout = size.checked_add(HEADER).and_then(|size| Layout::from_size_align(size, HEADER).ok());
    let Some(layout) = layout else { return null_mut() };
    // SAFETY: the layout's size is not 0, and the allocation is large enough and aligned for the header.
    unsafe {
        let begin = alloc(layout);
        if begin.is_null() {
            return null_mut();
        }
        begin.cast::<usize>().write_unaligned(layout.size());
        begin.add(HEADER)
    }
}

/// Frees an allocation of `malloc`.
///
/// # Safety
/// `malloc` returned the address, and it was not freed since.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn free(begin: *mut u8) {
    if begin.is_null() {
        return;
    }
    // SAFETY: `malloc` wrote the size to the header.
    unsafe {
        let begin = begin.sub(HEADER);
        let size = begin.cast::<usize>().read_unaligned();
        dealloc(begin, Layout::from_size_align_unchecked(size, HEADER));
    }
}
