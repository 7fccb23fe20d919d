// Source addresses, as clouds and proxies write them.

// What Unicode holds for white space; `trim` takes another list.
const SPACE = '[\\t-\\r \\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]';
const SPACE_AROUND = new RegExp(`^${SPACE}+|${SPACE}+$`, 'g');

// Reads the address out of a text that may carry white space around it, a port (`1.2.3.4:443`, `[2001:db8::1]:443`), a
// zone (`%eth0`) or a prefix length (`/24`). The address in its one canonical form, in which an IPv4-mapped IPv6
// address is the IPv4 address; nothing if there is none.
export function parseAddress(text) {
  const address = undressed(text);
  if (address === undefined) {
    return undefined;
  }
  const octets = readIpv4(address);
  if (octets !== undefined) {
    return octets.join('.');
  }
  const groups = readIpv6(address);
  return groups === undefined ? undefined : writeIpv6(groups);
}

// The address in what may stand around it.
function undressed(dressed) {
  let [text, length] = split(dressed.replace(SPACE_AROUND, ''), '/');
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

// What is before and behind the first of these marks; behind is undefined where there is none.
function split(text, mark) {
  const place = text.indexOf(mark);
  return place < 0 ? [text, undefined] : [text.slice(0, place), text.slice(place + mark.length)];
}

function isNumber(text) {
  return /^[0-9]+$/.test(text);
}

// Four octets, none with a leading zero, which some would read as octal.
function readIpv4(text) {
  const octets = text.split('.');
  const isOctet = (octet) => /^(0|[1-9][0-9]{0,2})$/.test(octet) && Number(octet) <= 255;
  return octets.length === 4 && octets.every(isOctet) ? octets.map(Number) : undefined;
}

// Eight groups of 16 bits.
function readIpv6(text) {
  const [head, tail] = split(text, '::');
  if (tail === undefined) {
    const groups = readGroups(head, true);
    return groups?.length === 8 ? groups : undefined;
  }
  const before = readGroups(head, false);
  const behind = readGroups(tail, true);
  // `::` stands for one group at least.
  if (before === undefined || behind === undefined || before.length + behind.length > 7) {
    return undefined;
  }
  return [...before, ...Array(8 - before.length - behind.length).fill(0), ...behind];
}

// The groups of a part of an IPv6 address, of which the last two may be written as an IPv4 address if the part is the
// last one.
function readGroups(text, isLast) {
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
    const octets = isLast && n === parts.length - 1 ? readIpv4(part) : undefined;
    if (octets === undefined) {
      return undefined;
    }
    groups.push((octets[0] << 8) | octets[1], (octets[2] << 8) | octets[3]);
  }
  return groups;
}

// As RFC 5952 has it: the first of the longest runs of two zeros or more is `::`, and digits are lower-case.
function writeIpv6(groups) {
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
  const write = (some) => some.map((group) => group.toString(16)).join(':');
  return length < 2 ? write(groups) : `${write(groups.slice(0, start))}::${write(groups.slice(start + length))}`;
}
