//! What Panther's enrichment put into a record: the networks of its source addresses.

use crate::event::Asn;
use crate::json::{self, Names, Value, text_of};

/// Far more entries than a request has source addresses: a kube-apiserver takes 1 MiB of headers.
const MAX_ENTRIES: usize = 200_000;

/// The entries of `p_enrichment.ipinfo_asn` under the source addresses' field, whose case does not matter: under all
/// that have the name in some case. The value is a list of entries or a single one; an entry without a text `asn` is an
/// unknown provider. Never malformed: it is not the API server's.
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
        // Those that were left out are no provider that anybody knows.
        asn.push(Asn { asn: None, name: None, address: None });
    }
    asn
}

fn entry<'a>(value: Value<'a, '_>) -> Asn<'a> {
    let [asn, name, address] =
        value.named(&const { Names::new(["asn", "name", "p_match"]) }).unwrap_or_default().map(text_of);
    Asn { asn, name, address }
}
