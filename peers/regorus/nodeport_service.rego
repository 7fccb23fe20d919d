# Kubernetes.Service.NodePort.Deployed
package nodeport_service

alert if {
	input.verb == "create"
	input.resource == "services"
	input.serviceType == "NodePort"
	complete
	not failed
}

complete if not input.stage

complete if input.stage == "ResponseComplete"

failed if input.responseStatus.code >= 400

# gRPC error codes
failed if {
	input.responseStatus.code >= 1
	input.responseStatus.code <= 16
}
