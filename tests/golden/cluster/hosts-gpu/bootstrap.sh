#!/bin/sh
# Makes this host a node of Spark cluster team-a. Written by `mlruntime cluster render --for hosts`.
#
#   bootstrap.sh check                  can this host do it? Nothing is pulled or changed
#   bootstrap.sh master                 this host is the master
#   bootstrap.sh worker --master HOST   this host is a worker
#   bootstrap.sh drain                  a worker takes no more tasks, hands over, and stops
#   bootstrap.sh rollback               back to the image before
#   bootstrap.sh remove                 all of it goes
#
# The secret is read from the file `secret` beside this script. Whatever has been done already is left
# alone; another image is an upgrade: of the master first, since it lets in no worker of another image.
set -eu

NAME=team-a
IMAGE='registry.example.org/ml/6.0-ml@sha256:87e610db87e610db87e610db87e610db87e610db87e610db87e610db87e610db'
DRIVER='525.60.13'
NEED_CORES=1
NEED_MIB=4096
ETC=/etc/mlruntime/$NAME
VAR=/var/lib/mlruntime/$NAME
UNITS=/etc/systemd/system
HERE=$(cd "$(dirname "$0")" && pwd)

say() { printf 'mlruntime: %s\n' "$*" >&2; }
die() {
    say "$1"
    printf '           try: %s\n' "$2" >&2
    exit "${3:-6}"
}

engine() {
    for engine in docker podman; do
        if command -v "$engine" >/dev/null 2>&1; then
            command -v "$engine"
            return
        fi
    done
    die "no container engine on this host" "install docker.io or podman"
}

# at_least A B: whether version A is B or newer
at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

# The host contract, before the pull: an image of gigabytes that cannot run here is of no use.
check() {
    [ "$(id -u)" = 0 ] || die "only root can set up a host" "sudo $0" 2
    [ "$(uname -m)" = x86_64 ] || die "the image is for x86_64, this host is $(uname -m)" "another host"
    command -v systemctl >/dev/null 2>&1 || die "this host has no systemd" "another host, or Compose"
    engine >/dev/null
    cores=$(nproc)
    [ "$cores" -ge "$NEED_CORES" ] ||
        die "$NEED_CORES cores are needed, this host has $cores" "cores: $cores in cluster.yaml"
    mib=$(awk '/^MemTotal:/ { print int($2 / 1024) }' /proc/meminfo)
    [ "$mib" -ge "$NEED_MIB" ] ||
        die "$NEED_MIB MiB of memory are needed, this host has $mib" "less memory: in cluster.yaml"
    if [ -n "$DRIVER" ]; then
        command -v nvidia-smi >/dev/null 2>&1 ||
            die "the image needs NVIDIA's driver, $DRIVER or newer, and there is none" "install it"
        found=$(nvidia-smi --query-gpu=driver_version --format=csv,noheader | head -n 1)
        at_least "$found" "$DRIVER" ||
            die "the image needs driver $DRIVER or newer, this host has $found" "update the driver"
    fi
    say "this host can run $IMAGE"
}

# The image: pulled, unless it is here; one that is named by its id has been loaded by hand.
fetch() {
    "$ENGINE" image inspect "$IMAGE" >/dev/null 2>&1 && return
    case $IMAGE in
    sha256:*) die "this host has no image $IMAGE" "load it: $ENGINE load --input FILE" ;;
    esac
    "$ENGINE" pull "$IMAGE"
}

# What is in the image, by the digests of its layers: the same on each engine, and however it came.
contents() { "$ENGINE" image inspect --format '{{.RootFS.Layers}}' "$IMAGE"; }

