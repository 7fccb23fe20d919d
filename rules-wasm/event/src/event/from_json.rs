//! Reading an event from its JSON, as a rule does in its sandbox.

use super::normalized::{Asn, Event, LogType, ResponseStatus};
use crate::address::SourceScope;
use crate::json::{self, Names, Raw, Read, Reader, Text};

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
    "malformed",
    "asn",
    "responseStatus",
    "requestObject",
];

static MEMBERS: Names<'_, { OTHERS.len() + TEXTS.len() }> = Names::new(json::joined(&OTHERS, &TEXTS));

impl<'a> Event<'a> {
    /// Reads an event from its JSON. Members that this version does not know are skipped. `None` if `logType` or
    /// `sourceScope` is missing or unknown, if a member has a wrong type, or if the text is not JSON. Inside of
    /// `requestObject` and of members that it does not know, nothing is validated: whoever calls a rule wrote the JSON.
    #[must_use]
    pub fn from_json(text: &'a str) -> Option<Self> {
        let mut texts: [Option<Text<'a>>; TEXTS.len()] = [const { None }; TEXTS.len()];
        let (mut log_type, mut source_scope) = (None, None);
        let mut lists = [const { Vec::new() }; 4];
        let (mut asn, mut response_status, mut request_object) = (Vec::new(), None, None);
        let mut reader = Reader::new(text);
        reader.object(|reader, name| {
            let Some(place) = MEMBERS.place_of(name) else { return reader.value().map(drop) };
            match place {
                0 => log_type = Some(LogType::named(&text_of(reader)??)?),
                1 => source_scope = Some(SourceScope::named(&text_of(reader)??)?),
                2..6 => lists[place - 2] = list(reader)?,
                6 => asn = networks(reader)?,
                7 => response_status = status(reader)?,
                8 => request_object = Some(reader.value()?),
                _ => texts[place - OTHERS.len()] = text_of(reader)?,
            }
            Some(())
        })?;
        if reader.next().is_some() {
            return None;
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
        let [user_groups, impersonated_groups, source_ips, malformed] = lists;
        Some(Self {
            log_type: log_type?,
            stage,
            verb,
            username,
            user_groups,
            user_arn,
            impersonated_user,
            impersonated_groups,
            source_ips,
            source_scope: source_scope?,
            asn,
            user_agent,
            resource,
            subresource,
            api_group,
            namespace,
            name,
            request_uri,
            response_status,
            service_type,
            cluster,
            event_time,
            stage_time,
            audit_id,
            request_object,
            malformed,
        })
    }
}

/// Reads a text that may be absent. `None` if it has a wrong type.
#[expect(clippy::option_option, reason = "the outer one is for `?`")]
fn text_of<'a>(reader: &mut Reader<'a>) -> Option<Option<Text<'a>>> {
    match reader.text() {
        Read::Present(text) => Some(Some(text)),
        Read::Absent => Some(None),
        Read::Malformed => None,
    }
}

/// Reads a list of texts. Null counts as an empty list.
fn list<'a>(reader: &mut Reader<'a>) -> Option<Vec<Text<'a>>> {
    if reader.next()? != b'[' {
        return text_of(reader)?.is_none().then(Vec::new);
    }
    let mut texts = Vec::new();
    reader.list(|reader| {
        texts.extend(text_of(reader)?);
        Some(())
    })?;
    Some(texts)
}

fn networks<'a>(reader: &mut Reader<'a>) -> Option<Vec<Asn<'a>>> {
    let mut networks = Vec::new();
    reader.list(|reader| {
        let mut network = Asn { asn: None, name: None, address: None };
        reader.object(|reader, name| {
            let text = match &*name.unescaped() {
                "asn" => &mut network.asn,
                "name" => &mut network.name,
                "address" => &mut network.address,
                _ => return reader.value().map(drop),
            };
            *text = text_of(reader)?;
            Some(())
        })?;
        networks.push(network);
        Some(())
    })?;
    Some(networks)
}

/// Reads a response status. Null counts as absent.
#[expect(clippy::option_option, reason = "as above")]
fn status(reader: &mut Reader<'_>) -> Option<Option<ResponseStatus>> {
    if reader.next()? != b'{' {
        return text_of(reader)?.is_none().then_some(None);
    }
    let mut code = None;
    reader.object(|reader, name| {
        let value = reader.value()?;
        if name.is("code") {
            code = Some(value);
        }
        Some(())
    })?;
    Some(Some(ResponseStatus { code: code.map(Raw::get)?.parse().ok()? }))
}
