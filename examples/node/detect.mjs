// Reads records of EKS, AKS or GKE from a file or standard input, one per line. Writes findings to standard output, one
// per line, as `portcullis run --format ndjson` writes alerts. Writes the number of records of each outcome to standard
// error.

import { createReadStream } from "node:fs";
import { stdin, stdout, stderr, argv } from "node:process";
import { once } from "node:events";

import { records } from "./generated/detector.js";

/** @typedef {import("./generated/interfaces/portcullis-detection-records.js").Finding} Finding */
/** @typedef {import("./generated/interfaces/portcullis-detection-records.js").DetectError} DetectError */

// Throws on invalid UTF-8, which would otherwise be replaced, and evaluated as a different text.
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * Splits an input at line feeds only. `node:readline` also splits at U+2028, which JSON allows in strings.
 * @param {AsyncIterable<Buffer>} input
 */
async function* lines(input) {
  /** @type {Buffer[]} */
  let parts = [];
  for await (const chunk of input) {
    let start = 0;
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, start)) {
      parts.push(chunk.subarray(start, end));
      yield Buffer.concat(parts);
      parts = [];
      start = end + 1;
    }
    if (start < chunk.length) parts.push(chunk.subarray(start));
  }
  if (parts.length > 0) yield Buffer.concat(parts);
}

/**
 * Returns the WIT's error, which jco puts into the `payload` of an `Error`. Rethrows anything else: it is not about the
 * record, but a trap, and the instance must not be used after it.
 * @param {unknown} thrown
 * @returns {DetectError}
 */
function reason(thrown) {
  if (thrown instanceof Error && "payload" in thrown) return /** @type {DetectError} */ (thrown.payload);
  throw thrown;
}

/**
 * Formats a finding as a line of JSON. Absent values are `null`, as in the command's alerts. The context is not parsed,
 * because `JSON.parse` would round long numbers.
 * @param {Finding} finding
 */
function line(finding) {
  const alert = JSON.stringify({
    alert_id: finding.alertId,
    rule_id: finding.ruleId,
    rule_version: finding.ruleVersion,
    severity: finding.severity,
    title: finding.title,
    dedup: finding.dedup,
    dedup_period_minutes: finding.dedupPeriodMinutes,
    incident_id: finding.incidentId,
    cluster: finding.cluster ?? null,
    log_type: finding.logType,
    event_time: finding.eventTime ?? null,
    audit_id: finding.auditId ?? null,
    mitre: finding.mitre,
    reference: finding.reference ?? null,
    runbook: finding.runbook ?? null,
    tags: finding.tags,
  });
  return `${alert.slice(0, -1)},"context":${finding.context}}\n`;
}

/** @type {Map<DetectError["tag"] | "evaluated" | "not-utf8", number>} */
const counts = new Map([["evaluated", 0]]);
/** @param {DetectError["tag"] | "evaluated" | "not-utf8"} outcome */
const count = (outcome) => counts.set(outcome, (counts.get(outcome) ?? 0) + 1);

const began = performance.now();
for await (const record of lines(argv[2] ? createReadStream(argv[2]) : stdin)) {
  let text;
  try {
    text = utf8.decode(record);
  } catch {
    count("not-utf8");
    continue;
  }
  let findings;
  try {
    findings = records.detect(text);
  } catch (thrown) {
    count(reason(thrown).tag);
    continue;
  }
  count("evaluated");
  for (const finding of findings) {
    if (!stdout.write(line(finding))) await once(stdout, "drain");
  }
}
const seconds = (performance.now() - began) / 1000;
const total = [...counts.values()].reduce((sum, n) => sum + n, 0);
stderr.write(`${JSON.stringify(Object.fromEntries(counts))}\n`);
stderr.write(`${Math.round(total / seconds)} records/s\n`);
