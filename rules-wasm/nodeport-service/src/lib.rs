//! *Kubernetes.Service.NodePort.Deployed*: a service of type `NodePort` was deployed, which opens a port of every node
//! to whoever reaches the nodes.

use portcullis_rule::json::{self, Raw};
use portcullis_rule::{Alert, Event, Rule, Text};

/// The rule.
pub struct NodePortService;

impl Rule for NodePortService {
    fn evaluate(event: &Event) -> Option<Alert> {
        let deployed = event.verb.as_deref() == Some("create")
            && event.resource.as_deref() == Some("services")
            && event.is_of_core_group()
            && event.is_complete()
            && !event.code().is_some_and(is_failure)
            && event.service_type.as_deref() == Some("NodePort")
            && !event.is_dry_run();
        deployed.then(|| alert(event))
    }
}

portcullis_rule::export_rule! {
    rule: NodePortService,
    prefilter: {
        verb: ["create"],
        resource: ["services"],
        serviceType: ["NodePort"],
    },
}

/// An HTTP error, or one of gRPC's codes 1 to 16.
fn is_failure(code: i64) -> bool {
    code >= 400 || (1..=16).contains(&code)
}

fn alert(event: &Event) -> Alert {
    let name = match (event.name.as_deref(), generate_name(event)) {
        (Some(name), _) => name.to_owned(),
        (None, Some(prefix)) => format!("{prefix}*"),
        (None, None) => "without a name".to_owned(),
    };
    let service = match event.namespace.as_deref() {
        Some(namespace) => format!("{namespace}/{name}"),
        None => name.clone(),
    };
    let username = event.username.as_deref().unwrap_or("an unknown user");
    let place = event.cluster.as_ref().map(|cluster| format!(" in cluster {cluster}")).unwrap_or_default();
    let is_known = event.name.is_some() || generate_name(event).is_some();
    Alert::new(event, format!("NodePort service {service} deployed by {username}{place}"), service + &place)
        .with("name", is_known.then_some(&*name))
        .with("serviceType", event.service_type.as_deref())
        .with("ports", ports(event))
}

/// What the API server was to make a name of.
fn generate_name<'e>(event: &Event<'e>) -> Option<Text<'e>> {
    let [metadata] = json::object(event.request_object, ["metadata"]).present()?;
    let [prefix] = json::object(metadata, ["generateName"]).present()?;
    json::text(prefix).present()
}

/// The ports asked for, as the client wrote them.
fn ports<'e>(event: &Event<'e>) -> Option<Vec<Raw<'e>>> {
    let [spec] = json::object(event.request_object, ["spec"]).present()?;
    let [ports] = json::object(spec, ["ports"]).present()?;
    json::items(ports?, Alert::MAX_ITEMS)
}

#[cfg(test)]
mod tests {
    use portcullis_rule::{LogType, ResponseStatus};
    use serde_json::{Value, json};

    use super::*;

    fn context(alert: &Alert) -> Value {
        serde_json::from_str(&alert.context()).expect("an object")
    }

