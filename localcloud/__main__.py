"""``python -m localcloud``."""

import sys

from localcloud.daemon import main

sys.exit(main())
