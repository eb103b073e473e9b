"""Every bound on untrusted input, with its reason.

Only numbers live here; the modules that keep to them say what happens when one is passed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["CLIENT_LIMITS", "KIB", "MIB", "Limits", "PeerLimits"]

KIB: Final = 1024
MIB: Final = 1024 * KIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of one connection; the defaults are a server's.

    Attributes:
        frame_bytes_max: longest frame taken (SETTINGS_MAX_FRAME_SIZE); the protocol's smallest
            value, so that an unfinished frame never holds more.
        header_list_bytes_max: decoded header list, names and values and 32 a field; also the
            bound of the encoded block. A bomb of small indexed fields ends here.
        continuation_frames_max: CONTINUATION frames in one header block, else a flood of empty
            ones holds the connection without ever finishing a block.
        heads_max: header blocks remembered by their bytes.
        head_bytes_max: longest header block that is remembered.
        streams_max: SETTINGS_MAX_CONCURRENT_STREAMS; Go clients put many watches in one stream.
        resets_burst: streams that may be cancelled at once; as many as may be open, because a
            client that cancels everything it has open is not an attack.
        resets_per_second: how fast the burst fills again (200 in half a minute); resets that
            the peer provokes us to send count as well, and every finished call earns one back.
        noise_frames_max: SETTINGS, PING, PRIORITY, WINDOW_UPDATE, empty DATA and unknown
            frames in excess of what the useful frames pay for.
        noise_per_second: such frames forgiven by the passing of time (idle keep-alive).
        noise_credit: such frames paid for by one useful frame, received or sent.
        control_frames_pending_max: answers to control frames (PING and SETTINGS acknowledged,
            resets) that may wait for ``take()``: a peer that writes without reading.
        ping_seconds_min: closest distance of two PINGs while calls are open, as etcd has it.
        ping_idle_seconds_min: the same with no call open.
        ping_strikes_max: PINGs too close that are forgiven until something is sent again.
        quiet_seconds_max: a peer that says nothing for so long is asked whether it lives; 0 asks
            nobody.
        ping_answer_seconds_max: how long it may take to say anything then.
        message_bytes_max: longest gRPC message: etcd's request limit and its envelope.
        body_bytes_max: longest body of a plain request; the gateway's JSON of one message.
        buffered_bytes_max: bytes of unfinished messages of all streams together.
        stream_window_bytes: SETTINGS_INITIAL_WINDOW_SIZE; a large put in one flight.
        connection_window_bytes: what all streams together may have in flight.
        output_bytes_max: bytes waiting for a peer's windows; above it new streams are refused,
            for this peer asks and does not read.
        take_bytes_max: queued bytes one ``take()`` hands out: of a large answer no more than this
            is copied at a time, and others have their turn before the next (1 ms).
        join_bytes_max: pieces of an answer up to this size are joined when they are queued.
        backlog_high_bytes: a stream with more waiting gets a DRAINED event later ...
        backlog_low_bytes: ... when no more than this is left.
        http1_head_bytes_max: request line and headers of HTTP/1.1.
    """

    frame_bytes_max: int = 16 * KIB
    header_list_bytes_max: int = 64 * KIB
    continuation_frames_max: int = 64
    heads_max: int = 256
    head_bytes_max: int = 4 * KIB
    streams_max: int = 1000
    resets_burst: int = 1000
    resets_per_second: float = 200 / 30
    noise_frames_max: int = 2000
    noise_per_second: float = 20.0
    noise_credit: int = 8
    control_frames_pending_max: int = 10_000
    ping_seconds_min: float = 5.0
    ping_idle_seconds_min: float = 7200.0
    ping_strikes_max: int = 2
    quiet_seconds_max: float = 7200.0
    ping_answer_seconds_max: float = 20.0
    message_bytes_max: int = 1536 * KIB + 512 * KIB
    body_bytes_max: int = 2 * MIB
    buffered_bytes_max: int = 32 * MIB
    stream_window_bytes: int = 1 * MIB
    connection_window_bytes: int = 16 * MIB
    output_bytes_max: int = 32 * MIB
    take_bytes_max: int = 128 * KIB
    join_bytes_max: int = 256 * KIB
    backlog_high_bytes: int = 256 * KIB
    backlog_low_bytes: int = 64 * KIB
    http1_head_bytes_max: int = 64 * KIB


CLIENT_LIMITS: Final = Limits(message_bytes_max=2**31 - 1, buffered_bytes_max=2**32)
"""A client asked for what it gets: answers may be as long as gRPC can say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerLimits:
    """Bounds of one connection between members, whoever dialled.

    Attributes:
        hello_bytes_max: longest frame before the other side is known, and longest answer to a
            dialler: a few numbers and a sentence.
        frame_bytes_max: longest frame of messages or rows. A frame is cut at
            `frame_bytes_target`, so only one message that is longer by itself gets near it: an
            entry of `--max-request-bytes`, or a row with its value.
        items_max: items in a frame of messages: 4096 messages, or the entries of a large Propose.
            A decoded item takes up to 72 bytes, so that is what bounds the memory of a frame.
        row_items_max: items in a frame of rows, two a row.
        meta_bytes_max: longest description of a snapshot, and longest list of members with their
            URLs.
        reason_letters_max: longest sentence of a refusal; it goes into the log.
        frame_bytes_target: messages are gathered into one frame up to this.
        rows_bytes_max: rows, keys and values and `row_bytes` each, in one piece of a snapshot,
            but for one row that is longer by itself: what is decoded in about 5 ms.
        row_bytes: what a row costs besides its key and its value.
    """

    hello_bytes_max: int = 4 * KIB
    frame_bytes_max: int = 16 * MIB
    items_max: int = 64 * KIB
    row_items_max: int = 128 * KIB
    meta_bytes_max: int = 1 * MIB
    reason_letters_max: int = 512
    frame_bytes_target: int = 1 * MIB
    rows_bytes_max: int = 256 * KIB
    row_bytes: int = 16
