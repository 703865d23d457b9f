"""What a scan reads, scores and remembers; in process, with the small network and a count of what it scored."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import picture, write_tiny_bundle

from cgiaa_cli import pipeline
from cgiaa_cli.bundles import Bundle
from cgiaa_cli.cache import store
from cgiaa_cli.cache.store import Cache
from cgiaa_cli.errors import BundleError, CacheError, DeviceError, UsageError
from cgiaa_cli.pipeline import ScanOptions, ScanRow, ScanSummary, run_scan
from cgiaa_cli.readers import Readers

Scan = Callable[..., ScanSummary]


class Spy:
    """What the scans so far read and scored."""

    def __init__(self) -> None:
        self.read: list[str] = []
        self.batches: list[int] = []
        self.opened = 0

    def reset(self) -> None:
        self.__init__()  # type: ignore[misc]


@pytest.fixture
def spy(monkeypatch: pytest.MonkeyPatch) -> Spy:
    found = Spy()
    read, open_engine = Readers._read, pipeline.open_engine

    def reading(self: Readers, path: Path, entry: Any) -> Any:
        found.read.append(path.name)
        return read(self, path, entry)

    def opening(bundle: Bundle, device: str) -> Any:
        engine = open_engine(bundle, device)
        found.opened += 1
        run = engine.run

        def running(inputs: list[Any]) -> list[Any]:
            found.batches.append(len(inputs))
            return run(inputs)

        engine.run = running  # type: ignore[method-assign]
        return engine

    monkeypatch.setattr(Readers, "_read", reading)
    monkeypatch.setattr(pipeline, "open_engine", opening)
    return found


@pytest.fixture
def scan(tmp_path: Path, photos: Path, tiny_bundle: Path) -> Scan:
    def run(*paths: Path, **options: Any) -> ScanSummary:
        told = {name: options.pop(name) for name in list(options) if name == "leave" or name.startswith("on_")}
        how = {"db": tmp_path / "cache.sqlite", "model": str(tiny_bundle), "jobs": 2} | options
        return run_scan(ScanOptions(paths or (photos,), **how), **told)

    return run


def rows_of(scan: Scan, *paths: Path, **options: Any) -> dict[str, ScanRow]:
    rows: list[ScanRow] = []
    scan(*paths, on_row=rows.append, **options)
    found = {Path(row.path).name: row for row in rows}
    assert len(found) == len(rows), "a photo came twice"
    return found


def again(path: Path, content: bytes) -> None:
    """Change a file, so that its time certainly changes too."""
    before = path.stat().st_mtime_ns
    path.write_bytes(content)
    os.utime(path, ns=(before + 10**9, before + 10**9))


# what is read and scored


def test_unchanged_photos_are_not_read_again(scan: Scan, spy: Spy) -> None:
    assert scan() == ScanSummary(photos=9, scored=9)
    assert len(spy.read) == 9 and sum(spy.batches) == 9
    spy.reset()
    assert scan() == ScanSummary(photos=9, unchanged=9)
    assert (spy.read, spy.batches, spy.opened) == ([], [], 0)  # not even the network is loaded


def test_a_photo_that_is_left_comes_with_the_next_scan(scan: Scan) -> None:
    new: list[str] = []
    assert scan(leave=lambda photo: photo.path.name != "dark.jpg", on_new=lambda row: new.append(row.path)).scored == 1
    assert scan(on_new=lambda row: new.append(row.path)) == ScanSummary(photos=9, scored=8, unchanged=1)
    assert len(set(new)) == len(new) == 9 and new[0].endswith("dark.jpg")


def test_a_changed_photo_is_scored_again(scan: Scan, spy: Spy, photos: Path) -> None:
    before = rows_of(scan)
    spy.reset()
    again(photos / "bright.jpg", (photos / "trip" / "beach.jpg").read_bytes() + b"\0")
    after = rows_of(scan)
    assert spy.read == ["bright.jpg"] and spy.batches == [1]
    assert after["bright.jpg"].scores.score != before["bright.jpg"].scores.score
    assert after["dark.jpg"].record == before["dark.jpg"].record
    spy.reset()
    assert scan() == ScanSummary(photos=9, unchanged=9)
    assert spy.read == []


def test_a_touched_photo_is_read_but_not_scored(scan: Scan, spy: Spy, photos: Path) -> None:
    scan()
    spy.reset()
    os.utime(photos / "dark.jpg", ns=(1, 1))
    assert scan() == ScanSummary(photos=9, unchanged=9)
    assert (spy.read, spy.batches) == (["dark.jpg"], [])
    spy.reset()
    assert scan() == ScanSummary(photos=9, unchanged=9)
    assert spy.read == []


def test_moved_renamed_and_copied_photos_cost_no_inference(scan: Scan, spy: Spy, photos: Path) -> None:
    before = rows_of(scan)
    spy.reset()
    (photos / "dark.jpg").rename(photos / "trip" / "moved.jpg")
    (photos / "grey.jpg").rename(photos / "renamed.jpg")
    shutil.copy(photos / "bright.jpg", photos / "copy.jpg")
    after = rows_of(scan)
    assert sorted(spy.read) == ["copy.jpg", "moved.jpg", "renamed.jpg"] and spy.batches == []
    for new, old in (("moved.jpg", "dark.jpg"), ("renamed.jpg", "grey.jpg"), ("copy.jpg", "bright.jpg")):
        assert after[new].scores.score == before[old].scores.score
    assert after["copy.jpg"].record["camera"] == "Testcam 1"


def test_duplicates_in_one_scan_are_scored_once(scan: Scan, spy: Spy, photos: Path) -> None:
    for i in range(40):
        shutil.copy(photos / "bright.jpg", photos / f"copy{i}.jpg")
    rows = rows_of(scan, batch_size=4, jobs=4)
    assert len(rows) == 49 and sum(spy.batches) == 9
    assert len({row.scores.score for name, row in rows.items() if name.startswith(("copy", "bright"))}) == 1
    assert scan() == ScanSummary(photos=49, unchanged=49)


def test_duplicates_of_a_broken_photo_all_fail(scan: Scan, photos: Path) -> None:
    for i in range(5):
        (photos / f"cut{i}.jpg").write_bytes((photos / "bright.jpg").read_bytes()[:9000])
    failed: list[ScanRow] = []
    assert scan(on_failure=failed.append) == ScanSummary(photos=14, scored=9, failed=5)
    assert sorted(Path(row.path).name for row in failed) == [f"cut{i}.jpg" for i in range(5)]
    assert {row.error_kind for row in failed} == {"truncated"} and all(row.scores is None for row in failed)


def test_recheck_reads_everything_and_scores_what_changed_secretly(scan: Scan, spy: Spy, photos: Path) -> None:
    scan()
    secret = photos / "dark.jpg"
    info = secret.stat()
    other = (photos / "bright.jpg").read_bytes()[: info.st_size]
    content = bytearray(secret.read_bytes())
    content[-2000:-1000] = other[-2000:-1000]  # the same size, other pixels
    secret.write_bytes(content)
    os.utime(secret, ns=(info.st_atime_ns, info.st_mtime_ns))
    spy.reset()
    assert scan() == ScanSummary(photos=9, unchanged=9)
    assert scan(recheck=True) == ScanSummary(photos=9, scored=1, unchanged=8)
    assert len(spy.read) == 9 and spy.batches == [1]


def test_another_bundle_scores_everything_and_the_first_keeps_its_scores(scan: Scan, spy: Spy, tmp_path: Path) -> None:
    scan()
    other = write_tiny_bundle(tmp_path / "other", name="other")
    assert scan(model=str(other)) == ScanSummary(photos=9, scored=9)
    spy.reset()
    assert scan() == ScanSummary(photos=9, unchanged=9)
    assert spy.read == []


def test_batches_are_no_larger_than_asked(scan: Scan, spy: Spy) -> None:
    scan(batch_size=2)
    assert max(spy.batches) <= 2 and sum(spy.batches) == 9


def test_excluded_photos_are_neither_scanned_nor_missing(scan: Scan, photos: Path) -> None:
    scan()
    assert scan(exclude=("*.png", "trip")) == ScanSummary(photos=5, unchanged=5)


def test_gone_photos_are_counted_once_and_come_back(scan: Scan, spy: Spy, photos: Path) -> None:
    scan()
    (photos / "dark.jpg").rename(photos.parent / "away.jpg")
    assert scan() == ScanSummary(photos=8, unchanged=8, missing=1)
    assert scan() == ScanSummary(photos=8, unchanged=8)
    spy.reset()
    (photos.parent / "away.jpg").rename(photos / "dark.jpg")
    assert scan() == ScanSummary(photos=9, unchanged=9)
    assert spy.read == []
    assert scan(photos / "dark.jpg") == ScanSummary(photos=1, unchanged=1)


# failures


def test_a_truncated_photo_is_one_row_and_is_not_read_again(scan: Scan, spy: Spy, photos: Path) -> None:
    (photos / "cut.jpg").write_bytes((photos / "bright.jpg").read_bytes()[:9000])
    assert scan() == ScanSummary(photos=10, scored=9, failed=1)
    spy.reset()
    failed: list[ScanRow] = []
    assert scan(on_failure=failed.append) == ScanSummary(photos=10, unchanged=9, failed=1)
    assert spy.read == [] and [row.error_kind for row in failed] == ["truncated"]
    assert scan(retry_failed=True).failed == 1 and spy.read == ["cut.jpg"]
    spy.reset()
    again(photos / "cut.jpg", (photos / "bright.jpg").read_bytes())
    assert scan() == ScanSummary(photos=10, unchanged=10)
    assert spy.read == ["cut.jpg"]


def test_too_many_pixels_are_tried_again_with_another_limit(scan: Scan, spy: Spy) -> None:
    assert scan(max_pixels=100_000) == ScanSummary(photos=9, scored=8, failed=1)
    spy.reset()
    assert scan(max_pixels=100_000).failed == 1
    assert spy.read == []
    assert scan(max_pixels=110_000).failed == 1
    assert spy.read == ["wide.png"]
    assert scan() == ScanSummary(photos=9, scored=1, unchanged=8)


def test_a_missing_extra_is_tried_again(scan: Scan, spy: Spy, tmp_path: Path) -> None:
    scan()
    with Cache.open(tmp_path / "cache.sqlite") as cache:
        cache.conn.execute("UPDATE files SET error_kind = 'extra', error = 'needs it' WHERE path LIKE '%dark%'")
    spy.reset()
    assert scan() == ScanSummary(photos=9, unchanged=9)
    assert spy.read == ["dark.jpg"]


def test_what_cannot_be_looked_into_is_skipped_and_no_photo(scan: Scan, photos: Path) -> None:
    (photos / "broken.jpg").symlink_to(photos / "nowhere.jpg")
    row = rows_of(scan)["broken.jpg"]
    assert (row.error_kind, row.error, row.scores) == ("unreadable", row.error, None)
    assert str(row.error).startswith("broken symbolic link; ")
    assert scan() == ScanSummary(photos=9, unchanged=9, skipped=1)


def test_a_file_in_a_folder_without_permission_ends_well(
    scan: Scan, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.is_dir

    def refusing(path: Path) -> bool:  # as of a path that leads through such a folder
        if path == photos:
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(Path, "is_dir", refusing)
    assert scan() == ScanSummary(photos=9, scored=9)


def test_the_number_of_photos_is_known_before_they_are_scored(scan: Scan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "FLUSH_ROWS", 1)
    seen: list[tuple[int, int]] = []
    scan(batch_size=1, jobs=1, on_progress=lambda summary: seen.append((summary.scored, summary.photos)))
    assert seen and all(photos == 9 for _, photos in seen)


def test_a_photo_that_vanishes_meanwhile_is_a_failure(
    scan: Scan, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit = Readers.submit

    def vanish(self: Readers, found: Any, entry: Any) -> None:
        if found.path.name == "dark.jpg":
            found.path.unlink()
        submit(self, found, entry)

    monkeypatch.setattr(Readers, "submit", vanish)
    assert scan() == ScanSummary(photos=9, scored=8, failed=1)
    monkeypatch.undo()
    assert scan() == ScanSummary(photos=8, unchanged=8, missing=1)


# companions


def test_a_raw_beside_a_jpeg_is_no_photo_of_its_own(scan: Scan, photos: Path) -> None:
    raw = photos / "bright.dng"
    scan()
    raw.write_bytes(b"II*\0raw")
    rows = rows_of(scan)
    assert len(rows) == 9 and str(raw) in rows["bright.jpg"].record["companions"]
    raw.unlink()
    assert rows_of(scan)["bright.jpg"].record["companions"] == "[]"


# ends before the end


def test_wrong_options_are_refused_before_anything_is_done(scan: Scan, tmp_path: Path) -> None:
    for options, message in (
        ({"jobs": 0}, "--jobs must be 1 or more, not 0"),
        ({"batch_size": 0}, "--batch-size must be 1 or more"),
        ({"max_pixels": -1}, "--max-pixels must be 1 or more"),
        ({"device": "tpu"}, "device 'tpu' is not known"),
    ):
        with pytest.raises(UsageError, match=message):
            ScanOptions((), **options)
        with pytest.raises(UsageError, match=message):
            scan(**options)
    with pytest.raises(UsageError, match=r"nowhere: no such file or folder"):
        scan(tmp_path / "nowhere")
    assert not (tmp_path / "cache.sqlite").exists()


def test_cuda_is_checked_even_if_there_is_nothing_to_score(
    scan: Scan, monkeypatch: pytest.MonkeyPatch, spy: Spy
) -> None:
    scan()

    def refuse(_: Bundle, device: str) -> None:
        assert device == "cuda"
        raise DeviceError("CUDA cannot be used")

    monkeypatch.setattr(pipeline, "open_engine", refuse)
    with pytest.raises(DeviceError):
        scan(device="cuda")
    assert scan(device="cpu").unchanged == 9


def test_a_network_that_cannot_be_loaded_ends_the_scan(scan: Scan, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Bundle, __: str) -> None:
        raise BundleError("cannot load it")

    monkeypatch.setattr(pipeline, "open_engine", refuse)
    with pytest.raises(BundleError):
        scan()
    monkeypatch.undo()
    assert scan().scored == 9


@pytest.mark.parametrize("error", [KeyboardInterrupt, BrokenPipeError])
def test_what_was_finished_before_an_interruption_is_kept(
    scan: Scan, spy: Spy, photos: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    monkeypatch.setattr(pipeline, "FLUSH_ROWS", 3)
    for i in range(30):
        picture(i, 0.5, (64, 48)).save(photos / f"more{i}.png")

    def stop(_: ScanRow) -> None:
        raise error

    with pytest.raises(error):
        scan(on_row=stop, batch_size=2)
    scored = sum(spy.batches)
    assert 3 <= scored < 39
    spy.reset()
    assert scan() == ScanSummary(photos=39, scored=39 - scored, unchanged=scored)
    assert len(spy.read) == 39 - scored


def test_an_interruption_in_the_middle_of_a_write_loses_nothing(
    scan: Scan, spy: Spy, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Cache.write
    calls = 0

    def interrupted(self: Cache, scorer: int, files: Any, contents: Any = (), looks: Any = ()) -> None:
        nonlocal calls
        calls += 1
        if calls > 1:
            return write(self, scorer, files, contents, looks)
        self.conn.execute("BEGIN IMMEDIATE")  # and Ctrl-C before anything could undo it
        raise KeyboardInterrupt

    monkeypatch.setattr(Cache, "write", interrupted)
    monkeypatch.setattr(pipeline, "FLUSH_SECONDS", 1e6)  # a slow machine writes before all photos are scored
    with pytest.raises(KeyboardInterrupt):
        scan()
    assert calls > 1
    assert scan().unchanged == sum(spy.batches) == 9


def test_a_full_disk_ends_the_scan_and_a_later_one_goes_on(
    scan: Scan, tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan(photos / "trip")
    size = (tmp_path / "cache.sqlite").stat().st_size
    connect = store.connect

    def small(path: Path) -> Any:
        conn = connect(path)
        conn.execute(f"PRAGMA max_page_count = {size // 4096 + 1}")
        return conn

    for i in range(60):
        (photos / f"{'long' * 40}{i}.jpg").write_bytes(b"\xff\xd8\xffbroken")
    monkeypatch.setattr(store, "connect", small)
    with pytest.raises(CacheError, match="the disk is full; free some space"):
        scan()
    monkeypatch.undo()
    after = scan()
    assert (after.photos, after.scored + after.unchanged, after.failed) == (69, 9, 60)
    assert after.unchanged >= 1


def test_rows_come_in_pieces_and_none_is_lost(scan: Scan, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "CHUNK", 2)
    monkeypatch.setattr(pipeline, "FLUSH_ROWS", 4)
    progress: list[int] = []
    assert len(rows_of(scan, on_progress=lambda s: progress.append(s.scored + s.unchanged))) == 9
    assert progress == sorted(progress) and progress[-1] == 9
    assert len(rows_of(scan)) == 9


def test_a_slow_walk_does_not_hold_up_its_first_photos() -> None:
    ticks = iter([0.0, 0.1, 0.3, 1.0, 1.1, 1.3])

    class Clock:
        monotonic = staticmethod(lambda: next(ticks))

    original, pipeline.time = pipeline.time, Clock  # type: ignore[assignment]
    try:
        assert [len(c) for c in pipeline._chunks(iter(range(30)))] == [26, 4]
    finally:
        pipeline.time = original
