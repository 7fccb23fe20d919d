//! *Kubernetes.Service.NodePort.Deployed*: detects deployed services of type `NodePort`. Such a service opens a port on
//! every node.

use portcullis_rule::{Alert, Event, Rule, json, request};

/// The rule.
pub struct NodePortService;

impl Rule for NodePortService {
    fn evaluate(event: &Event) -> Option<Alert> {
        let deployed = event.verb.as_deref() == Some("create")
            && event.resource.as_deref() == Some("services")
            && event.is_of_core_group()
            && event.is_complete()
            && !event.is_dry_run()
            && !event.has_failed()
            && event.service_type.as_deref() == Some("NodePort");
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

fn alert(event: &Event) -> Alert {
    let name = request::object_name(event);
    let service = request::qualified_name(event, name.as_deref());
    let username = event.username.as_deref().unwrap_or("an unknown user");
    let place = request::in_cluster(event);
    let ports = request::value_at(event.request_object, &["spec", "ports"]);
    Alert::new(event, format!("NodePort service {service} deployed by {username}{place}"), service + &place)
        .with("name", name)
        .with("serviceType", event.service_type.as_deref())
        .with("ports", ports.and_then(|ports| json::items(ports, Alert::MAX_ITEMS)))
}

#[cfg(test)]
mod tests {
    use portcullis_rule::json::Raw;
    use portcullis_rule::{LogType, ResponseStatus};
    use serde_json::{Value, json};

    use super::*;

    fn context(alert: &Alert) -> Value {
        serde_json::from_str(&alert.context()).expect("the context is an object")
    }

    /// Returns an event about a created service of type `NodePort`.
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
    fn the_alert_names_service_user_and_cluster() {
        let mut event = deployed();
        let object = r#"{"spec":{"type":"NodePort","ports":[{"port":80,"nodePort":30080},5]}}"#;
        event.request_object = Some(Raw::new(object).expect("the object is JSON"));
        let alert = NodePortService::evaluate(&event).expect("the event matches");
        assert_eq!(alert.title(), "NodePort service prod/web deployed by ada in cluster eks-1");
        assert_eq!(alert.dedup(), "prod/web in cluster eks-1");
        assert_eq!(context(&alert)["serviceType"], "NodePort");
        assert_eq!(context(&alert)["ports"], json!([{"port": 80, "nodePort": 30080}, 5]));
    }

    #[test]
    fn the_alert_leaves_out_what_is_unknown() {
        let event = Event { namespace: None, name: None, username: None, cluster: None, ..deployed() };
        let alert = NodePortService::evaluate(&event).expect("the event matches");
        assert_eq!(alert.title(), "NodePort service without a name deployed by an unknown user");
    }

    #[test]
    fn a_generated_name_is_shown_by_its_prefix() {
        let generated = |object| {
            let event =
                Event { name: None, request_object: Some(Raw::new(object).expect("the object is JSON")), ..deployed() };
            NodePortService::evaluate(&event).expect("the event matches")
        };
        let alert = generated(r#"{"metadata":{"generateName":"np-"}}"#);
        assert_eq!(alert.title(), "NodePort service prod/np-* deployed by ada in cluster eks-1");
        assert_eq!(alert.dedup(), "prod/np-* in cluster eks-1");
        assert_eq!(context(&alert)["name"], "np-*");
        assert_ne!(alert.dedup(), generated(r#"{"metadata":{"generateName":"other-"}}"#).dedup());
        for object in
            [r#"{"metadata":{"generateName":""}}"#, r#"{"metadata":{"generateName":5}}"#, r#"{"metadata":[]}"#, "[]"]
        {
            let alert = generated(object);
            assert_eq!(alert.dedup(), "prod/without a name in cluster eks-1", "{object}");
            assert_eq!(context(&alert)["name"], Value::Null, "{object}");
        }
        let object = Raw::new(r#"{"metadata":{"name":"web","generateName":"np-"}}"#).expect("the object is JSON");
        let alert = NodePortService::evaluate(&Event { request_object: Some(object), ..deployed() })
            .expect("the event matches");
        assert_eq!((alert.dedup(), &context(&alert)["name"]), ("prod/web in cluster eks-1", &json!("web")));
    }

    #[test]
    fn a_dry_run_does_not_match() {
        let with_uri = |uri: &'static str| matches(|event| event.request_uri = Some(uri.into()));
        assert!(!with_uri("/api/v1/namespaces/prod/services?fieldManager=kubectl-create&dryRun=All"));
        assert!(!with_uri("/api/v1/namespaces/prod/services?%64ryRun=%41ll"));
        assert!(with_uri("/api/v1/namespaces/prod/services?fieldManager=kubectl-create"));
        assert!(with_uri("/api/v1/namespaces/prod/services?fieldManager=dryRun=All"));
    }

    #[test]
    fn only_services_of_the_core_group_match() {
        let with_group = |group: &'static str| matches(|event| event.api_group = Some(group.into()));
        assert!(with_group("") && with_group("core"));
        for group in ["serving.knative.dev", "Core", "core.k8s.io", "v1", "apps"] {
            assert!(!with_group(group), "{group}");
        }
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
    fn an_object_without_readable_ports_matches() {
        for object in ["[]", "5", r#"{"spec":[]}"#, r#"{"spec":{"ports":5}}"#, r#"{"spec":{}}"#] {
            let mut event = deployed();
            event.request_object = Some(Raw::new(object).expect("the object is JSON"));
            let alert = NodePortService::evaluate(&event).expect("the event matches");
            assert_eq!(context(&alert)["ports"], Value::Null, "{object}");
        }
    }
}
