// Not programs: the definitions of other projects' kinds, which tests/support/schemas.py reads out of their modules.
module copr-operator.dev/tests/cluster/tools/schemas

go 1.26.0

require (
	github.com/prometheus-operator/prometheus-operator v0.85.0
	sigs.k8s.io/gateway-api v1.4.1
)
