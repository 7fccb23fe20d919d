//! Measures what a noisy tenant of a service costs a quiet one: the quiet client's latency and throughput beside each kind
//! of noise, relative to those alone in the same process. All share the processors of one machine, of
//! which the clients that make noise take only what the others leave.
//!
//! ```sh
//! cargo bench --bench neighbours
//! ```

use std::fs;
use std::io::{Read as _, Write as _};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use support::api_server::{event_list, events};
use support::service::{EYES, PUBLISHER, Service, agent, ask, config, service_folder, wait_until};
use support::{Does, hostile, record, slow_to_check, version};

#[expect(dead_code, unused_imports, reason = "the tests use the rest")]
#[path = "../../../tests/support/mod.rs"]
mod support;

/// The time for which the quiet client is watched.
const WATCHED: Duration = Duration::from_secs(5);

/// The pause between two batches of the quiet client.
const PAUSE: Duration = Duration::from_millis(5);

const NOISY: &str = "the-token-of-the-noisy-tenant";
const QUIET: &str = "the-token-of-the-quiet-tenant";

/// A kind of noise: its name, the noisy tenant's rule, and what its client does again and again.
type Noise<'n> = (&'n str, Vec<u8>, Box<dyn Fn(&Service, u64) + Sync + 'n>);

/// What the quiet client sees: batches a second, the median and the 99th percentile of the time to an answer.
struct Seen {
    rate: f64,
    median: Duration,
    slowest: Duration,
}

fn post(service: &Service, token: &str, body: &[u8]) {
    let authorization = format!("Bearer {token}");
    let answer = ask(&agent(), "POST", &service.url("/v1/records"), &[("Authorization", &authorization)], body);
    drop(answer);
}

/// Sends batches of 20 events one after the other, and checks that none is refused.
fn watch(service: &Service, batches: &[String]) -> Seen {
    let (agent, authorization) = (agent(), format!("Bearer {QUIET}"));
    let (began, mut times) = (Instant::now(), Vec::new());
    for batch in batches.iter().cycle() {
        let asked = Instant::now();
        let headers = [("Authorization", &*authorization)];
        let answer = ask(&agent, "POST", &service.url("/v1/records"), &headers, batch.as_bytes()).expect("it answers");
        assert_eq!(answer.status, 200, "{}", answer.text);
        times.push(asked.elapsed());
        if began.elapsed() > WATCHED {
            break;
        }
        std::thread::sleep(PAUSE);
    }
    let rate = f64::from(u32::try_from(times.len()).expect("fewer")) / began.elapsed().as_secs_f64();
    times.sort();
    Seen { rate, median: times[times.len() / 2], slowest: times[times.len() * 99 / 100] }
}

fn service(rule: &[u8]) -> (tempfile::TempDir, Service) {
    let client = |name: &str| {
        format!(
            "[[serve.clients]]\nname = \"{name}\"\nroles = [\"ingest\"]\ntenant = \"{name}\"\ntoken-file = \"{name}\"\n"
        )
    };
    let tenant = |name: &str| format!("[[tenants]]\nname = \"{name}\"\nrules = [\"rules-{name}\"]\n");
    let webhook = "[[serve.sinks]]\nname = \"soc\"\ntype = \"webhook\"\nurl = \"http://127.0.0.1:9/\"\n";
    let more = [&*client("noisy"), &client("quiet"), webhook, &tenant("noisy"), &tenant("quiet")].concat();
    let folder = service_folder(&config(&more));
    for (name, token) in [("noisy", NOISY), ("quiet", QUIET)] {
        fs::write(folder.path().join(name), token).expect("written");
        fs::create_dir(folder.path().join(format!("rules-{name}"))).expect("made");
    }
    let (_exported, files) = support::exported();
    for file in files {
        fs::copy(&file, folder.path().join("rules-quiet").join(file.file_name().expect("a name"))).expect("copied");
    }
    fs::write(folder.path().join("rules-noisy/rule.wasm"), rule).expect("written");
    let service = Service::start(folder.path(), &[]);
    wait_until("it is ready", || service.is_ready());
    (folder, service)
}

fn main() {
    let all: Vec<String> = events(1, 4_000).map(|(_, event)| event).collect();
    let list = |events: &[String]| event_list(events.iter().map(String::as_str));
    let quiet: Vec<String> = all.chunks(20).map(list).collect();
    let large = list(&all[..2_000]);
    let short = (record(false) + "\n").repeat(400);
    let other = || version("1.0.0", Does::Nothing);
    let garbage = vec![b'['; 32 << 20];
    let noises: [Noise<'_>; 8] = [
        ("nothing", other(), Box::new(|_, _| std::thread::sleep(Duration::from_millis(100)))),
        ("batches of 2,000 records", other(), Box::new(|service, _| post(service, NOISY, large.as_bytes()))),
        ("alerts of 63 KB", hostile("large-contexts"), Box::new(|service, _| post(service, NOISY, short.as_bytes()))),
        ("a rule that loops", hostile("loops"), Box::new(|service, _| post(service, NOISY, short.as_bytes()))),
        ("a rule that traps", hostile("traps"), Box::new(|service, _| post(service, NOISY, short.as_bytes()))),
        ("garbage of 32 MiB", other(), Box::new(|service, _| post(service, NOISY, &garbage))),
        (
            "packages that are slow to check",
            other(),
            Box::new(|service, n| {
                let package = slow_to_check(&format!("Noisy.Rule{n}"), "1.0.0");
                drop(service.ask_once(PUBLISHER, "PUT", "/v1/packages/noisy", &package));
                std::thread::sleep(Duration::from_millis(100));
            }),
        ),
        (
            "viewers that do not read",
            other(),
            Box::new(|service, _| {
                let mut stream = service.connect();
                let request =
                    format!("GET /v1/live HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {EYES}\r\n\r\n");
                let _ = stream.write_all(request.as_bytes()).and_then(|()| stream.read(&mut [0; 12]));
                std::thread::sleep(Duration::from_secs(1));
            }),
        ),
    ];
    println!("{:<34} {:>10} {:>8} {:>10} {:>10}", "beside", "batches/s", "of alone", "median", "99 %");
    for (name, rule, noise) in &noises {
        let (_folder, service) = service(rule);
        let alone = watch(&service, &quiet);
        let (stops, count) = (AtomicBool::new(false), AtomicU64::new(0));
        let beside = std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    // The noisy client is elsewhere. On Linux, this is of the thread alone.
                    let _ = rustix::process::nice(19);
                    while !stops.load(Ordering::Relaxed) {
                        noise(&service, count.fetch_add(1, Ordering::Relaxed));
                    }
                });
            }
            std::thread::sleep(Duration::from_secs(1));
            let beside = watch(&service, &quiet);
            stops.store(true, Ordering::Relaxed);
            beside
        });
        let times = |beside: Duration, alone: Duration| beside.as_secs_f64() / alone.as_secs_f64();
        println!(
            "{name:<34} {:>10.0} {:>8.2} {:>4.1} ms {:.1}x {:>5.1} ms {:.1}x",
            beside.rate,
            beside.rate / alone.rate,
            beside.median.as_secs_f64() * 1e3,
            times(beside.median, alone.median),
            beside.slowest.as_secs_f64() * 1e3,
            times(beside.slowest, alone.slowest),
        );
        service.kill();
    }
}
