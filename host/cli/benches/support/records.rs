//! Made-up records as clusters write them: half of them from EKS, a quarter each from AKS and GKE, of 1 to 4 KB. Six of
//! ten are of system users, most sources are private, and about one in two hundred makes a rule alert.

use serde_json::{Map, Value, json};

/// A sequence of pseudorandom numbers, determined by its seed (Steele, Lea and Flood, "Fast splittable pseudorandom
/// number generators", 2014: `SplitMix64`).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below a bound.
    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        let choice = self.next() % choices.len() as u64;
        choices[usize::try_from(choice).expect("few choices")]
    }

    /// Returns true this many times in a thousand.
    fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    fn uuid(&mut self) -> String {
        let (a, b) = (self.next(), self.next());
        format!(
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            a >> 32,
            (a >> 16) & 0xffff,
            a & 0xffff,
            b >> 48,
            b & 0xffff_ffff_ffff
        )
    }

    fn hex(&mut self, digits: usize) -> String {
        format!("{:016x}", self.next())[..digits].to_owned()
    }
}

const NAMESPACES: [&str; 8] =
    ["kube-system", "default", "checkout", "payments", "monitoring", "ingress-nginx", "argocd", "team-search"];
const WORKLOADS: [&str; 8] =
    ["checkout-api", "ledger", "coredns", "prometheus", "fluent-bit", "argocd-server", "search-index", "session-cache"];
const PEOPLE: [&str; 6] = ["ada", "grace", "edsger", "barbara", "ken", "radia"];
/// The resources with their API groups.
const RESOURCES: [(&str, &str); 10] = [
    ("pods", ""),
    ("configmaps", ""),
    ("services", ""),
    ("secrets", ""),
    ("endpoints", ""),
    ("nodes", ""),
    ("leases", "coordination.k8s.io"),
    ("deployments", "apps"),
    ("replicasets", "apps"),
    ("endpointslices", "discovery.k8s.io"),
];
const PUBLIC: [&str; 5] = ["45.33.32.156", "185.220.101.34", "91.198.174.192", "8.8.8.8", "2606:4700::1111"];

/// A request, in no cloud's format.
struct Request {
    verb: &'static str,
    resource: &'static str,
    group: &'static str,
    namespace: &'static str,
    name: String,
    username: String,
    groups: Vec<String>,
    source: String,
    agent: String,
    time: String,
    code: u64,
    /// The object that the client sends, for verbs that send one.
    object: Option<Value>,
    id: String,
}

impl Request {
    fn new(random: &mut Random, n: usize) -> Self {
        let namespace = random.of(&NAMESPACES);
        let workload = random.of(&WORKLOADS);
        let is_system = random.chance(600);
        let intruder = is_system && random.chance(5);
        let node = format!("ip-10-0-{}-{}.eu-central-1.compute.internal", random.below(256), random.below(256));
        let (username, groups, agent) = if !is_system {
            let person = random.of(&PEOPLE);
            (
                format!("{person}@example.com"),
                vec!["system:authenticated".to_owned()],
                "kubectl/v1.31.2 (darwin/arm64) kubernetes/5864a46".to_owned(),
            )
        } else if random.chance(400) && !intruder {
            let groups = vec!["system:nodes".to_owned(), "system:authenticated".to_owned()];
            (format!("system:node:{node}"), groups, "kubelet/v1.31.2 (linux/amd64) kubernetes/5864a46".to_owned())
        } else {
            let groups = vec![
                "system:serviceaccounts".to_owned(),
                format!("system:serviceaccounts:{namespace}"),
                "system:authenticated".to_owned(),
            ];
            (
                format!("system:serviceaccount:{namespace}:{workload}"),
                groups,
                format!("{workload}/v2.4.1 (linux/amd64) kubernetes/$Format"),
            )
        };
        let is_public = intruder || (!is_system && random.chance(100));
        let source = if is_public {
            random.of(&PUBLIC).to_owned()
        } else {
            format!("10.{}.{}.{}", random.below(256), random.below(256), 1 + random.below(254))
        };
        let node_port = !is_system && random.chance(5);
        let (resource, group) = if node_port { ("services", "") } else { random.of(&RESOURCES) };
        let verb = if node_port {
            "create"
        } else {
            random.of(&["get", "get", "list", "watch", "update", "update", "patch", "create", "delete"])
        };
        let name = format!("{workload}-{}-{}", random.hex(9), random.hex(5));
        let object = match verb {
            "create" | "update" | "patch" => {
                Some(object(random, resource, group, namespace, &name, workload, node_port))
            }
            _ => None,
        };
        let (hours, minutes) = (n / 3_600_000 % 24, n / 60_000 % 60);
        let time = format!("2026-03-14T{hours:02}:{minutes:02}:{:02}.{:03}000Z", n / 1000 % 60, n % 1000);
        let code = match verb {
            _ if !node_port && !intruder && random.chance(30) => random.of(&[403, 404, 409]),
            "create" => 201,
            _ => 200,
        };
        Self {
            verb,
            resource,
            group,
            namespace,
            name,
            username,
            groups,
            source,
            agent,
            time,
            code,
            object,
            id: random.uuid(),
        }
    }

