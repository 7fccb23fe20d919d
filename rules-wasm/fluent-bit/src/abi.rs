//! What Fluent Bit's `filter_wasm` calls: six numbers in, the address of a text out that ends in a zero byte. No text, or
//! an empty one, drops the record, and so does a trap.

use std::alloc::{Layout, alloc, dealloc};
use std::cell::Cell;
use std::ptr::null_mut;

use portcullis_detect::{Buffers, filter};

/// What stays from one record to the next.
#[derive(Default)]
struct State {
    buffers: Buffers,
    /// The last answer. Fluent Bit copies it before it calls again, and gives nothing back.
    answer: Vec<u8>,
}

thread_local! {
    /// Taken while a call lasts: one that ends in a trap, as of a stack that is too small, must not cost all the calls after it.
    static STATE: Cell<Option<Box<State>>> = const { Cell::new(None) };
}

/// The filter. The record is JSON, of so many bytes and a zero byte behind them.
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
    let answer = state.answer(record, length as usize);
    STATE.set(Some(state));
    answer
}

impl State {
    /// The address of the answer, which is the record's if that has nothing to say.
    fn answer(&mut self, record: *const u8, length: usize) -> *const u8 {
        let Self { buffers, answer } = self;
        answer.clear();
        let Some(bytes) = memory(record, length) else {
            // There is no record to give back; whoever looks at what comes out sees that one is missing.
            answer.extend_from_slice(
                format!("{{\"portcullis\":{{\"error\":\"a record of {length} bytes did not reach the filter\"}}}}\0")
                    .as_bytes(),
            );
            return answer.as_ptr();
        };
        if let Some(annotated) = filter(bytes, buffers) {
            answer.extend_from_slice(annotated.as_bytes());
        } else if memory(record, length + 1).is_some_and(|with_end| with_end[length] == 0) {
            return record;
        } else {
            answer.extend_from_slice(bytes);
        }
        answer.push(0);
        answer.as_ptr()
    }
}

/// What stands in the memory there, if all of that is memory.
fn memory<'m>(begin: *const u8, length: usize) -> Option<&'m [u8]> {
    const PAGE: usize = 64 << 10;
    let end = (begin as usize).checked_add(length)?;
    if begin.is_null() || end.div_ceil(PAGE) > core::arch::wasm32::memory_size(0) {
        return None;
    }
    // SAFETY: all of it is memory, which has no byte that could not be read; while a call lasts, nobody else writes there.
    Some(unsafe { std::slice::from_raw_parts(begin, length) })
}

/// The length of what `malloc` has given away stands in front of it.
const HEADER: usize = 8;

/// Room for what Fluent Bit hands over: without it, larger records do not get here.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn malloc(size: usize) -> *mut u8 {
    let layout = size.checked_add(HEADER).and_then(|size| Layout::from_size_align(size, HEADER).ok());
    let Some(layout) = layout else { return null_mut() };
    // SAFETY: the size is not 0; what is there is as long and as aligned as is said.
    unsafe {
        let begin = alloc(layout);
        if begin.is_null() {
            return null_mut();
        }
        begin.cast::<usize>().write_unaligned(layout.size());
        begin.add(HEADER)
    }
}

/// Takes back what `malloc` has given away.
///
/// # Safety
/// It has, and has not had it back.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn free(begin: *mut u8) {
    if begin.is_null() {
        return;
    }
    // SAFETY: `malloc` has written the length there.
    unsafe {
        let begin = begin.sub(HEADER);
        let size = begin.cast::<usize>().read_unaligned();
        dealloc(begin, Layout::from_size_align_unchecked(size, HEADER));
    }
}
