"""How a member comes to its first rows: with others, or by joining them; and how it goes on alone.

Pure, but for asking the peers, which is handed in: settings, rows and what a peer said go in;
rows or one sentence come out. The settings that begin with ``--initial-`` are looked at here and
nowhere later: a member that has rows goes by them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

from trioetcd.cluster import (
    ClusterView,
    Member,
    Membership,
    Removal,
    cluster_id,
    encode_change,
    member_id,
)
from trioetcd.cluster.commands import MEMBER_CHANGES
from trioetcd.node.flags import ConfigError
from trioetcd.node.settings import Config
from trioetcd.node.validation import check_initial_cluster
from trioetcd.ports import Backend
from trioetcd.replica import Overlay, Recovered
from trioetcd.replica.rows import bootstrap, bootstrap_joiner, force_commit
from trioetcd.schema.messages import DecodeError
from trioetcd.statemachine import MEMBER, decode_command, encode_command, stamp
from trioetcd.url import Url, parse_url
from trioetcd.values import ClusterID, MemberID, RequestID

__all__ = [
    "AskMembers",
    "CannotStart",
    "FirstRows",
    "check_not_started",
    "first_rows",
    "force_new_cluster",
    "initial_members",
    "match_view",
]

AskMembers = Callable[[Sequence[Url]], Awaitable[ClusterView | None]]
"""Asks the peers at these URLs, one after the other, which cluster they are of and who is in it;
gives the first answer, or None if nobody gave one in time."""


class CannotStart(Exception):  # noqa: N818 - it says what is, like the sentence it carries
    """The member cannot start or go on; the sentence says why and what to do.

    Attributes:
        exit_code: of the process.
    """

    def __init__(self, sentence: str, exit_code: int) -> None:
        super().__init__(sentence)
        self.exit_code = exit_code


class FirstRows(NamedTuple):
    """Who a new member is, and the first batch of its data directory."""

    cluster_id: ClusterID
    member_id: MemberID
    rows: dict[bytes, bytes | None]


async def first_rows(config: Config, ask: AskMembers) -> FirstRows:
    """Decide how a member without rows begins.

    Raises:
        CannotStart: it must not, and the sentence says why.
    """
    try:
        check_initial_cluster(config)
    except ConfigError as error:
        raise CannotStart(str(error), error.exit_code) from None
    others = sorted(
        (url for name, urls in config.members if name != config.name for url in urls), key=str
    )
    view = await ask(others) if others else None
    if config.initial_cluster_state == "existing":
        if view is None:
            raise CannotStart(_nobody_answered(others), 1)
        own = match_view(config, view)
        rows = bootstrap_joiner(cluster_id=view.cluster_id, member_id=own)
        return FirstRows(view.cluster_id, own, rows)
    members, own = initial_members(config)
    cluster = cluster_id(member.id for member in members)
    if view is not None:
        check_not_started(own, view)
        if view.cluster_id != cluster:
            raise CannotStart(
                f"the members that --initial-cluster names are of cluster {view.cluster_id:x}, "
                f"and this one would begin cluster {cluster:x}; to join them, give "
                f"--initial-cluster-state=existing",
                1,
            )
    return FirstRows(cluster, own, bootstrap(cluster_id=cluster, member_id=own, members=members))


def initial_members(config: Config) -> tuple[list[Member], MemberID]:
    """Give the members that a new cluster begins with, and which of them this one is.

    All of them arrive at the same numbers, because these follow from URLs and token alone.
    """
    members = []
    own = None
    for name, urls in config.members:
        peer_urls = tuple(str(url) for url in urls)
        number = member_id(peer_urls, config.initial_cluster_token)
        members.append(Member(id=number, name="", peer_urls=peer_urls))
        if name == config.name:
            own = number
    assert own is not None, "the settings have been checked"
    return members, own


def check_not_started(own: MemberID, view: ClusterView) -> None:
    """Check that this member, whose data directory is empty, has never had data.

    It would have voted, and told others what it holds; without its data it breaks its word.

    Raises:
        CannotStart: its cluster has seen it already.
    """
    for member in view.members:
        if member.id == own and (member.is_started or member.client_urls):
            raise CannotStart(
                f"member {own:x} has already been started in cluster {view.cluster_id:x}, but its "
                f"data is gone; remove it there with `etcdctl member remove {own:x}`, add it anew "
                f"with `etcdctl member add`, and start it with --initial-cluster-state=existing",
                1,
            )


def match_view(config: Config, view: ClusterView) -> MemberID:
    """Find out which member of a running cluster this one is, by its peer URLs.

    URLs are compared as they are written, but for the scheme: peers speak TLS whatever it says.

    Raises:
        CannotStart: the cluster does not know this member, or is another one than
            ``--initial-cluster`` describes.
    """
    named = {name: frozenset(url.address for url in urls) for name, urls in config.members}
    known = {_addresses(member): member for member in view.members}
    cluster = f"cluster {view.cluster_id:x}"
    own = known.get(named[config.name])
    if own is None:
        urls = ",".join(map(str, config.initial_advertise_peer_urls))
        raise CannotStart(
            f"{cluster} has no member with the peer URLs {urls}: first add it there with "
            f"`etcdctl member add {config.name} --peer-urls={urls}`",
            1,
        )
    check_not_started(own.id, view)
    told = set(named.values())
    for addresses, member in known.items():
        if addresses not in told:
            raise CannotStart(
                f"{cluster} has the member {member.id:x} {member.name} at "
                f"{','.join(member.peer_urls)}, but --initial-cluster does not; give it as "
                f"`etcdctl member add` printed it",
                1,
            )
    if len(named) != len(view.members):
        raise CannotStart(
            f"--initial-cluster names {len(named)} members, but {cluster} has "
            f"{len(view.members)}; give it as `etcdctl member add` printed it",
            1,
        )
    learners = sum(member.is_learner for member in view.members)
    if learners > config.max_learners:
        raise CannotStart(
            f"{cluster} has {learners} learners, but --max-learners is {config.max_learners}; "
            f"give all members the same number",
            1,
        )
    return own.id


def _addresses(member: Member) -> frozenset[str]:
    """Give a member's URLs without their schemes; what a peer says need not be a URL at all."""
    found = set()
    for text in member.peer_urls:
        try:
            found.add(parse_url(text).address)
        except ValueError:
            found.add(text)
    return frozenset(found)


