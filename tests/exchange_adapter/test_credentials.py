"""The key: from where it is read, that nobody sees it, and that one broker at a time uses it."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
import traceback
from pathlib import Path

import pytest

from levibot.config_execution import LiveConfig
from levibot.errors import ConfigError
from levibot.exchange.credentials import SYSTEMD_NAME, Credentials, find_credentials, read_credentials
from levibot.exchange.key_lock import KeyInUseError, KeyLock
from levibot.locations import KEY_VARIABLES
from levibot.private_file import PrivateFileError

KEY, SECRET, PASSWORD = "k3yk3yk3y", "s3cr3ts3cr3t", "p4ssw0rd"
FILE = f'# mine\nkey = "{KEY}"\nsecret = "{SECRET}"\n'


def test_a_key_is_read_from_the_environment() -> None:
    environ = {"LEVIBOT_API_KEY": KEY, "LEVIBOT_API_SECRET": SECRET}
    assert read_credentials(LiveConfig(), environ) == Credentials(KEY, SECRET)
    with_password = {**environ, "LEVIBOT_API_PASSWORD": PASSWORD}
    assert read_credentials(LiveConfig(), with_password).password == PASSWORD


@pytest.mark.parametrize("missing", ["LEVIBOT_API_KEY", "LEVIBOT_API_SECRET"])
def test_what_is_missing_in_the_environment_is_named(missing: str) -> None:
    environ = {"LEVIBOT_API_KEY": KEY, "LEVIBOT_API_SECRET": SECRET, missing: ""}
    with pytest.raises(ConfigError, match=f"needs {missing};"):
        read_credentials(LiveConfig(), environ)


def from_file(path: Path) -> Credentials:
    return read_credentials(LiveConfig(credentials="file", credentials_file=path), {})


def test_a_key_is_read_from_a_private_file(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(FILE)
    path.chmod(0o600)
    assert from_file(path) == Credentials(KEY, SECRET)
    path.chmod(0o640)
    with pytest.raises(PrivateFileError, match=r"live.credentials_file .*0640.*chmod 600"):
        from_file(path)
    with pytest.raises(ConfigError, match="needs credentials_file"):
        read_credentials(LiveConfig(credentials="file"), {})


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (f'key = "{KEY}"\nsecret = "{SECRET}\n', "is not of the form"),
        (f"{KEY}\n{SECRET}\n", "is not of the form"),
        (f'key = "{KEY}"\n', 'secret is missing; add secret = "…"'),
        (f'secret = "{SECRET}"\n', "key is missing"),
        (f'{FILE}{SECRET} = "{KEY}"\n', "not 1 other names"),
        ('key = "k3yk3yk3y"\nsecret = 12345678\n', "in quotes"),
        (f'key = "{KEY} "\nsecret = "{SECRET}"\n', "the key has a space"),
        ('key = "k3y"\nsecret = "s3cr3ts3cr3t"\n', "3 characters"),
        ("\xff\xfe", "is not of the form"),
    ],
)
def test_a_file_that_is_wrong_is_refused_without_a_word_of_what_it_holds(
    tmp_path: Path, content: str, told: str
) -> None:
    path = tmp_path / "key"
    path.write_text(content, encoding="latin-1")
    path.chmod(0o600)
    with pytest.raises(ConfigError, match=told) as refused:
        from_file(path)
    shown = "".join(traceback.format_exception(refused.value))
    assert not any(secret in shown for secret in (KEY, SECRET, "12345678"))


def test_a_key_is_read_from_a_credential_of_systemd(tmp_path: Path) -> None:
    config = LiveConfig(credentials="systemd")
    with pytest.raises(ConfigError, match="LoadCredential=exchange:FILE"):
        read_credentials(config, {})
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    with pytest.raises(ConfigError, match="cannot be read"):
        read_credentials(config, environ)
    (tmp_path / "exchange").write_text(f'{FILE}password = "{PASSWORD}"\n')
    (tmp_path / "exchange").chmod(0o440)  # as systemd shows its access list
    assert read_credentials(config, environ) == Credentials(KEY, SECRET, PASSWORD)


def test_a_key_is_found_without_being_read(tmp_path: Path) -> None:
    path = tmp_path / "key"
    at_path = LiveConfig(credentials="file", credentials_file=path)
    with pytest.raises(PrivateFileError, match=rf"credentials_file {path} cannot be read"):
        find_credentials(at_path, {})
    path.write_text("not looked at")
    path.chmod(0o644)
    with pytest.raises(PrivateFileError, match=f"mode 0644: others can use it; `chmod 600 {path}`"):
        find_credentials(at_path, {})
    path.chmod(0o600)
    find_credentials(at_path, {})
    with pytest.raises(ConfigError, match="needs LEVIBOT_API_KEY and LEVIBOT_API_SECRET"):
        find_credentials(LiveConfig(), {})
    find_credentials(LiveConfig(), dict(zip(KEY_VARIABLES, (KEY, SECRET), strict=False)))
    systemd = LiveConfig(credentials="systemd")
    for environ in ({}, {"CREDENTIALS_DIRECTORY": str(tmp_path)}):
        with pytest.raises(ConfigError, match="LoadCredential=exchange:FILE"):
            find_credentials(systemd, environ)
    (tmp_path / "exchange").touch(mode=0o440)
    find_credentials(systemd, {"CREDENTIALS_DIRECTORY": str(tmp_path)})


def test_no_text_of_a_key_tells_it() -> None:
    credentials = Credentials(KEY, SECRET, PASSWORD)
    for shown in (repr(credentials), str(credentials), f"{credentials}", repr([credentials])):
        assert not any(secret in shown for secret in (KEY, SECRET, PASSWORD))
        assert credentials.fingerprint in shown
    assert copy.copy(credentials) == pickle.loads(pickle.dumps(credentials)) == credentials
    assert credentials.fingerprint != Credentials(KEY + "1", SECRET).fingerprint
    assert credentials.fingerprint == Credentials(KEY, "another").fingerprint


HOLD = """
import sys
from levibot.exchange.key_lock import KeyLock
with KeyLock(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_one_process_at_a_time_uses_a_key_and_kill_9_frees_it() -> None:
    fingerprint = Credentials(f"key of {os.getpid()}", SECRET).fingerprint
    command = [sys.executable, "-c", HOLD, fingerprint]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        try:
            with pytest.raises(
                KeyInUseError, match=f"key {fingerprint} is traded by process {holder.pid} of user"
            ):
                KeyLock(fingerprint).acquire()
            with KeyLock(fingerprint[::-1]):
                pass  # another key is free
        finally:
            holder.kill()
            holder.wait()
    with KeyLock(fingerprint) as lock, pytest.raises(KeyInUseError, match=f"process {os.getpid()} "):
        KeyLock(fingerprint).acquire()
    lock.release()
    with KeyLock(fingerprint):
        pass


def test_the_example_of_a_unit_loads_the_credential_that_is_read() -> None:
    example = Path(__file__).parents[2] / "deploy/levibot.service.d/live.conf"
    assert f"LoadCredential={SYSTEMD_NAME}:" in example.read_text()
