"""The same over S3, by moto on loopback."""

import pytest

from lrfr.core.errors import SpecError
from lrfr.pairs.store import Store
from tests.pairs.remote.conftest import batches
from tests.pairs.toy import tree

pytest.importorskip("s3fs", reason="s3fs is not installed (extra [remote])")
moto_server = pytest.importorskip("moto.server", reason="moto[server] is not installed (extra [dev])")


@pytest.fixture
def bucket(monkeypatch):
    """A bucket of a server on loopback; credentials come from the environment, as anywhere."""
    import s3fs

    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "key-of-a-test",
        "AWS_SECRET_ACCESS_KEY": "secret-of-a-test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    s3fs.S3FileSystem().makedirs("faces", exist_ok=True)
    yield "s3://faces/a/store"
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


def test_copy_read_verify_and_back(copied, bucket):
    done = Store(copied / "store").copy("default", bucket)
    assert done.copied > 10
    assert Store(copied / "store").copy("default", bucket).copied == 0
    assert batches(bucket, threads=2) == batches(copied / "store")
    assert Store(bucket).info() == Store(copied / "store").info()
    assert Store(bucket).verify() == []
    Store(bucket).copy("default", copied / "back")
    assert tree(copied / "back") == tree(copied / "store")
    secrets = [
        p for p in (copied / "cache").rglob("*") if p.is_file() and b"secret-of-a-test" in p.read_bytes()
    ]
    assert secrets == []


def test_faults(copied, bucket):
    with pytest.raises(SpecError, match="there is no store here"):
        Store("s3://faces/nothing")
