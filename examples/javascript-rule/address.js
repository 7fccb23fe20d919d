// Parses source addresses as clouds and proxies write them.

// White space according to Unicode. `trim` removes a different set of characters.
const SPACE = '[\\t-\\r \\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]';
const SPACE_AROUND = new RegExp(`^${SPACE}+|${SPACE}+$`, 'g');

// Parses an address that may have white space around it, a port (`1.2.3.4:443`, `[2001:db8::1]:443`), a zone (`%eth0`)
// or a prefix length (`/24`). Returns the address in its canonical form, in which an IPv4-mapped IPv6 address is the
// IPv4 address. Returns undefined for an invalid address.
export function parseAddress(text) {
  const address = bareAddress(text);
  if (address === undefined) {
    return undefined;
  }
  const octets = parseIpv4(address);
  if (octets !== undefined) {
    return octets.join('.');
  }
  const groups = parseIpv6(address);
  return groups === undefined ? undefined : formatIpv6(groups);
}

// Removes white space, port, zone and prefix length.
function bareAddress(decorated) {
  let [text, length] = split(decorated.replace(SPACE_AROUND, ''), '/');
  if (length !== undefined && !isNumber(length)) {
    return undefined;
  }
  if (text.startsWith('[')) {
    const [bracketed, rest] = split(text.slice(1), ']');
    const isAll = rest === '' || (rest?.startsWith(':') && isNumber(rest.slice(1)));
    if (!isAll) {
      return undefined;
    }
    text = bracketed;
  } else {
    const [host, port] = split(text, ':');
    if (port !== undefined && isNumber(port) && host.includes('.')) {
      text = host;
    }
  }
  const [address, zone] = split(text, '%');
  return zone === '' || zone?.includes('%') ? undefined : address;
}

// Splits a text at the first separator. Without one, the second part is undefined.
function split(text, separator) {
  const position = text.indexOf(separator);
  return position < 0 ? [text, undefined] : [text.slice(0, position), text.slice(position + separator.length)];
}

function isNumber(text) {
  return /^[0-9]+$/.test(text);
}

// Parses four octets. Refuses leading zeros, because some parsers read such octets as octal.
function parseIpv4(text) {
  const octets = text.split('.');
  const isOctet = (octet) => /^(0|[1-9][0-9]{0,2})$/.test(octet) && Number(octet) <= 255;
  return octets.length === 4 && octets.every(isOctet) ? octets.map(Number) : undefined;
}

// Parses eight groups of 16 bits.
function parseIpv6(text) {
  const [head, tail] = split(text, '::');
  if (tail === undefined) {
    const groups = parseGroups(head, true);
    return groups?.length === 8 ? groups : undefined;
  }
  const before = parseGroups(head, false);
  const after = parseGroups(tail, true);
  // `::` stands for one group at least.
  if (before === undefined || after === undefined || before.length + after.length > 7) {
    return undefined;
  }
  return [...before, ...Array(8 - before.length - after.length).fill(0), ...after];
}

// Parses the groups of a part of an IPv6 address. The last two groups of the last part may be written as an IPv4
// address.
function parseGroups(text, isLast) {
  if (text === '') {
    return [];
  }
  const groups = [];
  const parts = text.split(':');
  for (const [n, part] of parts.entries()) {
    if (/^[0-9a-fA-F]{1,4}$/.test(part)) {
      groups.push(parseInt(part, 16));
      continue;
    }
    const octets = isLast && n === parts.length - 1 ? parseIpv4(part) : undefined;
    if (octets === undefined) {
      return undefined;
    }
    groups.push((octets[0] << 8) | octets[1], (octets[2] << 8) | octets[3]);
  }
  return groups;
}

// Formats an address as RFC 5952 specifies: the first of the longest runs of two or more zeros is `::`, and digits are
// lower-case.
function formatIpv6(groups) {
  if (groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff) {
    return groups.slice(6).flatMap((group) => [group >> 8, group & 0xff]).join('.');
  }
  let [start, length] = [0, 0];
  for (let n = 0; n < groups.length; n += 1) {
    let end = n;
    while (groups[end] === 0) {
      end += 1;
    }
    if (end - n > length) {
      [start, length] = [n, end - n];
    }
  }
  const format = (some) => some.map((group) => group.toString(16)).join(':');
  return length < 2 ? format(groups) : `${format(groups.slice(0, start))}::${format(groups.slice(start + length))}`;
}
