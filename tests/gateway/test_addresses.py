"""Which addresses an image is fetched from."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ovseg_gateway.addresses import is_allowed, is_public


@pytest.mark.parametrize(
    "address",
    [
        "1.1.1.1",
        "8.8.8.8",
        "93.184.216.34",
        "100.63.255.255",
        "100.128.0.1",
        "172.15.255.255",
        "172.32.0.1",
        "192.167.255.255",
        "198.17.255.255",
        "198.20.0.1",
        "223.255.255.254",
        "2606:4700:4700::1111",
        "2a00:1450:4001:800::200e",
        "2001:4860::1",
        "2001:4860:4860::8888",
        "2606:4700::5eff:8.8.8.8",
        "100.128.0.0",
    ],
)
def test_addresses_of_the_public_internet_are_allowed(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        # loopback and unspecified
        "127.0.0.1",
        "127.1.2.3",
        "127.255.255.255",
        "0.0.0.0",
        "0.1.2.3",
        "::1",
        "::",
        # private
        "10.0.0.0",
        "10.255.255.255",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.0.1",
        "192.168.255.255",
        "fc00::1",
        "fd00::1",
        "fdff:ffff::1",
        "fec0::1",
        # link-local
        "169.254.0.1",
        "169.254.255.255",
        "fe80::1",
        "fe80::1%eth0",
        "febf::1",
        # cloud metadata and host agents
        "169.254.169.254",
        "169.254.170.2",
        "100.100.100.200",
        "168.63.129.16",
        "fd00:ec2::254",
        "192.0.0.192",
        # carrier-grade NAT
        "100.64.0.0",
        "100.127.255.255",
        # multicast and broadcast
        "224.0.0.1",
        "239.255.255.255",
        "ff00::1",
        "ff02::1",
        "ff0e::1",
        "255.255.255.255",
        # reserved, documentation, benchmarking
        "192.0.0.1",
        "192.0.2.1",
        "198.51.100.1",
        "203.0.113.1",
        "198.18.0.1",
        "198.19.255.255",
        "192.88.99.1",
        "240.0.0.1",
        "2001:db8::1",
        "3fff::1",
        "100::1",
        "5f00::1",
        # IPv4 inside IPv6: mapped, compatible, translated, NAT64, 6to4, Teredo
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:8.8.8.8",
        "::ffff:169.254.169.254",
        "::127.0.0.1",
        "::8.8.8.8",
        "::ffff:0:127.0.0.1",
        "64:ff9b::127.0.0.1",
        "64:ff9b::8.8.8.8",
        "64:ff9b:1::10.0.0.1",
        "2002:7f00:1::",
        "2002:a00:1::",
        "2002:808:808::",
        "2001:0:7f00:1::",
        "2001::1",
        # … of carrier-grade NAT, link-local, and in NAT64's local prefix as RFC 6052 writes it
        "::100.64.0.1",
        "::169.254.0.1",
        "2002:6440:1::",
        "2002:c0a8:1::",
        "2002:101:101::",
        "64:ff9b::10.0.0.1",
        "64:ff9b::100.64.0.1",
        "64:ff9b::172.16.0.1",
        "64:ff9b:1:a00:0:100::",
        "64:ff9b:1:c0a8:1:100::",
        "2001::f5ff:fffe",
        "2001::f7f7:f7f7",
        # ISATAP: any prefix, and 0000:5efe or 0200:5efe before an IPv4 address
        "2001:db8::5efe:10.0.0.1",
        "2606:4700::5efe:10.0.0.1",
        "2606:4700::5efe:8.8.8.8",
        "2606:4700::200:5efe:192.168.1.1",
        "fe80::5efe:10.0.0.1",
        # more cloud metadata and well-known internal services
        "fd00:ec2::23",
        "fd00:ec2::253",
        "fd20:ce::254",
        "169.254.169.123",
        "169.254.169.253",
        "169.254.170.23",
        "192.0.0.170",
        "192.0.0.8",
        "127.0.0.53",
        "127.0.0.254",
        # no addresses
        "",
        "localhost",
        "127.1",
        "0x7f.0.0.1",
        "2130706433",
        "017700000001",
        "1.1.1.1/32",
        "1.1.1.1 ",
    ],
)
def test_everything_else_is_refused(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    ("address", "is_listed"),
    [
        ("10.1.2.3", True),
        ("10.2.0.0", False),
        ("fd12::7", True),
        ("fd13::7", False),
        ("fd12::7%eth0", True),
        ("::ffff:10.1.2.3", False),
        ("64:ff9b::10.1.2.3", False),
        ("127.0.0.1", False),
        ("8.8.8.8", True),
        ("no address", False),
    ],
)
def test_listed_networks_are_allowed_and_nothing_beside_them(address: str, is_listed: bool) -> None:
    networks = [ip_network("10.1.0.0/16"), ip_network("fd12::/16")]
    assert is_allowed(address, networks) == is_listed


@given(st.integers(0, 2**32 - 1))
def test_no_ipv6_form_of_any_ipv4_address_is_public(number: int) -> None:
    ipv4 = IPv4Address(number)
    forms = [
        number,
        0xFFFF << 32 | number,
        0xFFFF << 48 | number,
        0x64FF9B << 96 | number,
        0x2002 << 112 | number << 80,
        0x2001 << 112 | number ^ 0xFFFFFFFF,
        0x2606 << 112 | 0x5EFE << 32 | number,
        0x2606 << 112 | 0x02005EFE << 32 | number,
    ]
    assert not any(is_public(str(IPv6Address(form))) for form in forms)
    assert is_public(str(ipv4)) <= ipv4.is_global


@given(st.one_of(st.text(max_size=50), st.ip_addresses().map(str)))
def test_any_text_is_public_or_not(text: str) -> None:
    assert is_public(text) in (True, False)
