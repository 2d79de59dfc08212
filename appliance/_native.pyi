"""The native core and the IC client. Everything raises the classes of `appliance.errors`. `appliance.crypto` imports
the core, `appliance.ic.http.exchanges` the client, and nobody else this module.

Times are nanoseconds since 1970, principals are their bytes, public keys are DER (SubjectPublicKeyInfo) unless said
otherwise. A function that verifies returns what may be trusted from then on, or raises.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Literal, Self, TypeAlias, final

from appliance.errors import IcUnreachable, ReplyTooLarge

__all__ = [
    "VERSION",
    "BlsSecretKey",
    "CandidInterface",
    "CandidMethod",
    "CandidTypes",
    "CertifiedMessage",
    "CertifiedTree",
    "HashTree",
    "HttpClient",
    "HttpEndpoint",
    "KnownNodes",
    "Poll",
    "PollAnswer",
    "PollQueue",
    "PollReply",
    "PolledMessage",
    "QueryReply",
    "Request",
    "SigningKey",
    "StateTree",
    "Verifier",
    "decode_candid",
    "decode_candid_text",
    "decode_cbor",
    "encode_candid_text",
    "encode_cbor",
    "encode_certificate",
    "encode_content",
    "encode_envelope",
    "hash_of_value",
    "read_envelope_unverified",
    "read_poll_reply_unverified",
    "signature_of_certificate",
    "verify_bls",
    "verify_query_reply",
    "verify_signature",
]

_Cbor: TypeAlias = "None | bool | int | bytes | str | Sequence[_Cbor] | Mapping[str, _Cbor]"
_CandidValue: TypeAlias = object
_Labels: TypeAlias = "Mapping[bytes, bytes | _Labels]"
_Path: TypeAlias = Sequence[bytes]
_HttpResponse: TypeAlias = tuple[int, dict[str, str], bytes, PollAnswer | None]
"""Status; Content-Type, Location and Retry-After as far as they were sent; body; what was read of it, where it is a
good answer to a Poll: then there are no headers, and the body is empty unless it is kept."""

VERSION: Final[str]
"""The version of the crate."""

# --- CBOR -----------------------------------------------------------------------------------------------------------

def decode_cbor(data: bytes, *, what: str = "reply") -> object:
    """Decode strictly, with or without the self-describing tag, into None, bool, int, bytes, str, list and dict.

    Raises Malformed (duplicate keys, trailing bytes, floats, foreign tags, too deep or too many values).
    """

def encode_cbor(value: _Cbor, *, tagged: bool = True) -> bytes:
    """Encode in the shortest form, maps in the order given, with the self-describing tag unless told otherwise.

    A sequence is a list or tuple, a mapping a dict. Raises TypeError for a value of another type, OverflowError for a
    negative integer below -2^64, ValueError beyond 512 levels.
    """

def hash_of_value(value: _Cbor) -> bytes:
    """Representation-independent hash (interface specification, "Request ids"): 32 bytes.

    Fields that are None count as absent. Raises TypeError for what has no hash: other types, bool, None elsewhere.
    """

# --- hash trees and certificates ------------------------------------------------------------------------------------

@final
class HashTree:
    """A hash tree, possibly pruned (interface specification, "Certificate"). Immutable."""

    @staticmethod
    def from_cbor(data: bytes) -> HashTree:
        """Raises Malformed: no tree, labels out of order, too deep, too many nodes."""
    @staticmethod
    def from_labels(labels: _Labels) -> HashTree:
        """A whole tree: a dict is a labelled subtree, bytes are a leaf. Raises ValueError beyond 127 levels."""
    def to_cbor(self, *, tagged: bool = True) -> bytes: ...
    @property
    def digest(self) -> bytes: ...
    def lookup(self, path: _Path) -> bytes | None:
        """The leaf at the path, or None where the tree proves that there is none.

        Raises PathUnknown where the tree does not tell, Malformed where the path ends at no leaf.
        """
    def children(self, path: _Path) -> list[bytes]:
        """The labels that are shown below the path, in order; empty where the path is absent. Raises PathUnknown."""
    def witness(self, paths: Sequence[_Path]) -> HashTree:
        """The same tree pruned to what shows these paths with all below them, or proves their absence."""

@final
class StateTree:
    """A labelled tree that is changed in place and certified; each change costs the depth of the tree only.

    Used for the state of a replica and for the certified data of a canister.
    """

    def __init__(self) -> None: ...
    def set(self, path: _Path, value: bytes) -> None:
        """Put a leaf, making the labels on the way.

        Raises ValueError for a path that is empty, has more than 127 labels, ends in a subtree or leads through a leaf.
        """
    def delete(self, path: _Path) -> None:
        """Remove the leaf or subtree at the path, if it is there. Its parents stay; an empty path clears the tree."""
    def get(self, path: _Path) -> bytes | None: ...
    def children(self, path: _Path) -> list[bytes]: ...
    @property
    def digest(self) -> bytes: ...
    def witness(self, paths: Sequence[_Path]) -> HashTree:
        """Pruned to what shows these paths with all below them, or proves their absence."""
    def witness_range(self, path: _Path, first: bytes, last: bytes) -> HashTree:
        """Pruned to the children of a path from label first to label last, both included, with proof that there are no
        others between."""

@final
class BlsSecretKey:
    """A BLS12-381 key of the "min-sig" scheme: signatures in G1, keys in G2."""

    @staticmethod
    def from_seed(seed: bytes) -> BlsSecretKey:
        """Derive from at least 32 bytes (RFC draft-irtf-cfrg-bls-signature, KeyGen). Raises KeyUnusable if shorter."""
    @staticmethod
    def from_scalar(scalar: bytes) -> BlsSecretKey:
        """From 32 bytes, big-endian. Raises KeyUnusable for zero or beyond the group's order."""
    @property
    def public_key(self) -> bytes:
        """DER, 133 bytes."""
    def sign(self, message: bytes) -> bytes:
        """48 bytes."""
    def sign_root(self, digest: bytes) -> bytes:
        """The signature of a certificate: over the separator ``ic-state-root`` and the digest of the tree."""