def _nobody_answered(urls: Sequence[Url]) -> str:
    asked = ", ".join(map(str, urls))
    if not asked:
        return (
            "--initial-cluster-state=existing, but --initial-cluster names nobody but this member; "
            "give it as `etcdctl member add` printed it"
        )
    return (
        f"--initial-cluster-state=existing, but no member of the cluster answers at {asked}; see "
        f"that one of them runs and can be reached, and that both sides' certificates are of "
        f"--peer-trusted-ca-file"
    )


def force_new_cluster(backend: Backend, recovered: Recovered) -> dict[bytes, bytes | None] | None:
    """Make the batch that leaves a member of a lost cluster alone (``--force-new-cluster``).

    The others are removed, this one votes, and its whole log counts as committed: what it holds
    may have been answered for, and there is nobody left to ask. Changes of members that are in
    the log and not applied yet will be applied after this; whoever they bring in is removed by
    entries at the end of the log.

    Returns:
        The rows; None if the member is alone already.

    Raises:
        CannotStart: this is no member of the cluster any more, or not yet.
    """
    space = Overlay(backend)
    membership = Membership(space, epoch=recovered.epoch)
    own = recovered.member_id
    if membership.get(own) is None:
        reason = (
            "was removed from" if membership.is_removed(own) else "has not yet learnt who is in"
        )
        raise CannotStart(
            f"--force-new-cluster: member {own:x} {reason} its cluster, so nothing can be "
            f"recovered from its data; take another member's, or a backup",
            1,
        )
    alone = membership.conf_state().members == (own,) and own in membership.voters()
    if not alone:
        membership.keep_only(own)
    rows = dict(space.gathering)
    changed = False
    for kind, payload in _unapplied_changes(recovered):
        changed = True
        with suppress(DecodeError):  # such an entry will change nothing then, either
            membership.apply(kind, payload)
    if alone and not changed:
        return None
    if membership.get(own) is None:
        raise CannotStart(
            f"--force-new-cluster: member {own:x} was removed from its cluster, as its log says; "
            f"take another member's data, or a backup",
            1,
        )
    datas = []
    for number, member in enumerate(membership.members(), 1):
        if member.id != own:
            # As a member's own: it is root of its data who forces it.
            kind, payload = stamp(*encode_change(Removal(member.id)), MEMBER)
            datas.append(encode_command(kind, RequestID(own, 0, number), payload))
    return force_commit(recovered, rows, datas)


def _unapplied_changes(recovered: Recovered) -> list[tuple[int, bytes]]:
    """Give the changes of members that a restart will apply, in order."""
    found = []
    for group in recovered.entries:
        for index, data in enumerate(group.datas, group.first):
            if data and index > recovered.applied:
                kind, _, payload = decode_command(data)
                if kind in MEMBER_CHANGES:
                    found.append((kind, payload))
    return found
