"""Names and addresses in the node's own network namespace, which nobody outside it sees."""

from typing import Final

NODE: Final = "mlnode"
NODE_ADDRESS: Final = "10.240.0.1"
SERVICES: Final = "10.96.0.0/16"
API_ADDRESS: Final = "10.96.0.1"  # the first of the services, as Kubernetes has it
DNS_ADDRESS: Final = "10.96.0.10"
PODS: Final = "10.244.0.0/24"
DOMAIN: Final = "cluster.local"
