//! Dry runs: requests that change nothing. Only the query of their path shows it.

use std::borrow::Cow;

use super::normalized::Event;

/// Go, and so an API server, ignores a query with more parameters than this.
const MAX_PARAMETERS: usize = 10_000;

impl Event<'_> {
    /// Whether the request was a dry run (`kubectl --dry-run=server`), which is checked and answered like any other
    /// request and changes nothing. The query of `requestURI` has `dryRun=All` then, the only value that an API server
    /// accepts. GKE's records have no query.
    #[must_use]
    pub fn is_dry_run(&self) -> bool {
        let uri = self.request_uri.as_deref().unwrap_or_default();
        let before_fragment = uri.split_once('#').map_or(uri, |(before, _)| before);
        let Some((_, query)) = before_fragment.split_once('?') else { return false };
        let is_dry_run = |parameter: &str| {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            *decoded(name) == *b"dryRun" && *decoded(value) == *b"All"
        };
        query.split('&').any(is_dry_run) && query.split('&').count() <= MAX_PARAMETERS
    }
}

/// Decodes a name or value of a query. Invalid escapes stay as they are. An API server ignores a parameter with one,
/// and neither `dryRun` nor `All` contains one.
fn decoded(text: &str) -> Cow<'_, [u8]> {
    let mut rest = text.as_bytes();
    if !rest.contains(&b'%') {
        return rest.into();
    }
    let mut bytes = Vec::with_capacity(rest.len());
    while let Some((&byte, behind)) = rest.split_first() {
        let escaped = match rest {
            [b'%', high, low, behind @ ..] => {
                digit(*high).zip(digit(*low)).map(|(high, low)| (high << 4 | low, behind))
            }
            _ => None,
        };
        let (byte, behind) = escaped.unwrap_or((byte, behind));
        bytes.push(byte);
        rest = behind;
    }
    bytes.into()
}

/// Returns the value of a hexadecimal digit.
fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::normalized::LogType;
    use super::*;

    fn is_dry_run(uri: &str) -> bool {
        Event { request_uri: Some(uri.into()), ..Event::new(LogType::Eks) }.is_dry_run()
    }

    #[test]
    fn a_dry_run_is_found_however_its_parameter_is_escaped() {
        for uri in [
            "/api/v1/namespaces/shop/services?dryRun=All",
            "/api?fieldManager=kubectl-create&dryRun=All&pretty=1",
            "/api?dryRun=All&dryRun=All",
            "/api?%64ryRun=%41ll",
            "/api?dry%52un=Al%6C",
            "/api?%zz&dryRun=All",
            "/api?dryRun=All#dryRun=None",
            "?&&dryRun=All",
        ] {
            assert!(is_dry_run(uri), "{uri}");
        }
    }

    #[test]
    fn other_requests_are_no_dry_runs() {
        assert!(!Event::new(LogType::Eks).is_dry_run());
        for uri in [
            "",
            "/api",
            "/api?",
            "/api/dryRun=All",
            "/api%3FdryRun=All",
            "/api&dryRun=All",
            "/api?dryRun",
            "/api?dryRun=",
            "/api?dryRun=None",
            "/api?dryRun=all",
            "/api?dryrun=All",
            "/api?DRYRUN=ALL",
            "/api?dryRun=All ",
            "/api?dryRun=+All",
            "/api?dryRun=All=",
            "/api?dryRun=All;a=1",
            "/api?a=1;dryRun=All",
            "/api?a=1%26dryRun=All",
            "/api?a=b?dryRun=All",
            "/api?a#?dryRun=All",
            "/api?a#&dryRun=All",
            "/api?dryRun%3DAll",
            "/api?dryRun=%2541ll",
            "/api?dryRun=%4All",
            "/api?dryRun=All%",
            "/api?dryRun=All%0",
            "/api?xdryRun=All",
        ] {
            assert!(!is_dry_run(uri), "{uri}");
        }
    }

    /// An API server ignores a query with too many parameters, and executes the request.
    #[test]
    fn a_query_with_too_many_parameters_is_ignored() {
        let with = |others: usize| format!("/api?{}dryRun=All", "a&".repeat(others));
        assert!(is_dry_run(&with(9_999)));
        assert!(!is_dry_run(&with(10_000)));
    }
}
