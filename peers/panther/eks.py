"""The data model of Amazon.EKS.Audit: a Kubernetes audit event."""


def verb(event):
    return event.get("verb")


def resource(event):
    return event.deep_get("objectRef", "resource")


def namespace(event):
    return event.deep_get("objectRef", "namespace")


def name(event):
    return event.deep_get("objectRef", "name")


def service_type(event):
    return event.deep_get("requestObject", "spec", "type")


def stage(event):
    return event.get("stage")


def code(event):
    return event.deep_get("responseStatus", "code")


def username(event):
    return event.deep_get("user", "username")


def groups(event):
    return event.deep_get("user", "groups")


def arn(event):
    arns = event.deep_get("user", "extra", "arn")
    return arns[0] if arns else None


def addresses(event):
    return event.get("sourceIPs")


def networks(event):
    return event.deep_get("p_enrichment", "ipinfo_asn", "sourceIPs")
