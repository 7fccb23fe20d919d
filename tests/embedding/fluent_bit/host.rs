//! A host that calls the filter as Fluent Bit does.

use std::sync::LazyLock;

use wasmtime::{Engine, Instance, Memory, Module, Store, StoreLimits, StoreLimitsBuilder, TypedFunc};

use crate::support::pipeline;

/// What `function_name` is.
pub(super) const FUNCTION: &str = "portcullis";

pub(super) static WASM: LazyLock<Vec<u8>> = LazyLock::new(|| pipeline("fluent-bit"));

pub(super) static MODULE: LazyLock<Module> =
    LazyLock::new(|| Module::new(&Engine::default(), &*WASM).expect("a module"));

/// Tag, its length, seconds, nanoseconds, record, its length.
pub(super) type Filter = TypedFunc<(u32, u32, u32, u32, u32, u32), u32>;

/// A host that calls the module like Fluent Bit.
pub(super) struct Host {
    pub(super) store: Store<StoreLimits>,
    pub(super) memory: Memory,
    pub(super) malloc: TypedFunc<u32, u32>,
    pub(super) free: TypedFunc<u32, ()>,
    pub(super) filter: Filter,
}

impl Host {
    pub(super) fn new() -> Self {
        Self::with_memory(usize::MAX)
    }

    /// One that has no more memory than this.
    pub(super) fn with_memory(most: usize) -> Self {
        let mut store = Store::new(MODULE.engine(), StoreLimitsBuilder::new().memory_size(most).build());
        store.limiter(|limits| limits);
        let instance = Instance::new(&mut store, &MODULE, &[]).expect("it imports nothing");
        let memory = instance.get_memory(&mut store, "memory").expect("a memory");
        let malloc = instance.get_typed_func(&mut store, "malloc").expect("malloc");
        let free = instance.get_typed_func(&mut store, "free").expect("free");
        let filter = instance.get_typed_func(&mut store, FUNCTION).expect("the filter");
        Self { store, memory, malloc, free, filter }
    }

    /// The bytes in the memory of the module, with a zero byte behind them; 0 if there is no room.
    pub(super) fn duplicate(&mut self, bytes: &[u8]) -> u32 {
        let length = u32::try_from(bytes.len() + 1).expect("fits");
        let address = self.malloc.call(&mut self.store, length).expect("no trap");
        if address != 0 {
            self.write(address, bytes);
            self.write(address + length - 1, &[0]);
        }
        address
    }

    pub(super) fn write(&mut self, address: u32, bytes: &[u8]) {
        self.memory.write(&mut self.store, address as usize, bytes).expect("within the memory");
    }

    pub(super) fn release(&mut self, address: u32) {
        if address != 0 {
            self.free.call(&mut self.store, address).expect("no trap");
        }
    }

    /// One call with these addresses: the answer, or nothing, which costs the record.
    pub(super) fn raw(&mut self, tag: (u32, u32), record: (u32, u32)) -> Option<Vec<u8>> {
        let call = (tag.0, tag.1, 1_700_000_000, 5, record.0, record.1);
        let address = self.filter.call(&mut self.store, call).ok()? as usize;
        let text = self.memory.data(&self.store).get(address..).filter(|_| address != 0)?;
        Some(text[..text.iter().position(|byte| *byte == 0)?].to_vec())
    }

    /// What becomes of a record.
    pub(super) fn filter(&mut self, record: &[u8]) -> Option<Vec<u8>> {
        let (tag_at, record_at) = (self.duplicate(b"kube-audit"), self.duplicate(record));
        let answer = self.raw((tag_at, 10), (record_at, u32::try_from(record.len()).expect("fits")));
        self.release(tag_at);
        self.release(record_at);
        answer
    }

    /// The same, of a record that is text and is not lost.
    pub(super) fn text(&mut self, record: &str) -> String {
        let answer = self.filter(record.as_bytes()).unwrap_or_else(|| panic!("lost: {record:.500}"));
        String::from_utf8(answer).expect("UTF-8")
    }

    pub(super) fn size(&self) -> usize {
        self.memory.data_size(&self.store)
    }
}
