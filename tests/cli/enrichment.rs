//! Whose network a source address is in, where the record does not say: nodes of the own cloud are no intruders.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::mmdb::{Value as Mmdb, database};
use crate::support::{Ended, SYSTEM_PRINCIPAL, run, run_accounted, run_with_input};

/// A record of a node on EKS that comes from these addresses.
fn node(addresses: &[&str]) -> Value {
    json!({
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "verb": "get",
        "user": {"username": "system:node:ip-10-0-1-7", "groups": ["system:nodes", "system:authenticated"]},
        "sourceIPs": addresses,
    })
}

/// A folder with a database in each layout, and the ranges of each cloud, all small.
struct Sources(tempfile::TempDir);

impl Sources {
    fn new() -> Self {
        let sources = Self(tempfile::tempdir().expect("a temporary folder"));
        let maxmind = |number, name| {
            Mmdb::Map(vec![
                ("autonomous_system_number", Mmdb::Uint32(number)),
                ("autonomous_system_organization", Mmdb::Text(name)),
            ])
        };
        let ipinfo = |number, name| {
            Mmdb::Map(vec![("as_domain", Mmdb::Text("x")), ("as_name", Mmdb::Text(name)), ("asn", Mmdb::Text(number))])
        };
        let geolite2 = vec![
            ("3.0.0.0/9", maxmind(16509, "AMAZON-02")),
            ("3.5.0.0/16", maxmind(14618, "AMAZON-AES")),
            ("185.220.101.0/24", maxmind(60729, "TORSERVERS-NET")),
            ("2600:1f00::/24", maxmind(16509, "AMAZON-02")),
            ("12.0.0.0/8", Mmdb::Map(vec![("autonomous_system_organization", Mmdb::Text("a name without a number"))])),
        ];
        sources.write("GeoLite2-ASN.mmdb", &database("GeoLite2-ASN", geolite2));
        let lite = vec![("3.5.0.0/16", ipinfo("AS14618", "Amazon.com, Inc.")), ("12.0.0.0/8", ipinfo("", ""))];
        sources.write("ipinfo_lite.mmdb", &database("ipinfo generic_lite.mmdb", lite));
        let other =
            vec![("3.5.0.0/16", Mmdb::Map(vec![("name", Mmdb::Text("Amazon")), ("asn", Mmdb::Text("AS14618"))]))];
        sources.write("asn.mmdb", &database("ipinfo standard_asn.mmdb", other));
        let city = vec![("3.5.0.0/16", Mmdb::Map(vec![("city", Mmdb::Text("Ashburn"))]))];
        sources.write("GeoLite2-City.mmdb", &database("GeoLite2-City", city));
        let aws = json!({
            "syncToken": "1763460000", "createDate": "2026-11-18-10-00-00",
            "prefixes": [
                {"ip_prefix": "3.0.0.0/15", "region": "GLOBAL", "service": "AMAZON", "network_border_group": "GLOBAL"},
                {"ip_prefix": "3.5.140.0/22", "region": "ap-northeast-2", "service": "AMAZON", "network_border_group": "ap-northeast-2"},
                {"ip_prefix": "3.5.140.0/22", "region": "ap-northeast-2", "service": "EC2", "network_border_group": "ap-northeast-2"},
            ],
            "ipv6_prefixes": [{"ipv6_prefix": "2600:1f14::/35", "region": "us-west-2", "service": "EC2", "network_border_group": "us-west-2"}],
        });
        sources.write("ip-ranges.json", aws.to_string().as_bytes());
        let azure = json!({
            "changeNumber": 1, "cloud": "Public",
            "values": [{"name": "AzureCloud.westeurope", "id": "AzureCloud.westeurope", "properties": {
                "changeNumber": 1, "region": "westeurope", "platform": "Azure", "systemService": "",
                "addressPrefixes": ["20.103.0.0/16", "2603:1020::/47"], "networkFeatures": ["NSG"],
            }}],
        });
        sources.write("ServiceTags_Public_20261116.json", azure.to_string().as_bytes());
        let google = json!({
            "syncToken": "1", "creationTime": "2026-11-18T10:00:00",
            "prefixes": [{"ipv4Prefix": "34.64.0.0/10"}, {"ipv6Prefix": "2001:4860::/32"}],
        });
        sources.write("goog.json", google.to_string().as_bytes());
        let google_cloud = json!({
            "syncToken": "1", "creationTime": "2026-11-18T10:00:00",
            "prefixes": [
                {"ipv4Prefix": "34.76.0.0/14", "service": "Google Cloud", "scope": "europe-west1"},
                {"ipv6Prefix": "2600:1900:4010::/44", "service": "Google Cloud", "scope": "europe-west1"},
            ],
        });
        sources.write("cloud.json", google_cloud.to_string().as_bytes());
        sources
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.0.path().join(name), bytes).expect("written");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn argument(&self, name: &str) -> String {
        self.path(name).to_str().expect("UTF-8").to_owned()
    }

