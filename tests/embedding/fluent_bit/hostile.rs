//! What could cost a record: addresses, memory, depth, traps, and texts that are broken.

use std::collections::BTreeMap;
use std::fs;

use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::host::Host;
use super::{CORPUS, MATCHING, QUIET, alerts};
use crate::support::{JSON_TOKENS, sample};

#[test]
fn no_addresses_drop_or_trap() {
    let mut host = Host::new();
    let record = host.duplicate(MATCHING.as_bytes());
    let length = u32::try_from(MATCHING.len()).expect("fits");
    let memory = u32::try_from(host.size()).expect("fits");

    // No tag: it is not looked at.
    let annotated = host.raw((0, 10), (record, length)).expect("an answer");
    assert_eq!(annotated, host.text(MATCHING).into_bytes());
    // Of nothing there is nothing to lose.
    assert_eq!(host.raw((0, 0), (record, 0)), Some(Vec::new()));
    assert_eq!(host.filter(b""), Some(Vec::new()));
    // No record, or one that reaches out of the memory.
    for (address, length) in [
        (0, 0),
        (0, 100),
        (0, u32::MAX),
        (u32::MAX, 1),
        (u32::MAX, u32::MAX),
        (record, memory),
        (record, u32::MAX),
        (memory - 8, 9),
        (memory, 1),
    ] {
        let answer = host.raw((0, 0), (address, length)).unwrap_or_else(|| panic!("lost: {length} at {address}"));
        let answer: Value = serde_json::from_slice(&answer).expect("JSON");
        let says = format!("a record of {length} bytes did not reach the filter");
        assert_eq!(answer, json!({"log": says, "portcullis": {"error": says}}));
    }
    // Without a zero byte behind it, within the memory and at its end.
    let end = QUIET.len();
    host.write(record, QUIET.as_bytes());
    host.write(record + u32::try_from(end).expect("fits"), b"}}");
    assert_eq!(host.raw((0, 0), (record, u32::try_from(end).expect("fits"))).expect("an answer"), QUIET.as_bytes());
    let at_end = memory - u32::try_from(end).expect("fits");
    if u32::try_from(host.size()).expect("fits") == memory {
        host.write(at_end, QUIET.as_bytes());
        let answer = host.raw((0, 0), (at_end, u32::try_from(end).expect("fits"))).expect("an answer");
        assert_eq!(answer, QUIET.as_bytes());
    }
}

#[test]
fn memory_is_allocated_and_freed() {
    let mut host = Host::new();
    let malloc = |host: &mut Host, size| host.malloc.call(&mut host.store, size).expect("no trap");
    let none = malloc(&mut host, 0);
    assert_ne!(none, 0);
    host.release(none);
    host.free.call(&mut host.store, 0).expect("nothing is nothing to free");
    let before = host.size();
    for size in [u32::MAX, u32::MAX - 7, u32::MAX - 8, i32::MAX.cast_unsigned(), i32::MAX.cast_unsigned() - 7] {
        let address = malloc(&mut host, size);
        host.release(address);
        assert!(address == 0 || size < u32::MAX - 7, "{size}");
    }
    let mut host = Host::new();
    for round in 0..200_u32 {
        let lengths = (0..100).map(|n| (n * 7919 + round) % 5000);
        let addresses: Vec<_> = lengths.map(|length| (malloc(&mut host, length), length)).collect();
        for (n, (address, length)) in addresses.iter().enumerate() {
            assert!(*address != 0 && address % 8 == 0);
            host.write(*address, &vec![n.to_le_bytes()[0]; *length as usize]);
        }
        for (n, (address, length)) in addresses.into_iter().enumerate() {
            let (begin, end) = (address as usize, (address + length) as usize);
            assert!(host.memory.data(&host.store)[begin..end].iter().all(|byte| *byte == n.to_le_bytes()[0]));
            host.release(address);
        }
    }
    assert!(host.size() <= before + (1 << 20), "{} of {before}", host.size());
}