def verify_bls(public_key: bytes, signature: bytes, message: bytes) -> None:
    """Verify one BLS signature. `public_key` is DER or the raw 96 bytes. Raises CertificateSignatureInvalid."""

def encode_certificate(tree: HashTree, signature: bytes, delegation: tuple[bytes, bytes] | None = None) -> bytes:
    """A certificate as CBOR; `delegation` is (subnet id, certificate of the root subnet)."""

def signature_of_certificate(certificate: bytes) -> bytes:
    """The signature of a certificate, verified by nobody: certificates of one subnet and round have the same. Raises
    Malformed."""

@final
class CertifiedTree:
    """The tree of a verified certificate: what may be trusted."""

    @property
    def time_ns(self) -> int: ...
    @property
    def subnet_id(self) -> bytes | None:
        """The subnet of the delegation; None when the root key signed."""
    @property
    def tree(self) -> HashTree: ...
    def lookup(self, path: _Path) -> bytes | None:
        """As HashTree.lookup."""
    def children(self, path: _Path) -> list[bytes]:
        """As HashTree.children."""

@final
class Verifier:
    """Verifies against one root key, and remembers what it has verified. Safe to share between threads.

    What failed is never remembered; subject and age are checked each time.

    Calls that cost more than about 50 microseconds leave the GIL.
    """

    def __new__(
        cls,
        root_key: bytes,
        *,
        max_age_ns: int = 300_000_000_000,
        max_ahead_ns: int = 300_000_000_000,
        cache_entries: int = 1024,
    ) -> Self:
        """`root_key` is DER, 133 bytes; `cache_entries` bounds certificates, delegations and signatures each, once for
        replies of the IC and once for canister signatures of clients. Raises KeyUnusable."""
    @property
    def root_key(self) -> bytes: ...
    @property
    def cache_hits(self) -> int:
        """How many BLS verifications were spared."""
    @property
    def cache_misses(self) -> int:
        """How many BLS verifications were made."""
    def verify_certificate(self, certificate: bytes, canister_id: bytes, *, now_ns: int) -> CertifiedTree:
        """Verify signature, delegation, canister ranges and age. Without a delegation the root key signed, which speaks
        for every canister. Raises a CertificateError or Malformed."""
    def recall_certificate(self, certificate: bytes, canister_id: bytes, *, now_ns: int) -> CertifiedTree | None:
        """As verify_certificate where its signatures have been verified before, with it or with another certificate of
        its round; None for any other. Subject and age are checked again. Costs no more than decoding, and so needs no
        thread unless it is large. Does not release the GIL."""
    def verify_subnet_certificate(self, certificate: bytes, subnet_id: bytes, *, now_ns: int) -> CertifiedTree:
        """The same for a certificate of a subnet about itself. Without a delegation that is the root subnet; its id is
        the self-authenticating principal of the root key. Raises a CertificateError or Malformed."""
    def open_request(self, body: bytes, *, now_ns: int) -> Request:
        """Verify the body of an HTTP request: an envelope with its signature, chain, sender and expiry
        (interface specification, "Authentication"). Anonymous requests have no signature.

        Raises an EnvelopeError, Malformed, TooLarge or KeyUnusable.
        """
    def open_envelope(self, frame: bytes, *, now_ns: int) -> Request:
        """Verify a client's WebSocket frame of wire generations v1 and v2: ``{"envelope": envelope}``, a call that is
        not anonymous. Raises as open_request does."""
    def open_envelope_if_cheap(self, frame: bytes, *, now_ns: int) -> Request | None:
        """As open_envelope where that costs no more than a signature of Ed25519, P-256 or secp256k1; None where it may
        cost more: a delegation that is not known yet, another kind of key, or sender_info."""
    def open_first_message(self, frame: bytes) -> tuple[bytes, bytes, bytes, bytes]:
        """Verify the first frame of wire generation v0: (client key, canister id, content, signature).

        Raises Malformed, TooLarge or SignatureInvalid.
        """
    def open_poll_reply(
        self,
        reply: bytes,
        canister_id: bytes,
        *,
        generation: Literal[0, 1, 2],
        now_ns: int,
        gateway: bytes | None,
        allow_holes: bool = False,
    ) -> PollReply:
        """Decode the Candid answer of `ws_get_messages`, verify its certificate, its tree and every message, and write
        the complete WebSocket frame of each with its own witness only.

        `gateway` is the principal whose queue was polled; None takes the queue of any one gateway, which anybody can
        register at a canister. `allow_holes` takes a reply that leaves out messages between others, and a certified
        message whose content does not decode, which has a `problem` then.

        All or nothing: raises a BadReply (the endpoint's fault), a CertificateError, Malformed, CandidError, TooLarge
        or CanisterRefused (answer `Err`).
        """
    def recall_poll_reply(
        self,
        reply: bytes,
        canister_id: bytes,
        *,
        generation: Literal[0, 1, 2],
        now_ns: int,
        gateway: bytes | None,
        allow_holes: bool = False,
    ) -> PollReply | None:
        """As open_poll_reply for a reply without messages, or with a certificate that recall_certificate knows; None
        for any other. Takes microseconds for each message, and so needs no thread unless it is large. Does not release
        the GIL.
        """
    def open_message(
        self, frame: bytes, canister_id: bytes, *, generation: Literal[0, 1, 2], now_ns: int
    ) -> CertifiedMessage:
        """What a client does with a binary message of the gateway: verify certificate, witness and content. `frame` is
        the message without the WebSocket header.

        Raises a CertificateError or Malformed.
        """

