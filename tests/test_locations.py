"""Where files and sockets are looked for."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from levibot import config_file
from levibot.errors import ConfigError, StopError
from levibot.locations import choose_run_dir, find_file, locate, locate_running, make_private, prepare_run_dir


@pytest.fixture(autouse=True)
def working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def long_folder(run_dir: Path) -> Iterator[Path]:
    """A folder whose sockets would have addresses over 107 bytes; its stand-in is removed after the test."""
    folder = run_dir / ("long" * 25)
    yield folder
    shutil.rmtree(choose_run_dir(folder, None, {}), ignore_errors=True)


def write(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_named_file_wins_over_the_variable_and_that_over_the_working_directory(tmp_path: Path) -> None:
    named, variable = write(tmp_path / "a.toml"), write(tmp_path / "b.toml")
    local = write(Path("supervisor.toml")).absolute()
    environ = {"LEVIBOT_CONFIG": str(variable)}
    assert find_file(named, environ) == named
    assert find_file(None, environ) == variable
    assert find_file(None, {}) == local


@pytest.mark.skipif(Path("/etc/levibot/supervisor.toml").exists(), reason="this machine has a system file")
def test_without_any_file_the_embedded_defaults_hold(working_directory: Path) -> None:
    assert find_file(None, {}) is None
    assert config_file.load(None, {}).path is None
    assert locate(None, {}).data_dir == working_directory / "var"


def test_a_missing_file_is_refused_with_what_named_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml: no such file; correct -c"):
        find_file(tmp_path / "none.toml", {})
    with pytest.raises(ConfigError, match=r"correct \$LEVIBOT_CONFIG"):
        find_file(None, {"LEVIBOT_CONFIG": str(tmp_path / "none.toml")})


@pytest.mark.parametrize(
    ("text", "environ"),
    [
        ("", {}),
        ('[supervisor]\ndata_dir = "state"', {}),
        ('[supervisor]\ndata_dir = "/state"\nrun_dir = "run-here"', {}),
        ('[supervisor]\ndata_dir = "state"', {"LEVIBOT_SUPERVISOR__DATA_DIR": "other"}),
        ("", {"LEVIBOT_SUPERVISOR__RUN_DIR": "/run/levi", "LEVIBOT_SUPERVISOR__DATA_DIR": "~/x"}),
    ],
)
def test_clients_look_where_the_daemon_is(tmp_path: Path, text: str, environ: dict[str, str]) -> None:
    path = write(tmp_path / "conf" / "supervisor.toml", text)
    seen = locate(path, environ)
    config = config_file.load(path, environ).config
    assert seen.data_dir == config.supervisor.data_dir
    assert seen.log_dir == config.log_dir
    assert seen.api_socket == config_file.api_socket(config, environ)


def test_a_daemon_is_found_although_its_configuration_has_become_wrong(tmp_path: Path) -> None:
    path = write(tmp_path / "supervisor.toml", 'unknown = 1\n[supervisor]\ndata_dir = "state"')
    assert locate(path, {}).data_dir == tmp_path / "state"


def test_sockets_in_systemds_folder_are_found_without_its_variable(run_dir: Path) -> None:
    data, given = run_dir / "data", run_dir / "systemd"
    path = write(run_dir / "supervisor.toml", f'[supervisor]\ndata_dir = "{data}"')
    config = config_file.load(path, {}).config
    environ = {"RUNTIME_DIRECTORY": f"{given}:/second"}
    assert config_file.make_run_dir(config, environ) == given
    assert locate(path, {}).run_dir == given
    assert config_file.make_run_dir(config, {}) == data / "run"  # the next start, by hand
    assert locate(path, {}).run_dir == data / "run"
    assert not (data / "run").is_symlink()


def test_run_dir_is_made_private(run_dir: Path) -> None:
    folder = run_dir / "run"
    folder.mkdir(mode=0o755)
    prepare_run_dir(folder, run_dir)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_path_too_long_for_sockets_gets_a_short_stand_in(long_folder: Path) -> None:
    path = choose_run_dir(long_folder, None, {})
    assert len(os.fsencode(path / "market-out.sock")) <= 107
    assert path == choose_run_dir(long_folder, None, {})
    assert path != choose_run_dir(long_folder.with_name("long" * 26), None, {})
    prepare_run_dir(path, long_folder)
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert (long_folder / "run").readlink() == path


def test_the_longest_path_that_fits_is_used_as_it_is() -> None:
    fits, over = Path("/" + "x" * 85), Path("/" + "x" * 86)
    assert choose_run_dir(Path("/unused"), fits, {}) == fits
    assert choose_run_dir(Path("/unused"), over, {}) != over


def test_a_stand_in_that_somebody_else_put_there_is_refused(long_folder: Path, tmp_path: Path) -> None:
    stand_in = choose_run_dir(long_folder, None, {})
    stand_in.symlink_to(tmp_path)  # a link of anybody's would lead our sockets elsewhere
    try:
        with pytest.raises(StopError, match=r"no folder of this user.*set supervisor\.run_dir"):
            choose_run_dir(long_folder, None, {})
    finally:
        stand_in.unlink()


def test_state_lies_where_systemd_wants_it_unless_the_file_says_otherwise(tmp_path: Path) -> None:
    file = tmp_path / "supervisor.toml"
    file.touch()
    environ = {"STATE_DIRECTORY": "/var/lib/levibot:/var/lib/second"}
    assert locate(file, environ).data_dir == Path("/var/lib/levibot")
    assert config_file.load(file, environ).config.supervisor.data_dir == Path("/var/lib/levibot")
    file.write_text('[supervisor]\ndata_dir = "here"\n', encoding="utf-8")
    assert locate(file, environ).data_dir == tmp_path / "here"
    assert config_file.load(file, environ).config.supervisor.data_dir == tmp_path / "here"


def test_folders_are_made_private_all_the_way(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    make_private(tmp_path / "var" / "logs")
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (tmp_path, tmp_path / "var", tmp_path / "var" / "logs")]
    assert modes == [0o755, 0o700, 0o700]


@pytest.mark.parametrize(
    "text",
    [
        '[supervisor\ndata_dir = "state"  # here\n',
        "supervisor.data_dir = 'state'\n[engine\n",
        "supervisor = { data_dir = 'state', run_dir = \n",
        '# data_dir = "other"\n[supervisor]\ndata_dir = "other"\ndata_dir = "state"\n',
    ],
)
def test_a_running_daemon_is_found_by_a_file_that_is_no_toml(working_directory: Path, text: str) -> None:
    file = working_directory / "my.toml"
    file.write_text(text, encoding="utf-8")
    places, trouble = locate_running(file, {})
    assert (places.config_path, places.data_dir) == (file, working_directory / "state")
    assert "my.toml" in trouble
    assert "not valid TOML" in trouble


def test_a_running_daemon_is_found_beside_a_file_that_is_gone(working_directory: Path) -> None:
    gone = working_directory / "elsewhere" / "my.toml"
    places, trouble = locate_running(gone, {})
    assert places.data_dir == working_directory / "elsewhere" / "var"
    assert "no such file" in trouble
    named, _ = locate_running(gone, {"LEVIBOT_SUPERVISOR__DATA_DIR": "/there"})
    assert named.run_dir == Path("/there/run")
