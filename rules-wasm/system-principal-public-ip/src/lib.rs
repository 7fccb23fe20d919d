//! *Kubernetes.System.Principal.PublicIP*: detects service accounts, nodes and principals of the cloud that were used
//! from a public address outside the cloud's own infrastructure. Their tokens may be stolen.

use portcullis_rule::{Alert, Asn, Event, LogType, Rule, SourceScope, Text, address, request};

/// The rule.
pub struct SystemPrincipalPublicIp;

impl Rule for SystemPrincipalPublicIp {
    fn evaluate(event: &Event) -> Option<Alert> {
        let username = event.username.as_deref()?;
        let suspicious = event.is_complete()
            && !is_denied(event)
            && SYSTEM_PRINCIPALS.iter().any(|prefix| username.starts_with(prefix))
            && event.source_scope == SourceScope::Public
            && !is_cloud_infrastructure(event, username);
        suspicious.then(|| alert(event, username))
    }
}

portcullis_rule::export_rule! {
    rule: SystemPrincipalPublicIp,
    prefilter: {
        sourceScope: ["public"],
        username: ["system:serviceaccount:*", "system:node:*", "eks:*", "aks:*"],
    },
}

const SYSTEM_PRINCIPALS: [&str; 4] = ["system:serviceaccount:", "system:node:", "eks:", "aks:"];

/// Role that AWS's control plane assumes to manage add-ons and nodes.
const EKS_MANAGER_ROLE: &str = ":assumed-role/AWSWesleyClusterManagerLambda";

/// Service accounts in `kube-system` of the components that AKS runs on nodes.
const AKS_NODE_ACCOUNTS: [&str; 4] =
    ["csi-azuredisk-node-sa", "csi-azurefile-node-sa", "csi-secrets-store-provider-azure", "cloud-node-manager"];

/// Amazon's two networks.
const AWS: &[&str] = &["AS16509", "AS14618"];
const AZURE: &[&str] = &["AS8075"];
const GOOGLE: &[&str] = &["AS15169", "AS396982"];

/// Returns whether the API server denied the request: with HTTP status 403, or on GKE with gRPC code 7,
/// `PERMISSION_DENIED`.
fn is_denied(event: &Event) -> bool {
    matches!((event.code(), event.log_type), (Some(403), _) | (Some(7), LogType::Gke))
}

/// Returns whether the principal is one that the cloud itself uses from its own public addresses.
fn is_cloud_infrastructure(event: &Event, username: &str) -> bool {
    let node = username.starts_with("system:node:");
    let in_group = |name: &str| event.user_groups.iter().any(|group| group == name);
    match event.log_type {
        LogType::Eks => {
            let manager = ["eks:addon-manager", "eks:node-manager"].contains(&username)
                && event.user_arn.as_deref().is_some_and(|arn| arn.contains(EKS_MANAGER_ROLE));
            manager || (node && in_group("system:nodes") && in_group("system:authenticated") && is_from(event, AWS))
        }
        LogType::Aks => {
            let account = username.strip_prefix("system:serviceaccount:kube-system:");
            account.is_some_and(|name| AKS_NODE_ACCOUNTS.contains(&name)) || (node && is_from(event, AZURE))
        }
        LogType::Gke => node && is_from(event, GOOGLE),
    }
}

/// Returns whether all known networks of the source addresses are the provider's. One is not enough, because clients
/// can write all addresses but the last.
fn is_from(event: &Event, provider: &[&str]) -> bool {
    !event.asn.is_empty()
        && event.asn.iter().all(|entry| entry.asn.as_deref().is_some_and(|asn| provider.contains(&asn)))
}

fn alert(event: &Event, username: &str) -> Alert {
    // The last address, because clients can write all others.
    let source_ip =
        event.source_ips.iter().rev().find_map(|text| address::parse(text)).map(|address| address.to_string());
    let asn = source_ip.as_deref().and_then(|source_ip| asn_of(event, source_ip));
    let number = asn.and_then(|entry| entry.asn.as_deref());
    let origin = match (number, asn.and_then(|entry| entry.name.as_deref())) {
        (Some(number), Some(name)) => format!(" ({number} {name})"),
        (Some(number), None) => format!(" ({number})"),
        (None, _) => String::new(),
    };
    let address = source_ip.as_deref().unwrap_or("?");
    let place = request::in_cluster(event);
    Alert::new(event, format!("{username} used from public address {address}{origin}{place}"), address)
        .with("source_ip", source_ip.as_deref())
        .with("asn", number)
}

/// Returns the network of a source address: the entry with this address, or the only entry if it has no address.
fn asn_of<'e>(event: &'e Event<'e>, source_ip: &str) -> Option<&'e Asn<'e>> {
    let has_address = |entry: &&Asn| {
        entry
            .address
            .as_ref()
            .and_then(|text: &Text| address::parse(text))
            .is_some_and(|named| named.to_string() == source_ip)
    };
    match &*event.asn {
        [only] if only.address.is_none() => Some(only),
        entries => entries.iter().find(has_address),
    }
}

#[cfg(test)]
mod tests {
    use portcullis_rule::ResponseStatus;

    use super::*;

