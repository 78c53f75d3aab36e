"""Training data for the ranks: rows of a DataFrame, or files that are there already."""

from sparkdl.data._errors import DataError
from sparkdl.data._files import shard_files
from sparkdl.data._frame import ShardedData, shard_dataframe
from sparkdl.data._shard import Shard
from sparkdl.data._steps import equal_steps

__all__ = ["DataError", "Shard", "ShardedData", "equal_steps", "shard_dataframe", "shard_files"]
