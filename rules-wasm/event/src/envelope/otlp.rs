//! OpenTelemetry's lists of keys and typed values. A collector that parses a record makes such a list of it.
//!
//! Source: `opentelemetry-proto`, `common/v1`, `KeyValue` and `AnyValue`, in their JSON encoding.

use crate::json::{Names, Value};

/// The depth to which values may be nested.
const MAX_DEPTH: usize = 64;

/// Returns the object of a list of keys and values, as JSON. `None` for any other list.
pub(super) fn object_of(list: Value<'_, '_>) -> Option<String> {
    let [key, value] = list.items().next()?.named(&const { Names::new(["key", "value"]) })?;
    key?.string()?;
    value.filter(|value| value.is_object())?;
    let mut json = String::new();
    key_values(list, MAX_DEPTH, &mut json)?;
    Some(json)
}

fn key_values(list: Value<'_, '_>, depth: usize, json: &mut String) -> Option<()> {
    json.push('{');
    for (number, item) in list.items().enumerate() {
        let [key, value] = item.named(&const { Names::new(["key", "value"]) })?;
        if number > 0 {
            json.push(',');
        }
        let key = key.filter(|key| key.string().is_some())?;
        json.push_str(key.raw().get());
        json.push(':');
        any(value, depth, json)?;
    }
    json.push('}');
    Some(())
}

/// Writes a typed value. A value without a type is null.
fn any(value: Option<Value<'_, '_>>, depth: usize, json: &mut String) -> Option<()> {
    const VALUES: Names<'_, 1> = Names::new(["values"]);
    const TYPES: [&str; 6] = ["stringValue", "boolValue", "doubleValue", "intValue", "arrayValue", "kvlistValue"];
    let depth = depth.checked_sub(1)?;
    let Some(value) = value else {
        json.push_str("null");
        return Some(());
    };
    match value.named(&const { Names::new(TYPES) })? {
        [Some(plain), ..] | [_, Some(plain), ..] | [_, _, Some(plain), ..] => json.push_str(plain.raw().get()),
        // Integers of 64 bits are written as text.
        [_, _, _, Some(integer), ..] => json.push_str(integer.raw().get().trim_matches('"')),
        [_, _, _, _, Some(list), _] => {
            let [list] = list.named(&VALUES)?;
            json.push('[');
            for (number, item) in list.into_iter().flat_map(Value::items).enumerate() {
                if number > 0 {
                    json.push(',');
                }
                any(Some(item), depth, json)?;
            }
            json.push(']');
        }
        [_, _, _, _, _, Some(list)] => match list.named(&VALUES)? {
            [Some(list)] => key_values(list, depth, json)?,
            [None] => json.push_str("{}"),
        },
        [None, None, None, None, None, None] => json.push_str("null"),
    }
    Some(())
}
