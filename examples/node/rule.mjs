// One rule alone, a package as `portcullis run` loads it: a normalized event in, an alert or nothing out.
// rules-wasm/event/event.schema.json describes the event.

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