    /// What the principal rule says about a record with these options.
    fn verdict(&self, record: &Value, options: &[(&str, &str)]) -> String {
        let options: Vec<String> =
            options.iter().flat_map(|(option, name)| [(*option).to_owned(), self.argument(name)]).collect();
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let run = run_accounted(record.to_string().as_bytes(), &options);
        run.verdict(0, SYSTEM_PRINCIPAL).to_owned()
    }

    fn explain(&self, record: &Value, options: &[(&str, &str)]) -> String {
        let mut args = vec!["explain".to_owned()];
        args.extend(options.iter().flat_map(|(option, name)| [(*option).to_owned(), self.argument(name)]));
        let ended = run_with_input(args, record.to_string().as_bytes());
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let (_, addresses) = ended.stdout.split_once("source addresses\n").expect("addresses");
        addresses.split_once("\n\n").map(|(addresses, _)| addresses.to_owned()).expect("and the rules")
    }
}

const ASN_DB: &str = "--asn-db";
const RANGES: &str = "--cloud-ranges";

#[test]
fn a_node_in_its_own_clouds_network_does_not_alert() {
    let sources = Sources::new();
    let aks = |addresses: &[&str]| {
        let mut event = node(addresses);
        event["user"]["username"] = "system:node:aks-1".into();
        json!({"category": "kube-audit", "properties": {"log": event.to_string()}})
    };
    let gke = |address: &str| {
        json!({"protoPayload": {
            "serviceName": "k8s.io", "methodName": "io.k8s.core.v1.nodes.get",
            "authenticationInfo": {"principalEmail": "system:node:gke-1"}, "requestMetadata": {"callerIp": address},
        }})
    };
    for (record, options, verdict) in [
        (node(&["3.5.141.9"]), &[][..], "alert"),
        (node(&["3.5.141.9"]), &[(ASN_DB, "GeoLite2-ASN.mmdb")], "no-match"),
        (node(&["3.5.141.9"]), &[(ASN_DB, "ipinfo_lite.mmdb")], "no-match"),
        (node(&["3.5.141.9"]), &[(ASN_DB, "asn.mmdb")], "no-match"),
        (node(&["3.5.141.9:443"]), &[(RANGES, "ip-ranges.json")], "no-match"),
        (node(&["2600:1f14:1::1"]), &[(RANGES, "ip-ranges.json")], "no-match"),
        (node(&["2600:1f14:1::1"]), &[(ASN_DB, "GeoLite2-ASN.mmdb")], "no-match"),
        // The whole chain must be the cloud's: the client writes its beginning.
        (node(&["3.5.141.9", "185.220.101.34"]), &[(ASN_DB, "GeoLite2-ASN.mmdb")], "alert"),
        (node(&["185.220.101.34", "3.5.141.9"]), &[(RANGES, "ip-ranges.json")], "alert"),
        (node(&["185.220.101.34"]), &[(ASN_DB, "GeoLite2-ASN.mmdb")], "alert"),
        (node(&["12.1.1.1"]), &[(ASN_DB, "GeoLite2-ASN.mmdb")], "alert"),
        (node(&["12.1.1.1"]), &[(ASN_DB, "ipinfo_lite.mmdb")], "alert"),
        (node(&["20.103.11.9"]), &[(RANGES, "ServiceTags_Public_20261116.json")], "alert"),
        (
            aks(&["20.103.11.9"]),
            &[(RANGES, "ip-ranges.json"), (RANGES, "ServiceTags_Public_20261116.json")],
            "no-match",
        ),
        (aks(&["20.104.11.9"]), &[(RANGES, "ServiceTags_Public_20261116.json")], "alert"),
        (gke("34.77.1.2"), &[(RANGES, "cloud.json")], "no-match"),
        (gke("34.100.1.2"), &[(RANGES, "cloud.json")], "alert"),
        (gke("34.100.1.2"), &[(RANGES, "cloud.json"), (RANGES, "goog.json")], "no-match"),
        // What the ranges do not hold, the database may.
        (node(&["3.5.141.9", "3.100.0.1"]), &[(RANGES, "ip-ranges.json"), (ASN_DB, "GeoLite2-ASN.mmdb")], "no-match"),
    ] {
        assert_eq!(sources.verdict(&record, options), verdict, "{options:?} {record}");
    }
}

