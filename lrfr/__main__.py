"""``python -m lrfr`` and ``lrfr``."""

import signal

# until the first handler stands there is nothing to put in order, and nobody who could say so in one line
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from lrfr.cli.main import main  # this import takes as long as small commands do

if __name__ == "__main__":
    main()
