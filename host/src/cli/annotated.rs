//! A line of the input with what the rules said about it.

use std::fmt;

use portcullis::Alert;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The member that is added.
const MEMBER: &str = "portcullis";

/// The object that a line is, with one more member at its end, which takes the place of what had its name; where the line is
/// something else in which there are records, an object that has its text as `message`.
pub(super) fn annotated(line: &[u8], alerts: &[&Alert]) -> serde_json::Result<Vec<u8>> {
    let mut object = b"{".to_vec();
    if let Ok(Members(members)) = serde_json::from_slice(line) {
        for (name, value) in members {
            if serde_json::from_str::<String>(name.get()).is_ok_and(|name| name == MEMBER) {
                continue;
            }
            for text in [name.get(), ":", value.get(), ","] {
                object.extend_from_slice(text.as_bytes());
            }
        }
    } else {
        object.extend_from_slice(br#""message":"#);
        serde_json::to_writer(&mut object, &String::from_utf8_lossy(line))?;
        object.push(b',');
    }
    let alerts = serde_json::to_string(alerts)?;
    object.extend_from_slice(format!(r#""{MEMBER}":{{"verdict":"alert","alerts":{alerts}}}}}"#).as_bytes());
    Ok(object)
}

/// The members of an object, as they are written.
struct Members<'l>(Vec<(&'l RawValue, &'l RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnObject;

        impl<'de> Visitor<'de> for AnObject {
            type Value = Members<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(AnObject)
    }
}