#[test]
fn a_records_own_enrichment_wins() {
    let sources = Sources::new();
    let mut record = node(&["3.5.141.9"]);
    record["p_enrichment"] = json!({"ipinfo_asn": {"sourceIPs": [{"asn": "AS64500", "name": "An ISP"}]}});
    assert_eq!(sources.verdict(&record, &[(ASN_DB, "GeoLite2-ASN.mmdb")]), "alert");
    record["p_enrichment"] = json!({"ipinfo_asn": {"sourceIPs": [{"asn": "AS16509"}]}});
    record["sourceIPs"] = json!(["185.220.101.34"]);
    assert_eq!(sources.verdict(&record, &[(ASN_DB, "GeoLite2-ASN.mmdb")]), "no-match");
}

#[test]
fn an_alert_names_the_network_that_was_looked_up() {
    let sources = Sources::new();
    let record = node(&["3.5.141.9", "185.220.101.34"]).to_string();
    let run = run_accounted(record.as_bytes(), &[ASN_DB, &sources.argument("GeoLite2-ASN.mmdb")]);
    assert_eq!(
        run.alerts[0]["title"],
        "system:node:ip-10-0-1-7 used from public address 185.220.101.34 (AS60729 TORSERVERS-NET)"
    );
}

#[test]
fn explain_says_where_each_network_comes_from() {
    let sources = Sources::new();
    let addresses = ["3.5.141.9:443", "3.100.0.1", "3.1.0.1", "10.0.0.1", "9.9.9.9", "unknown"];
    let both = [(RANGES, "ip-ranges.json"), (RANGES, "goog.json"), (ASN_DB, "GeoLite2-ASN.mmdb")];
    let mut own = node(&["3.5.141.9", "9.9.9.9"]);
    own["p_enrichment"] =
        json!({"ipinfo_asn": {"sourceIPs": [{"asn": "AS14618", "name": "Amazon", "p_match": "3.5.141.9"}]}});
    let mut nameless = own.clone();
    nameless["p_enrichment"] =
        json!({"ipinfo_asn": {"sourceIPs": [{"asn": "AS14618", "name": "Amazon"}, {"name": "x"}]}});
    let text = [
        sources.explain(&node(&addresses), &both),
        sources.explain(&node(&["3.5.141.9"]), &[]),
        sources.explain(&own, &both),
        sources.explain(&nameless, &both),
    ];
    insta::assert_snapshot!(text.join("\n\n"));
}

