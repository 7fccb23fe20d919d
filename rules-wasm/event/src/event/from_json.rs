//! Reading an event from its JSON, as a rule does in its sandbox.

use super::normalized::{Asn, Event, LogType, ResponseStatus};
use crate::address::SourceScope;
use crate::json::{self, Document, Names, Read, Text, Value};
use crate::scan::Tokens;

/// The members that are texts.
const TEXTS: [&str; 17] = [
    "stage",
    "verb",
    "username",
    "userArn",
    "impersonatedUser",
    "userAgent",
    "resource",
    "subresource",
    "apiGroup",
    "namespace",
    "name",
    "requestURI",
    "serviceType",
    "cluster",
    "eventTime",
    "stageTime",
    "auditID",
];

/// All other members.
const OTHERS: [&str; 9] = [
    "logType",
    "sourceScope",
    "userGroups",
    "impersonatedGroups",
    "sourceIPs",
    "asn",
    "responseStatus",
    "requestObject",
    "malformed",
];

static MEMBERS: Names<'_, { OTHERS.len() + TEXTS.len() }> = Names::new(json::joined(&OTHERS, &TEXTS));

impl<'a> Event<'a> {
    /// Reads an event from its JSON. Members that this version does not know are skipped. `None` if the text is not
    /// JSON, if `logType` or `sourceScope` is missing or unknown, or if a member has a wrong type.
    #[must_use]
    pub fn from_json(text: &'a str) -> Option<Self> {
        let mut tokens = Tokens::default();
        let document = Document::read(text, &mut tokens)?;
        let [
            log_type,
            source_scope,
            user_groups,
            impersonated_groups,
            source_ips,
            asn,
            response_status,
            request_object,
            malformed,
            rest @ ..,
        ] = document.value().named(&MEMBERS)?;
        let mut texts: [Option<Text<'a>>; TEXTS.len()] = [const { None }; TEXTS.len()];
        for (text, value) in texts.iter_mut().zip(rest) {
            *text = valid(json::one_text(value))?;
        }
        let [
            stage,
            verb,
            username,
            user_arn,
            impersonated_user,
            user_agent,
            resource,
            subresource,
            api_group,
            namespace,
            name,
            request_uri,
            service_type,
            cluster,
            event_time,
            stage_time,
            audit_id,
        ] = texts;
        Some(Self {
            log_type: LogType::named(&valid(json::one_text(log_type))??)?,
            stage,
            verb,
            username,
            user_groups: list(user_groups)?,
            user_arn,
            impersonated_user,
            impersonated_groups: list(impersonated_groups)?,
            source_ips: list(source_ips)?,
            source_scope: SourceScope::named(&valid(json::one_text(source_scope))??)?,
            asn: networks(asn)?,
            user_agent,
            resource,
            subresource,
            api_group,
            namespace,
            name,
            request_uri,
            response_status: match valid(json::named(response_status, &const { Names::new(["code"]) }))? {
                Some([code]) => Some(ResponseStatus { code: code?.raw().get().parse().ok()? }),
                None => None,
            },
            service_type,
            cluster,
            event_time,
            stage_time,
            audit_id,
            request_object: request_object.map(Value::raw),
            malformed: list(malformed)?,
        })
    }
}

/// Returns a value that may be absent. `None` if it has a wrong type.
#[expect(clippy::option_option, reason = "the outer one is for `?`")]
fn valid<T>(read: Read<T>) -> Option<Option<T>> {
    match read {
        Read::Present(value) => Some(Some(value)),
        Read::Absent => Some(None),
        Read::Malformed => None,
    }
}

fn list<'a>(value: Option<Value<'a, '_>>) -> Option<Vec<Text<'a>>> {
    let (texts, dropped) = valid(json::texts(value, false))?.unwrap_or_default();
    (!dropped).then_some(texts)
}

fn networks<'a>(value: Option<Value<'a, '_>>) -> Option<Vec<Asn<'a>>> {
    match value {
        Some(value) if value.is_list() => value.items().map(network).collect(),
        Some(_) => None,
        None => Some(Vec::new()),
    }
}

fn network<'a>(entry: Value<'a, '_>) -> Option<Asn<'a>> {
    let [asn, name, address] = entry.named(&const { Names::new(["asn", "name", "address"]) })?;
    Some(Asn {
        asn: valid(json::one_text(asn))?,
        name: valid(json::one_text(name))?,
        address: valid(json::one_text(address))?,
    })
}
