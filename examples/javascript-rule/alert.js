// Creates alerts, limited to a size that the host accepts.
//
// Clients control much of an alert's content, and a client could hide a match behind an alert that is too large for the
// host. So every text has a limit in bytes of UTF-8, beyond which it is truncated and ends in `…`, and every list has a
// limit in items. The limits are those of the SDK for Rust (rules-wasm/sdk/src/alert.rs).

const MAX_LINE = 1024;
const MAX_TEXT = 2048;
const MAX_ADDRESS = 100;
const MAX_GROUP = 128;
const MAX_ITEMS = 32;
const MAX_CONTEXT = 48 << 10;

const ELLIPSIS = '…';
const encoder = new TextEncoder();
const buffer = new Uint8Array(Math.max(MAX_LINE, MAX_TEXT));

// Returns an alert about an event. The context begins with the event's user, source addresses, request, response and
// impersonated user, followed by the members that the rule adds.
export function makeAlert(event, { title, dedup, context }) {
  return {
    title: truncate(title, MAX_LINE),
    dedup: truncate(dedup, MAX_LINE),
    severity: undefined,
    context: writeContext({
      username: event.username,
      sourceIPs: sourceIps(event.sourceIPs),
      userAgent: event.userAgent,
      namespace: event.namespace,
      verb: event.verb,
      resource: event.resource,
      requestURI: event.requestURI,
      responseStatus: event.responseStatus && { code: event.responseStatus.code },
      cluster: event.cluster,
      name: event.name,
      impersonatedUser: event.impersonatedUser,
      impersonatedGroups: impersonatedGroups(event.impersonatedGroups),
      ...context,
    }),
  };
}

// Returns the context as a JSON object. Absent values are null, and so are values that would exceed the limit.
function writeContext(context) {
  const members = Object.entries(context).map(([key, value]) => {
    const [name, json] = [JSON.stringify(key), JSON.stringify(limited(value))];
    return { name, json, length: lengthWith(name, json), lengthOfNull: lengthWith(name, 'null') };
  });
  // Length of the remaining members if all of them are null.
  let reserve = members.reduce((sum, { lengthOfNull }) => sum + lengthOfNull, 0);
  let written = '{'.length;
  const parts = members.map(({ name, json, length, lengthOfNull }, n) => {
    reserve -= lengthOfNull;
    const fits = written + length + reserve < MAX_CONTEXT;
    // The first member has no comma before it.
    written += (fits ? length : lengthOfNull) - (n === 0 ? 1 : 0);
    return `${name}:${fits ? json : 'null'}`;
  });
  return `{${parts.join(',')}}`;
}

function lengthWith(name, json) {
  return byteLength(name) + byteLength(json) + ':,'.length;
}

function limited(value) {
  if (typeof value === 'string') {
    return truncate(value, MAX_TEXT);
  }
  return Array.isArray(value) ? value.slice(0, MAX_ITEMS).map(limited) : (value ?? null);
}

// Returns the source addresses. If there are too many, returns only the last ones, after a text that counts the others:
// the client cannot write the last address. An address has at most 45 characters; a longer text is not one.
function sourceIps(addresses) {
  if (addresses.length === 0) {
    return undefined;
  }
  const leftOut = addresses.length - (MAX_ITEMS - 1);
  const kept = leftOut > 1 ? addresses.slice(leftOut) : addresses;
  const texts = kept.map((address) => truncate(address, MAX_ADDRESS));
  return leftOut > 1 ? [`${ELLIPSIS} ${leftOut} more`, ...texts] : texts;
}

// Returns the impersonated groups, each truncated to 128 bytes so that together they leave space for the other members.
function impersonatedGroups(groups) {
  return groups.length === 0 ? undefined : groups.slice(0, MAX_ITEMS).map((group) => truncate(group, MAX_GROUP));
}

// Truncates a text to `max` bytes, including the `…` at its end.
function truncate(text, max) {
  // A UTF-16 code unit has at most three bytes in UTF-8.
  if (text.length * 3 <= max || encoder.encodeInto(text, buffer.subarray(0, max)).read === text.length) {
    return text;
  }
  const { read } = encoder.encodeInto(text, buffer.subarray(0, max - byteLength(ELLIPSIS)));
  return text.slice(0, read) + ELLIPSIS;
}

function byteLength(text) {
  return encoder.encode(text).length;
}
