#!/bin/sh
# What a container of this image runs first, below tini: `entrypoint.sh COMMAND…`, or
# `entrypoint.sh ROLE …`. docs/images.md describes the roles. As /opt/decom.sh it is what Spark on
# Kubernetes calls before it removes an executor.
set -eu

DEFAULTS=/etc/spark/spark-defaults.conf
ZONES=/usr/share/zoneinfo
SHM_BYTES=16777216

say() { printf 'mlruntime: %s\n' "$*" >&2; }

die() {
    say "$1"
    printf '           try: %s\n' "$2" >&2
    exit 2
}

writable() { [ -n "$1" ] && [ -d "$1" ] && [ -w "$1" ]; }

# A Kubernetes Service called spark-master sets SPARK_MASTER_PORT=tcp://…, which Spark takes for a
# port of its own.
forget_services() {
    for name in $(env | sed -n 's,^\(SPARK_[A-Z0-9_]*PORT\)=[a-z]*://.*,\1,p'); do
        unset "$name"
    done
}

# Any user id, and a root that cannot be written to: a home and a place for temporary files are
# looked for. Java does not know TMPDIR.
find_places() {
    temporary=${TMPDIR:-/tmp}
    if ! writable "$temporary" || ! writable /tmp; then
        for place in "$temporary" /tmp "${HOME-}" "$PWD" /dev/shm; do
            if writable "$place"; then
                case $place in "$temporary" | /tmp) ;; *) place=${place%/}/.tmp ;; esac
                mkdir -p "$place"
                temporary=$place
                export TMPDIR="$place" SPARK_LOCAL_DIRS="${SPARK_LOCAL_DIRS:-$place}"
                export JDK_JAVA_OPTIONS="-Djava.io.tmpdir=$place ${JDK_JAVA_OPTIONS-}"
                break
            fi
        done
    fi
    if ! writable "${HOME-}" || [ "$HOME" = / ]; then
        home=$temporary/home-$(id -u)
        if mkdir -p "$home" 2>/dev/null; then
            export HOME="$home"
        else
            say "no directory can be written to: mount one at /tmp, or one at $PWD"
        fi
    fi
    if [ "$PWD" = /home/ml ] && ! writable "$PWD"; then cd "$HOME" || true; fi
}

# Of another Java than the image's own, it cannot be told.
in_java() {
    known=$JAVA_HOME/lib/tzdb.dat
    [ ! -r "$known" ] || grep -aqF "$1" "$known"
}

# Java, C and Python each read TZ, and each takes UTC for what it does not know.
check_zone() {
    [ -n "${TZ+set}" ] || return 0
    zone=${TZ#:}
    zone=${zone#"$ZONES/"}
    zone=${zone#posix/}
    case $zone in
    '') zone=UTC ;;
    localtime | /etc/localtime)
        unset TZ
        return 0
        ;;
    esac
    if [ -f "$ZONES/$zone" ] && ! in_java "$zone"; then
        zone=$(sed -n "s,^L \([^ ]*\) $zone\$,\1,p" "$ZONES/tzdata.zi") # what it is an old name of
    fi
    if [ ! -f "$ZONES/$zone" ] || ! in_java "$zone"; then
        die "TZ=$TZ is not a time zone that Java, C and Python all know: some would take UTC" \
            "a name from $ZONES, like Europe/Berlin; or no TZ"
    fi
    TZ=$zone
}

# Where a locale that is asked for is not there, C and Java would fall back to ASCII.
check_locale() {
    case $(locale 2>&1 >/dev/null) in
    *'Cannot set'*)
        asked="${LANG-} ${LC_CTYPE-} ${LC_NUMERIC-} ${LC_TIME-} ${LC_COLLATE-} ${LC_MONETARY-}"
        # shellcheck disable=SC2086 # without the spaces of those that are not set
        say "not all of these locales are in this image, C.UTF-8 is used:" $asked \
            ${LC_MESSAGES-} ${LC_ALL-}
        export LC_ALL=C.UTF-8
        ;;
    esac
}

check_shm() {
    if ! writable /dev/shm; then
        say "/dev/shm cannot be written to: multiprocessing and NCCL need it"
        return 0
    fi
    read -r blocks size <<END
$(stat -f -c '%a %S' /dev/shm)
END
    [ $((blocks * size)) -ge $SHM_BYTES ] ||
        say "/dev/shm has $((blocks * size / 1048576)) MiB left: give it more (--shm-size, or a volume in memory)"
}

# need ROLE NAME…: the variables that Spark on Kubernetes sets for a role
need() {
    role=$1 missing=
    shift
    for name; do
        eval "[ -n \"\${$name-}\" ]" || missing="$missing $name"
    done
    [ -z "$missing" ] || die "$role: not set:$missing" \
        "let Spark on Kubernetes start this role; spark-submit starts a program without it"
}