# --- requests -------------------------------------------------------------------------------------------------------

@final
class Request:
    """The content of an envelope. From a Verifier it is what the sender signed."""

    @property
    def request_type(self) -> Literal["call", "query", "read_state"]: ...
    @property
    def request_id(self) -> bytes:
        """32 bytes over every field that was received, known or not."""
    @property
    def sender(self) -> bytes: ...
    @property
    def ingress_expiry_ns(self) -> int: ...
    @property
    def nonce(self) -> bytes | None: ...
    @property
    def canister_id(self) -> bytes:
        """Empty for read_state."""
    @property
    def method_name(self) -> str:
        """Empty for read_state."""
    @property
    def arg(self) -> bytes:
        """Empty for read_state."""
    @property
    def paths(self) -> list[list[bytes]]:
        """Of read_state, else empty."""
    @property
    def targets(self) -> list[bytes] | None:
        """The canisters that the delegation chain is limited to, None for no limit."""
    @property
    def body(self) -> bytes:
        """The sender's own envelope bytes, tagged: what is sent to the IC."""
    @property
    def sequence_num(self) -> int | None:
        """Of a `ws_message` of v2: the number of the message among those of its client. None where there is none."""

def read_envelope_unverified(frame: bytes) -> Request:
    """Decode a frame as Verifier.open_envelope does, and verify nothing. Raises Malformed or TooLarge."""

def encode_content(
    request_type: Literal["call", "query", "read_state"],
    *,
    sender: bytes,
    ingress_expiry_ns: int,
    canister_id: bytes | None = None,
    method_name: str | None = None,
    arg: bytes | None = None,
    paths: Sequence[_Path] | None = None,
    nonce: bytes | None = None,
) -> tuple[bytes, bytes]:
    """The content of a request as CBOR (untagged) and its request id."""

