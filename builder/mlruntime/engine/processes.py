"""How processes that were started in a container are found again, whoever started them there."""

from typing import Final

# A variable whose value is a process's own.
TOKEN: Final = "MLRUNTIME_EXEC"
# A program of sh, whose ``$0`` is that value, kills the process and all that it started.
# Children may leave the process group and the session, but they inherit the environment.
KILL: Final = f"""
found=1
while [ "$found" = 1 ]; do
  found=0
  for process in /proc/[0-9]*; do
    if grep -qsz "^{TOKEN}=$0\\$" "$process/environ"; then
      kill -KILL "${{process#/proc/}}" 2>/dev/null && found=1
    fi
  done
done
"""
