"""What each part of the node is told, as files in its folder and as command lines."""

import json
from pathlib import Path
from typing import Any, Final

from tests.kubernetes import pki
from tests.kubernetes.addresses import (
    API_ADDRESS,
    DNS_ADDRESS,
    DOMAIN,
    NODE,
    NODE_ADDRESS,
    PODS,
    SERVICES,
)

PAUSE: Final = "localhost/pause:1"
_PEER: Final = "http://127.0.0.1:2380"
_ETCD: Final = "http://127.0.0.1:2379"


def write(state: Path) -> None:
    """Write all of them below ``state``; nothing is started."""
    keys, conf = state / "pki", state / "conf"
    pki.write(keys)
    (conf / "cni").mkdir(parents=True)
    for user in pki.USERS:
        _json(conf / f"{user}.kubeconfig", _kubeconfig(keys, user))
    _json(conf / "kubelet.json", _kubelet(state))
    _json(conf / "cni" / "10-mlnet.conflist", _network(state))
    (conf / "containerd.toml").write_text(_containerd(state))


def _json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1))


def _kubeconfig(keys: Path, user: str) -> Any:
    server = {"server": f"https://{NODE_ADDRESS}", "certificate-authority": f"{keys}/ca.crt"}
    shown = {"client-certificate": f"{keys}/{user}.crt", "client-key": f"{keys}/{user}.key"}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "node", "cluster": server}],
        "users": [{"name": user, "user": shown}],
        "contexts": [{"name": "node", "context": {"cluster": "node", "user": user}}],
        "current-context": "node",
    }


def _kubelet(state: Path) -> Any:
    keys = state / "pki"
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": NODE_ADDRESS,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{keys}/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": f"{keys}/kubelet-server.crt",
        "tlsPrivateKeyFile": f"{keys}/kubelet-server.key",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{state.name}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "enforceNodeAllocatable": ["pods"],
        "containerRuntimeEndpoint": f"unix://{state}/run/containerd.sock",
        # Images are put there by hand, and the disk is everybody's: nothing is ever evicted.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {
            "memory.available": "100Mi",
            "nodefs.available": "1%",
            "imagefs.available": "1%",
            "nodefs.inodesFree": "0%",
        },
        "resolvConf": "",
        "clusterDNS": [DNS_ADDRESS],
        "clusterDomain": DOMAIN,
        "serializeImagePulls": False,
        "podLogsDir": f"{state}/run/podlogs",
        "kubeAPIQPS": 1000,
        "kubeAPIBurst": 1000,
        "volumePluginDir": f"{state}/run/volume-plugins",
    }


