//! Reading addresses as clouds and proxies write them.

use std::net::IpAddr;
use std::str::FromStr;

/// Parses an address. The text may have white space around it, a port (`1.2.3.4:443`, `[2001:db8::1]:443`), a zone
/// (`%eth0`) or a prefix length (`/24`). An IPv4-mapped IPv6 address becomes the IPv4 address.
#[must_use]
pub fn parse(text: &str) -> Option<IpAddr> {
    // Most texts are only an address.
    let plain = IpAddr::from_str(text).ok().or_else(|| IpAddr::from_str(without_extras(text)?).ok());
    plain.map(|address| address.to_canonical())
}

/// Removes white space, port, zone and prefix length from an address.
fn without_extras(text: &str) -> Option<&str> {
    let text = text.trim();
    let text = match text.split_once('/') {
        Some((text, length)) if is_number(length) => text,
        Some(_) => return None,
        None => text,
    };
    let address = match text.strip_prefix('[') {
        Some(bracketed) => {
            let (address, rest) = bracketed.split_once(']')?;
            if !rest.is_empty() && !is_number(rest.strip_prefix(':')?) {
                return None;
            }
            address
        }
        None => match text.split_once(':') {
            Some((address, port)) if is_number(port) && address.contains('.') => address,
            _ => text,
        },
    };
    match address.split_once('%') {
        Some((address, zone)) if !zone.is_empty() && !zone.contains('%') => Some(address),
        Some(_) => None,
        None => Some(address),
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_parsed_whatever_is_around_it() {
        for (text, address) in [
            ("1.2.3.4", "1.2.3.4"),
            (" 10.0.0.1\t", "10.0.0.1"),
            ("1.2.3.4:443", "1.2.3.4"),
            ("10.0.0.1/8", "10.0.0.1"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:DB8::1]:443", "2001:db8::1"),
            ("[::1]", "::1"),
            ("fe80::1%eth0", "fe80::1"),
            ("fe80::1%eth0/64", "fe80::1"),
            ("[fe80::1%eth0]:80", "fe80::1"),
            ("2001:db8::/32", "2001:db8::"),
            ("[2001:db8::1]/64", "2001:db8::1"),
            ("1.2.3.4:80/24", "1.2.3.4"),
            ("::ffff:1.2.3.4", "1.2.3.4"),
            ("::FFFF:102:304", "1.2.3.4"),
        ] {
            assert_eq!(parse(text), Some(address.parse().expect(address)), "{text}");
        }
    }

    #[test]
    fn a_text_without_an_address_does_not_parse() {
        for text in [
            "",
            " ",
            "private",
            "gce-internal-ip",
            "10.0.0.1,8.8.8.8",
            "1.2.3.4:",
            "1.2.3.4:http",
            "1.2.3.4/",
            "1.2.3.4/a",
            "1.2.3",
            "01.2.3.4",
            "::ffff:10.0.0.01",
            "1::2::3",
            "[::1",
            "[::1]443",
            "[::1]:",
            "fe80::1%",
            "0x7f000001",
            "\u{661}\u{660}.0.0.1",
            "1.2.3.4\0",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
