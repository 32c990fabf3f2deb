"""The inbox must be on a file system that keeps its commits."""

from pathlib import Path

import pytest

from flagsmith_warehouse.loader.filesystem import NetworkFilesystem, refuse_network

MOUNTS = """\
/dev/sda1 / ext4 rw 0 0
host:/export /mnt nfs4 rw 0 0
/dev/sdb1 /mnt/local\\040disk xfs rw 0 0
"""


@pytest.fixture
def mounts(tmp_path):
    file = tmp_path / "mounts"
    file.write_text(MOUNTS)
    return file


@pytest.mark.parametrize("folder", ["/mnt", "/mnt/data", "/mnt/data/../more"])
def test_refuse_network__on_another_machine__refused_with_what_to_set(mounts, folder):
    with pytest.raises(NetworkFilesystem, match=r"nfs4.*FLAGSMITH_WAREHOUSE_DIR"):
        refuse_network(Path(folder), mounts)


@pytest.mark.parametrize("folder", ["/", "/data", "/mnt/local disk/data", "/mntx"])
def test_refuse_network__on_this_machine__accepted(mounts, folder):
    refuse_network(Path(folder), mounts)
