//! Panther's enrichment of records with the networks of source addresses.

use crate::event::Asn;
use crate::json::{self, Names, Value, text_of};

/// The most entries that are read. A request has far fewer source addresses: a kube-apiserver accepts 1 MiB of headers.
const MAX_ENTRIES: usize = 200_000;

/// Reads the entries of `p_enrichment.ipinfo_asn` for the field of the source addresses. All members with the field's
/// name count, in any case. Their values are a list of entries or a single one. An entry whose `asn` is not text is an
/// unknown provider. Nothing here is malformed, because it is not from the API server.
pub(crate) fn asn<'a>(enrichment: Option<Value<'a, '_>>, field: &str) -> Vec<Asn<'a>> {
    let Some([Some(providers)]) = enrichment.and_then(|value| value.named(&const { Names::new(["ipinfo_asn"]) }))
    else {
        return Vec::new();
    };
    let mut asn = Vec::new();
    for value in json::members_in_any_case(providers, field) {
        if value.is_list() {
            asn.extend(value.items().take(MAX_ENTRIES.saturating_sub(asn.len())).map(entry));
        } else if !value.is_absent() {
            asn.push(entry(value));
        }
    }
    if asn.len() >= MAX_ENTRIES {
        // An unknown provider represents the entries that were not read.
        asn.push(Asn { asn: None, name: None, address: None });
    }
    asn
}

fn entry<'a>(value: Value<'a, '_>) -> Asn<'a> {
    let [asn, name, address] =
        value.named(&const { Names::new(["asn", "name", "p_match"]) }).unwrap_or_default().map(text_of);
    Asn { asn, name, address }
}