    fn path(&self) -> String {
        let Self { group, namespace, resource, name, .. } = self;
        let root = if group.is_empty() { "/api/v1".to_owned() } else { format!("/apis/{group}/v1") };
        let path = format!("{root}/namespaces/{namespace}/{resource}");
        if self.verb == "create" { path } else { format!("{path}/{name}") }
    }

    /// Returns the record as a kube-apiserver writes it.
    fn audit_event(&self, random: &mut Random) -> Value {
        let Self { verb, resource, group, namespace, name, username, groups, source, agent, time, code, id, .. } = self;
        let level = if self.object.is_some() { "RequestResponse" } else { "Metadata" };
        let mut event = json!({
            "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": level, "auditID": id, "stage": "ResponseComplete",
            "requestURI": format!("{}?timeout=10s&resourceVersion={}", self.path(), random.below(1 << 40)), "verb": verb,
            "user": {
                "username": username, "uid": random.uuid(), "groups": groups,
                "extra": {
                    "authentication.kubernetes.io/credential-id": [format!("JTI={}", random.uuid())],
                    "authentication.kubernetes.io/node-name": [format!("ip-10-0-{}-17.internal", random.below(256))],
                    "authentication.kubernetes.io/node-uid": [random.uuid()],
                    "authentication.kubernetes.io/pod-name": [name],
                    "authentication.kubernetes.io/pod-uid": [random.uuid()],
                },
            },
            "sourceIPs": [source], "userAgent": agent,
            "objectRef": {
                "resource": resource, "namespace": namespace, "name": name, "uid": random.uuid(), "apiGroup": group,
                "apiVersion": "v1", "resourceVersion": random.below(1 << 40).to_string(),
            },
            "responseStatus": {"metadata": {}, "code": code},
        });
        if group.is_empty() {
            event["objectRef"].as_object_mut().expect("an object").remove("apiGroup");
        }
        if let Some(object) = &self.object {
            event["requestObject"] = object.clone();
            if random.chance(500) {
                event["responseObject"] = answer(random, object);
            }
        }
        event["requestReceivedTimestamp"] = time.as_str().into();
        event["stageTimestamp"] = time.as_str().into();
        let reason = format!(
            "RBAC: allowed by ClusterRoleBinding \"{namespace}-{resource}\" of ClusterRole \"{resource}-editor\" to User \"{username}\""
        );
        event["annotations"] = json!({"authorization.k8s.io/decision": "allow", "authorization.k8s.io/reason": reason});
        event
    }

    /// Returns the record in Azure's envelope.
    fn azure(&self, random: &mut Random) -> Value {
        let resource = "/SUBSCRIPTIONS/0B1F6471-1BF0-4DDA-AEC3-111122223333/RESOURCEGROUPS/PROD-WEU/PROVIDERS/\
             MICROSOFT.CONTAINERSERVICE/MANAGEDCLUSTERS/PROD-WEU-1";
        json!({
            "time": self.time, "resourceId": resource, "category": "kube-audit",
            "operationName": "Microsoft.ContainerService/managedClusters/diagnosticLogs/Read",
            "properties": {
                "log": format!("{}\n", self.audit_event(random)), "stream": "stdout", "pod": format!("kube-apiserver-{}-x7k2p", random.hex(10)),
                "containerID": format!("{}{}", random.hex(16), random.hex(16)),
            },
            "ccpNamespace": "65f1a2b3c4d5e6f708192a3b",
        })
    }

