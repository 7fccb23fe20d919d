"""The data model of GCP.AuditLog: an audit log entry of Google Cloud."""


def verb(event):
    method = event.deep_get("protoPayload", "methodName")
    return method.rsplit(".", 1)[-1] if method else None


def _object(event):
    """Splits `group/version/[namespaces/NS/]resource[/name]` into namespace, resource and name."""
    parts = (event.deep_get("protoPayload", "resourceName") or "").split("/")[2:]
    namespace = None
    if len(parts) > 2 and parts[0] == "namespaces":
        namespace, parts = parts[1], parts[2:]
    return namespace, parts[0] if parts else None, parts[1] if len(parts) > 1 else None


def resource(event):
    return _object(event)[1]


def namespace(event):
    return _object(event)[0]


def name(event):
    return _object(event)[2]


def service_type(event):
    return event.deep_get("protoPayload", "request", "spec", "type")


def stage(event):
    return None


def code(event):
    return event.deep_get("protoPayload", "status", "code")


def username(event):
    return event.deep_get("protoPayload", "authenticationInfo", "principalEmail")


def groups(event):
    return None


def arn(event):
    return None


def addresses(event):
    address = event.deep_get("protoPayload", "requestMetadata", "callerIp")
    return [address] if address else []


def networks(event):
    return event.deep_get("p_enrichment", "ipinfo_asn", "callerIP")
