"""What a session is like as the user, in the zone and on the network of this container; as JSON.

With the argument ``more``: Keras' TensorBoard callback and Spark Connect, too.
"""

import json
import os
import pwd
import socket
import sys
from pathlib import Path
from typing import Any

import pyspark
from pyspark.sql import SparkSession

spark = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
jvm = spark.sparkContext._jvm
noon = spark.sql("select make_timestamp(2026, 1, 15, 12, 0, 0) as t")
home = Path(os.environ["HOME"])
(home / "mine").write_text("can be written to")
found: dict[str, Any] = {
    "count": spark.range(5).count(),
    "first": str(noon.first().t),
    "pandas": str(noon.toPandas().t[0]),
    "zone": spark.conf.get("spark.sql.session.timeZone"),
    "user": pwd.getpwuid(os.getuid()).pw_name,
    "spark user": spark.sparkContext.sparkUser(),
    "home": str(home),
    "java's home": jvm.System.getProperty("user.home"),
    "address": socket.gethostbyname(socket.gethostname()),
    "charset": jvm.java.nio.charset.Charset.defaultCharset().name(),
    "names of files": jvm.System.getProperty("sun.jnu.encoding"),
    "arrow": spark.conf.get("spark.sql.execution.arrow.pyspark.enabled"),
}
spark.stop()
if sys.argv[1:] == ["more"]:
    import keras
    import numpy as np

    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    board = keras.callbacks.TensorBoard(str(home / "events"))
    model.fit(np.ones((4, 2)), np.ones(4), verbose=0, callbacks=[board])
    found["events"] = any(path.stat().st_size for path in home.glob("events/train/*.v2"))
    if pyspark.__version__ < "4":
        # The server is a jar that Spark 3.5 does not bring; this imports all that a client needs.
        from pyspark.sql.connect.session import SparkSession as Client

        found["connect"] = "client" if Client.builder.remote("sc://127.0.0.1") else ""
    else:
        found["connect"] = SparkSession.builder.remote("local[1]").getOrCreate().range(5).count()
json.dump(found, sys.stdout)
