// The normalized event, as rules-wasm/event/event.schema.json describes it.

const LOG_TYPES = ['Amazon.EKS.Audit', 'Azure.MonitorActivity', 'GCP.AuditLog'];

// The event in a text, without its request object. Anything else is thrown, which in a component that imports
// nothing is a trap: a fault, which the host reports, instead of a verdict on something misread.
export function readEvent(json) {
  const text = withoutRequestObject(json);
  const event = JSON.parse(text);
  const lists = ['userGroups', 'impersonatedGroups', 'sourceIPs', 'asn'].map((name) => event[name]);
  if (!LOG_TYPES.includes(event.logType) || !lists.every(Array.isArray)) {
    throw new TypeError('the input is no normalized event');
  }
  const code = event.responseStatus?.code;
  if (code !== undefined && !Number.isSafeInteger(code)) {
    event.responseStatus.code = exactCode(text);
  }
  return event;
}

// Whether the request's handling is over: the stage is `ResponseComplete`, or the record knows no stages.
export function isComplete({ stage }) {
  return stage == null || stage === 'ResponseComplete';
}

// The request object is the client's, of up to 4 MiB and of any shape. A million empty lists, or ten thousand objects with
// a name of its own in each, would take more memory than the engine has, and hide the match behind a fault. This rule does
// not look at it.
function withoutRequestObject(json) {
  // Quotes within a text are escaped, so this is a member's name; and no member before it has names that a client chose.
  const name = ',"requestObject":';
  const start = json.indexOf(name);
  return start < 0 ? json : json.slice(0, start) + json.slice(endOfValue(json, start + name.length));
}

// Where the value that begins here has ended: at the comma or bracket behind it.
function endOfValue(json, start) {
  let depth = 0;
  for (let n = start; n < json.length; n += 1) {
    const character = json[n];
    if (character === '"') {
      n = endOfText(json, n);
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

// Where the quote is that ends the text whose first quote is here.
function endOfText(json, start) {
  let end = start;
  do {
    end = json.indexOf('"', end + 1);
  } while (end > 0 && isEscaped(json, end));
  return end < 0 ? json.length : end;
}

// Whether an odd number of backslashes stands before this place.
function isEscaped(json, place) {
  let first = place;
  while (json[first - 1] === '\\') {
    first -= 1;
  }
  return (place - first) % 2 === 1;
}

// The code as it is written: it has 64 bits, of which a number of JavaScript's holds 53.
function exactCode(text) {
  const { responseStatus } = JSON.parse(text, (key, value, { source }) =>
    key === 'code' && typeof value === 'number' ? JSON.rawJSON(source) : value,
  );
  return responseStatus.code;
}
