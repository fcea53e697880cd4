"""The record of options: whatever is in its place, it neither hangs nor ends a batch."""

import json
import os

import pytest

from mprnet_jax.batch import settings_record
from mprnet_jax.model import init_params
from mprnet_jax.restoring import RestoreOptions, Restorer
from mprnet_jax.support.errors import UserError
from tests.helpers.tiny import TINY


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    restorer = Restorer(TINY, init_params(TINY, seed=0), options=RestoreOptions(stages=2, tile=64))
    return settings_record.settings_of(restorer, tmp_path_factory.mktemp("bundle"))


def test_what_changes_a_result_is_recorded_and_told(settings, tmp_path):
    assert (settings["stages"], settings["tile"], settings["self_ensemble"]) == (2, 64, False)
    assert not {"devices", "batch", "shapes", "uses", "memory_share"} & settings.keys()
    settings_record.record(tmp_path, settings, replace=True)
    assert settings_record.note_of_others(tmp_path, settings, existing=3) is None
    other = dict(settings) | {"stages": 3}
    note = settings_record.note_of_others(tmp_path, other, existing=3)
    assert note.startswith("some of the 3 existing results may be made with other options (stages 2, now 3")
    assert settings_record.note_of_others(tmp_path, other, existing=0) is None


@pytest.mark.parametrize(
    "content", ["[" * 100_000, '{"settings": 3}', "\udcff", '{"settings": [1]}', "x" * 2 * settings_record.LIMIT]
)
def test_a_record_that_cannot_be_read_is_none_and_is_replaced(settings, tmp_path, content):
    (tmp_path / settings_record.NAME).write_text(content, errors="surrogateescape")
    assert settings_record.read_record(tmp_path) == []
    settings_record.record(tmp_path, settings, replace=False)
    assert json.loads((tmp_path / settings_record.NAME).read_text())["settings"] == [settings]


def test_a_pipe_in_its_place_is_not_waited_for_and_a_folder_is_told(settings, tmp_path):
    os.mkfifo(tmp_path / settings_record.NAME)
    assert settings_record.read_record(tmp_path) == []
    (tmp_path / "b" / settings_record.NAME).mkdir(parents=True)
    with pytest.raises(
        UserError, match=r"\.mprnet_jax\.json: cannot be written \(Is a directory\); make room or remove"
    ):
        settings_record.record(tmp_path / "b", settings, replace=True)
