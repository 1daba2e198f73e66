"""The policies that a replay is held against."""

from forebay.cloud.replay.baselines.queues import Backfill, FirstCome
from forebay.cloud.replay.baselines.rounds import LeastAttained, MaxMin, MaxThroughput

__all__ = ["Backfill", "FirstCome", "LeastAttained", "MaxMin", "MaxThroughput"]
