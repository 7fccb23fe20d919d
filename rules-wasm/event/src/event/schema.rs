//! The check that `event.schema.json` describes the event type.

use super::normalized::Event;

/// After a change of the type, update the schema with `UPDATE_SCHEMA=1 cargo test -p portcullis-event --lib`.
#[test]
fn describes_the_type() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/event.schema.json");
    let schema = serde_json::Value::from(schemars::schema_for!(Event<'static>));
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        let text = serde_json::to_string_pretty(&schema).expect("a schema is JSON") + "\n";
        std::fs::write(file, text).expect("the schema can be written");
    }
    let checked_in = std::fs::read_to_string(file).expect("the schema is there");
    let checked_in: serde_json::Value = serde_json::from_str(&checked_in).expect("the schema is JSON");
    assert!(
        schema == checked_in,
        "event.schema.json differs from Event: run UPDATE_SCHEMA=1 cargo test -p portcullis-event --lib"
    );
}
