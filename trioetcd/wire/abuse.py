"""Budgets against floods and silence: what a peer may do without doing anything useful.

Time is an argument. Here are the counters and their rules; the bounds are in `limits`, and what
happens when one is passed (GOAWAY, ENHANCE_YOUR_CALM) is `http2`'s.
"""

from __future__ import annotations

from trioetcd.wire.limits import Limits

__all__ = ["NoiseBudget", "PingPolicy", "ResetBudget", "Silence"]


class ResetBudget:
    """A token bucket of cancelled streams (rapid reset, and resets we are provoked into).

    Attributes:
        earned: one for every call answered since the bucket was looked at.
    """

    __slots__ = ("_burst", "_left", "_now", "_rate", "earned")

    def __init__(self, limits: Limits) -> None:
        self._burst = float(limits.resets_burst)
        self._left = self._burst
        self._rate = limits.resets_per_second
        self._now = 0.0
        self.earned = 0

    def spend(self, now: float) -> bool:
        """Count one reset; False if that was one too many."""
        gained = (now - self._now) * self._rate + self.earned
        self._left = min(self._burst, self._left + gained) - 1.0
        self._now = now
        self.earned = 0
        return self._left >= 0.0


class NoiseBudget:
    """Frames that carry nothing, in excess of what useful frames and time pay for.

    Attributes:
        level: the excess; the hot path adds to it, and subtracts where it is positive.
        bound: above this level time is taken into account.
    """

    __slots__ = ("_now", "_rate", "bound", "level")

    def __init__(self, limits: Limits) -> None:
        self.bound = limits.noise_frames_max
        self._rate = limits.noise_per_second
        self._now = 0.0
        self.level = 0

    def forgive(self, now: float) -> bool:
        """Let time pay for some; False if there were too many all the same."""
        forgiven = int((now - self._now) * self._rate)
        self._now = now
        self.level = max(0, self.level - forgiven)
        return self.level <= self.bound


class PingPolicy:
    """How often a client may ask whether we live; etcd's rule, with the leniency of Go's library.

    A ping is too early within the smallest distance from the last one, which is hours while no
    call is open. A ping after something was sent is always fine and clears the strikes.

    Attributes:
        sent: headers or data went out since the last ping.
    """

    __slots__ = ("_idle", "_last", "_min", "_strikes", "_strikes_max", "sent")

    def __init__(self, limits: Limits) -> None:
        self._min = limits.ping_seconds_min
        self._idle = limits.ping_idle_seconds_min
        self._strikes_max = limits.ping_strikes_max
        self._strikes = 0
        self._last = float("-inf")
        self.sent = False

    def ping(self, now: float, *, open_streams: int) -> bool:
        """Count a ping; False if the peer pings too often."""
        since = now - self._last
        self._last = now
        if self.sent:
            self.sent = False
            self._strikes = 0
            return True
        if since < (self._min if open_streams else self._idle):
            self._strikes += 1
        return self._strikes <= self._strikes_max


class Silence:
    """How long a peer may say nothing: it is asked whether it lives, and given up (gRPC keepalive).

    Whatever it says after the question is an answer, as with Go's library.
    """

    __slots__ = ("_answer_max", "_asked", "_heard", "_quiet_max")

    def __init__(self, limits: Limits) -> None:
        self._quiet_max = limits.quiet_seconds_max
        self._answer_max = limits.ping_answer_seconds_max
        self._heard = 0.0
        self._asked: float | None = None

    def is_too_long(self, heard: float, now: float) -> bool:
        """Say whether the peer is to be asked now.

        Args:
            heard: when something last came; 0 if nothing ever did, and then silence begins with
                the first look.
            now: the time.
        """
        if heard > self._heard or not self._heard:
            self._heard = heard or now
            self._asked = None
        if self._asked is not None or not 0 < self._quiet_max <= now - self._heard:
            return False
        self._asked = now
        return True

    def is_final(self, now: float) -> bool:
        """Say whether the peer was asked and has had its time (ask `is_too_long` first)."""
        return self._asked is not None and now - self._asked >= self._answer_max