# default_of KEY: what the image's own defaults say
default_of() {
    [ -r $DEFAULTS ] || return 0
    while read -r key value; do
        [ "$key" != "$1" ] || printf '%s' "$value"
    done <$DEFAULTS
}

# missing_defaults ARGUMENTS-OF-SPARK-SUBMIT: lines "key value" of the image's defaults that neither
# an argument nor a file of properties sets
missing_defaults() {
    [ -r $DEFAULTS ] || return 0
    own=${SPARK_CONF_DIR:-$SPARK_HOME/conf}/spark-defaults.conf
    given=' '
    previous=
    for word; do
        case $previous in --properties-file) own=$word ;; esac
        case $word in
        --properties-file=*) own=${word#*=} ;;
        --conf=*=*)
            word=${word#--conf=}
            given="$given${word%%=*} "
            ;;
        spark.*=*) given="$given${word%%=*} " ;;
        esac
        previous=$word
    done
    if [ -r "$own" ]; then
        given="$given$(sed -n 's/^[[:space:]]*\([A-Za-z][^[:space:]=:]*\).*/\1/p' "$own" | tr '\n' ' ')"
    fi
    while read -r key value; do
        case $key in '' | '#'*) continue ;; esac
        case $given in *" $key "*) ;; *) printf '%s %s\n' "$key" "$value" ;; esac
    done <$DEFAULTS
}

driver() {
    need driver SPARK_DRIVER_BIND_ADDRESS
    while read -r key value; do
        [ -z "$key" ] || set -- --conf "$key=$value" "$@"
    done <<END
$(missing_defaults "$@")
END
    exec spark-submit --conf "spark.driver.bindAddress=$SPARK_DRIVER_BIND_ADDRESS" \
        --conf "spark.executorEnv.SPARK_DRIVER_POD_IP=$SPARK_DRIVER_BIND_ADDRESS" \
        --deploy-mode client "$@"
}

executor() {
    need executor SPARK_DRIVER_URL SPARK_EXECUTOR_ID SPARK_EXECUTOR_CORES SPARK_EXECUTOR_MEMORY \
        SPARK_EXECUTOR_POD_IP SPARK_APPLICATION_ID
    path="$SPARK_HOME/jars/*${SPARK_EXTRA_CLASSPATH:+:$SPARK_EXTRA_CLASSPATH}:$PWD"
    path="${HADOOP_CONF_DIR:+$HADOOP_CONF_DIR:}${SPARK_CONF_DIR:-$SPARK_HOME/conf}:$path"
    path="$path${SPARK_DIST_CLASSPATH:+:$SPARK_DIST_CLASSPATH}"
    # Of two options, Java takes the latter: what the user says comes after our defaults.
    # shellcheck disable=SC2046 # options, split at spaces as Spark does
    set -- $(default_of spark.executor.defaultJavaOptions)
    number=0
    while eval "[ -n \"\${SPARK_JAVA_OPT_$number+set}\" ]"; do
        eval "set -- \"\$@\" \"\$SPARK_JAVA_OPT_$number\""
        number=$((number + 1))
    done
    exec "$JAVA_HOME/bin/java" "$@" "-Xms$SPARK_EXECUTOR_MEMORY" "-Xmx$SPARK_EXECUTOR_MEMORY" \
        -cp "$path" org.apache.spark.scheduler.cluster.k8s.KubernetesExecutorBackend \
        --driver-url "$SPARK_DRIVER_URL" --executor-id "$SPARK_EXECUTOR_ID" \
        --cores "$SPARK_EXECUTOR_CORES" --app-id "$SPARK_APPLICATION_ID" \
        --hostname "$SPARK_EXECUTOR_POD_IP" \
        --resourceProfileId "${SPARK_RESOURCE_PROFILE_ID:-0}" \
        --podName "${SPARK_EXECUTOR_POD_NAME:-$(hostname)}"
}

# await_master URL-AND-OTHER-ARGUMENTS: until a master listens. A worker that finds none asks again
# after about ten seconds, which no setting makes fewer; so it does not wait here for longer.
await_master() {
    masters=
    for word; do
        case $word in spark://*) masters=${word#spark://} ;; esac
    done
    [ -n "$masters" ] || return 0
    # shellcheck disable=SC2016 # expanded by bash, which can open a connection
    timeout 10 bash -c 'while :; do
            for master in ${1//,/ }; do
                host=${master%:*} host=${host#[} host=${host%]}
                (exec 3<>"/dev/tcp/$host/${master##*:}") && exit
            done
            sleep 0.1
        done' await_master "$masters" 2>/dev/null ||
        say "worker: no master listens at $masters so far"
}

worker() {
    if [ $# -eq 0 ]; then
        [ -n "${SPARK_MASTER_URL-}" ] ||
            die "worker: of which master?" "worker spark://HOST:7077, or SPARK_MASTER_URL"
        set -- "$SPARK_MASTER_URL"
    fi
    export SPARK_WORKER_DIR="${SPARK_WORKER_DIR:-${TMPDIR:-/tmp}/spark-work}"
    await_master "$@"
    exec spark-class org.apache.spark.deploy.worker.Worker "$@"
}

history() {
    case ${1-} in
    '' | -*) ;;
    *)
        export SPARK_HISTORY_OPTS="-Dspark.history.fs.logDirectory=$1 ${SPARK_HISTORY_OPTS-}"
        shift
        ;;
    esac
    exec spark-class org.apache.spark.deploy.history.HistoryServer "$@"
}

connect() {
    case "$(ls "$SPARK_HOME/jars") $* $(cat "$SPARK_CONF_DIR/spark-defaults.conf" 2>/dev/null)" in
    *spark-connect*) ;;
    *)
        core=$(basename "$SPARK_HOME"/jars/spark-core_*.jar .jar)
        core=${core#spark-core_}
        die "connect: before Spark 4 the server of Spark Connect is a jar of its own, not in this image" \
            "connect --packages org.apache.spark:spark-connect_${core%-*}:${core#*-}, or --jars FILE"
        ;;
    esac
    exec spark-submit --class org.apache.spark.sql.connect.service.SparkConnectServer \
        --name 'Spark Connect server' "$@"
}

