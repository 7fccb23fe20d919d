//! Helpers for rules about requests that create or change an object.

use portcullis_event::json::{self, Raw};
use portcullis_event::{Event, Text};

/// Returns the object's name. If the API server generates the name, returns the prefix that the client asked for, and
/// `*`.
#[must_use]
pub fn object_name<'e>(event: &Event<'e>) -> Option<Text<'e>> {
    let generated = || {
        let prefix = value_at(event.request_object, &["metadata", "generateName"]);
        json::text(prefix).present().map(|prefix| format!("{prefix}*").into())
    };
    event.name.clone().or_else(generated)
}

/// Returns `namespace/name` for titles and dedup, with the event's namespace if it has one. Without a name, the last
/// part is `without a name`.
#[must_use]
pub fn qualified_name(event: &Event, name: Option<&str>) -> String {
    let name = name.unwrap_or("without a name");
    match event.namespace.as_deref() {
        Some(namespace) => format!("{namespace}/{name}"),
        None => name.to_owned(),
    }
}

/// Returns ` in cluster NAME` for titles and dedup. Returns an empty text if the cluster is unknown.
#[must_use]
pub fn in_cluster(event: &Event) -> String {
    event.cluster.as_ref().map(|cluster| format!(" in cluster {cluster}")).unwrap_or_default()
}

/// Returns the value at a path of member names. Returns `None` if a member is missing, or a value on the path is not an
/// object.
#[must_use]
pub fn value_at<'e>(value: Option<Raw<'e>>, path: &[&str]) -> Option<Raw<'e>> {
    path.iter().try_fold(value?, |value, name| {
        let [member] = json::object(Some(value), [*name]).present()?;
        member
    })
}

#[cfg(test)]
mod tests {
    use portcullis_event::LogType;

    use super::*;

    fn event() -> Event<'static> {
        Event::new(LogType::Eks)
    }

    #[test]
    fn a_generated_name_is_its_prefix_and_a_star() {
        let object = Raw::new(r#"{"metadata":{"generateName":"web-"}}"#).expect("the object is JSON");
        let event = Event { request_object: Some(object), ..event() };
        assert_eq!(object_name(&event).as_deref(), Some("web-*"));
        let named = Event { name: Some("web".into()), ..event };
        assert_eq!(object_name(&named).as_deref(), Some("web"));
    }

    #[test]
    fn titles_name_what_is_known() {
        let known = Event { namespace: Some("prod".into()), cluster: Some("eks-1".into()), ..event() };
        assert_eq!(qualified_name(&known, Some("web")) + &in_cluster(&known), "prod/web in cluster eks-1");
        assert_eq!(qualified_name(&event(), None) + &in_cluster(&event()), "without a name");
    }

    #[test]
    fn a_path_leads_through_objects_only() {
        let value = Raw::new(r#"{"a":{"b":[1]},"c":null}"#).ok();
        let at = |path: &[&str]| value_at(value, path).map(Raw::get);
        assert_eq!(at(&["a", "b"]), Some("[1]"));
        assert_eq!(at(&[]), value.map(Raw::get));
        for path in [&["b"][..], &["a", "b", "c"], &["c", "d"]] {
            assert_eq!(at(path), None, "{path:?}");
        }
        assert_eq!(value_at(None, &[]), None);
    }
}
