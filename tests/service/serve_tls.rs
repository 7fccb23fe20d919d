//! TLS: who is known by a certificate, and what does not come to be a connection.

use std::fs;
use std::io::{Read as _, Write as _};

use crate::support::certificates::{Authority, Name, Signed, tls_agent};
use crate::support::sample;
use crate::support::service::{API, Answer, Service, ask, config, data, lines_of, service_folder};

const TLS: &str = r#"
[serve.tls]
certificate = "server.crt"
key = "server.key"
client-ca = "clients.pem"

[[serve.clients]]
name = "by-common-name"
tenant = "acme"
roles = ["ingest"]
certificate = "prod-apiserver"

[[serve.clients]]
name = "by-dns-name"
tenant = "globex"
roles = ["ingest"]
certificate = "apiserver.globex.example"

[[serve.clients]]
name = "by-uri"
roles = ["view"]
certificate = "spiffe://globex.example/eyes"

[[tenants]]
name = "acme"

[[tenants]]
name = "globex"
records = [{ kind = "Event" }]
"#;

/// A service with TLS, who signs its certificate, and who signs those of its clients.
struct Secured {
    folder: tempfile::TempDir,
    service: Service,
    servers: Authority,
    clients: Authority,
}

fn secured() -> Secured {
    let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
    let folder = service_folder(&config(TLS));
    servers.server().write(folder.path(), "server");
    fs::write(folder.path().join("clients.pem"), &clients.pem).expect("written");
    let service = Service::try_start(folder.path(), &[], "debug").expect("it serves");
    Secured { folder, service, servers, clients }
}

impl Secured {
    fn ask(
        &self,
        client: Option<&Signed>,
        headers: &[(&str, &str)],
        method: &str,
        path: &str,
    ) -> Result<Answer, ureq::Error> {
        let url = format!("https://{}{path}", self.service.address);
        let body = fs::read(sample("eks.ndjson")).expect("the sample");
        ask(&tls_agent(&self.servers, client), method, &url, headers, &body)
    }

    /// The status of a batch with this certificate.
    fn post(&self, name: &Name) -> u16 {
        self.ask(Some(&self.clients.client(name)), &[], "POST", "/v1/records").expect("it answers").status
    }
}

#[test]
fn a_certificate_identifies_the_client_and_its_tenant() {
    let secured = secured();
    assert_eq!(secured.post(&Name::Common("prod-apiserver")), 200);
    assert_eq!(secured.post(&Name::Dns("apiserver.globex.example")), 200);
    let tenants: Vec<String> = lines_of(&data(&secured.folder, "ledger.ndjson"))
        .iter()
        .map(|line| line["tenant"].as_str().unwrap_or("nobody").to_owned())
        .collect();
    assert_eq!(tenants, [vec!["acme"; 12], vec!["globex"; 12]].concat());
    let eyes = secured.clients.client(&Name::Uri("spiffe://globex.example/eyes"));
    let ask = |client, headers: &[(&str, &str)], method, path| {
        secured.ask(client, headers, method, path).expect("it answers").status
    };
    assert_eq!(ask(Some(&eyes), &[], "GET", "/metrics"), 200);
    assert_eq!(ask(Some(&eyes), &[], "POST", "/v1/records"), 403);
    assert_eq!(secured.post(&Name::Common("prod-apiserver.example")), 401, "the whole name, or nobody's");
    assert_eq!(ask(None, &[], "POST", "/v1/records"), 401);
    // A token goes for more than a certificate, and a wrong one does not fall back on it.
    let (right, wrong) = (format!("Bearer {API}"), "Bearer nobody-has-this-token");
    assert_eq!(ask(None, &[("Authorization", &*right)], "POST", "/v1/records"), 200);
    assert_eq!(ask(Some(&eyes), &[("Authorization", &*right)], "POST", "/v1/records"), 200);
    assert_eq!(ask(Some(&eyes), &[("Authorization", wrong)], "GET", "/metrics"), 401);
}

#[test]
fn a_client_without_a_trusted_certificate_is_refused() {
    let secured = secured();
    let strange = Authority::new("clients").client(&Name::Common("prod-apiserver"));
    let answer = secured.ask(Some(&strange), &[], "POST", "/v1/records");
    assert!(answer.is_err(), "{answer:?}");
    // Signed by whom clients trust, which is no client's authority.
    let server = secured.servers.client(&Name::Common("prod-apiserver"));
    assert!(secured.ask(Some(&server), &[], "POST", "/v1/records").is_err());
    // Signed by the right one, but over, not valid yet, or not for a client.
    let name = Name::Common("prod-apiserver");
    let over = secured.clients.client_with(&name, |params| params.not_after = rcgen::date_time_ymd(2020, 1, 1));
    let early = secured.clients.client_with(&name, |params| params.not_before = rcgen::date_time_ymd(3000, 1, 1));
    let other = secured.clients.client_with(&name, |params| {
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    });
    for (what, certificate) in [("over", over), ("early", early), ("of a server", other)] {
        let answer = secured.ask(Some(&certificate), &[], "POST", "/v1/records");
        assert!(answer.is_err(), "{what}: {answer:?}");
    }
    // Plaintext is answered with no more than an alert of TLS, and the connection is closed.
    let mut stream = secured.service.connect();
    write!(stream, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("it reads");
    let mut answer = Vec::new();
    let ended = stream.read_to_end(&mut answer);
    let is_closed = ended.map_or_else(|error| error.kind() == std::io::ErrorKind::ConnectionReset, |_| true);
    assert!(is_closed && answer.len() < 10, "{answer:?}");
    assert!(!data(&secured.folder, "ledger.ndjson").metadata().is_ok_and(|file| file.len() > 0));
    assert_eq!(secured.post(&Name::Common("prod-apiserver")), 200, "others are served");
}

#[test]
fn a_hangup_reloads_certificates_and_ignores_invalid_ones() {
    let mut secured = secured();
    let path = secured.folder.path().to_owned();
    let works = |secured: &Secured| secured.ask(None, &[], "GET", "/healthz").is_ok_and(|answer| answer.status == 200);
    // A key that is another certificate's.
    Authority::new("others").server().write(&path, "other");
    fs::copy(path.join("other.key"), path.join("server.key")).expect("copied");
    secured.service.reload("clients and certificates are unchanged", 1);
    assert!(works(&secured));
    for text in ["", "no PEM"] {
        fs::write(path.join("server.crt"), text).expect("written");
        secured.service.reload("clients and certificates are unchanged", if text.is_empty() { 2 } else { 3 });
        assert!(works(&secured));
    }
    let renewed = Authority::new("renewed");
    renewed.server().write(&path, "server");
    secured.service.reload("reloaded clients and certificates", 1);
    assert!(!works(&secured), "it shows another certificate now");
    secured.servers = renewed;
    assert!(works(&secured));
    assert_eq!(secured.post(&Name::Common("prod-apiserver")), 200);
}
