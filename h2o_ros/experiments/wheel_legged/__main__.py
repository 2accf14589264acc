"""`python -m h2o_ros.experiments.wheel_legged`."""

import sys

from h2o_ros.experiments.wheel_legged.compare import main

if __name__ == '__main__':
    sys.exit(main())
