//! Fuzzes a rule's answer, which the host reads from the rule's memory.

use std::fmt::Write as _;
use std::sync::{Arc, LazyLock};

use arbitrary::{Arbitrary, Unstructured};
use portcullis::pipeline::RuleVerdict;
use portcullis::sandbox::{Answer, Sandbox};
use portcullis::{Alert, Fault, Judge, Limits, Package, RuleSet, Verdict};
use portcullis_event::{Buffers, Outcome, normalize};
use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};

use super::component::{ENGINE, OPEN_MANIFEST, PARROT, SPEC, package};
use super::output::check_alert;

/// Address at which the parrot writes its answer.
const ANSWER: usize = 0x1_0000;

/// Maximum number of bytes that the parrot writes. Its input has two digits for each, in two pages of memory.
const MAX_BYTES: usize = 16 << 10;

static PACKAGE: LazyLock<Package> = LazyLock::new(|| {
    Package::load(&ENGINE, &package(&PARROT, SPEC, OPEN_MANIFEST), "the parrot").expect("the parrot is a valid package")
});

/// Runs a rule that writes an answer. If the first byte is even, the others are the bytes that the rule writes,
/// starting with the address of the answer. If it is odd, the others describe a mostly valid answer.
pub(crate) fn answer(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else { return };
    if kind % 2 == 0 {
        drop(evaluate(rest));
        return;
    }
    let Ok(plan) = Plan::arbitrary(&mut Unstructured::new(rest)) else { return };
    let (memory, context) = plan.memory();
    let answer = evaluate(&memory);
    if memory.len() <= MAX_BYTES && plan.overwrites.is_empty() {
        let answer = answer.expect("the answer is well-formed").expect("the answer is an alert");
        assert_eq!((&*answer.title, &*answer.dedup, answer.context), (plan.title, plan.dedup, context));
        assert_eq!(answer.severity.map(|severity| severity as u8), plan.severity.map(|severity| severity % 5));
    }
}

/// Makes the rule write these bytes, and returns the sandbox's result. Checks that a judge has the same result, or a
/// fault that the answer justifies.
fn evaluate(memory: &[u8]) -> Result<Option<Answer>, Fault> {
    let memory = &memory[..memory.len().min(MAX_BYTES)];
    let digits = memory.iter().fold(String::from("#"), |mut digits, byte| {
        let _ = write!(digits, "{byte:02x}");
        digits
    });
    let record = json!({"p_log_type": "Amazon.EKS.Audit", "userAgent": digits}).to_string();
    let mut buffers = Buffers::default();
    let Outcome::Evaluated(event) = normalize(record.as_bytes(), &mut buffers) else {
        panic!("the record was not evaluated")
    };

    let mut sandbox = Sandbox::new(PACKAGE.clone(), Limits::default());
    let answer = sandbox.evaluate(&serde_json::to_string(&event).expect("an event is JSON"));

    let rules = RuleSet::new(vec![PACKAGE.clone()]).expect("one rule is a rule set");
    let verdict = Judge::new(Arc::new(rules), Limits::default()).event(&event).into_judged().pop();
    match (&answer, verdict.map(|RuleVerdict { verdict, .. }| verdict)) {
        (Ok(None), Some(Verdict::NoMatch)) => {}
        (Ok(Some(answer)), Some(Verdict::Alert(alert))) => check(answer, &alert),
        (Ok(Some(answer)), Some(Verdict::Fault(Fault::Answer(_)))) => {
            let is_invalid = answer.title.trim().is_empty() || !is_object(&answer.context);
            assert!(is_invalid || json_length(answer) > Limits::default().alert, "{answer:?}");
        }
        (Err(fault), Some(Verdict::Fault(found))) => assert_eq!(*fault, found),
        (answer, verdict) => panic!("the answer {answer:?} became the verdict {verdict:?}"),
    }
    answer
}

/// Checks that an alert has the content of the rule's answer.
fn check(answer: &Answer, alert: &Alert) {
    assert!(!answer.title.trim().is_empty() && is_object(&answer.context), "{answer:?}");
    assert_eq!((&alert.title, &alert.dedup), (&answer.title, &answer.dedup));
    if let Some(severity) = answer.severity {
        assert_eq!(alert.severity as u8, severity as u8);
    }
    let written = alert.context.members();
    match serde_json::from_str::<Map<String, Value>>(&answer.context) {
        Ok(context) if written != context => assert_eq!(written["unreadable"], answer.context),
        Ok(_) => {}
        Err(_) => assert_eq!(written["unreadable"], answer.context),
    }
    check_alert(alert, PACKAGE.spec());
}

