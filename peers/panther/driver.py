"""Judges records with Panther's engine and times itself.

Its argument is what data models consist of: `paths`, JSON paths wherever one will do, as in those that Panther
publishes; or `functions`, which this engine is faster with.

Prints the versions as a line of JSON. Then it reads how many records come, in a line, and that many lines with a raw
record each, and answers with a line of JSON: the seconds that judging them took, and for every record a digit, 1 for an
alert of the first rule and 2 for one of the second, added up. And so on until its input ends.
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
    # The others are parts of a text, or not there.
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
    """The verdicts of all records, each as a number."""
    eks, aks, gke = models
    nodeport, system_principal = rules
    verdicts = []
    for line in lines:
        record = json.loads(line)
        # What Panther knows of a record's source when it comes in.
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


def answer(**members):
    print(json.dumps(members), flush=True)


def main():
    kind = sys.argv[1]
    models = [data_model(file, kind) for file in ("eks", "aks", "gke")]
    rules = [rule(file) for file in ("nodeport_service", "system_principal_public_ip")]
    answer(engine=version("panther_core"), python=platform.python_version())
    while count := sys.stdin.buffer.readline():
        lines = [sys.stdin.buffer.readline() for _ in range(int(count))]
        begun = perf_counter()
        verdicts = judge(lines, models, rules)
        seconds = perf_counter() - begun
        answer(seconds=seconds, verdicts="".join(map(str, verdicts)))


if __name__ == "__main__":
    main()