    fn used(log_type: LogType, username: &str) -> Event<'_> {
        Event {
            username: Some(username.into()),
            source_ips: vec!["8.8.4.4".into(), "1.2.3.4:443".into()],
            source_scope: SourceScope::Public,
            cluster: Some("prod".into()),
            ..Event::new(log_type)
        }
    }

    fn asn(asn: Option<&'static str>, address: Option<&'static str>) -> Asn<'static> {
        Asn { asn: asn.map(Text::from), name: Some("An ISP".into()), address: address.map(Text::from) }
    }

    fn matches(event: &Event) -> bool {
        SystemPrincipalPublicIp::evaluate(event).is_some()
    }

    #[test]
    fn the_alert_names_the_last_source_address() {
        let mut event = used(LogType::Eks, "system:serviceaccount:prod:web");
        event.asn = vec![asn(Some("AS1"), Some("8.8.4.4")), asn(Some("AS2"), Some("1.2.3.4"))];
        let alert = SystemPrincipalPublicIp::evaluate(&event).expect("the event matches");
        assert_eq!(
            alert.title(),
            "system:serviceaccount:prod:web used from public address 1.2.3.4 (AS2 An ISP) in cluster prod"
        );
        assert_eq!(alert.dedup(), "1.2.3.4");
        let context: serde_json::Value = serde_json::from_str(&alert.context()).expect("the context is an object");
        assert_eq!(context["source_ip"], "1.2.3.4");
        assert_eq!(context["asn"], "AS2");
    }

    #[test]
    fn the_network_of_another_address_is_not_named() {
        let title = |entry| {
            let event = Event { asn: vec![entry], ..used(LogType::Eks, "system:node:n") };
            SystemPrincipalPublicIp::evaluate(&event).map(|alert| alert.title().to_owned())
        };
        let without = "system:node:n used from public address 1.2.3.4 in cluster prod";
        assert_eq!(title(asn(Some("AS2"), Some("8.8.4.4"))).as_deref(), Some(without));
        let with = "system:node:n used from public address 1.2.3.4 (AS2 An ISP) in cluster prod";
        assert_eq!(title(asn(Some("AS2"), None)).as_deref(), Some(with));
    }

    #[test]
    fn only_system_principals_match() {
        for username in ["system:serviceaccount:a:b", "system:node:n", "eks:x", "aks:x"] {
            assert!(matches(&used(LogType::Eks, username)), "{username}");
        }
        for username in ["ada", "system:anonymous", "system:serviceaccount", " system:node:n", "aksService", "EKS:x"] {
            assert!(!matches(&used(LogType::Eks, username)), "{username}");
        }
        assert!(!matches(&Event { username: None, ..used(LogType::Eks, "") }));
    }

    #[test]
    fn only_public_sources_match() {
        let account = "system:serviceaccount:a:b";
        for source_scope in [SourceScope::Internal, SourceScope::None] {
            assert!(!matches(&Event { source_scope, ..used(LogType::Eks, account) }));
        }
    }

    #[test]
    fn only_a_complete_request_that_was_not_denied_matches() {
        let account = "system:serviceaccount:a:b";
        let with_code = |log_type, code| {
            matches(&Event { response_status: Some(ResponseStatus { code }), ..used(log_type, account) })
        };
        assert!(with_code(LogType::Eks, 200) && with_code(LogType::Eks, 404) && with_code(LogType::Eks, 7));
        assert!(!with_code(LogType::Eks, 403) && !with_code(LogType::Gke, 403) && !with_code(LogType::Gke, 7));
        assert!(matches(&Event { stage: Some("ResponseComplete".into()), ..used(LogType::Eks, account) }));
        assert!(!matches(&Event { stage: Some("RequestReceived".into()), ..used(LogType::Eks, account) }));
    }

    #[test]
    fn a_node_in_its_providers_networks_does_not_match() {
        let node = |log_type, numbers: &[Option<&'static str>]| {
            let asn = numbers.iter().map(|number| asn(*number, None)).collect();
            let user_groups = vec!["system:nodes".into(), "system:authenticated".into()];
            matches(&Event { asn, user_groups, ..used(log_type, "system:node:n") })
        };
        for (log_type, own, other) in
            [(LogType::Eks, AWS, "AS8075"), (LogType::Aks, AZURE, "AS16509"), (LogType::Gke, GOOGLE, "AS16509")]
        {
            for number in own {
                assert!(!node(log_type, &[Some(number)]), "{log_type:?} {number}");
                assert!(node(log_type, &[Some(number), Some(other)]), "{log_type:?} {number} and another network");
                assert!(node(log_type, &[Some(number), None]), "{log_type:?} {number} and an unknown network");
            }
            assert!(node(log_type, &[Some(other)]) && node(log_type, &[None]) && node(log_type, &[]), "{log_type:?}");
        }
    }

    #[test]
    fn an_eks_node_outside_of_its_groups_matches() {
        for groups in [&["system:nodes"][..], &["system:authenticated"], &[]] {
            let user_groups = groups.iter().map(|group| Text::from(*group)).collect();
            let asn = vec![asn(Some("AS16509"), None)];
            assert!(matches(&Event { asn, user_groups, ..used(LogType::Eks, "system:node:n") }), "{groups:?}");
        }
    }

    #[test]
    fn a_clouds_principals_match_on_other_clouds_only() {
        let arn = "arn:aws:sts::1:assumed-role/AWSWesleyClusterManagerLambda-Add/session";
        for username in ["eks:addon-manager", "eks:node-manager"] {
            let with_arn = |log_type| matches(&Event { user_arn: Some(arn.into()), ..used(log_type, username) });
            assert!(!with_arn(LogType::Eks) && with_arn(LogType::Aks) && with_arn(LogType::Gke));
            assert!(matches(&used(LogType::Eks, username)));
        }
        assert!(matches(&Event { user_arn: Some(arn.into()), ..used(LogType::Eks, "eks:other") }));
        for name in AKS_NODE_ACCOUNTS {
            let username = format!("system:serviceaccount:kube-system:{name}");
            assert!(!matches(&used(LogType::Aks, &username)) && matches(&used(LogType::Eks, &username)), "{username}");
            assert!(matches(&used(LogType::Aks, &format!("system:serviceaccount:default:{name}"))));
        }
    }
}
