"""The simulated device behaves as a card does. Each check is a function in checks/, named as a sentence."""

FILES = (
    "identity",
    "compute",
    "products",
    "dice_memory_time",
    "precision_and_files",
    "torchs_insides",
    "graphs",
    "names",
    "sparse",
    "autocast_lists",
)


def test_the_simulated_device(said, check):
    file, name = check
    (answer,) = said(file)
    assert answer[name] == "", answer[name]