def encode_envelope(
    content: bytes,
    *,
    public_key: bytes | None = None,
    signature: bytes | None = None,
    delegations: Sequence[tuple[bytes, int, Sequence[bytes] | None, bytes]] = (),
) -> bytes:
    """A tagged envelope around a content. A delegation is (public key, expiration, targets, signature)."""

@final
class QueryReply:
    """The answer to a query, signed by a node of the subnet."""

    @property
    def status(self) -> Literal["replied", "rejected"]: ...
    @property
    def arg(self) -> bytes | None:
        """What the canister replied; None of a rejection."""
    @property
    def reject_code(self) -> int | None:
        """Of a rejection (interface specification, "Reject codes"), else None."""
    @property
    def reject_message(self) -> str | None:
        """Of a rejection, else None."""
    @property
    def error_code(self) -> str | None:
        """Of a rejection that has one, e.g. ``IC0406``."""
    @property
    def signed_at_ns(self) -> int:
        """When the node signed; the oldest of several signatures."""
    @property
    def node_id(self) -> bytes:
        """The node that signed then."""

def verify_query_reply(
    body: bytes, request_id: bytes, node_keys: dict[bytes, bytes], *, now_ns: int, max_age_ns: int
) -> QueryReply:
    """Verify the body of the HTTP response to a query: each of its signatures, at least one, is of a known node over
    this reply to this request, not more than `max_age_ns` away from now (interface specification, "Query call").

    `node_keys` are the subnet's nodes: DER Ed25519 keys by principal, which certified state has at
    ``/subnet/<subnet id>/node/<node id>/public_key`` (CertifiedTree.children and .lookup).

    Raises a QuerySignature error (BadReply), Malformed or TooLarge.
    """

@final
class KnownNodes:
    """Keys of nodes as `verify_query_reply` takes them, kept for many replies: each is decoded once."""

    def __new__(cls, keys: Mapping[bytes, bytes]) -> Self: ...

@final
class PollQueue:
    """The queue of one canister, and what its replies are verified by."""

    def __new__(
        cls,
        verifier: Verifier,
        canister_id: bytes,
        *,
        generation: Literal[0, 1, 2],
        gateway: bytes,
        max_age_ns: int | None,
    ) -> Self:
        """`gateway` as in Verifier.open_poll_reply. The signatures of nodes are `max_age_ns` old at most; with None
        they are not verified.
        """
    def ask(
        self,
        key: SigningKey,
        method: str,
        arg: bytes,
        nodes: KnownNodes | None,
        now_ns: int,
        lifetime_ns: int,
        keeps_body: bool,
        /,
    ) -> Poll:
        """A query that `key` signs, and that expires `lifetime_ns` from now. Each has another request id. `keeps_body`
        passes on what the endpoint sent, beside what was read of it.

        Raises ValueError without `nodes` where signatures are verified, OSError where the system has no randomness.
        """

@final
class Poll:
    """One query of a canister's queue. `HttpClient.begin` takes it for a body: then it is signed, and its reply is read
    as verify_query_reply and Verifier.open_poll_reply (with `allow_holes`) do it, off the event loop.
    """

    @property
    def body(self) -> bytes:
        """The envelope as CBOR."""
    @property
    def request_id(self) -> bytes:
        """32 bytes."""

@final
class PollAnswer:
    """What came of a Poll: a reply that verifies."""

    @property
    def page(self) -> PollReply: ...
    @property
    def took_ns(self) -> int:
        """How long opening it took, without the signatures of nodes."""

def verify_signature(public_key: bytes, signature: bytes, message: bytes) -> None:
    """Verify any signature scheme of the IC but canister signatures over a message that includes its separator.

    Raises SignatureInvalid or KeyUnusable.
    """

