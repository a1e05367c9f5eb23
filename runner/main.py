"""Process 1 of a Python replica: `PYTHON /hearth/runner/main.py`, configured by the variable HEARTH_RUNNER.

Stays tiny, because Python compiles the script itself anew at every start; everything else comes from cached bytecode.
"""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from hearth_runner.supervisor import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
