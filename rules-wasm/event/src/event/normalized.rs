//! The normalized event: the one form in which rules see an audit record, whichever cloud wrote it.

use serde::Serialize;

use crate::address::SourceScope;
use crate::json::{Raw, Text};

/// A request to a Kubernetes API server, as its audit record tells it.
///
/// The JSON form is checked in as `event.schema.json`. Names are Panther's unified ones where they exist. What a record
/// does not say is absent; so is a field of a wrong type, which `malformed` then names. Fields may be
/// added in minor versions; none is renamed.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Event<'a> {
    /// Which kind of record it was.
    pub log_type: LogType,
    /// The stage of the request's handling: `RequestReceived`, `ResponseStarted`, `ResponseComplete` or `Panic`. GKE
    /// records only finished requests and has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage: Option<Text<'a>>,
    /// What was asked for: `get`, `create`, `delete` …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verb: Option<Text<'a>>,
    /// Who asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<Text<'a>>,
    /// The groups of the user; none on GKE.
    pub user_groups: Vec<Text<'a>>,
    /// The AWS identity behind the user, from EKS's authenticator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_arn: Option<Text<'a>>,
    /// Whom the user acted as (`kubectl --as`), if it was allowed to impersonate somebody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub impersonated_user: Option<Text<'a>>,
    /// The groups that were impersonated with it.
    pub impersonated_groups: Vec<Text<'a>>,
    /// Where the request came from, as written. All but the last address can be set by the client.
    #[serde(rename = "sourceIPs")]
    pub source_ips: Vec<Text<'a>>,
    /// What the source addresses say together.
    pub source_scope: SourceScope,
    /// The networks that the source addresses belong to, where known.
    pub asn: Vec<Asn<'a>>,
    /// What the client calls itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<Text<'a>>,
    /// The kind of object, plural and lower-case: `pods`, `services` …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<Text<'a>>,
    /// The part of the object: `status`, `token`, `exec` …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subresource: Option<Text<'a>>,
    /// The API group of the resource; the core group is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_group: Option<Text<'a>>,
    /// The object's namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Text<'a>>,
    /// The object's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Text<'a>>,
    /// The path asked for.
    #[serde(rename = "requestURI", skip_serializing_if = "Option::is_none")]
    pub request_uri: Option<Text<'a>>,
    /// How the request ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_status: Option<ResponseStatus>,
    /// `spec.type` of the object sent, which for a service is its type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_type: Option<Text<'a>>,
    /// The cluster, by the name that its log source has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<Text<'a>>,
    /// When the request was received, as written: RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_time: Option<Text<'a>>,
    /// When the request reached its stage, as written: RFC 3339. A client cannot set it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage_time: Option<Text<'a>>,
    /// The record's identity: `auditID`, on GKE `insertId`. A client can set it.
    #[serde(rename = "auditID", skip_serializing_if = "Option::is_none")]
    pub audit_id: Option<Text<'a>>,
    /// The object sent, as the client wrote it; may have any shape. Absent where it is longer than
    /// 4 MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "Option<serde_json::Value>"))]
    pub request_object: Option<Raw<'a>>,
    /// The paths of the record's fields that had a wrong type; [`CUT_OFF`](Self::CUT_OFF), if its end is missing.
    pub malformed: Vec<Text<'a>>,
}

impl Event<'_> {
    /// The longest [`request_object`](Self::request_object) in bytes: above the 3 MiB that a kube-apiserver accepts as
    /// a request body, and what a rule's memory holds several times.
    pub const MAX_REQUEST_OBJECT: usize = 4 << 20;

    /// What `malformed` says of a record whose end is missing: what was cut off counts as absent.
    pub const CUT_OFF: &'static str = "cut off";

    /// An event of which nothing else is known: where tests and embedders start from.
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

    /// Whether the request's handling is over: the stage is `ResponseComplete`, or the record knows no stages. A rule
    /// that asks for it decides once per request, and knows how the request ended.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.stage.as_deref().is_none_or(|stage| stage == "ResponseComplete")
    }

    /// Whether the resource is of the core group, whose name is empty: `services` are Kubernetes' own, and other groups
    /// have some too.
    #[must_use]
    pub fn is_of_core_group(&self) -> bool {
        matches!(self.api_group.as_deref(), None | Some("" | "core"))
    }

    /// The response code, where there is one.
    #[must_use]
    pub fn code(&self) -> Option<i64> {
        self.response_status.map(|status| status.code)
    }

    /// Notes that the record was cut off.
    pub(crate) fn note_cut_off(&mut self) {
        if !self.malformed.iter().any(|path| path == Self::CUT_OFF) {
            self.malformed.push(Self::CUT_OFF.into());
        }
    }
}

/// The kinds of record that hold Kubernetes audit events, by Panther's names.
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
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Eks, Self::Aks, Self::Gke];

    /// The log type with Panther's name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|log_type| log_type.as_str() == name)
    }

    /// Panther's name.
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
    /// An HTTP status; on GKE a gRPC code, of which 0 is success.
    pub code: i64,
}

/// The network that a source address belongs to, as an enrichment told it.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Asn<'a> {
    /// The autonomous system, `AS16509`; null for an unknown provider.
    pub asn: Option<Text<'a>>,
    /// Who runs it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Text<'a>>,
    /// The source address that was looked up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<Text<'a>>,
}
