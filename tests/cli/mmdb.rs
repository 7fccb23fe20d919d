//! Small databases in MaxMind's format, for tests (<https://maxmind.github.io/MaxMind-DB/>).

use std::net::IpAddr;

/// A value of the format.
pub(crate) enum Value<'v> {
    Text(&'v str),
    Uint16(u16),
    Uint32(u32),
    Uint64(u64),
    NoTexts,
    Map(Vec<(&'v str, Value<'v>)>),
}

/// A database of these networks, each `address/prefix length` with its entry; a network before those inside it.
pub(crate) fn database(kind: &str, entries: Vec<(&str, Value<'_>)>) -> Vec<u8> {
    const EMPTY: Child = Child::None;
    let mut nodes = vec![[EMPTY, EMPTY]];
    let mut data = Vec::new();
    for (network, entry) in entries {
        let (address, length) = network.split_once('/').expect("a network");
        let length: usize = length.parse().expect("a length");
        let (bits, length) = match address.parse().expect("an address") {
            IpAddr::V4(address) => (u128::from(u32::from(address)), length + 96),
            IpAddr::V6(address) => (u128::from(address), length),
        };
        let offset = data.len();
        encode(&entry, &mut data);
        let mut node = 0;
        for depth in 0..length {
            let side = usize::from(bits >> (127 - depth) & 1 == 1);
            if depth + 1 == length {
                nodes[node][side] = Child::Data(offset);
            } else if let Child::Node(next) = nodes[node][side] {
                node = next;
            } else {
                // The larger network, if there is one, keeps what is around the smaller.
                nodes.push([nodes[node][side]; 2]);
                let next = nodes.len() - 1;
                nodes[node][side] = Child::Node(next);
                node = next;
            }
        }
    }
    let mut database = Vec::new();
    for child in nodes.iter().flatten() {
        let value = match child {
            Child::None => nodes.len(),
            Child::Node(node) => *node,
            Child::Data(offset) => nodes.len() + 16 + offset,
        };
        database.extend(&u32::try_from(value).expect("a small database").to_be_bytes()[1..]);
    }
    database.extend([0; 16]);
    database.extend(data);
    database.extend(b"\xab\xcd\xefMaxMind.com");
    let count = u32::try_from(nodes.len()).expect("a small database");
    let metadata = Value::Map(vec![
        ("node_count", Value::Uint32(count)),
        ("record_size", Value::Uint16(24)),
        ("ip_version", Value::Uint16(6)),
        ("database_type", Value::Text(kind)),
        ("binary_format_major_version", Value::Uint16(2)),
        ("binary_format_minor_version", Value::Uint16(0)),
        ("build_epoch", Value::Uint64(1_763_460_000)),
        ("languages", Value::NoTexts),
        ("description", Value::Map(Vec::new())),
    ]);
    encode(&metadata, &mut database);
    database
}

#[derive(Clone, Copy)]
enum Child {
    None,
    Node(usize),
    Data(usize),
}

/// A control byte has the type in its upper three bits and the size in its lower five, of which 29 says that a byte with
/// the rest of the size follows.
fn encode(value: &Value<'_>, bytes: &mut Vec<u8>) {
    let mut control = |kind: u8, size: usize| {
        let size = u8::try_from(size).expect("a small value");
        bytes.push(kind << 5 | size.min(29));
        bytes.extend(size.checked_sub(29));
    };
    match value {
        Value::Text(text) => {
            control(2, text.len());
            bytes.extend(text.bytes());
        }
        Value::Uint16(number) => {
            control(5, 2);
            bytes.extend(number.to_be_bytes());
        }
        // Types above 7 stand in a byte of their own, less 7.
        Value::Uint64(number) => {
            control(0, 8);
            bytes.push(9 - 7);
            bytes.extend(number.to_be_bytes());
        }
        Value::NoTexts => {
            control(0, 0);
            bytes.push(11 - 7);
        }
        Value::Uint32(number) => {
            control(6, 4);
            bytes.extend(number.to_be_bytes());
        }
        Value::Map(members) => {
            control(7, members.len());
            for (name, value) in members {
                encode(&Value::Text(name), bytes);
                encode(value, bytes);
            }
        }
    }
}