@final
class SigningKey:
    """A private key: Ed25519, ECDSA on secp256k1 or on P-256. Its repr shows the public half only."""

    @staticmethod
    def generate(scheme: Literal["ed25519", "secp256k1", "prime256v1"]) -> SigningKey: ...
    @staticmethod
    def from_secret(scheme: Literal["ed25519", "secp256k1", "prime256v1"], secret: bytes) -> SigningKey:
        """From 32 secret bytes: a seed or a scalar. Raises KeyUnusable."""
    @staticmethod
    def from_pem(data: bytes) -> SigningKey:
        """PKCS#8 v1 and v2 or SEC1 ("EC PRIVATE KEY", also after "EC PARAMETERS"). Raises KeyUnusable (encrypted ones
        too, saying so)."""
    @staticmethod
    def from_der(data: bytes) -> SigningKey:
        """PKCS#8 v1 and v2 or SEC1, binary: e.g. the reference gateway's ``data/key_pair``. Raises KeyUnusable."""
    @property
    def scheme(self) -> Literal["ed25519", "secp256k1", "prime256v1"]: ...
    @property
    def public_key(self) -> bytes:
        """DER."""
    def sign(self, message: bytes) -> bytes:
        """64 bytes, r and s for ECDSA over SHA-256."""
    def to_pem(self) -> bytes:
        """PKCS#8 v1 as PEM. Secret."""

# --- Candid ---------------------------------------------------------------------------------------------------------

@final
class CandidTypes:
    """A tuple of Candid types, e.g. of arguments: ``CandidTypes("(record {nonce: nat64})")``.

    Values: null None, bool, nat* and int* int, float* float, text str, blob (vec nat8) bytes, vec list, opt the value
    or None, record dict (or tuple for one with the fields 0, 1, …), variant a dict of one item, e.g. ``{"Ok": None}``,
    principal ``appliance.ic.principal.Principal``, reserved None, func (Principal, str), service Principal. An optional
    value that is itself optional or null is wrapped as a list of none or one.
    """

    def __new__(cls, text: str) -> Self:
        """Raises CandidError where the text is not a tuple of types, TooLarge beyond 1 MiB."""
    def encode(self, *values: _CandidValue) -> bytes:
        """Raises CandidError naming the value that does not fit, e.g. ``argument 0, key.nonce: nat64 cannot be str``.

        Takes bytes for a principal, None for any optional, and leaves out what may be null.
        """
    def decode(self, data: bytes) -> tuple[object, ...]:
        """Decode with subtyping, as a callee does. Raises CandidError, also for what would cost too much or nests
        deeper than 512."""
    def encode_text(self, text: str) -> bytes:
        """Encode values given as Candid text, e.g. ``(record { nonce = 7 }, "a")``; optional ones at the end may be
        left out. Raises CandidError, with line and column where the text cannot be read, and TooLarge beyond 1 MiB."""
    def decode_text(self, data: bytes) -> str:
        """Decode with subtyping, into Candid text. Raises CandidError, also for what nests deeper than 100."""
    def sample(self) -> str:
        """Values of these types as Candid text, to begin with: zeros, empty texts, nothing optional."""
    def to_text(self) -> str:
        """The types in Candid's notation, e.g. ``(text, opt nat)``; those that have names by their names."""
    def without_opt(self) -> CandidTypes:
        """The same types, with what an ``opt`` holds in its place: one level of it."""
    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> CandidTypes:
        """One of the types, as a tuple of one; counted from 0. Raises IndexError."""

@final
class CandidMethod:
    """A method of an interface."""

    @property
    def name(self) -> str: ...
    @property
    def arguments(self) -> CandidTypes: ...
    @property
    def results(self) -> CandidTypes: ...
    @property
    def is_query(self) -> bool: ...

@final
class CandidInterface:
    """A parsed ``.did`` text."""

    def __new__(cls, text: str) -> Self:
        """Raises CandidError with line and column (also for imports: there is no directory), TooLarge beyond 1 MiB."""
    @property
    def methods(self) -> dict[str, CandidMethod]: ...
    @property
    def init(self) -> CandidTypes:
        """The arguments of the installation."""
    def type(self, name: str) -> CandidTypes:
        """A named type, as a tuple of one. Raises CandidError."""

def decode_candid(data: bytes) -> tuple[object, ...]:
    """Decode by the types the message itself names. Fields are the hashes of their names, for a message has no names;
    an absent optional is None whatever its type. Raises CandidError."""

def encode_candid_text(text: str) -> bytes:
    """Encode values given as Candid text by the types that they seem to have: 7 is an int, ``7 : nat64`` is not.

    Raises CandidError with line and column, TooLarge beyond 1 MiB."""

def decode_candid_text(data: bytes) -> str:
    """Decode by the types the message itself names, into Candid text. Fields are the hashes of their names. Raises
    CandidError."""

# --- WebSocket messages ---------------------------------------------------------------------------------------------

