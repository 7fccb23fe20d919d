//! What Panther's enrichment put into a record: the networks of its source addresses.

use crate::json::{self, RawValue};
use crate::{Asn, Text};

/// Far more entries than a request has source addresses: a kube-apiserver takes 1 MiB of headers.
const MAX_ENTRIES: usize = 200_000;

/// The entries of `p_enrichment.ipinfo_asn` under the source addresses' field, whose case does not matter: under all
/// that have the name in some case. The value is a list of entries or a single one; an entry without a text `asn` is an
/// unknown provider. Never malformed: it is not the API server's.
pub(crate) fn asn<'a>(enrichment: Option<&'a RawValue>, field: &str) -> Vec<Asn<'a>> {
    let Some([Some(providers)]) = json::object(enrichment, ["ipinfo_asn"]).present() else { return Vec::new() };
    let mut asn = Vec::new();
    for value in json::members_in_any_case(providers, field) {
        let is_list = json::for_each_item(value, &mut |item| {
            if asn.len() < MAX_ENTRIES {
                asn.push(entry(item));
            }
        });
        if !is_list && !matches!(value.get(), "null" | "\"\"") {
            asn.push(entry(value));
        }
    }
    if asn.len() >= MAX_ENTRIES {
        // Those that were left out are no provider that anybody knows.
        asn.push(Asn { asn: None, name: None, address: None });
    }
    asn
}

fn entry(value: &RawValue) -> Asn<'_> {
    let [asn, name, address]: [Option<Text<'_>>; 3] = json::object(Some(value), ["asn", "name", "p_match"])
        .present()
        .unwrap_or_default()
        .map(|raw| json::text(raw).present());
    Asn { asn, name, address }
}