#[test]
fn without_enrichment_one_warning_names_the_missing_networks() {
    let sources = Sources::new();
    let warning = |ended: &Ended| ended.stderr.matches("the network of the public source address is unknown").count();
    let record = node(&["3.5.141.9"]).to_string();
    let two = format!("{record}\n{record}\n");
    let ended = run_with_input(["run"], two.as_bytes());
    assert_eq!(warning(&ended), 1, "{}", ended.stderr);
    let expected = "portcullis: standard input:1: warning: the network of the public source address is unknown: a \
                    cloud's own nodes look like intruders. Use --cloud-ranges with the ranges that your cloud \
                    publishes, or --asn-db with a database of networks\n";
    assert!(ended.stderr.contains(expected), "{}", ended.stderr);
    let with = run_with_input(["run", ASN_DB, &sources.argument("GeoLite2-ASN.mmdb")], two.as_bytes());
    assert_eq!(warning(&with), 0, "{}", with.stderr);
    let mut own = node(&["3.5.141.9"]);
    own["p_enrichment"] = json!({"ipinfo_asn": {"sourceIPs": [{"asn": "AS14618"}]}});
    let mut nodeport = node(&["1.2.3.4"]);
    nodeport["user"]["username"] = "ada".into();
    nodeport["verb"] = "create".into();
    nodeport["objectRef"] = json!({"resource": "services"});
    for needs_none in [own, node(&["10.0.0.1"]), node(&[]), nodeport] {
        assert_eq!(warning(&run_with_input(["run"], needs_none.to_string().as_bytes())), 0, "{needs_none}");
    }
}

#[test]
fn the_readmes_config_does_what_the_readme_says() {
    let sources = Sources::new();
    let readme = fs::read_to_string(crate::support::project("docs/config.md")).expect("the page");
    let (_, config) = readme.split_once("```toml\n").expect("a config");
    let (config, _) = config.split_once("```").expect("its end");
    // The README's addresses are those that are kept for documentation, which are never public.
    sources.write("portcullis.toml", config.replace("198.51.100.7", "9.9.9.9").as_bytes());
    let account = |name: &str, address: &str| {
        let mut record = node(&[address]);
        record["user"]["username"] = format!("system:serviceaccount:{name}").into();
        record["requestReceivedTimestamp"] = "2026-11-18T10:00:00Z".into();
        record
    };
    let config = [("--config", "portcullis.toml")];
    for (record, verdict) in [
        (node(&["3.5.141.9"]), "no-match"),
        (account("ci:build", "9.9.9.9"), "excluded"),
        (account("ci:build", "8.8.8.8"), "alert"),
    ] {
        assert_eq!(sources.verdict(&record, &config), verdict, "{record}");
    }
}

#[test]
fn a_second_file_of_ranges_is_not_taken_for_records() {
    let sources = Sources::new();
    for name in ["goog.json", "ServiceTags_Public_20261116.json"] {
        let file = sources.argument(name);
        let ended = run(["run", RANGES, &sources.argument("ip-ranges.json"), &file]);
        let message =
            format!("portcullis: {file}: is a file of address ranges, not records; to use it: --cloud-ranges {file}\n");
        assert_eq!((ended.code, ended.stderr), (Some(4), message));
    }
}

#[test]
fn an_invalid_file_is_reported_with_what_was_expected() {
    let sources = Sources::new();
    sources.write("records.json", node(&["1.2.3.4"]).to_string().as_bytes());
    sources.write("cut.json", b"{\"prefixes\": [{\"ip_prefix\": \"3.0.0.0/15\"");
    sources.write("wrong.json", br#"{"prefixes": [{"ip_prefix": "3.0.0.0/15"}, {"ip_prefix": "3.0.0.0/40"}]}"#);
    sources.write("other.json", br#"{"prefixes": [{"cidr": "3.0.0.0/15"}]}"#);
    sources.write("empty.mmdb", b"");
    let folder = sources.argument("");
    let mut text = String::new();
    for (option, name) in [
        (ASN_DB, "none.mmdb"),
        (ASN_DB, "empty.mmdb"),
        (ASN_DB, "ip-ranges.json"),
        (ASN_DB, "GeoLite2-City.mmdb"),
        (RANGES, "none.json"),
        (RANGES, "records.json"),
        (RANGES, "cut.json"),
        (RANGES, "wrong.json"),
        (RANGES, "other.json"),
        (RANGES, "GeoLite2-ASN.mmdb"),
    ] {
        let ended = run(["run", option, &sources.argument(name)]);
        assert_eq!((ended.code, &*ended.stdout), (Some(3), ""), "{name}");
        text += &ended.stderr.replace(&folder, "");
    }
    insta::assert_snapshot!(text);
}