@final
class PolledMessage:
    """One message of a canister for one client. All but the frame is read from the key and from the content, which the
    canister certifies. With a `problem` the content says nothing: the client key is the one that stands beside it in
    the reply, which nobody certifies, and the numbers are 0."""

    @property
    def client_key(self) -> bytes:
        """v1 and v2: principal and nonce (8 bytes, big-endian); v0: the client's Ed25519 key."""
    @property
    def key(self) -> str:
        """``<gateway principal>_<nonce of 20 digits>``."""
    @property
    def nonce(self) -> int:
        """The number in the key."""
    @property
    def sequence_num(self) -> int:
        """Its number among the messages for this client, from 1."""
    @property
    def timestamp_ns(self) -> int:
        """When the canister sent it."""
    @property
    def is_service(self) -> bool:
        """Whether it is of the protocol rather than of the application. Always False in v0."""
    @property
    def service_kind(self) -> Literal["open", "ack", "keep_alive", "close"] | None:
        """Which message of the protocol it is; None for those of the application and unknown ones."""
    @property
    def frame(self) -> bytes:
        """The complete, unmasked, final WebSocket frame: header and CBOR."""
    @property
    def problem(self) -> str | None:
        """Why the content, certified as it is, does not decode."""

@final
class PollReply:
    """The answer to a poll."""

    @property
    def messages(self) -> list[PolledMessage]: ...
    @property
    def is_end_of_queue(self) -> bool:
        """True also where the canister's generation does not say."""
    @property
    def is_whole(self) -> bool:
        """Whether each message follows the one before it, and all of them decode. True without messages."""
    @property
    def time_ns(self) -> int | None:
        """Of the certificate; None without messages and where nothing was verified."""

def read_poll_reply_unverified(reply: bytes, *, generation: Literal[0, 1, 2]) -> PollReply:
    """Decode as Verifier.open_poll_reply does, for the queue of any one gateway, with or without holes, and verify
    nothing. A content that does not decode is a message with a `problem`. Frames have the whole tree as it came.

    Raises ForeignQueue, NoncesNotAscending, Malformed, CandidError, TooLarge or CanisterRefused.
    """

@final
class CertifiedMessage:
    """A message that the canister certified, as its client sees it."""

    @property
    def key(self) -> str: ...
    @property
    def client_key(self) -> bytes: ...
    @property
    def sequence_num(self) -> int: ...
    @property
    def timestamp_ns(self) -> int:
        """When the canister sent it."""
    @property
    def certified_at_ns(self) -> int:
        """The time of the certificate."""
    @property
    def is_service_message(self) -> bool:
        """Always False in v0."""
    @property
    def content(self) -> bytes:
        """Candid of the application or of the service in v1 and v2, CBOR in v0."""

# --- HTTP -----------------------------------------------------------------------------------------------------------

@final
class HttpEndpoint:
    """The way to an endpoint, and its connections that are kept for the next request. They are closed with it."""

    def __new__(cls, name: str, url: str, proxy: str | None = None, proxy_authorization: str | None = None) -> Self:
        """``name`` is for errors. ``url`` and ``proxy`` are http or https addresses without credentials, or
        ``proxy`` is ``unix:`` with the path of a socket, where it opens tunnels for every ``url``.

        Raises ValueError for an address or credentials that cannot be used.
        """

@final
class HttpClient:
    """Runs HTTP exchanges on a thread of its own, which never attaches to Python.

    A process that was forked from the one that made it cannot use it.
    """

    def __new__(cls, connect_timeout_s: float) -> Self:
        """The time-out is for a new connection, with the name, the proxy and TLS. Raises OSError."""
    def fileno(self) -> int:
        """The descriptor that is readable while there may be outcomes to take."""
    def begin(
        self, endpoint: HttpEndpoint, path: str, body: bytes | Poll | None, max_reply: int, timeout_s: float
    ) -> int:
        """Begin an exchange, POST with a body and GET without, and return its id.

        Raises RuntimeError after ``close`` and in a forked process.
        """
    def cancel(self, exchange: int) -> None:
        """End an exchange, if it is under way. An outcome that arrives all the same means nothing."""
    def take(self) -> list[tuple[int, _HttpResponse | IcUnreachable | ReplyTooLarge]]:
        """Take the outcomes so far, by the ids of the exchanges: an error or a response."""
    def close(self, deadline_s: float) -> bool:
        """End all exchanges and connections; their outcomes can still be taken. Waits for that until the deadline, and
        returns whether all has ended.
        """