    /// Returns the record as Google writes it.
    fn google(&self, random: &mut Random) -> Value {
        let Self { verb, resource, group, namespace, name, username, source, agent, time, code, id, .. } = self;
        let core = if group.is_empty() { "core" } else { group };
        let object = format!("{core}/v1/namespaces/{namespace}/{resource}/{name}");
        let package = group.strip_suffix(".k8s.io").unwrap_or(core);
        let role = format!("access granted by IAM permissions on {namespace} to {username}");
        let mut payload = json!({
            "@type": "type.googleapis.com/google.cloud.audit.AuditLog",
            "authenticationInfo": {"principalEmail": username},
            "authorizationInfo": [{
                "granted": true, "permission": format!("io.k8s.{package}.v1.{resource}.{verb}"), "resource": object,
                "permissionType": "ADMIN_WRITE", "resourceAttributes": {},
            }],
            "methodName": format!("io.k8s.{package}.v1.{resource}.{verb}"),
            "requestMetadata": {"callerIp": source, "callerSuppliedUserAgent": agent, "requestAttributes": {}, "destinationAttributes": {}},
            "resourceName": object, "serviceName": "k8s.io",
            "status": if *code < 400 { json!({}) } else { json!({"code": 7, "message": "Forbidden"}) },
        });
        if let Some(object) = &self.object {
            payload["request"] = object.clone();
            payload["response"] = answer(random, object);
        }
        json!({
            "protoPayload": payload, "insertId": id,
            "resource": {"type": "k8s_cluster", "labels": {"cluster_name": "prod-euw4", "location": "europe-west4", "project_id": "shop-prod-318416"}},
            "timestamp": time, "receiveTimestamp": time, "severity": "NOTICE",
            "labels": {"authorization.k8s.io/decision": "allow", "authorization.k8s.io/reason": role},
            "logName": "projects/shop-prod-318416/logs/cloudaudit.googleapis.com%2Factivity",
            "operation": {"id": random.uuid(), "producer": "k8s.io", "first": true, "last": true},
        })
    }
}

/// Returns the object that a client sends.
fn object(
    random: &mut Random,
    resource: &str,
    group: &str,
    namespace: &str,
    name: &str,
    workload: &str,
    node_port: bool,
) -> Value {
    let labels = json!({"app.kubernetes.io/name": workload, "app.kubernetes.io/instance": name, "app.kubernetes.io/managed-by": "Helm"});
    let spec = match resource {
        "services" => {
            let kind = if node_port { "NodePort" } else { "ClusterIP" };
            json!({"type": kind, "selector": {"app.kubernetes.io/name": workload}, "ports": [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}]})
        }
        "leases" => {
            json!({"holderIdentity": format!("{name}_{}", random.uuid()), "leaseDurationSeconds": 15, "renewTime": "2026-03-14T09:26:53.589793Z", "leaseTransitions": random.below(40)})
        }
        "configmaps" | "secrets" | "endpoints" | "endpointslices" => Value::Null,
        _ => json!({
            "replicas": 1 + random.below(9), "revisionHistoryLimit": 10, "serviceAccountName": workload, "nodeName": "ip-10-0-3-17.internal",
            "containers": [{
                "name": workload, "image": format!("registry.example.com/{workload}:{}", random.hex(12)), "imagePullPolicy": "IfNotPresent",
                "args": ["--listen=:8080", format!("--shard={}", random.below(64)), "--log-format=json"],
                "resources": {"limits": {"cpu": "500m", "memory": "512Mi"}, "requests": {"cpu": "100m", "memory": "128Mi"}},
                "readinessProbe": {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 10, "failureThreshold": 3},
            }],
        }),
    };
    let mut object = Map::new();
    object.insert("kind".to_owned(), resource.into());
    object.insert("apiVersion".to_owned(), if group.is_empty() { "v1".into() } else { format!("{group}/v1").into() });
    object.insert("metadata".to_owned(), json!({"name": name, "namespace": namespace, "uid": random.uuid(), "labels": labels, "creationTimestamp": null}));
    match spec {
        Value::Null => object.insert("data".to_owned(), json!({"revision": random.hex(16), "config.yaml": format!("listen: :8080\nshard: {}\nname: \"{workload}\"\n", random.below(64))})),
        spec => object.insert("spec".to_owned(), spec),
    };
    Value::Object(object)
}

/// Returns the object that the API server answers with, which has more fields.
fn answer(random: &mut Random, object: &Value) -> Value {
    let mut answer = object.clone();
    let fields = json!({"f:metadata": {"f:labels": {".": {}, "f:app.kubernetes.io/name": {}}}, "f:spec": {"f:replicas": {}, "f:selector": {}}});
    answer["metadata"]["managedFields"] = json!([{"manager": "helm", "operation": "Update", "apiVersion": "v1", "time": "2026-03-14T09:26:53Z", "fieldsType": "FieldsV1", "fieldsV1": fields}]);
    answer["metadata"]["resourceVersion"] = random.below(1 << 40).to_string().into();
    answer["metadata"]["generation"] = random.below(20).into();
    answer
}

/// Returns this many records, each a line of JSON without its end.
pub(crate) fn records(seed: u64, count: usize) -> impl Iterator<Item = String> {
    let mut random = Random(seed);
    (0..count).map(move |n| {
        let request = Request::new(&mut random, n);
        match random.below(4) {
            0 => request.azure(&mut random),
            1 => request.google(&mut random),
            _ => request.audit_event(&mut random),
        }
        .to_string()
    })
}
