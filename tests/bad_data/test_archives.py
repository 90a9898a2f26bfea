"""Archives, as the config names them: only the one file that was asked for comes out, and no more than its limit."""

import bz2
import gzip
import hashlib
import io
import lzma
import random
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml
from factorbench.config.plan import file_entry
from factorbench.config.resolve import resolve
from factorbench.contracts.errors import UserError
from factorbench.data import archives, checksums, download
from hypothesis import given
from hypothesis import strategies as st

from tests.bad_data.outcome import fuzz, one_line
from tests.planted import ROOT

CONTENT = random.Random(0).randbytes(5_000)
KINDS = ["a.zip", "a.tar", "a.tar.gz", "a.tar.bz2", "a.tar.xz"]


@pytest.fixture(autouse=True)
def no_pins(tmp_path_factory, monkeypatch):
    monkeypatch.setattr(checksums, "TABLE", tmp_path_factory.mktemp("project") / "checksums.tsv")


def pack(path, members):
    """An archive of ``members``: name -> content, or what it links to (a TarInfo)."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        return path
    with tarfile.open(path, f"w:{path.suffix[1:].replace('tar', '')}") as archive:
        for name, content in members.items():
            info = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.size = 0 if info is content else len(content)
            archive.addfile(info, None if info is content else io.BytesIO(content))
    return path


def link(kind, target):
    info = tarfile.TarInfo("data.h5ad")
    info.type, info.linkname = kind, target
    return info


def get(archive, member, content=CONTENT):
    """The file that a config with this archive as its source has at its place."""
    given = yaml.safe_load((ROOT / "config.yaml").read_text())
    given["datasets"]["kang"]["files"]["counts"] = {
        "name": "data.h5ad",
        "sha256": hashlib.sha256(content).hexdigest(),
        "sources": [{"url": str(archive), "member": member}],
    }
    entry = file_entry(resolve(given), "kang", "data.h5ad")
    path = archive.parent / "resources" / "kang" / "data.h5ad"
    download.fetch(entry, path, "kang", progress=False)
    return path


@pytest.mark.parametrize("kind", ["a.zip", "a.tar.gz"])
@pytest.mark.parametrize("member", ["data.h5ad", "../data.h5ad", "/tmp/bad_data/data.h5ad", "a/../../data.h5ad"])
def test_a_member_goes_to_its_place_whatever_it_is_called(tmp_path, kind, member):
    archive = pack(tmp_path / kind, {"../other": b"other", "/tmp/bad_data/other": b"other", member: CONTENT})
    path = get(archive, member)
    assert path.read_bytes() == CONTENT
    assert {found.name for found in tmp_path.rglob("[!.]*") if found.is_file()} == {kind, "data.h5ad"}
    assert not Path("/tmp/bad_data").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE])
@pytest.mark.parametrize("target", ["secret", "../../secret"])
def test_links_and_devices_are_refused(tmp_path, kind, target):
    (tmp_path / "secret").write_bytes(CONTENT)
    archive = pack(tmp_path / "a.tar", {"secret": CONTENT, "data.h5ad": link(kind, target)})
    with pytest.raises(UserError, match=r"kang/data.h5ad: no source gave it .*a\.tar has no file data\.h5ad") as error:
        get(archive, "data.h5ad")
    one_line(error.value)
    assert not (tmp_path / "resources/kang/data.h5ad").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_what_unpacks_beyond_the_limit_is_given_up_at_the_limit(tmp_path, kind):
    archive = pack(tmp_path / kind, {"before": CONTENT, "bomb": bytes(5_000_000), "after": CONTENT})
    with pytest.raises(archives.Failure, match="unpacks to more than 1000000 bytes"):
        archives.extract(archive, "bomb", tmp_path / "target", 1_000_000)
    assert not (tmp_path / "target").exists()
    archives.extract(archive, "before", tmp_path / "target", 1_000_000)
    assert (tmp_path / "target").read_bytes() == CONTENT


@pytest.mark.parametrize("kind", ["a.tar.gz", "a.tar.bz2", "a.tar.xz"])
def test_what_lies_before_a_member_counts_too(tmp_path, kind):
    """To reach the member all that lies before it has to be unpacked: hours, for a bomb."""
    archive = pack(tmp_path / kind, {"bomb": bytes(5_000_000), "data": CONTENT})
    with pytest.raises(archives.Failure, match="unpacks to more than 1000000 bytes"):
        archives.extract(archive, "data", tmp_path / "target", 1_000_000)
    archives.extract(archive, "data", tmp_path / "target", 6_000_000)
    assert (tmp_path / "target").read_bytes() == CONTENT


def test_an_archive_that_is_not_compressed_may_be_as_large_as_it_is(tmp_path):
    archive = pack(tmp_path / "a.tar", {"large": bytes(5_000_000), "data": CONTENT})
    archives.extract(archive, "data", tmp_path / "target", 1_000_000)
    assert (tmp_path / "target").read_bytes() == CONTENT


class Endless:
    """A member that never ends, and how much of it was asked for."""

    given = 0

    def read(self, n):
        self.given += n
        assert self.given < 100 << 20
        return bytes(n)


def test_nothing_is_unpacked_beyond_the_limit(tmp_path):
    member = Endless()
    with pytest.raises(archives.Failure, match="more than 3000000 bytes"):
        archives._copy(member, tmp_path / "target", 3_000_000)
    assert member.given < 3_000_000 + 2 * archives.CHUNK
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize("kind", ["a.zip", "a.tar", "a.tar.bz2", "a.tar.xz"])
def test_an_archive_that_is_damaged_in_its_middle_is_broken(tmp_path, kind):
    path = pack(tmp_path / kind, {"before": bytes(3_000_000) + CONTENT * 60, "data": CONTENT * 60})
    content = bytearray(path.read_bytes())
    for i in range(len(content) // 2, len(content) // 2 + 50):
        content[i] ^= 255
    path.write_bytes(content if kind != "a.tar" else content[:-320_000])
    with pytest.raises(archives.Broken, match="broken archive"):
        archives.extract(path, "data" if kind != "a.zip" else "before", tmp_path / "target")
    assert not (tmp_path / "target").exists()


def test_a_member_with_a_map_that_is_no_numbers_is_broken(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("data")
        info.pax_headers = {"GNU.sparse.map": "a,b"}
        archive.addfile(info)
    with pytest.raises(archives.Broken, match="broken archive"):
        archives.extract(tmp_path / "a.tar", "data", tmp_path / "target")


@fuzz(80)
@given(st.sampled_from(KINDS), st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1))
def test_a_damaged_archive_gives_its_file_or_a_reason(tmp_path, kind, damage):
    path = pack(tmp_path / kind, {"data": CONTENT, "more": b"more"})
    content = bytearray(path.read_bytes())
    for share, byte in damage:
        content[int(share * len(content))] = byte
    path.write_bytes(content)
    try:
        archives.extract(path, "data", tmp_path / "target", 1_000_000)
    except (archives.Failure, OSError):
        (tmp_path / "target").unlink(missing_ok=True)
        return
    assert (tmp_path / "target").stat().st_size <= 1_000_000


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize("content", [b"", b"junk" * 500])
def test_what_is_packed_is_no_archive(tmp_path, compress, content):
    (tmp_path / "a.tar").write_bytes(compress(content))
    with pytest.raises(UserError, match="no source gave it") as error:
        get(tmp_path / "a.tar", "data")
    one_line(error.value)
