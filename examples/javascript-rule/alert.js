// What a match becomes, kept to a size that the host is sure to take.
//
// Much of it is written by the client that the rule suspects. An alert must not become too large for the host, which
// would hide the match; so every text has a limit in bytes of UTF-8, where it is cut and ends in `…`, and every list one
// in items. The limits are those of the SDK for Rust (rules-wasm/sdk/src/alert.rs).

const MAX_LINE = 1024;
const MAX_TEXT = 2048;
const MAX_ADDRESS = 100;
const MAX_GROUP = 128;
const MAX_ITEMS = 32;
const MAX_CONTEXT = 48 << 10;

const MARK = '…';
const encoder = new TextEncoder();
const room = new Uint8Array(Math.max(MAX_LINE, MAX_TEXT));

// An alert about an event. The context begins with who, from where, did what to which object and how it ended, and as
// whom, and goes on with what the rule adds.
export function makeAlert(event, { title, dedup, context }) {
  return {
    title: cut(title, MAX_LINE),
    dedup: cut(dedup, MAX_LINE),
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

// A JSON object. What is absent is null, and so is a value that does not fit any more.
function writeContext(context) {
  const members = Object.entries(context).map(([key, value]) => {
    const [name, json] = [JSON.stringify(key), JSON.stringify(limited(value))];
    return { name, json, length: lengthWith(name, json), lengthOfNull: lengthWith(name, 'null') };
  });
  // What the members need when all that follow are null.
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
    return cut(value, MAX_TEXT);
  }
  return Array.isArray(value) ? value.slice(0, MAX_ITEMS).map(limited) : (value ?? null);
}

// The source addresses; of many the last, which are the ones that the client cannot write, after a mark. The longest
// address has 45 characters; what is much longer is none.
function sourceIps(addresses) {
  if (addresses.length === 0) {
    return undefined;
  }
  const leftOut = addresses.length - (MAX_ITEMS - 1);
  const kept = leftOut > 1 ? addresses.slice(leftOut) : addresses;
  const texts = kept.map((address) => cut(address, MAX_ADDRESS));
  return leftOut > 1 ? [`${MARK} ${leftOut} more`, ...texts] : texts;
}

// The groups that the user acted with: as many as a list has, each with as much as leaves room for the rest of the
// context.
function impersonatedGroups(groups) {
  return groups.length === 0 ? undefined : groups.slice(0, MAX_ITEMS).map((group) => cut(group, MAX_GROUP));
}

// The text, or as much of its beginning as fits with `…` into `max` bytes.
function cut(text, max) {
  // A unit of UTF-16 has three bytes of UTF-8 at the most.
  if (text.length * 3 <= max || encoder.encodeInto(text, room.subarray(0, max)).read === text.length) {
    return text;
  }
  const { read } = encoder.encodeInto(text, room.subarray(0, max - byteLength(MARK)));
  return text.slice(0, read) + MARK;
}

function byteLength(text) {
  return encoder.encode(text).length;
}
