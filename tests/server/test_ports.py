"""Taken ports are found before anything is started."""

from __future__ import annotations

import socket

import pytest

from ovseg.server.errors import PortInUseError, ServerStartError
from ovseg.server.ports import check_port_free, free_ports


def test_a_port_in_use_is_an_error_that_names_port_and_setting() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        port = listener.getsockname()[1]
        with pytest.raises(PortInUseError, match=rf"port {port} .*in use.*OVSEG_PORT"):
            check_port_free("127.0.0.1", port, "OVSEG_PORT")


def test_an_address_that_is_not_ours_is_an_error() -> None:
    with pytest.raises(ServerStartError, match=r"cannot listen on 192\.0\.2\.1"):
        check_port_free("192.0.2.1", 8080, "OVSEG_PORT")


def test_free_ports_are_free_and_different() -> None:
    ports = free_ports(8)
    assert len(set(ports)) == 8
    for port in ports:
        check_port_free("127.0.0.1", port, "OVSEG_PORT")
