// Reads normalized events. rules-wasm/event/event.schema.json describes them.

const LOG_TYPES = ['Amazon.EKS.Audit', 'Azure.MonitorActivity', 'GCP.AuditLog'];

// Returns the event without its request object. Throws on any other input. In a component without imports that is a
// trap: the host reports a fault, and the rule returns no verdict on wrong input.
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

// Returns whether the request is complete: its stage is `ResponseComplete`, or the record has no stage.
export function isComplete({ stage }) {
  return stage == null || stage === 'ResponseComplete';
}

// Removes the request object, which this rule does not read. The client chooses its content: up to 4 MiB of any shape.
// A million empty lists, or ten thousand objects with distinct names, would exceed the engine's memory, and hide the
// match behind a fault.
function withoutRequestObject(json) {
  // Quotes in strings are escaped, so this is a member's name. Clients cannot choose the names of the members before
  // it.
  const name = ',"requestObject":';
  const start = json.indexOf(name);
  return start < 0 ? json : json.slice(0, start) + json.slice(endOfValue(json, start + name.length));
}

// Returns the end of the value that begins at `start`: the position of the comma or bracket after it.
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

// Returns the position of the quote that ends the string whose first quote is at `start`.
function endOfString(json, start) {
  let end = start;
  do {
    end = json.indexOf('"', end + 1);
  } while (end > 0 && isEscaped(json, end));
  return end < 0 ? json.length : end;
}

// Returns whether an odd number of backslashes precedes the position.
function isEscaped(json, position) {
  let first = position;
  while (json[first - 1] === '\\') {
    first -= 1;
  }
  return (position - first) % 2 === 1;
}

// Returns the response code as written. It has 64 bits, and a JavaScript number represents only 53 of them exactly.
function exactCode(text) {
  const { responseStatus } = JSON.parse(text, (key, value, { source }) =>
    key === 'code' && typeof value === 'number' ? JSON.rawJSON(source) : value,
  );
  return responseStatus.code;
}
