"""Archives, as the config names them: only the named file is unpacked, and only up to the limit."""

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
from factorbench.data import archives, download
from hypothesis import given
from hypothesis import strategies as st

from tests.bad_data.outcome import fuzz, one_line
from tests.planted import ROOT

CONTENT = random.Random(0).randbytes(5_000)
KINDS = ["a.zip", "a.tar", "a.tar.gz", "a.tar.bz2", "a.tar.xz"]


def pack(path, members):
    """Write an archive of ``members``: name -> content, or a TarInfo of a link or device."""
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
    """Fetch a file for which a config names this archive as its source."""
    given = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    given["datasets"]["kang"]["files"]["counts"] = {
        "name": "data.h5ad",
        "sha256": hashlib.sha256(content).hexdigest(),
        "sources": [{"url": str(archive), "member": member}],
    }
    entry = file_entry(resolve(given), "kang", "data.h5ad")
    path = archive.parent / "resources" / "kang" / "data.h5ad"
    download.fetch(entry, path, "kang")
    return path


@pytest.mark.parametrize("kind", ["a.zip", "a.tar.gz"])
@pytest.mark.parametrize("member", ["data.h5ad", "../data.h5ad", "/tmp/bad_data/data.h5ad", "a/../../data.h5ad"])
def test_paths_inside_an_archive_are_not_used(tmp_path, kind, member):
    archive = pack(tmp_path / kind, {"../other": b"other", "/tmp/bad_data/other": b"other", member: CONTENT})
    path = get(archive, member)
    assert path.read_bytes() == CONTENT
    assert {file.name for file in tmp_path.rglob("[!.]*") if file.is_file()} == {kind, "data.h5ad"}
    assert not Path("/tmp/bad_data").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE])
@pytest.mark.parametrize("target", ["secret", "../../secret"])
def test_links_and_devices_are_refused(tmp_path, kind, target):
    (tmp_path / "secret").write_bytes(CONTENT)
    archive = pack(tmp_path / "a.tar", {"secret": CONTENT, "data.h5ad": link(kind, target)})
    with pytest.raises(UserError, match=r"kang/data.h5ad: no source has it .*a\.tar has no file data\.h5ad") as error:
        get(archive, "data.h5ad")
    one_line(error.value)
    assert not (tmp_path / "resources/kang/data.h5ad").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_a_member_larger_than_the_limit_is_refused(tmp_path, kind):
    archive = pack(tmp_path / kind, {"before": CONTENT, "bomb": bytes(5_000_000), "after": CONTENT})
    with pytest.raises(archives.Failure, match="unpacks to more than 1000000 bytes"):
        archives.extract(archive, "bomb", tmp_path / "target", 1_000_000)
    assert not (tmp_path / "target").exists()
    archives.extract(archive, "before", tmp_path / "target", 1_000_000)
    assert (tmp_path / "target").read_bytes() == CONTENT


@pytest.mark.parametrize("kind", ["a.tar.gz", "a.tar.bz2", "a.tar.xz"])
def test_members_before_the_right_one_count_too(tmp_path, kind):
    """A compressed tar archive is unpacked from its start: a bomb before the member would take hours."""
    archive = pack(tmp_path / kind, {"bomb": bytes(5_000_000), "data": CONTENT})
    with pytest.raises(archives.Failure, match="unpacks to more than 1000000 bytes"):
        archives.extract(archive, "data", tmp_path / "target", 1_000_000)
    archives.extract(archive, "data", tmp_path / "target", 6_000_000)
    assert (tmp_path / "target").read_bytes() == CONTENT


def test_an_archive_without_compression_may_be_larger_than_the_limit(tmp_path):
    archive = pack(tmp_path / "a.tar", {"large": bytes(5_000_000), "data": CONTENT})
    archives.extract(archive, "data", tmp_path / "target", 1_000_000)
    assert (tmp_path / "target").read_bytes() == CONTENT


class Endless:
    """A member that never ends. It counts the bytes that were read."""

    given = 0

    def read(self, n):
        self.given += n
        assert self.given < 100 << 20
        return bytes(n)


def test_unpacking_stops_at_the_limit(tmp_path, monkeypatch):
    member = Endless()
    monkeypatch.setattr(archives, "_open", lambda *arguments: member)
    with pytest.raises(archives.Failure, match="more than 3000000 bytes"):
        archives.extract(tmp_path / "a.zip", "data", tmp_path / "target", 3_000_000)
    assert member.given < 3_000_000 + 2 * archives.CHUNK
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize("kind", ["a.zip", "a.tar", "a.tar.bz2", "a.tar.xz"])
def test_a_damaged_archive(tmp_path, kind):
    path = pack(tmp_path / kind, {"before": bytes(3_000_000) + CONTENT * 60, "data": CONTENT * 60})
    content = bytearray(path.read_bytes())
    for i in range(len(content) // 2, len(content) // 2 + 50):
        content[i] ^= 255
    path.write_bytes(content if kind != "a.tar" else content[:-320_000])
    with pytest.raises(archives.Broken, match="broken archive"):
        archives.extract(path, "data" if kind != "a.zip" else "before", tmp_path / "target")
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize("kind", ["a.zip", "a.tar.gz"])
def test_an_archive_that_is_cut_off(tmp_path, kind):
    path = pack(tmp_path / kind, {"data": CONTENT})
    path.write_bytes(path.read_bytes()[:3_000])
    with pytest.raises(archives.Broken, match="broken archive"):
        archives.extract(path, "data", tmp_path / "target")
    assert not (tmp_path / "target").exists()


def test_a_header_with_text_in_place_of_numbers(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("data")
        info.pax_headers = {"GNU.sparse.map": "a,b"}
        archive.addfile(info)
    with pytest.raises(archives.Broken, match="broken archive"):
        archives.extract(tmp_path / "a.tar", "data", tmp_path / "target")


@fuzz(80)
@given(st.sampled_from(KINDS), st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1))
def test_random_damage_ends_in_the_file_or_a_failure(tmp_path, kind, damage):
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
def test_a_compressed_file_that_is_not_an_archive(tmp_path, compress, content):
    (tmp_path / "a.tar").write_bytes(compress(content))
    with pytest.raises(UserError, match="no source has it") as error:
        get(tmp_path / "a.tar", "data")
    one_line(error.value)


@pytest.mark.parametrize("kind", ["a.zip", "a.tar.gz"])
@pytest.mark.parametrize(("stored", "named"), [("./data.h5ad", "data.h5ad"), ("data.h5ad", "./data.h5ad")])
def test_a_member_is_found_with_and_without_a_dot_before_it(tmp_path, kind, stored, named):
    assert get(pack(tmp_path / kind, {"./other": b"other", stored: CONTENT}), named).read_bytes() == CONTENT


@pytest.mark.parametrize("kind", ["a.zip", "a.tar.gz"])
def test_a_wrong_member_is_reported_with_the_nearest_ones(tmp_path, kind):
    archive = pack(tmp_path / kind, {"GSM1_a.mtx.gz": CONTENT, "folder/other": b"other"})
    with pytest.raises(UserError, match=r"has no file GSM1_a.mtx \(did you mean GSM1_a.mtx.gz\?\)") as error:
        get(archive, "GSM1_a.mtx")
    one_line(error.value)