    /// A service of type `NodePort` that was created.
    fn deployed() -> Event<'static> {
        Event {
            verb: Some("create".into()),
            resource: Some("services".into()),
            service_type: Some("NodePort".into()),
            namespace: Some("prod".into()),
            name: Some("web".into()),
            username: Some("ada".into()),
            cluster: Some("eks-1".into()),
            ..Event::new(LogType::Eks)
        }
    }

    fn matches(change: impl FnOnce(&mut Event<'static>)) -> bool {
        let mut event = deployed();
        change(&mut event);
        NodePortService::evaluate(&event).is_some()
    }

    #[test]
    fn it_says_who_deployed_what_where() {
        let mut event = deployed();
        let object = r#"{"spec":{"type":"NodePort","ports":[{"port":80,"nodePort":30080},5]}}"#;
        event.request_object = Some(Raw::new(object).expect("JSON"));
        let alert = NodePortService::evaluate(&event).expect("a match");
        assert_eq!(alert.title(), "NodePort service prod/web deployed by ada in cluster eks-1");
        assert_eq!(alert.dedup(), "prod/web in cluster eks-1");
        assert_eq!(context(&alert)["serviceType"], "NodePort");
        assert_eq!(context(&alert)["ports"], json!([{"port": 80, "nodePort": 30080}, 5]));
    }

    #[test]
    fn it_says_what_it_knows() {
        let event = Event { namespace: None, name: None, username: None, cluster: None, ..deployed() };
        let alert = NodePortService::evaluate(&event).expect("a match");
        assert_eq!(alert.title(), "NodePort service without a name deployed by an unknown user");
    }

    #[test]
    fn only_a_created_node_port_service_matches() {
        assert!(matches(|_| {}));
        assert!(!matches(|event| event.verb = Some("update".into())));
        assert!(!matches(|event| event.verb = None));
        assert!(!matches(|event| event.resource = Some("pods".into())));
        assert!(!matches(|event| event.resource = None));
        assert!(!matches(|event| event.service_type = Some("nodeport".into())));
        assert!(!matches(|event| event.service_type = None));
    }

    #[test]
    fn only_a_complete_request_matches() {
        assert!(matches(|event| event.stage = Some("ResponseComplete".into())));
        assert!(!matches(|event| event.stage = Some("RequestReceived".into())));
        assert!(!matches(|event| event.stage = Some("Panic".into())));
    }

    #[test]
    fn a_service_of_another_group_is_no_service() {
        assert!(matches(|event| event.api_group = Some("core".into())));
        assert!(!matches(|event| event.api_group = Some("serving.knative.dev".into())));
    }

    #[test]
    fn what_was_only_tried_deploys_nothing() {
        let asked = |uri: &'static str| matches(|event| event.request_uri = Some(uri.into()));
        assert!(!asked("/api/v1/namespaces/prod/services?dryRun=All"));
        assert!(!asked("/api/v1/namespaces/prod/services?fieldManager=a&dryRun=%41ll&pretty=true"));
        assert!(asked("/api/v1/namespaces/prod/services?fieldManager=dryRun=All"));
        assert!(asked("/api/v1/namespaces/dryRun=All/services"));
    }

    #[test]
    fn a_service_without_a_name_is_called_by_what_its_name_is_made_of() {
        let with = |object: &'static str| {
            let request_object = Some(Raw::new(object).expect("JSON"));
            let event = Event { name: None, request_object, ..deployed() };
            NodePortService::evaluate(&event).expect("a match")
        };
        let [one, other] = ["web-", "db-"].map(|prefix| {
            with(if prefix == "web-" {
                r#"{"metadata":{"generateName":"web-"}}"#
            } else {
                r#"{"metadata":{"generateName":"db-"}}"#
            })
        });
        assert_eq!(one.dedup(), "prod/web-* in cluster eks-1");
        assert_eq!(context(&one)["name"], "web-*");
        assert_ne!(one.dedup(), other.dedup());
        let neither = with(r#"{"metadata":[]}"#);
        assert_eq!(
            (neither.dedup(), &context(&neither)["name"]),
            ("prod/without a name in cluster eks-1", &Value::Null)
        );
    }

    #[test]
    fn a_failed_request_does_not_match() {
        let with_code = |code| matches(|event| event.response_status = Some(ResponseStatus { code }));
        for code in [-403, -1, 0, 17, 200, 201, 301, 399] {
            assert!(with_code(code), "{code}");
        }
        for code in [1, 7, 16, 400, 403, 404, 409, 500, i64::MAX] {
            assert!(!with_code(code), "{code}");
        }
    }

    #[test]
    fn an_object_without_readable_ports_is_no_obstacle() {
        for object in ["[]", "5", r#"{"spec":[]}"#, r#"{"spec":{"ports":5}}"#, r#"{"spec":{}}"#] {
            let mut event = deployed();
            event.request_object = Some(Raw::new(object).expect("JSON"));
            let alert = NodePortService::evaluate(&event).expect("a match");
            assert_eq!(context(&alert)["ports"], Value::Null, "{object}");
        }
    }
}
