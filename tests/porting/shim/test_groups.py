"""Two ranks in a group named nccl. Each check is a function in checks/groups.py and must hold in both."""

FILES = ("groups",)


def test_two_ranks(said, check):
    file, name = check
    for rank, answer in enumerate(said(file, ranks=2)):
        assert answer[name] == "", f"rank {rank}: {answer[name]}"
