"""From where, and how, images are fetched that a request names by URL."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network

from pydantic import BaseModel, Field, PositiveFloat, field_validator

from ovseg.settings.comma_lists import listed


class ImageUrlSettings(BaseModel, frozen=True):
    """Image URLs."""

    url_timeout_s: PositiveFloat = Field(10.0, description="Longest time to fetch an image URL.")
    url_max_redirects: int = Field(3, ge=0, description="Redirects followed for an image URL.")
    url_allow_private: bool = Field(
        False, description="Fetch image URLs on loopback and private networks too."
    )
    url_allow_networks: str = Field(
        "",
        description="Networks off the public internet that image URLs may be fetched from, such as "
        "10.1.0.0/16, separated by commas.",
    )

    @field_validator("url_allow_networks")
    @classmethod
    def _networks(cls, value: str) -> str:
        for network in listed(value):
            ip_network(network)
        return value

    @property
    def allowed_url_networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """The networks in `url_allow_networks`."""
        return tuple(ip_network(network) for network in listed(self.url_allow_networks))
