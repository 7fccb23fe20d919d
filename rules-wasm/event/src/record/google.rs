//! Google Cloud audit log entries of GKE clusters.

use super::malformed::Malformed;
use super::object::{created_name, if_not_too_long, service_type};
use super::writer::Writer;
use crate::event::{Event, ResponseStatus};
use crate::json::{self, Names, Text, Value, text_of};

/// The members of `protoPayload` that are read, in the order in which Google writes them.
static FIELDS: Names<'_, 8> = Names::new([
    "authenticationInfo",
    "methodName",
    "requestMetadata",
    "resourceName",
    "serviceName",
    "status",
    "request",
    "response",
]);

/// The members with the user's name, in the order in which they are tried, and their paths in `malformed`.
const PRINCIPALS: [(&str, &str); 3] = [
    ("principalEmail", "authenticationInfo.principalEmail"),
    ("principalSubject", "authenticationInfo.principalSubject"),
    ("authoritySelector", "authenticationInfo.authoritySelector"),
];

static PRINCIPAL_NAMES: Names<'_, 3> = Names::new([PRINCIPALS[0].0, PRINCIPALS[1].0, PRINCIPALS[2].0]);

static METADATA: Names<'_, 3> = Names::new(["callerIP", "callerIp", "callerSuppliedUserAgent"]);

/// Fills in an event from a `protoPayload`.
///
/// # Errors
/// The payload is not an object, or not from Kubernetes: the name of its service, if it has one.
pub(crate) fn fill<'a>(
    event: &mut Event<'a>,
    payload: Option<Value<'a, '_>>,
    writer: Writer,
) -> Result<(), Option<Text<'a>>> {
    let [authentication, method, metadata, resource_name, service, status, request, response] =
        payload.and_then(|payload| payload.named(&FIELDS)).ok_or(None)?;
    let service = json::one_text(service).present();
    if !service.as_ref().is_some_and(|service| *service == "k8s.io") {
        return Err(service);
    }
    let mut malformed = Malformed::under("protoPayload");
    let principals = malformed.object("authenticationInfo", authentication, &PRINCIPAL_NAMES);
    let [caller_ip, googles_caller_ip, user_agent] = malformed.object("requestMetadata", metadata, &METADATA);
    // Panther renames Google's `callerIp`. A record that did not pass through Panther has Google's name.
    let caller_ip = caller_ip.or(googles_caller_ip.filter(|_| writer == Writer::Cloud));
    let [code] = malformed.object("status", status, &const { Names::new(["code"]) });

    let source_ips = Vec::from_iter(malformed.text("requestMetadata.callerIP", caller_ip));
    let resource_name = malformed.text("resourceName", resource_name);
    let [group, resource, namespace, name, subresource] = match &resource_name {
        None => [const { None }; 5],
        Some(name) => match name.borrowed() {
            Some(name) => ResourceName::parse(name).parts().map(|part| part.map(Text::from)),
            None => ResourceName::parse(name).parts().map(|part| part.map(|part| part.to_owned().into())),
        },
    };
    event.verb = malformed.text("methodName", method).and_then(|method| last_part(&method));
    event.username = PRINCIPALS.iter().zip(principals).find_map(|((_, path), value)| malformed.text(path, value));
    event.source_ips = source_ips;
    event.user_agent = malformed.text("requestMetadata.callerSuppliedUserAgent", user_agent);
    event.resource = resource;
    event.subresource = subresource;
    event.api_group = group;
    event.namespace = namespace;
    event.name = name.or_else(|| created_name(event, request, response));
    event.request_uri = resource_name.as_deref().map(|name| request_uri(name).into());
    event.response_status =
        malformed.check("status.code", json::integer(code.map(Value::raw))).map(|code| ResponseStatus { code });
    event.service_type = service_type(request);
    event.request_object = if_not_too_long(request);
    event.malformed = malformed.into_paths();
    Ok(())
}

