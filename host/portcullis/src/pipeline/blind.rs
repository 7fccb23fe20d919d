//! Events whose records lack what a rule needs. The rule cannot match them, so the operator should know.

use portcullis_event::{Event, json};

use crate::package::Package;

/// A rule that uses the type of a service, and an event without the object that was sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Blind {
    /// The rule.
    pub package: Package,
    /// The event's verb.
    pub verb: String,
    /// The event's resource.
    pub resource: String,
    /// Whether the record is cut off. Otherwise the object was not recorded.
    pub cut_off: bool,
}

/// Verbs that may create a service or change its type.
const VERBS: [&str; 3] = ["create", "update", "patch"];

/// Returns whether an event could have the type of a service but has none. This check costs almost nothing.
pub(super) fn lacks_type(event: &Event<'_>) -> bool {
    event.service_type.is_none() && event.verb.as_deref().is_some_and(|verb| VERBS.contains(&verb))
}

/// Returns whether a request changed a whole object of the core group, so that the object that was sent decides its
/// state.
pub(super) fn changed_object(event: &Event<'_>) -> bool {
    event.is_complete()
        && !event.has_failed()
        && event.subresource.is_none()
        && event.is_of_core_group()
        && !event.is_dry_run()
}

/// Returns whether a record's end is missing.
pub(super) fn is_cut_off(event: &Event<'_>) -> bool {
    event.malformed.iter().any(|path| path == Event::CUT_OFF)
}

/// Returns whether the object that was sent is not in the record. A patch counts as an object, even if it leaves out
/// the type or is a list.
pub(super) fn lacks_object(event: &Event<'_>) -> bool {
    let Some(object) = event.request_object else { return true };
    if event.verb.as_deref() == Some("patch") {
        return !object.get().starts_with(['{', '[']);
    }
    json::object(Some(object), ["spec"]).present().is_none_or(|[spec]| spec.is_none())
}

#[cfg(test)]
mod tests {
    use portcullis_event::json::Raw;
    use portcullis_event::{LogType, ResponseStatus};

    use super::*;

    fn event(verb: &'static str, object: Option<&'static str>) -> Event<'static> {
        Event {
            verb: Some(verb.into()),
            request_object: object.map(|object| Raw::new(object).expect("JSON")),
            ..Event::new(LogType::Eks)
        }
    }

    #[test]
    fn a_missing_object_differs_from_one_without_a_type() {
        for verb in VERBS {
            assert!(lacks_object(&event(verb, None)), "{verb}");
            assert!(lacks_object(&event(verb, Some("\"skipped-too-big-size-object\""))), "{verb}");
            assert!(!lacks_object(&event(verb, Some("{\"spec\":{\"ports\":[]}}"))), "{verb}");
        }
        for (object, is_whole) in [("{\"metadata\":{}}", false), ("[]", false), ("null", false), ("5", false)] {
            assert_eq!(!lacks_object(&event("create", Some(object))), is_whole, "{object}");
        }
        for patch in ["{\"metadata\":{\"labels\":{}}}", "[{\"op\":\"remove\",\"path\":\"/a\"}]"] {
            assert!(!lacks_object(&event("patch", Some(patch))), "{patch}");
        }
    }

    #[test]
    fn a_request_that_changed_no_object_lacks_nothing() {
        assert!(lacks_type(&event("create", None)) && changed_object(&event("create", None)));
        for verb in ["get", "delete", "list", "deletecollection"] {
            assert!(!lacks_type(&event(verb, None)), "{verb}");
        }
        assert!(!lacks_type(&Event { service_type: Some("ClusterIP".into()), ..event("create", None) }));
        let code = |code| Event { response_status: Some(ResponseStatus { code }), ..event("create", None) };
        for (number, did) in [(0, true), (1, false), (16, false), (17, true), (201, true), (399, true), (400, false)] {
            assert_eq!(changed_object(&code(number)), did, "{number}");
        }
        let uri = |uri: &'static str| Event { request_uri: Some(uri.into()), ..event("create", None) };
        assert!(changed_object(&uri("/api/v1/namespaces/a/services?fieldManager=dryRun=All")));
        assert!(!changed_object(&uri("/api/v1/namespaces/a/services?fieldManager=x&dryRun=All")));
        for event in [
            Event { stage: Some("RequestReceived".into()), ..event("create", None) },
            Event { subresource: Some("status".into()), ..event("patch", None) },
            Event { api_group: Some("serving.knative.dev".into()), ..event("create", None) },
        ] {
            assert!(!changed_object(&event), "{event:?}");
        }
    }
}
