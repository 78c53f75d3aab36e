"""Run by horovodrun, one process per rank: ``python run.py [CHECK…]``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import check_callbacks  # noqa: F401
import check_elastic  # noqa: F401
import check_loops  # noqa: F401
import check_optimizer  # noqa: F401
import check_precision  # noqa: F401
import check_saving  # noqa: F401
import check_steps  # noqa: F401
import check_types  # noqa: F401
import ranks

if __name__ == "__main__":
    sys.exit(ranks.run_checks(sys.argv[1:]))
