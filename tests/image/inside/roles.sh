# Every role, in one container, with the variables of Kubernetes Services called spark-…: says of each
# how it ended or that it answers. The argument is the runtime.
role=/opt/entrypoint.sh
export SPARK_MASTER_PORT=tcp://10.96.0.10:7077 SPARK_MASTER_WEBUI_PORT=tcp://10.96.0.10:8080
export SPARK_WORKER_PORT=tcp://10.96.0.11:7078 SPARK_WORKER_WEBUI_PORT=tcp://10.96.0.11:8081
# As a pod has it: an address that is not 127.0.0.1, at which alone the pages of Spark listen.
export SPARK_DAEMON_MEMORY=512m SPARK_LOCAL_IP=127.0.0.2
export SPARK_DAEMON_JAVA_OPTS='-XX:TieredStopAtLevel=1 -XX:+UseSerialGC'

awaits() { # ROLE…: until it is healthy, for minutes on a busy host
    for _ in $(seq 600); do
        if $role health "$@" 2>/dev/null; then echo "$1: healthy"; return; fi
        sleep 0.5
    done
    echo "$1: does not answer"
    cat "$1.log"
}

mkdir events work
$role master --host 127.0.0.1 >master.log 2>&1 &
$role worker spark://127.0.0.1:7077 >worker.log 2>&1 &
$role history "$PWD/events" >history.log 2>&1 &
for one in master worker history; do awaits $one; done
$role health master 9 || echo "health: as it is"
if [ "$1" = 6.0-ml ]; then
    case $($role connect 2>&1) in *org.apache.spark:spark-connect_2.12:3.5*) echo "connect: told" ;; esac
else
    $role connect --master 'local[1]' --conf spark.ui.enabled=false >connect.log 2>&1 &
    awaits connect
    python - <<'END'
from pyspark.sql import SparkSession
spark = SparkSession.builder.remote("sc://127.0.0.1:15002").getOrCreate()
print("connect:", spark.range(5).selectExpr("sum(id)").first()[0], "for another process")
END
fi
for _ in $(seq 600); do
    python - <<'END' && break
import json, sys, urllib.request
state = json.load(urllib.request.urlopen("http://127.0.0.2:8080/json/"))
sys.exit(state["aliveworkers"] != 1)
END
    sleep 0.5
done && echo "worker: registered"

# Spark on Kubernetes brings a folder of configuration of its own.
mkdir conf
printf 'spark.barrier.sync.timeout=77\nspark.master=local[1]\nspark.ui.enabled=false\n' >conf/spark.properties
cat >job.py <<'END'
import sys
from pyspark.sql import SparkSession
conf = SparkSession.builder.getOrCreate().sparkContext.getConf()
for key in sys.argv[1:]:
    print("driver:", key, conf.get(key))
arguments = SparkSession.getActiveSession()._jvm.java.lang.management.ManagementFactory
print("driver: -Xss4m", "-Xss4m" in list(arguments.getRuntimeMXBean().getInputArguments()))
END
SPARK_CONF_DIR=$PWD/conf SPARK_DRIVER_BIND_ADDRESS=127.0.0.1 $role driver \
    --properties-file conf/spark.properties --conf spark.app.name=mine \
    --conf spark.sql.execution.arrow.pyspark.enabled=false "$PWD/job.py" \
    spark.barrier.sync.timeout spark.sql.execution.arrow.pyspark.enabled spark.app.name \
    spark.scheduler.barrier.maxConcurrentTasksCheck.interval spark.driver.bindAddress 2>driver.log ||
    tail -n 20 driver.log

# Nobody listens there: an executor that understood all it was given says so, and ends.
SPARK_DRIVER_URL=spark://CoarseGrainedScheduler@127.0.0.1:9 SPARK_EXECUTOR_ID=1 \
    SPARK_EXECUTOR_CORES=1 SPARK_EXECUTOR_MEMORY=300m SPARK_APPLICATION_ID=spark-1 \
    SPARK_EXECUTOR_POD_IP=127.0.0.1 SPARK_EXECUTOR_POD_NAME=one SPARK_RESOURCE_PROFILE_ID=0 \
    SPARK_JAVA_OPT_0=-XX:+PrintCommandLineFlags SPARK_JAVA_OPT_1='-Dsaid=a b' \
    $role executor >executor.log 2>&1
grep -oE -- '-XX:ThreadStackSize=[0-9]+|-XX:MaxHeapSize=[0-9]+' executor.log | sed 's/^/executor: /'
if grep -qE 'Failed to connect to .*127.0.0.1:9|Connection refused' executor.log; then
    echo "executor: looked for its driver"
else
    tail -n 20 executor.log
fi

# What has the name of an executor is told to hand over, and awaited.
bash -c 'exec -a "/usr/bin/java org.apache.spark.executor.CoarseGrainedExecutorBackend" sleep 600' &
stand_in=$!
until $role health executor; do sleep 0.1; done
/opt/decom.sh
if kill -0 "$stand_in" 2>/dev/null; then echo "decommission: still there"; else echo "decommission: gone"; fi
