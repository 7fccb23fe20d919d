# Kubernetes.System.Principal.PublicIP
package system_principal_public_ip

alert if {
	input.sourceScope == "public"
	system_principal
	complete
	not refused
	not machinery
}

system_principal if startswith(input.username, "system:serviceaccount:")

system_principal if startswith(input.username, "system:node:")

system_principal if startswith(input.username, "eks:")

system_principal if startswith(input.username, "aks:")

complete if not input.stage

complete if input.stage == "ResponseComplete"

refused if input.responseStatus.code == 403

refused if {
	input.logType == "GCP.AuditLog"
	input.responseStatus.code == 7
}

# Principals that the cloud itself uses from its own public addresses.
machinery if {
	input.logType == "Amazon.EKS.Audit"
	input.username in {"eks:addon-manager", "eks:node-manager"}
	contains(input.userArn, ":assumed-role/AWSWesleyClusterManagerLambda")
}

machinery if {
	input.logType == "Amazon.EKS.Audit"
	startswith(input.username, "system:node:")
	"system:nodes" in input.userGroups
	"system:authenticated" in input.userGroups
	from({"AS16509", "AS14618"})
}

machinery if {
	input.logType == "Azure.MonitorActivity"
	input.username in {
		"system:serviceaccount:kube-system:csi-azuredisk-node-sa",
		"system:serviceaccount:kube-system:csi-azurefile-node-sa",
		"system:serviceaccount:kube-system:csi-secrets-store-provider-azure",
		"system:serviceaccount:kube-system:cloud-node-manager",
	}
}

machinery if {
	input.logType == "Azure.MonitorActivity"
	startswith(input.username, "system:node:")
	from({"AS8075"})
}

machinery if {
	input.logType == "GCP.AuditLog"
	startswith(input.username, "system:node:")
	from({"AS15169", "AS396982"})
}

from(provider) if {
	count(input.asn) > 0
	every network in input.asn { network.asn in provider }
}