/// Returns the cluster's name from the monitored resource of a log entry.
pub(crate) fn cluster<'a>(resource: Option<Value<'a, '_>>) -> Option<Text<'a>> {
    let [labels] = resource?.named(&const { Names::new(["labels"]) })?;
    let [name] = labels?.named(&const { Names::new(["cluster_name"]) })?;
    text_of(name)
}

/// Returns the part of a method's name after its last dot, which is the verb.
fn last_part<'a>(method: &Text<'a>) -> Option<Text<'a>> {
    let last = |method: &str| method.rfind('.').map_or(0, |dot| dot + 1);
    let verb = match method.borrowed() {
        Some(method) => Text::from(&method[last(method)..]),
        None => method[last(method)..].to_owned().into(),
    };
    (!verb.is_empty()).then_some(verb)
}

/// The parts of `group/version/[namespaces/NS/]resource[/name[/subresource]]`.
#[derive(Debug, Default, PartialEq, Eq)]
struct ResourceName<'n> {
    group: Option<&'n str>,
    resource: Option<&'n str>,
    namespace: Option<&'n str>,
    name: Option<&'n str>,
    subresource: Option<&'n str>,
}

impl<'n> ResourceName<'n> {
    /// Returns group, resource, namespace, name and subresource.
    fn parts(self) -> [Option<&'n str>; 5] {
        [self.group, self.resource, self.namespace, self.name, self.subresource]
    }

    fn parse(text: &'n str) -> Self {
        let mut parts = text.split('/');
        // The core group is absent, as in an audit event's `objectRef`.
        let group = parts.next().filter(|group| !group.is_empty() && *group != "core");
        let mut rest = parts.skip(1).map(|part| Some(part).filter(|part| !part.is_empty()));
        let mut next = || rest.next().flatten();
        match next() {
            Some("namespaces") => {
                let namespace = next();
                match next() {
                    Some(resource) => {
                        Self { group, resource: Some(resource), namespace, name: next(), subresource: next() }
                    }
                    // The namespace object, or all namespaces.
                    None => Self { group, resource: Some("namespaces"), namespace, name: namespace, subresource: None },
                }
            }
            Some(resource) => {
                Self { group, resource: Some(resource), namespace: None, name: next(), subresource: next() }
            }
            None => Self::default(),
        }
    }
}

/// Returns the path of a `resourceName`. A name that begins with a slash, such as `/readyz`, is a path already.
fn request_uri(resource_name: &str) -> String {
    if resource_name.starts_with('/') {
        resource_name.to_owned()
    } else if let Some(rest) = resource_name.strip_prefix("core/v1/") {
        ["/api/v1/", rest].concat()
    } else {
        ["/apis/", resource_name].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_name_is_parsed() {
        let parse = |text| {
            let ResourceName { group, resource, namespace, name, subresource } = ResourceName::parse(text);
            [group, resource, namespace, name, subresource].map(|part| part.unwrap_or("-")).join(" ")
        };
        for (text, parts) in [
            ("core/v1/namespaces/default/services/web", "- services default web -"),
            ("core/v1/namespaces/default/pods", "- pods default - -"),
            ("core/v1/namespaces/default/pods/a/exec", "- pods default a exec"),
            ("core/v1/namespaces/default", "- namespaces default default -"),
            ("core/v1/namespaces", "- namespaces - - -"),
            ("core/v1/nodes/n1/status", "- nodes - n1 status"),
            ("apps/v1/namespaces/prod/deployments/web", "apps deployments prod web -"),
            ("core/v1/namespaces//services/", "- services - - -"),
            ("core/v1/healthz", "- healthz - - -"),
            ("/readyz", "- - - - -"),
            ("readyz", "- - - - -"),
            ("", "- - - - -"),
            ("a/b", "- - - - -"),
        ] {
            assert_eq!(parse(text), parts, "{text}");
        }
    }

    #[test]
    fn the_request_uri_comes_from_the_resource_name() {
        assert_eq!(request_uri("core/v1/namespaces/default/pods"), "/api/v1/namespaces/default/pods");
        assert_eq!(request_uri("apps/v1/deployments"), "/apis/apps/v1/deployments");
        assert_eq!(request_uri("/readyz"), "/readyz");
    }
}
