"""The data model of Azure.MonitorActivity: a Kubernetes audit event in `properties.log`."""


def verb(event):
    return event.deep_get("properties", "log", "verb")


def resource(event):
    return event.deep_get("properties", "log", "objectRef", "resource")


def namespace(event):
    return event.deep_get("properties", "log", "objectRef", "namespace")


def name(event):
    return event.deep_get("properties", "log", "objectRef", "name")


def service_type(event):
    return event.deep_get("properties", "log", "requestObject", "spec", "type")


def stage(event):
    return event.deep_get("properties", "log", "stage")


def code(event):
    return event.deep_get("properties", "log", "responseStatus", "code")


def username(event):
    return event.deep_get("properties", "log", "user", "username")


def groups(event):
    return event.deep_get("properties", "log", "user", "groups")


def arn(event):
    return None


def addresses(event):
    return event.deep_get("properties", "log", "sourceIPs")


def networks(event):
    return event.deep_get("p_enrichment", "ipinfo_asn", "sourceIPs")
