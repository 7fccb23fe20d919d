"""Kubernetes.System.Principal.PublicIP, as a rule for Panther's engine."""

from ipaddress import ip_address

SYSTEM_PRINCIPALS = ("system:serviceaccount:", "system:node:", "eks:", "aks:")
EKS_MANAGERS = ("eks:addon-manager", "eks:node-manager")
EKS_MANAGER_ROLE = ":assumed-role/AWSWesleyClusterManagerLambda"
AKS_NODE_ACCOUNTS = tuple(
    "system:serviceaccount:kube-system:" + account
    for account in (
        "csi-azuredisk-node-sa",
        "csi-azurefile-node-sa",
        "csi-secrets-store-provider-azure",
        "cloud-node-manager",
    )
)
PROVIDERS = {
    "Amazon.EKS.Audit": ("AS16509", "AS14618"),
    "Azure.MonitorActivity": ("AS8075",),
    "GCP.AuditLog": ("AS15169", "AS396982"),
}


def rule(event):
    username = event.udm("username") or ""
    if not username.startswith(SYSTEM_PRINCIPALS):
        return False
    if event.udm("stage") not in (None, "ResponseComplete"):
        return False
    log_type = event.get("p_log_type")
    code = event.udm("code")
    if code == 403 or (code == 7 and log_type == "GCP.AuditLog"):
        return False
    addresses = _parsed(event)
    if not addresses or not all(address.is_global for address in addresses):
        return False
    return not _is_cloud_machinery(event, log_type, username)


def title(event):
    return f"{event.udm('username')} used from public address {dedup(event)}"


def dedup(event):
    # The last address is the only one that the client cannot write.
    return str(_parsed(event)[-1])


def _parsed(event):
    addresses = []
    for text in event.udm("addresses") or ():
        try:
            addresses.append(ip_address(text))
        except ValueError:
            continue
    return addresses


def _is_cloud_machinery(event, log_type, username):
    node = username.startswith("system:node:")
    if log_type == "Amazon.EKS.Audit":
        if username in EKS_MANAGERS and EKS_MANAGER_ROLE in (event.udm("arn") or ""):
            return True
        groups = event.udm("groups") or ()
        node = node and "system:nodes" in groups and "system:authenticated" in groups
    if log_type == "Azure.MonitorActivity" and username in AKS_NODE_ACCOUNTS:
        return True
    return node and _is_from(event, PROVIDERS[log_type])


def _is_from(event, provider):
    networks = event.udm("networks") or ()
    if hasattr(networks, "keys"):
        networks = (networks,)
    return bool(networks) and all(network.get("asn") in provider for network in networks)
