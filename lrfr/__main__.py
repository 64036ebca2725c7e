"""``python -m lrfr`` is the ``lrfr`` command."""

from lrfr.cli.main import main

if __name__ == "__main__":
    main()
