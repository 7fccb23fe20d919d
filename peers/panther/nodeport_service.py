"""Kubernetes.Service.NodePort.Deployed, as a rule for Panther's engine."""


def rule(event):
    if event.udm("verb") != "create" or event.udm("resource") != "services":
        return False
    if event.udm("serviceType") != "NodePort" or event.udm("stage") not in (None, "ResponseComplete"):
        return False
    code = event.udm("code")
    return code is None or not (code >= 400 or 1 <= code <= 16)


def title(event):
    return f"NodePort service {dedup(event)} deployed by {event.udm('username')}"


def dedup(event):
    return f"{event.udm('namespace')}/{event.udm('name')}"
