"""Files of D4RL's and Minari's are read as what they hold, and refused where they are none."""

import numpy as np
import pytest
import torch

from bbo_bench.control.data import Episodes, read

h5py = pytest.importorskip("h5py", reason="the extra control is not installed")

LENGTHS, ENDED = (7, 3, 1, 5), (False, True, True, False)
STATE = {"qpos": 1, "qvel": 0}


@pytest.fixture
def recorded():
    """Four episodes: observations with one more row than actions, actions, rewards; the simulator's own numbers."""
    rng = np.random.default_rng(0)
    return [
        {
            "observations": rng.normal(size=(n + 1, 3)),
            "actions": rng.uniform(-1, 1, (n, 2)),
            "rewards": rng.normal(size=n),
            "qpos": rng.normal(size=(n + 1, 2)),
            "qvel": rng.normal(size=(n + 1, 2)),
        }
        for n in LENGTHS
    ]


def flat(episodes, path, following=True, inner=True):
    """As D4RL's files are."""
    ends = np.cumsum(LENGTHS) - 1
    with h5py.File(path, "w") as file:
        for key in ("observations", "actions", "rewards"):
            file[key] = np.concatenate([each[key][:n] for each, n in zip(episodes, LENGTHS, strict=True)])
        if following:
            file["next_observations"] = np.concatenate([each["observations"][1:] for each in episodes])
        if inner:
            for key in STATE:
                file[f"infos/{key}"] = np.concatenate([each[key][:-1] for each in episodes])
        file["terminals"] = np.isin(np.arange(sum(LENGTHS)), ends[np.array(ENDED)])
        file["timeouts"] = np.isin(np.arange(sum(LENGTHS)), ends[~np.array(ENDED)])
    return path


def grouped(episodes, folder, inner=True):
    """As Minari's folders are."""
    (folder / "data").mkdir(parents=True)
    with h5py.File(folder / "data" / "main_data.hdf5", "w") as file:
        for i, (each, n, ended) in enumerate(zip(episodes, LENGTHS, ENDED, strict=True)):
            for key in ("observations", "actions", "rewards"):
                file[f"episode_{i}/{key}"] = each[key]
            for key in STATE if inner else ():
                file[f"episode_{i}/infos/{key}"] = each[key]
            file[f"episode_{i}/terminations"] = np.arange(n) == (n - 1 if ended else n)
            file[f"episode_{i}/truncations"] = np.arange(n) == (n if ended else n - 1)
    return folder


def parts(data: Episodes):
    """The episodes by their length: observations, actions and rewards of all but the last row; and their ends."""
    ends = (data.last.nonzero().flatten() + 1).tolist()
    found = {}
    for begin, end in zip([0, *ends], ends, strict=False):
        rows = slice(begin, end)
        assert not data.action[end - 1].any() and not data.reward[end - 1]
        found[end - begin - 1] = (
            data.observation[rows].numpy(),
            data.action[rows][:-1].numpy(),
            data.reward[rows][:-1].numpy(),
            bool(data.fallen[end - 1]),
        )
    return found


@pytest.mark.parametrize("write", [flat, grouped])
def test_what_is_read_is_what_was_written(recorded, tmp_path, write):
    found = parts(read(write(recorded, tmp_path / "file.hdf5"), 3, 2))
    assert sorted(found) == sorted(LENGTHS)
    for each, n, ended in zip(recorded, LENGTHS, ENDED, strict=True):
        observation, action, reward, fell = found[n]
        np.testing.assert_allclose(observation, each["observations"], rtol=1e-6)
        np.testing.assert_allclose(action, each["actions"], rtol=1e-6)
        np.testing.assert_allclose(reward, each["rewards"], rtol=1e-6)
        assert fell == ended