#[test]
fn a_record_that_is_cut_off_comes_back_as_it_was() {
    let mut host = Host::new();
    let mut cuts = 0;
    for name in ["aks.ndjson", "broken.ndjson", "eks.ndjson", "gke.ndjson"] {
        let text = fs::read(sample(name)).expect("a sample");
        for line in text.split(|byte| *byte == b'\n') {
            for end in 1..line.len() {
                let cut = &line[..end];
                if serde_json::from_slice::<Value>(cut).is_err() {
                    assert_eq!(host.filter(cut).as_deref(), Some(cut), "{}", String::from_utf8_lossy(cut));
                    cuts += 1;
                }
            }
        }
    }
    assert!(cuts > 20_000, "{cuts}");
}

/// Objects and lists in each other, as deep as somebody likes: also where a rule reads them.
fn deep(depth: usize) -> Vec<String> {
    let lists = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let objects = format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
    let logs = format!(r#"{}"NodePort"{}"#, r#"{"log":"#.repeat(depth), "}".repeat(depth));
    let mut records = vec![logs];
    for nested in [&lists, &objects] {
        for place in [r#""spec":{"#, r#""user":{"#, r#""requestObject":{"#, "{"] {
            records.push(MATCHING.replacen(place, &format!(r#"{place}"ports":{nested},"#), 1));
        }
        records.push(MATCHING.replace(r#""ada""#, nested));
        records.push(MATCHING.replace(r#""1""#, nested));
    }
    let inside = records.iter().map(|record| json!({"log": record}).to_string());
    let all = inside.collect::<Vec<_>>().into_iter().chain(records);
    all.collect()
}

#[test]
fn depth_costs_no_record() {
    let mut host = Host::new();
    for depth in [1, 60, 127, 128, 129, 1000, 20_000] {
        let mut annotated = 0;
        for record in deep(depth) {
            annotated += usize::from(!alerts(&record, &host.text(&record)).is_empty());
        }
        assert!(annotated >= 8, "{annotated} at {depth}");
    }
}

/// Fluent Bit 5.1 reads records of up to 63 levels. With one of 64 it loses the rest of its chunk, so an answer must not be
/// nested deeper because of what is quoted in an alert.
#[test]
fn an_alert_is_never_nested_too_deep_for_fluent_bit() {
    let mut host = Host::new();
    for levels in [1, 20, 27, 28, 60, 100, 1000] {
        let ports = format!(r#""ports":{}{},"#, "[".repeat(levels), "]".repeat(levels));
        let record = MATCHING.replacen(r#""spec":{"#, &format!(r#""spec":{{{ports}"#), 1);
        let in_text = json!({ "log": record }).to_string();
        for record in [&record, &in_text] {
            let [alert] = &alerts(record, &host.text(record))[..] else { panic!("one alert: {record:.300}") };
            let alert = alert.to_string();
            let is_quoted = alert.contains(&"[".repeat(levels));
            assert!(is_quoted, "the alert shows what it is about: {alert:.1000}");
            assert!(nesting(&alert) + 2 <= 40, "{levels}: {alert:.1000}");
            assert_eq!(alert.contains("unreadable"), levels > 31, "{levels}");
        }
    }
}

/// The most brackets and braces that are open at once outside of strings.
fn nesting(json: &str) -> usize {
    let (mut open, mut most, mut is_inside, mut bytes) = (0_usize, 0, false, json.bytes());
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => is_inside = !is_inside,
            b'\\' => drop(bytes.next()),
            b'{' | b'[' if !is_inside => {
                open += 1;
                most = most.max(open);
            }
            b'}' | b']' if !is_inside => open -= 1,
            _ => {}
        }
    }
    most
}

/// `event_format: msgpack`, which an operator may have set.
#[test]
fn a_record_in_messagepack_becomes_a_note_that_says_what_to_set() {
    let mut host = Host::new();
    // {"log":"a"}
    let note = host.filter(b"\x81\xa3log\xa1a").expect("an answer");
    let text = String::from_utf8_lossy(&note);
    assert_eq!(text.matches("not judged: event_format is msgpack, and must be json").count(), 2, "{text}");
    assert_eq!(note[0], 0x82);
}

/// Fluent Bit goes on with an instance in which a call has ended with a trap.
#[test]
fn a_trap_costs_one_record_and_no_other() {
    let annotated = Host::new().text(MATCHING);
    // Room for the record, and none for its answer.
    let mut host = Host::with_memory(16 << 20);
    let large = MATCHING.replacen('{', &format!(r#"{{"filler":"{}","#, "a".repeat(10 << 20)), 1);
    assert_eq!(host.filter(large.as_bytes()), None);
    for n in 0..1000 {
        assert_eq!(host.text(MATCHING), annotated, "record {n} after the trap");
        assert_eq!(host.text(QUIET), QUIET);
    }
}

#[test]
fn a_record_without_enough_memory_leaves_a_note() {
    let mut host = Host::with_memory(4 << 20);
    let large = MATCHING.replacen('{', &format!(r#"{{"filler":"{}","#, "a".repeat(4 << 20)), 1);
    for _ in 0..3 {
        let note: Value = serde_json::from_str(&host.text(&large)).expect("JSON");
        let says = format!("a record of {} bytes did not reach the filter", large.len());
        assert_eq!(note, json!({"log": says, "portcullis": {"error": says}}));
        assert_eq!(alerts(MATCHING, &host.text(MATCHING)).len(), 1);
    }
}

/// A record of the corpus, as it is or in a text, with up to eight changes.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let own = [
        &b" "[..],
        b"\xff",
        b"\xc3",
        b"\\u0000",
        b"\\ud800",
        b"\"NodePort\"",
        b"\"system:node:a\"",
        b"\"log\":",
        b"\"portcullis\":",
        b"1e999",
        b"1.797693134862316e+308",
    ];
    let tokens = prop::sample::select([&JSON_TOKENS[..], &own].concat());
    let change = (any::<Index>(), 0_usize..12, prop::option::of(tokens));
    (any::<Index>(), 0..4, prop::collection::vec(change, 0..8)).prop_map(|(record, wrapping, changes)| {
        let (record, _) = record.get(&CORPUS);
        let text = match wrapping {
            0 => json!({ "log": record }).to_string(),
            1 => json!({ "message": record, "log": "" }).to_string(),
            _ => record.clone(),
        };
        let mut bytes = text.into_bytes();
        for (at, length, token) in changes {
            let at = at.index(bytes.len() + 1);
            let end = (at + length).min(bytes.len());
            bytes.splice(at..end, token.unwrap_or_default().iter().copied());
        }
        bytes
    })
}

/// Members as they are written: what is in them need not be what a program can hold.
type Members<'a> = BTreeMap<String, &'a RawValue>;

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 20_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Whatever comes: it goes on as it was, or with one member more.
    #[test]
    fn no_record_is_lost_or_changed(record in mutated()) {
        thread_local! {
            static HOST: std::cell::RefCell<Host> = std::cell::RefCell::new(Host::new());
        }
        let answer = HOST.with_borrow_mut(|host| host.filter(&record));
        let answer = answer.unwrap_or_else(|| panic!("lost: {}", record.escape_ascii()));
        // Only such a number is written anew.
        let bounded = String::from_utf8_lossy(&record).contains("e+308");
        if answer != record && !bounded {
            let record = std::str::from_utf8(&record).expect("UTF-8");
            let answer = std::str::from_utf8(&answer).expect("UTF-8");
            let members = |text| serde_json::from_str::<Members<'_>>(text).ok();
            match (members(record), members(answer)) {
                (Some(mut without), Some(mut with)) => {
                    let member = with.remove("portcullis").expect("the member").get();
                    prop_assert!(member.starts_with(r#"{"verdict":"alert","alerts":[{"#), "{}", member);
                    without.remove("portcullis");
                    let texts = |members: Members<'_>| members.into_iter().map(|(name, value)| (name, value.to_string())).collect::<Vec<_>>();
                    prop_assert_eq!(texts(with), texts(without));
                }
                // A name that is none.
                (without, with) => prop_assert!(without.is_none() && with.is_none()),
            }
            let again = HOST.with_borrow_mut(|host| host.text(answer));
            prop_assert_eq!(again, answer);
        }
    }
}
