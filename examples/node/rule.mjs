// Runs a single rule from its package, the file that `portcullis run` loads. The rule takes a normalized event,
// described in rules-wasm/event/event.schema.json, and may return an alert.

import { rule } from "./generated/nodeport.js";

const event = {
  logType: "Amazon.EKS.Audit",
  username: "ada",
  userGroups: [],
  sourceIPs: ["10.0.0.7"],
  sourceScope: "internal",
  asn: [],
  verb: "create",
  resource: "services",
  namespace: "prod",
  name: "web",
  stage: "ResponseComplete",
  malformed: [],
};
for (const serviceType of ["NodePort", "ClusterIP"]) {
  const alert = rule.evaluate(JSON.stringify({ ...event, serviceType }));
  console.log(alert === undefined ? "no match" : `${alert.severity ?? "severity of the spec"}: ${alert.title}`);
}
