# Kubernetes.Service.NodePort.Deployed
.serviceType == "NodePort"
and .verb == "create"
and .resource == "services"
and ((has("stage") | not) or .stage == "ResponseComplete")
# HTTP and gRPC error codes. If there is no code, it is null, which is less than every number.
and (.responseStatus.code | . >= 400 or (. >= 1 and . <= 16) | not)
