// Reads normalized events. rules-wasm/event/event.schema.json describes them.

const LOG_TYPES = ['Amazon.EKS.Audit', 'Azure.MonitorActivity', 'GCP.AuditLog'];

// The event in a text, without its request object. For any other text it throws. In a component without imports that is
// a trap: a fault that the host reports, instead of a verdict on something misread.
export function readEvent(json) {
  const text = withoutRequestObject(json);
  const event = JSON.parse(text);
  const lists = ['userGroups', 'impersonatedGroups', 'sourceIPs', 'asn'].map((name) => event[name]);
  if (!LOG_TYPES.includes(event.logType) || !lists.every(Array.isArray)) {
    throw new TypeError('the input is not a normalized event');
  }
  const code = event.responseStatus?.code;
  if (code !== undefined && !Number.isSafeInteger(code)) {
    event.responseStatus.code = exactCode(text);
  }
  return event;
}

// Whether the request is complete: the stage is `ResponseComplete`, or the record has no stage.
export function isComplete({ stage }) {
  return stage == null || stage === 'ResponseComplete';
}

// A client writes the request object: up to 4 MiB, of any shape. A million empty lists, or ten thousand objects with
// different names, would take more memory than the engine has, and the match would become a fault. This rule does not
// use the object.
function withoutRequestObject(json) {
  // Quotes within a text are escaped, so this is a member's name. No earlier member has names that a client chose.
  const name = ',"requestObject":';
  const start = json.indexOf(name);
  return start < 0 ? json : json.slice(0, start) + json.slice(endOfValue(json, start + name.length));
}

// Where the value that begins here ends: at the comma or bracket after it.
function endOfValue(json, start) {
  let depth = 0;
  for (let n = start; n < json.length; n += 1) {
    const character = json[n];
    if (character === '"') {
      n = endOfString(json, n);
    } else if (character === '{' || character === '[') {
      depth += 1;
    } else if (depth > 0) {
      depth -= character === '}' || character === ']' ? 1 : 0;
    } else if (character === ',' || character === '}') {
      return n;
    }
  }
  return json.length;
}

// The place of the quote that closes the text that opens here.
function endOfText(json, start) {
  let end = start;
  do {
    end = json.indexOf('"', end + 1);
  } while (end > 0 && isEscaped(json, end));
  return end < 0 ? json.length : end;
}

// Whether an odd number of backslashes is before this place.
function isEscaped(json, place) {
  let first = place;
  while (json[first - 1] === '\\') {
    first -= 1;
  }
  return (position - first) % 2 === 1;
}

// The code as it is written: it has 64 bits, and a JavaScript number holds 53.
function exactCode(text) {
  const { responseStatus } = JSON.parse(text, (key, value, { source }) =>
    key === 'code' && typeof value === 'number' ? JSON.rawJSON(source) : value,
  );
  return responseStatus.code;
}
