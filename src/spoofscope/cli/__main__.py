"""`python -m spoofscope.cli`."""

import sys

from spoofscope.cli import main

sys.exit(main())
