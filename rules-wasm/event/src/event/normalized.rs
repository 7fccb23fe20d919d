//! The event's fields, and simple questions about them.

use serde::Serialize;

use crate::address::SourceScope;
use crate::json::{Raw, Text};

/// A request to a Kubernetes API server, as its audit record describes it.
///
/// The JSON form is checked in as `event.schema.json`. Fields have Panther's unified names where there are some. A
/// field is absent if the record does not have it, or has it with a wrong type. In the second case `malformed` lists
/// it. Minor versions may add fields, and never rename them.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Event<'a> {
    /// The kind of record.
    pub log_type: LogType,
    /// The stage of the request: `RequestReceived`, `ResponseStarted`, `ResponseComplete` or `Panic`. Absent on GKE,
    /// which records only complete requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage: Option<Text<'a>>,
    /// The verb of the request: `get`, `create`, `delete` …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verb: Option<Text<'a>>,
    /// The user that sent the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<Text<'a>>,
    /// The user's groups. Empty on GKE.
    pub user_groups: Vec<Text<'a>>,
    /// The user's AWS identity, from EKS's authenticator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_arn: Option<Text<'a>>,
    /// The user that was impersonated (`kubectl --as`), if that was allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub impersonated_user: Option<Text<'a>>,
    /// The groups that were impersonated.
    pub impersonated_groups: Vec<Text<'a>>,
    /// The addresses from which the request came, as written. A client can set all but the last one.
    #[serde(rename = "sourceIPs")]
    pub source_ips: Vec<Text<'a>>,
    /// Whether the source addresses are public.
    pub source_scope: SourceScope,
    /// The networks of the source addresses, where they are known.
    pub asn: Vec<Asn<'a>>,
    /// The client's name for itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<Text<'a>>,
    /// The kind of object, in the plural and in lower case: `pods`, `services` …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<Text<'a>>,
    /// The requested part of the object: `status`, `token`, `exec` …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subresource: Option<Text<'a>>,
    /// The resource's API group. Absent for the core group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_group: Option<Text<'a>>,
    /// The object's namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Text<'a>>,
    /// The object's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Text<'a>>,
    /// The path of the request, and its query. GKE's records have no query.
    #[serde(rename = "requestURI", skip_serializing_if = "Option::is_none")]
    pub request_uri: Option<Text<'a>>,
    /// How the request ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_status: Option<ResponseStatus>,
    /// `spec.type` of the object in the request. For a service this is its type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_type: Option<Text<'a>>,
    /// The cluster, named like its log source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<Text<'a>>,
    /// When the request was received, as written: RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_time: Option<Text<'a>>,
    /// When the request reached its stage, as written: RFC 3339. A client cannot set it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage_time: Option<Text<'a>>,
    /// The id of the record: `auditID`, or `insertId` on GKE. A client can set it.
    #[serde(rename = "auditID", skip_serializing_if = "Option::is_none")]
    pub audit_id: Option<Text<'a>>,
    /// The object in the request, as the client wrote it. It may have any shape. Absent if it is longer than 4 MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "Option<serde_json::Value>"))]
    pub request_object: Option<Raw<'a>>,
    /// The paths of the record's fields that have a wrong type, and `cut off` if the record's end is missing.
    pub malformed: Vec<Text<'a>>,
}

impl Event<'_> {
    /// The longest [`request_object`](Self::request_object) in bytes. A kube-apiserver accepts request bodies of 3 MiB
    /// at most, and a rule's memory holds this many bytes several times.
    pub const MAX_REQUEST_OBJECT: usize = 4 << 20;

    /// The entry in `malformed` for a record whose end is missing. Fields that were cut off are absent.
    pub const CUT_OFF: &'static str = "cut off";

    /// An event with all other fields absent, from which tests and embedders start.
    #[must_use]
    pub fn new(log_type: LogType) -> Self {
        Self {
            log_type,
            stage: None,
            verb: None,
            username: None,
            user_groups: Vec::new(),
            user_arn: None,
            impersonated_user: None,
            impersonated_groups: Vec::new(),
            source_ips: Vec::new(),
            source_scope: SourceScope::None,
            asn: Vec::new(),
            user_agent: None,
            resource: None,
            subresource: None,
            api_group: None,
            namespace: None,
            name: None,
            request_uri: None,
            response_status: None,
            service_type: None,
            cluster: None,
            event_time: None,
            stage_time: None,
            audit_id: None,
            request_object: None,
            malformed: Vec::new(),
        }
    }

    /// Whether the request is complete: the stage is `ResponseComplete`, or the record has no stage. A rule that checks
    /// this matches once per request, and knows how the request ended.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.stage.as_deref().is_none_or(|stage| stage == "ResponseComplete")
    }

    /// Whether the resource is in the core group, whose name is empty. Other groups have resources with the same names,
    /// such as `services`.
    #[must_use]
    pub fn is_of_core_group(&self) -> bool {
        matches!(self.api_group.as_deref(), None | Some("" | "core"))
    }

    /// The response code, if there is one.
    #[must_use]
    pub fn code(&self) -> Option<i64> {
        self.response_status.map(|status| status.code)
    }

    /// Returns whether the request failed: the response code is an HTTP error (400 or more) or a gRPC error (1 to 16). A record
    /// without a code does not count as failed.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.code().is_some_and(|code| code >= 400 || (1..=16).contains(&code))
    }

    /// Notes in `malformed` that the record was cut off.
    pub(crate) fn note_cut_off(&mut self) {
        if !self.malformed.iter().any(|path| path == Self::CUT_OFF) {
            self.malformed.push(Self::CUT_OFF.into());
        }
    }
}

/// The kinds of record that contain Kubernetes audit events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum LogType {
    /// A kube-apiserver audit event, from EKS or any other cluster.
    #[serde(rename = "Amazon.EKS.Audit")]
    Eks,
    /// An Azure resource log of category `kube-audit` or `kube-audit-admin`.
    #[serde(rename = "Azure.MonitorActivity")]
    Aks,
    /// A Google Cloud audit log entry of the service `k8s.io`.
    #[serde(rename = "GCP.AuditLog")]
    Gke,
}

impl LogType {
    /// All log types.
    pub const ALL: [Self; 3] = [Self::Eks, Self::Aks, Self::Gke];

    /// Returns the log type with this name of Panther's.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|log_type| log_type.as_str() == name)
    }

    /// Panther's name of the log type.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Eks => "Amazon.EKS.Audit",
            Self::Aks => "Azure.MonitorActivity",
            Self::Gke => "GCP.AuditLog",
        }
    }
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ResponseStatus {
    /// An HTTP status code, or on GKE a gRPC status code, where 0 is success.
    pub code: i64,
}

/// The network of a source address, from an enrichment.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Asn<'a> {
    /// The autonomous system, such as `AS16509`. Null if the provider is unknown.
    pub asn: Option<Text<'a>>,
    /// The name of the network's provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Text<'a>>,
    /// The source address that was looked up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<Text<'a>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_failed_if_its_code_is_an_error_of_http_or_grpc() {
        let with = |code| Event { response_status: Some(ResponseStatus { code }), ..Event::new(LogType::Gke) };
        for (code, failed) in [
            (-1, false),
            (0, false),
            (1, true),
            (16, true),
            (17, false),
            (201, false),
            (399, false),
            (400, true),
            (i64::MAX, true),
        ] {
            assert_eq!(with(code).has_failed(), failed, "{code}");
        }
        assert!(!Event::new(LogType::Eks).has_failed());
    }
}