def _network(state: Path) -> Any:
    addresses = {
        "type": "host-local",
        "dataDir": f"{state}/run/cni",
        "ranges": [[{"subnet": PODS}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    bridge = {"type": "bridge", "bridge": "mlpods0", "isGateway": True, "ipMasq": False,
              "hairpinMode": True, "ipam": addresses}  # fmt: skip
    return {"cniVersion": "1.0.0", "name": "mlnet", "plugins": [bridge]}


def _containerd(state: Path) -> str:
    run = state / "run"
    cri = 'plugins."io.containerd.grpc.v1.cri"'
    others = [f'"io.containerd.snapshotter.v1.{name}"' for name in
              ("btrfs", "zfs", "aufs", "devmapper")]  # fmt: skip
    # A sandbox may not lower its OOM score without CAP_SYS_RESOURCE.
    return f"""version = 2
root = "{run}/containerd-root"
state = "{run}/containerd-state"
disabled_plugins = [{", ".join(others)}]
[grpc]
  address = "{run}/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "{run}/opt"
[{cri}]
  sandbox_image = "{PAUSE}"
  restrict_oom_score_adj = true
  [{cri}.cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{state}/conf/cni"
  [{cri}.containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [{cri}.containerd.runtimes.runc.options]
      SystemdCgroup = false
"""


def storage(state: Path) -> dict[str, list[str]]:
    """Return the command lines of what is there before the API server."""
    etcd = {
        "data-dir": f"{state}/run/etcd",
        "unsafe-no-fsync": "true",
        "listen-client-urls": _ETCD,
        "advertise-client-urls": _ETCD,
        "listen-peer-urls": _PEER,
        "initial-advertise-peer-urls": _PEER,
        "initial-cluster": f"default={_PEER}",
    }
    return {
        "containerd": ["containerd", "--config", f"{state}/conf/containerd.toml"],
        "etcd": _words(state, "etcd", etcd),
    }


def api_server(state: Path) -> dict[str, list[str]]:
    """Return the command line of the API server."""
    keys = state / "pki"
    options = {
        "etcd-servers": _ETCD,
        "service-cluster-ip-range": SERVICES,
        "secure-port": "443",
        "bind-address": "0.0.0.0",
        "advertise-address": NODE_ADDRESS,
        "client-ca-file": f"{keys}/ca.crt",
        "requestheader-client-ca-file": f"{keys}/ca.crt",
        "tls-cert-file": f"{keys}/apiserver.crt",
        "tls-private-key-file": f"{keys}/apiserver.key",
        "service-account-issuer": f"https://kubernetes.default.svc.{DOMAIN}",
        "service-account-key-file": f"{keys}/sa.pub",
        "service-account-signing-key-file": f"{keys}/sa.key",
        "authorization-mode": "Node,RBAC",
        "enable-admission-plugins": "NodeRestriction",
        "kubelet-client-certificate": f"{keys}/apiserver-kubelet.crt",
        "kubelet-client-key": f"{keys}/apiserver-kubelet.key",
        "kubelet-certificate-authority": f"{keys}/ca.crt",
        "kubelet-preferred-address-types": "InternalIP",
        "cert-dir": f"{state}/run/apiserver",
    }
    return {"kube-apiserver": _words(state, "kube-apiserver", options)}


def controllers(state: Path) -> dict[str, list[str]]:
    """Return the command lines of what needs the API server."""
    keys, conf, run = state / "pki", state / "conf", state / "run"

    def daemon(user: str, **more: str) -> dict[str, str]:
        file = f"{conf}/{user}.kubeconfig"
        return {
            "kubeconfig": file,
            "authentication-kubeconfig": file,
            "authorization-kubeconfig": file,
            "leader-elect": "false",
            "bind-address": "127.0.0.1",
            "cert-dir": f"{run}/{user}",
            # By default, the controllers start at 150 ms each.
            "kube-api-qps": "1000",
            "kube-api-burst": "1000",
            **more,
        }

    manager = daemon("kcm") | {
        "service-account-private-key-file": f"{keys}/sa.key",
        "root-ca-file": f"{keys}/ca.crt",
        "use-service-account-credentials": "true",
        "flex-volume-plugin-dir": f"{run}/volume-plugins",
    }
    kubelet = {
        "config": f"{conf}/kubelet.json",
        "kubeconfig": f"{conf}/kubelet.kubeconfig",
        "hostname-override": NODE,
        "node-ip": NODE_ADDRESS,
        "root-dir": f"{run}/kubelet",
        "cert-dir": f"{run}/kubelet-certs",
    }
    return {
        "kube-controller-manager": _words(state, "kube-controller-manager", manager),
        "kube-scheduler": _words(state, "kube-scheduler", daemon("scheduler")),
        "kubelet": _words(state, "kubelet", kubelet),
    }


def _words(state: Path, part: str, options: dict[str, str]) -> list[str]:
    return [f"{state}/bin/{part}", *(f"--{key}={value}" for key, value in options.items())]


def interfaces() -> list[list[str]]:
    """Return the commands that make the node's network.

    A bridge without ports carries the node's address. There is no kube-proxy: services whose
    address is needed are addresses of the node.
    """
    commands = (
        "link set lo up",
        "link add mlnode0 type bridge",
        f"address add {NODE_ADDRESS}/24 dev mlnode0",
        "link set mlnode0 up",
        f"address add {API_ADDRESS}/32 dev lo",
        f"address add {DNS_ADDRESS}/32 dev lo",
        "route add default dev mlnode0",
    )
    return [["ip", *command.split()] for command in commands]
