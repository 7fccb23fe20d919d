"""Judges records with Panther's engine and measures the time.

The argument selects the kind of data models. `paths` uses a JSON path for each field that a path can express, as in the
data models that Panther publishes. `functions` uses a function for every field, which is faster in this engine.

First it prints the versions as a line of JSON. Then it repeats until its input ends: it reads a line with the number of
records and that many lines with a raw record each, and prints a line of JSON. The line has the seconds that judging took,
and a digit for each record: 1 for an alert of the first rule plus 2 for an alert of the second.
"""

import json
import platform
import sys
from importlib.metadata import version
from pathlib import Path
from time import perf_counter

from panther_core.data_model import DataModel
from panther_core.enriched_event import PantherEvent
from panther_core.rule import Rule

HERE = Path(__file__).parent

FIELDS = {
    "verb": "verb",
    "resource": "resource",
    "namespace": "namespace",
    "name": "name",
    "serviceType": "service_type",
    "stage": "stage",
    "code": "code",
    "username": "username",
    "groups": "groups",
    "arn": "arn",
    "addresses": "addresses",
    "networks": "networks",
}

AUDIT_EVENT = {
    "verb": "verb",
    "resource": "objectRef.resource",
    "namespace": "objectRef.namespace",
    "name": "objectRef.name",
    "serviceType": "requestObject.spec.type",
    "stage": "stage",
    "code": "responseStatus.code",
    "username": "user.username",
    "groups": "user.groups",
    "addresses": "sourceIPs",
}

PATHS = {
    "eks": {field: f"$.{path}" for field, path in AUDIT_EVENT.items()}
    | {"arn": "$.user.extra.arn[0]", "networks": "$.p_enrichment.ipinfo_asn.sourceIPs"},
    "aks": {field: f"$.properties.log.{path}" for field, path in AUDIT_EVENT.items()}
    | {"networks": "$.p_enrichment.ipinfo_asn.sourceIPs"},
    # No path: the other fields are parts of a string, or missing.
    "gke": {
        "serviceType": "$.protoPayload.request.spec.type",
        "code": "$.protoPayload.status.code",
        "username": "$.protoPayload.authenticationInfo.principalEmail",
        "networks": "$.p_enrichment.ipinfo_asn.callerIP",
    },
}


def data_model(file, kind):
    paths = PATHS[file] if kind == "paths" else {}
    mappings = [
        {"name": field, "path": paths[field]} if field in paths else {"name": field, "method": function}
        for field, function in FIELDS.items()
    ]
    return DataModel({"id": file, "versionId": "1", "mappings": mappings, "body": (HERE / f"{file}.py").read_text()})


def rule(file):
    loaded = Rule({"id": file, "versionId": "1", "analysisType": "RULE", "path": str(HERE / f"{file}.py")})
    if loaded.setup_exception is not None:
        raise loaded.setup_exception
    return loaded


def judge(lines, models, rules):
    """Returns the verdicts on all records, each as a number."""
    eks, aks, gke = models
    nodeport, system_principal = rules
    verdicts = []
    for line in lines:
        record = json.loads(line)
        # Panther's service sets the log type when it ingests a record.
        if "protoPayload" in record:
            record["p_log_type"], model = "GCP.AuditLog", gke
        elif "category" in record:
            record["p_log_type"], model = "Azure.MonitorActivity", aks
            record["properties"]["log"] = json.loads(record["properties"]["log"])
        else:
            record["p_log_type"], model = "Amazon.EKS.Audit", eks
        event = PantherEvent(record, model)
        first = nodeport.run(event, {}, {})
        second = system_principal.run(event, {}, {})
        if first.errored or second.errored:
            raise RuntimeError(f"{first.error_message or second.error_message or 'title or dedup'}: {line!r}")
        verdicts.append(first.trigger_alert + 2 * second.trigger_alert)
    return verdicts


def respond(**members):
    print(json.dumps(members), flush=True)


def main():
    kind = sys.argv[1]
    models = [data_model(file, kind) for file in ("eks", "aks", "gke")]
    rules = [rule(file) for file in ("nodeport_service", "system_principal_public_ip")]
    respond(engine=version("panther_core"), python=platform.python_version())
    while count := sys.stdin.buffer.readline():
        lines = [sys.stdin.buffer.readline() for _ in range(int(count))]
        begun = perf_counter()
        verdicts = judge(lines, models, rules)
        seconds = perf_counter() - begun
        respond(seconds=seconds, verdicts="".join(map(str, verdicts)))


if __name__ == "__main__":
    main()