notebook() {
    command -v jupyter-lab >/dev/null ||
        die "notebook: JupyterLab is not in this image" "an image of flavour notebook"
    for name in JUPYTER_TOKEN_FILE JUPYTER_PASSWORD_FILE; do
        eval "file=\${$name-}"
        [ -z "$file" ] || [ -r "$file" ] || die "notebook: $name=$file cannot be read" \
            "a file that user $(id -u) may read"
    done
    if [ -z "${JUPYTER_TOKEN-}${JUPYTER_TOKEN_FILE-}${JUPYTER_PASSWORD-}${JUPYTER_PASSWORD_FILE-}" ]; then
        inside="docker exec $(hostname)"
        [ -z "${KUBERNETES_SERVICE_HOST-}" ] || inside="kubectl exec $(hostname) --"
        # What is written here is in the container's log, where the token has no place.
        say "for the address with the token: $inside /opt/entrypoint.sh token"
    fi
    [ "$(id -u)" != 0 ] || set -- --allow-root "$@"
    exec jupyter-lab --no-browser --ip='*' --port=8888 --ServerApp.port_retries=0 "$@"
}

# token: the address of JupyterLab in this container, with the token
token() {
    jupyter-server list --json 2>/dev/null | python -c '
import json, sys
for line in sys.stdin:
    it = json.loads(line)
    query = "?token=" + it["token"] if it["token"] else ""
    print("http://localhost:%d%slab%s" % (it["port"], it["base_url"], query))
    break
else:
    sys.exit("mlruntime: token: JupyterLab does not run here, or has not started yet")'
}

# health ROLE [PORT]: 0 if what this container runs as that role answers
health() {
    path=/api/v1/version
    # Spark's pages listen at this address alone if it is set.
    address=${SPARK_LOCAL_IP:-127.0.0.1}
    case ${1-} in
    master) port=${SPARK_MASTER_WEBUI_PORT:-8080} path=/json/ ;;
    worker) port=${SPARK_WORKER_WEBUI_PORT:-8081} path=/json/ ;;
    driver) port=4040 ;;
    history) port=18080 ;;
    connect) address=127.0.0.1 port=15002 path= ;;
    notebook) address=127.0.0.1 port=8888 path=/api ;;
    executor)
        pgrep -f '^[^ ]*java .*ExecutorBackend' >/dev/null || exit 1
        return 0
        ;;
    *) die "health: of which role?" "health master, worker, driver, executor, history, connect or notebook" ;;
    esac
    address=${address#[}
    # shellcheck disable=SC2016 # expanded by bash, which can open a connection
    timeout 5 bash -c 'exec 3<>"/dev/tcp/$3/$1" || exit 1
        [ -n "$2" ] || exit 0
        printf "GET %s HTTP/1.0\r\n\r\n" "$2" >&3
        read -r _ status _ <&3 && [ "$status" = 200 ]' health "${2:-$port}" "$path" "${address%]}" 2>/dev/null || {
        say "health: $1 does not answer at port ${2:-$port}"
        exit 1
    }
}

# Asks the executor to hand over what it holds, and waits until it has ended.
decommission() {
    executor=$(pgrep -o -f '^[^ ]*java .*ExecutorBackend') || {
        say "decommission: no executor runs here"
        exit 0
    }
    kill -s PWR "$executor"
    exec timeout 60 tail --pid="$executor" -f /dev/null
}

case ${0##*/} in decom.sh) set -- decommission ;; esac
forget_services
case ${1-} in
health | decommission)
    "$@"
    exit
    ;;
esac
find_places
check_zone
check_locale
check_shm
case ${1-} in
driver | executor | worker | history | connect | notebook | token) "$@" ;;
master)
    shift
    exec spark-class org.apache.spark.deploy.master.Master "$@"
    ;;
*) exec "$@" ;;
esac