/// Returns an upper bound of the texts' length as JSON. A context may become longer, because numbers are reformatted.
fn json_length(answer: &Answer) -> usize {
    json!([answer.title, answer.dedup]).to_string().len() + 2 * answer.context.len()
}

fn is_object(json: &str) -> bool {
    json.trim_start().starts_with('{') && serde_json::from_str::<IgnoredAny>(json).is_ok()
}

/// Describes an answer.
#[derive(Arbitrary)]
struct Plan<'p> {
    title: &'p str,
    dedup: &'p str,
    severity: Option<u8>,
    context: Context<'p>,
    /// Bytes that are overwritten: offset and value.
    overwrites: Vec<(u16, u8)>,
}

#[derive(Arbitrary)]
enum Context<'p> {
    /// Any text.
    Text(&'p str),
    /// An object.
    Members(Vec<(Name<'p>, Leaf<'p>)>),
    /// An object with this many nested lists or objects.
    Deep { objects: bool, depth: u8 },
}

#[derive(Arbitrary)]
enum Name<'p> {
    /// A name that some output format reads.
    Known(u8),
    Other(&'p str),
}

#[derive(Arbitrary)]
enum Leaf<'p> {
    Text(&'p str),
    Texts(Vec<&'p str>),
    Code(i64),
    Member(&'p str, &'p str),
    /// A text that need not be JSON.
    Raw(&'p str),
}

/// The names of [`Name::Known`].
const KNOWN: [&str; 10] = [
    "username",
    "sourceIPs",
    "asn",
    "verb",
    "userAgent",
    "requestURI",
    "name",
    "namespace",
    "resource",
    "responseStatus",
];

impl Plan<'_> {
    /// Returns the bytes that the rule writes, and the context in them. The bytes are the address of the answer, the
    /// answer in the canonical ABI, and the texts.
    fn memory(&self) -> (Vec<u8>, String) {
        let context = self.context.json();
        let texts = [self.title, self.dedup, &*context];
        let mut address = ANSWER + 36;
        let [title, dedup, context_text] = texts.map(|text| {
            let start = address;
            address += text.len();
            [start, text.len()]
        });
        let severity = self.severity.map_or(0, |severity| 1 | usize::from(severity % 5) << 8);
        let some = 1;
        let words = [&[ANSWER + 4, some][..], &title, &dedup, &[severity], &context_text].concat();
        let mut memory: Vec<u8> = words
            .into_iter()
            .flat_map(|word| u32::try_from(word).expect("addresses and lengths are small").to_le_bytes())
            .collect();
        memory.extend(texts.concat().bytes());
        for (offset, value) in &self.overwrites {
            if let Some(byte) = memory.get_mut(usize::from(*offset)) {
                *byte = *value;
            }
        }
        (memory, context)
    }
}

impl Context<'_> {
    fn json(&self) -> String {
        match self {
            Self::Text(text) => (*text).to_owned(),
            Self::Members(members) => {
                let members: Vec<String> = members
                    .iter()
                    .map(|(name, leaf)| format!("{}:{}", Value::from(name.text()), leaf.json()))
                    .collect();
                format!("{{{}}}", members.join(","))
            }
            Self::Deep { objects, depth } => {
                let (open, close) = if *objects { ("{\"a\":", "}") } else { ("[", "]") };
                let depth = usize::from(*depth);
                format!("{{\"a\":{}1{}}}", open.repeat(depth), close.repeat(depth))
            }
        }
    }
}

impl Name<'_> {
    fn text(&self) -> &str {
        match self {
            Self::Known(number) => KNOWN[usize::from(*number) % KNOWN.len()],
            Self::Other(name) => name,
        }
    }
}

impl Leaf<'_> {
    fn json(&self) -> String {
        match self {
            Self::Text(text) => json!(text).to_string(),
            Self::Texts(texts) => json!(texts).to_string(),
            Self::Code(code) => json!({"code": code}).to_string(),
            Self::Member(name, text) => json!({*name: text}).to_string(),
            Self::Raw(text) => (*text).to_owned(),
        }
    }
}
