# Kubernetes.System.Principal.PublicIP
def is_from($provider): .asn != [] and all(.asn[].asn; . as $asn | any($provider[]; . == $asn));

.sourceScope == "public"
and has("username")
and (.username
    | startswith("system:serviceaccount:")
    or startswith("system:node:")
    or startswith("eks:")
    or startswith("aks:"))
and ((has("stage") | not) or .stage == "ResponseComplete")
and (.responseStatus.code == 403 or (.logType == "GCP.AuditLog" and .responseStatus.code == 7) | not)
# Principals that the cloud itself uses from its own public addresses.
and (.logType == "Amazon.EKS.Audit"
    and (((.username == "eks:addon-manager" or .username == "eks:node-manager")
            and has("userArn")
            and (.userArn | contains(":assumed-role/AWSWesleyClusterManagerLambda")))
        or ((.username | startswith("system:node:"))
            and any(.userGroups[]; . == "system:nodes")
            and any(.userGroups[]; . == "system:authenticated")
            and is_from(["AS16509", "AS14618"])))
    | not)
and (.logType == "Azure.MonitorActivity"
    and (.username == "system:serviceaccount:kube-system:csi-azuredisk-node-sa"
        or .username == "system:serviceaccount:kube-system:csi-azurefile-node-sa"
        or .username == "system:serviceaccount:kube-system:csi-secrets-store-provider-azure"
        or .username == "system:serviceaccount:kube-system:cloud-node-manager"
        or ((.username | startswith("system:node:")) and is_from(["AS8075"])))
    | not)
and (.logType == "GCP.AuditLog"
    and (.username | startswith("system:node:"))
    and is_from(["AS15169", "AS396982"])
    | not)
