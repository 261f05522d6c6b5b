"""Which network addresses the gateway may fetch an image from."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

# Not routed to the outside although Python's `is_global` says otherwise.
_REFUSED_IPV4 = (
    IPv4Network("192.0.0.0/24"),  # IETF protocol assignments (RFC 6890)
    IPv4Network("192.88.99.0/24"),  # former 6to4 relays (RFC 7526)
    IPv4Network("168.63.129.16/32"),  # Azure's host agent: public by number, internal in fact
)
_GLOBAL_IPV6 = IPv6Network("2000::/3")  # the only block that IANA has allocated as unicast
_REFUSED_IPV6 = (
    IPv6Network("2001::/23"),  # IETF protocol assignments, Teredo among them: IPv4 inside
    IPv6Network("2002::/16"),  # 6to4: IPv4 inside
    IPv6Network("2001:db8::/32"),  # documentation
    IPv6Network("3fff::/20"),  # documentation (RFC 9637)
)
# RFC 5214: in the lower half of any IPv6 address, these 32 bits (the 0x0200 bit aside) say that an
# IPv4 address follows.
_ISATAP, _ISATAP_MASK = 0x00005EFE, 0xFDFFFFFF


def is_allowed(address: str, networks: Iterable[IPv4Network | IPv6Network] = ()) -> bool:
    """Whether a numeric address is public, or in one of the networks that the settings allow."""
    if is_public(address):
        return True
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    return any(parsed in network for network in networks)


def is_public(address: str) -> bool:
    """Whether a numeric address belongs to the public internet.

    False for loopback, private, link-local (cloud metadata services live there), carrier-grade
    NAT, multicast, reserved and unspecified addresses, and for IPv6 forms that carry an IPv4
    address; also for text that is no address.
    """
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    if not parsed.is_global or parsed.is_multicast:
        return False
    if isinstance(parsed, IPv4Address):
        return not any(parsed in network for network in _REFUSED_IPV4)
    return (
        parsed in _GLOBAL_IPV6
        and not any(parsed in network for network in _REFUSED_IPV6)
        and not _is_isatap(parsed)
    )


def _is_isatap(address: IPv6Address) -> bool:
    return (int(address) >> 32) & _ISATAP_MASK == _ISATAP
