"""Reading stores at addresses (``s3://``, ``https://``, ...) through a local cache."""