# configure HOST: the settings of this node, with the master's name in them. Those of a user may be
# secret, and the cluster's secret is. A node with another image gets another one, and cannot join.
configure() {
    [ -s "$HERE/secret" ] || die "there is no file $HERE/secret" "copy it here, with mode 0600"
    layers=$(contents)
    install -d -m 0755 "$ETC" "$VAR"
    install -d -m 0700 -o 1000 -g 1000 "$ETC/conf"
    install -d -m 0755 -o 1000 -g 1000 "$VAR/tmp" "$VAR/home" "$VAR/shared"
    for folder in events recovery work; do install -d -o 1000 -g 1000 "$VAR/shared/$folder"; done
    CONF=$ETC/conf
    (
        umask 077
        "$ENGINE" run --rm --network none --user 0 --entrypoint sh "$IMAGE" -c \
            'cat /etc/spark/log4j2.properties' >"$CONF/log4j2.properties"
        # Pages, which ask nobody who they are, are on 127.0.0.1 of each host only.
        cat >"$CONF/spark-env.sh" <<'END'
SPARK_LOCAL_IP=127.0.0.1
SPARK_LOCAL_HOSTNAME=${SPARK_LOCAL_HOSTNAME:-$(hostname -f)}
END
        printf '%s\n%s\n' "$(cat "$HERE/secret")" "$layers" | sha256sum | cut -c 1-64 >"$ETC/secret"
        {
            "$ENGINE" run --rm --network none --user 0 --entrypoint sh "$IMAGE" -c \
                'cat /etc/spark/spark-defaults.conf'
            echo
            sed "s/@MASTER@/$1/" "$HERE/spark.conf"
            printf 'spark.authenticate.secret %s\n' "$(cat "$ETC/secret")"
        } >"$CONF/spark-defaults.conf.new"
    )
    mv "$CONF/spark-defaults.conf.new" "$CONF/spark-defaults.conf"
    chown 1000:1000 "$CONF"/*
}

# write_environment ROLE MASTER: what the unit of this node reads
write_environment() {
    {
        printf 'ENGINE=%s\nIMAGE=%s\nNODE=%s\nMASTER=spark://%s:7077\n' \
            "$ENGINE" "$IMAGE" "$(hostname -f)" "$2"
    } >"$ETC/$1.env.new"
    if [ -f "$ETC/$1.env" ] && ! cmp -s "$ETC/$1.env" "$ETC/$1.env.new"; then
        cp "$ETC/$1.env" "$ETC/$1.env.before"
    fi
    mv "$ETC/$1.env.new" "$ETC/$1.env"
}

# start ROLE MASTER
start() {
    role=$1 unit=mlruntime-$NAME-$1.service
    check
    ENGINE=$(engine)
    fetch
    configure "$2"
    write_environment "$role" "$2"
    install -m 0644 "$HERE/$unit" "$UNITS/$unit"
    systemctl daemon-reload
    systemctl enable "$unit"
    # Started again only when something of it has changed.
    sum=$(cat "$ETC/$role.env" "$UNITS/$unit" "$ETC/conf"/* | sha256sum)
    if [ "$sum" != "$(cat "$ETC/$role.sum" 2>/dev/null)" ] || ! systemctl --quiet is-active "$unit"
    then
        systemctl restart "$unit"
        printf '%s\n' "$sum" >"$ETC/$role.sum"
    fi
    await "$role"
}

JOINED='import json, sys, urllib.request as web; here = web.build_opener(web.ProxyHandler({})); sys.exit(not json.load(here.open("http://127.0.0.1:8081/json/", timeout=5))["masterurl"])'
# ready CONTAINER ROLE: a worker answers also while no master has let it in, but names none then.
ready() {
    "$ENGINE" exec "$1" /opt/entrypoint.sh health "$2" 2>/dev/null || return 1
    [ "$2" = master ] || "$ENGINE" exec "$1" python3 -c "$JOINED" 2>/dev/null
}

# refused CONTAINER: there is a master, and it wants another secret than this worker has.
refused() {
    told=$("$ENGINE" logs "$1" 2>&1 | grep -c 'Exception while bootstrapping client') || return 1
    [ "$told" -gt 1 ]
}

# await ROLE: a worker that is refused does not stay to try for ever
await() {
    container=mlruntime-$NAME-$1
    tries=0
    until ready "$container" "$1"; do
        if [ "$1" = worker ] && refused "$container"; then
            systemctl disable --now "mlruntime-$NAME-worker.service"
            die "the master of cluster $NAME refuses this worker: it runs another image, or has another secret" \
                "the same files on all hosts, and bootstrap.sh master first"
        fi
        tries=$((tries + 1))
        [ "$tries" -lt 240 ] || die "the $1 does not answer" "journalctl --unit mlruntime-$NAME-$1"
        sleep 0.5
    done
    say "the $1 of cluster $NAME runs on this host"
}

# The worker hands its blocks over to others; then its executors end.
drain() {
    ENGINE=$(engine) container=mlruntime-$NAME-worker
    "$ENGINE" kill --signal PWR "$container" >/dev/null || die "no worker runs here" "bootstrap.sh worker"
    tries=0
    while "$ENGINE" exec "$container" pgrep -f ExecutorBackend >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ "$tries" -lt 600 ] || break
        sleep 0.5
    done
    systemctl disable --now "mlruntime-$NAME-worker.service"
    say "the worker has stopped"
}

rollback() {
    ENGINE=$(engine) found=
    for role in master worker; do
        [ -f "$ETC/$role.env.before" ] || continue
        found=yes
        IMAGE=$(sed -n 's/^IMAGE=//p' "$ETC/$role.env.before")
        fetch # before anything is changed: it may have been removed since
        cp "$ETC/$role.env" "$ETC/$role.env.now"
        mv "$ETC/$role.env.before" "$ETC/$role.env"
        mv "$ETC/$role.env.now" "$ETC/$role.env.before"
        rm -f "$ETC/$role.sum"
        configure "$(sed -n 's,^MASTER=spark://\(.*\):7077$,\1,p' "$ETC/$role.env")"
        systemctl restart "mlruntime-$NAME-$role.service"
        await "$role"
    done
    [ -n "$found" ] || die "there is nothing to go back to" "bootstrap.sh of another image" 2
}

remove() {
    for role in master worker; do
        unit=mlruntime-$NAME-$role.service
        [ ! -f "$UNITS/$unit" ] || systemctl disable --now "$unit"
        rm -f "$UNITS/$unit"
    done
    systemctl daemon-reload
    rm -rf "$ETC" "$VAR"
    rmdir "${ETC%/*}" "${VAR%/*}" 2>/dev/null || true # other clusters of this host may be there
}

case ${1-} in
check) check ;;
master) start master "$(hostname -f)" ;;
worker)
    [ "${2-}" = --master ] || die "which master?" "$0 worker --master HOST" 2
    case ${3-} in
    '') die "which master?" "$0 worker --master HOST" 2 ;;
    *[!A-Za-z0-9.-]*) die "$3 is not a host's name" "the name that all hosts know" 2 ;;
    esac
    getent hosts "$3" >/dev/null || die "the name $3 does not resolve here" "its address, or DNS"
    start worker "$3"
    ;;
drain) drain ;;
rollback) rollback ;;
remove) remove ;;
*) die "usage: $0 check|master|worker|drain|rollback|remove" "see the head of this file" 2 ;;
esac
