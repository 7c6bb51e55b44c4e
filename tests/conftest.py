import os

import pytest

from tests import shared


@pytest.fixture(scope="session", autouse=True)
def session_folder(tmp_path_factory):
    """Says where the processes of this session, xdist's workers, put what they share, unless the environment does."""
    folder = tmp_path_factory.getbasetemp()
    os.environ.setdefault(shared.SESSION, str(folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder))
