import pytest

from tests.support.tiny_config import write_tiny_config


@pytest.fixture(scope="package")
def config(tmp_path_factory):
    """The file of a config whose model is small."""
    return write_tiny_config(tmp_path_factory.mktemp("tiny"))