@pytest.mark.parametrize("write", [flat, grouped])
def test_the_simulators_own_numbers_are_preferred_to_what_was_observed(recorded, tmp_path, write):
    found = parts(read(write(recorded, tmp_path / "file.hdf5"), 3, 2, STATE))
    for each, n in zip(recorded, LENGTHS, strict=True):
        inner = np.concatenate([each["qpos"][:, 1:], each["qvel"]], 1)
        np.testing.assert_allclose(found[n][0][:n], inner[:n], rtol=1e-6)
    without = write(recorded, tmp_path / "without.hdf5", inner=False)
    assert sorted(parts(read(without, 3, 2, STATE))) == sorted(LENGTHS)


def test_without_following_observations_a_cut_episode_loses_its_last_action(recorded, tmp_path):
    found = parts(read(flat(recorded, tmp_path / "old.hdf5", following=False), 3, 2))
    assert sorted(found) == sorted(n if ended else n - 1 for n, ended in zip(LENGTHS, ENDED, strict=True))
    for each, n, ended in zip(recorded, LENGTHS, ENDED, strict=True):
        observation, action, _, fell = found[n if ended else n - 1]
        np.testing.assert_allclose(observation[:n], each["observations"][:n], rtol=1e-6)
        assert len(action) == (n if ended else n - 1) and fell == ended


def test_the_order_of_a_file_is_drawn_and_the_same_each_time(recorded, tmp_path):
    path = flat(recorded, tmp_path / "file.hdf5")
    first, again = read(path, 3, 2), read(path, 3, 2)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert len(first.last) == sum(LENGTHS) + len(LENGTHS)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda file: file.__delitem__("rewards"), "expected arrays .*rewards.*, rewards not found among actions, "),
        (lambda file: file.__delitem__("terminals"), "terminals not found"),
        (lambda file: resized(file, "actions", 4), "as many observations as actions.*got 16, 4, 16, 16, 16, 16"),
        (lambda file: resized(file, "timeouts", 4), "got 16, 16, 16, 16, 4, 16"),
        (lambda file: resized(file, "next_observations", 4), "got 16, 16, 16, 16, 16, 4"),
        (lambda file: [resized(file, name, 0) for name in list(file) if name != "infos"], "has no episodes"),
        (lambda file: file["observations"].__setitem__((2, 1), np.nan), "not finite"),
        (lambda file: file["rewards"].__setitem__(2, np.inf), "not finite"),
    ],
)
def test_a_file_that_is_wrong_is_refused(recorded, tmp_path, spoil, message):
    path = flat(recorded, tmp_path / "file.hdf5")
    with h5py.File(path, "r+") as file:
        spoil(file)
    with pytest.raises(ValueError, match=message):
        read(path, 3, 2)


def resized(file, name, n):
    kept = file[name][:n]
    del file[name]
    file[name] = kept


def test_lengths_that_do_not_go_together_are_refused_with_the_episode(recorded, tmp_path):
    folder = grouped(recorded, tmp_path / "set")
    with h5py.File(folder / "data" / "main_data.hdf5", "r+") as file:
        resized(file, "episode_1/rewards", 2)
    with pytest.raises(ValueError, match=r"one observation more than actions in episode_1, got \[4, 3, 2, 3\]"):
        read(folder, 3, 2)


def test_another_environments_file_is_refused(recorded, tmp_path):
    path = flat(recorded, tmp_path / "file.hdf5")
    with pytest.raises(ValueError, match=r"expected 4 numbers of an observation, got the shape \(3,\)"):
        read(path, 4, 2)
    with pytest.raises(ValueError, match="expected 1 numbers of an action"):
        read(path, 3, 1)


def test_what_is_no_such_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"there is no .*nowhere\.hdf5"):
        read(tmp_path / "nowhere.hdf5", 3, 2)
    with pytest.raises(ValueError, match=r"there is no .*main_data\.hdf5"):
        read(tmp_path, 3, 2)
    (tmp_path / "text.hdf5").write_text("no data")
    with pytest.raises(ValueError, match=r"text\.hdf5 is no HDF5 file"):
        read(tmp_path / "text.hdf5", 3, 2)
