//! Google Cloud audit log entries of GKE clusters.

use crate::audit::{Malformed, service_type, shown};
use crate::json::{self, RawValue, Read};
use crate::record::Writer;
use crate::{Event, LogType, ResponseStatus, Text};

/// The members of `protoPayload` that are read.
const FIELDS: [&str; 6] = ["authenticationInfo", "methodName", "requestMetadata", "resourceName", "status", "request"];

/// The users' names, in the order in which they are tried, and where a wrong type of each is noted.
const PRINCIPALS: [(&str, &str); 3] = [
    ("principalEmail", "authenticationInfo.principalEmail"),
    ("principalSubject", "authenticationInfo.principalSubject"),
    ("authoritySelector", "authenticationInfo.authoritySelector"),
];

/// The event of a `protoPayload` that is known to be an object.
pub(crate) fn event(payload: &RawValue, writer: Writer) -> Event<'_> {
    let mut malformed = Malformed::under("protoPayload");
    let [authentication, method, metadata, resource_name, status, request] =
        json::object(Some(payload), FIELDS).present().unwrap_or_default();
    let principals = malformed.object("authenticationInfo", authentication, PRINCIPALS.map(|(name, _)| name));
    let [caller_ip, googles_caller_ip, user_agent] =
        malformed.object("requestMetadata", metadata, ["callerIP", "callerIp", "callerSuppliedUserAgent"]);
    // Panther renames Google's `callerIp`; a record that it did not touch still has Google's name.
    let caller_ip = caller_ip.or(googles_caller_ip.filter(|_| writer == Writer::Cloud));
    let [code] = malformed.object("status", status, ["code"]);

    let source_ips = Vec::from_iter(malformed.text("requestMetadata.callerIP", caller_ip));
    let resource_name = malformed.text("resourceName", resource_name);
    let object = resource_name.as_deref().map(ResourceName::parse).unwrap_or_default();
    let owned = |part: Option<&str>| part.map(|part| Text::from(part.to_owned()));
    Event {
        verb: malformed.text("methodName", method).and_then(|method| last_part(&method)),
        username: PRINCIPALS.iter().zip(principals).find_map(|((_, path), raw)| malformed.text(path, raw)),
        source_ips,
        user_agent: malformed.text("requestMetadata.callerSuppliedUserAgent", user_agent),
        resource: owned(object.resource),
        subresource: owned(object.subresource),
        api_group: owned(object.group),
        namespace: owned(object.namespace),
        name: owned(object.name),
        request_uri: resource_name.as_deref().map(|name| request_uri(name).into()),
        response_status: malformed.check("status.code", json::integer(code)).map(|code| ResponseStatus { code }),
        service_type: service_type(request),
        request_object: shown(request),
        malformed: malformed.into_paths(),
        ..Event::new(LogType::Gke)
    }
}

/// The last dotted part of a method's name, which is the verb.
fn last_part(method: &str) -> Option<Text<'static>> {
    let verb = method.rsplit('.').next().unwrap_or(method);
    (!verb.is_empty()).then(|| verb.to_owned().into())
}

/// Whether `protoPayload` is an object that names Kubernetes as its service, else the service's name.
pub(crate) fn service(payload: Option<&RawValue>) -> Result<&RawValue, Option<Text<'_>>> {
    let Some(payload) = payload else { return Err(None) };
    match json::object(Some(payload), ["serviceName"]) {
        Read::Present([name]) => match json::text(name) {
            Read::Present(name) if name == "k8s.io" => Ok(payload),
            other => Err(other.present()),
        },
        Read::Absent | Read::Malformed => Err(None),
    }
}

/// `group/version/[namespaces/NS/]resource[/name[/subresource]]`, taken apart.
#[derive(Debug, Default, PartialEq, Eq)]
struct ResourceName<'n> {
    group: Option<&'n str>,
    resource: Option<&'n str>,
    namespace: Option<&'n str>,
    name: Option<&'n str>,
    subresource: Option<&'n str>,
}

impl<'n> ResourceName<'n> {
    fn parse(text: &'n str) -> Self {
        let mut parts = text.split('/');
        // The core group is absent here as it is in an audit event's `objectRef`.
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
                    // The namespace object itself, or all of them.
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

/// The path that a `resourceName` stands for. One that begins with a slash, as of `/readyz`, is a path already.
fn request_uri(resource_name: &str) -> String {
    if resource_name.starts_with('/') {
        resource_name.to_owned()
    } else if let Some(rest) = resource_name.strip_prefix("core/v1/") {
        format!("/api/v1/{rest}")
    } else {
        format!("/apis/{resource_name}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resource_names_are_taken_apart() {
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
